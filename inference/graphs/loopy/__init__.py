"""Loopy: belief propagation, on forests exact.

May import: laws, findings, eager, representations, summing.
"""
