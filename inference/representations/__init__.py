"""Representations of a measure, one a file: each says what a value means and which law its transformers obey.

May import: laws, findings, eager.
"""
