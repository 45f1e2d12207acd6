"""Labels: what counts, log odds and neighbours say of each row, and on which scale.

May import: bags, neighbours, training.
"""
