"""Transformers: maps between representations, each with its law; algorithms are compositions of them.

May import: laws, findings, eager, representations, summing, graphs.
"""
