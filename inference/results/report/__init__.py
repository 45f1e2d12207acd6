"""Report: one page about a run.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running.
"""
