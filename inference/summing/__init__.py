"""Summing: finite sites are summed out inside the program that holds them, and drawn back.

May import: laws, findings, eager, representations.
"""
