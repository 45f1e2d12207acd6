"""Interop: models of NumPyro as programs, and log densities of programs for samplers from elsewhere.

May import: form, distributions, passes, backends, tracing, language, handlers, inspection.
"""
