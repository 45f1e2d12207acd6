"""Identities: laws of densities, maps and trajectories at generated points.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans, algorithms.
"""
