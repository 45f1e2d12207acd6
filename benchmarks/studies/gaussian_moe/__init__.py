"""Rates of Gaussian mixtures of experts: how fast fits come near a truth, beside what theory says.

Law: a replication is a function of its key, its size and its number alone. `run.py` here is the command.
"""
