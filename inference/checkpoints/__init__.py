"""Checkpoints: the files of a run, and what they are of; no algorithm is known here.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices.
"""
