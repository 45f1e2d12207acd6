"""Inspection: what people read about a program: findings of the linter, text and pictures.

`methods` binds it to `Form`, so that a form itself imports none of it.
May import: form, distributions, passes, backends, tracing, language, handlers.
"""
