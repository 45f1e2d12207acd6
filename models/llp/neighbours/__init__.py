"""Neighbours: which rows are near each other, and how far their labels agree.

May import: bags.
"""
