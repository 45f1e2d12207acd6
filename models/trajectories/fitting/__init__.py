"""Fitting: the problem that a call poses, starts, the optimiser, the search, and the point that it found.

May import: model, reading, likelihood.
"""
