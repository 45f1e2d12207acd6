"""Jumps: moves by a program or a map, between models too.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""
