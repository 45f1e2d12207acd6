"""Gaussian: normal sites are integrated out of a program, as quadratic forms.

May import: laws, findings, eager, representations, summing, graphs.
"""
