"""Propose: a program draws some sites from another program, and weights make up for it.

May import: laws, findings, eager, representations, summing, graphs.
"""
