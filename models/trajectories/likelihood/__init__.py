"""The likelihood: densities of classes, sums over waves, the marginal of all persons, penalties.

May import: model, reading.
"""
