"""Base: what a kernel is, its acceptance, and what most of them are written with.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
