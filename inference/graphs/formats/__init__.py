"""Formats: factor graphs as files, pictures and graphs of other libraries.

May import: laws, findings, eager, representations, summing.
"""
