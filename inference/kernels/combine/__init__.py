"""Combine: kernels made of proposals or of other kernels.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
