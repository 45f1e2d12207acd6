"""Rows: what `make law` checks, and how it tells.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans, algorithms.
"""
