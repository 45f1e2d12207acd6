"""Tracing: from a function of the user to its form.

`trace` finds or makes the form, `primitives` are the statements as operations of JAX, `lower` reads these as nodes.
May import: form, distributions, passes, backends.
"""
