"""Searches: plans of searches for maxima, the steps of a search, and what stands at its end.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results.
"""
