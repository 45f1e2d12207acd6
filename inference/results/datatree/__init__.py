"""DataTree: a result as ArviZ reads it.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running.
"""
