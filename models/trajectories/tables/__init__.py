"""Tables: a fit in frames of pandas and as text.

May import: model, reading, likelihood, fitting.
"""
