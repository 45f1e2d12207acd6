"""Gradient: Hamiltonian and Langevin moves, and what a warm-up learns for them.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
