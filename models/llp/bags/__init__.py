"""Bags: which rows are counted together, the reports of their counts, and how these come from the true ones.

May import: no other folder.
"""
