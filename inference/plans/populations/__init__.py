"""Populations: plans of weighted particles, and their runs.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results.
"""
