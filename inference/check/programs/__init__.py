"""Programs: finite test programs, written, generated, printed and shrunk; and what turns one into another.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans, algorithms.
"""
