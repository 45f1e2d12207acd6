"""Reweigh: programs that draw from one law and are weighed for another: what was kept, a density ratio, an order.

May import: laws, findings, eager, representations, summing, graphs.
"""
