"""Uncertainty: standard errors, profiles of the likelihood, the bootstrap, bands of curves.

May import: model, reading, likelihood, fitting, tables.
"""
