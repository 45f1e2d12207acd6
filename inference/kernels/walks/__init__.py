"""Walks: random walks and slices, on choices or on coordinates without bounds.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
