"""Running: what makes a run one that is done in chunks, watched, stopped and taken up again.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints.
"""
