"""Lint: likely mistakes in a program, found before it runs; one file a kind of finding, all called by `check`.

May import: form, distributions, passes, backends, tracing, language, handlers.
"""
