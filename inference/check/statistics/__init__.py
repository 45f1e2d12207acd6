"""Statistics: tests with a false-alarm rate and a power.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans, algorithms.
"""
