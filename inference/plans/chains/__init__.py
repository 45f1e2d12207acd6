"""Chains: plans of Markov chains, their loops, warm-up, stores and rows, and what went wrong in them.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results.
"""
