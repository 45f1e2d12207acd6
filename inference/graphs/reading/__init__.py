"""Reading: from a program to a factor graph, and back.

May import: laws, findings, eager, representations, summing.
"""
