"""Data: observations checked against their site, and those that are missing, weighted, or known by an interval.

May import: form, distributions, passes, backends, tracing.
"""
