"""Language: what people write: statements, control flow, padding, memoised functions, and forms run as programs.

Statements reach handlers by `messages` alone.
May import: form, distributions, passes, backends, tracing.
"""
