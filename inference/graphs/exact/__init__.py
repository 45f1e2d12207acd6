"""Exact: elimination, planned and done, and graphs that are chains beside a core.

May import: laws, findings, eager, representations, summing.
"""
