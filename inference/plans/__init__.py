"""Plans: a method built for a model: it compiles, runs, and makes a result.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results.
"""
