"""Moves: assignments that change in a few variables at a time, to a better one or to a fresh draw.

May import: laws, findings, eager, representations, summing.
"""
