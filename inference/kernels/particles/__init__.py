"""Particles: kernels that run a particle filter, or learn from the particles that they move.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
