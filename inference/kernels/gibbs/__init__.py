"""Gibbs: draws of parts from their exact conditional.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
