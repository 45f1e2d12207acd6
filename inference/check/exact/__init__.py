"""Exact: measures and transition matrices, enumerated and compared.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans, algorithms.
"""
