"""NumPyro: its models, unchanged, as programs; `models` is the door, `adapter` the handler that reads them.

May import: form, distributions, passes, backends, tracing, language, handlers, inspection.
"""
