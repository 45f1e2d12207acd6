"""Guides: laws of all choices of a program that are fitted to it, and the answers that their weights correct.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results.
"""
