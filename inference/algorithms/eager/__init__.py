"""Eager: methods on programs that run as plain Python.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans.
"""
