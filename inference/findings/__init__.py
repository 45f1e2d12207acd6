"""Findings: what a run says against itself: status, checks with their limits, and what to do.

May import: laws.
"""
