"""Model: a factor graph as data: structure, potentials, evidence, counts, and what inference says of it.

May import: laws, findings, eager, representations, summing.
"""
