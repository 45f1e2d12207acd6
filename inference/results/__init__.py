"""Results: what an inference returns, as arrays, files, trees and pages.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running.
"""
