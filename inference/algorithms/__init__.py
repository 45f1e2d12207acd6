"""Algorithms: the methods, one a file.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans.
"""
