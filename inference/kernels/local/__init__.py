"""Local: moves of one part of the choices, scored by what that part reaches.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
