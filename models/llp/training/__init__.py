"""Training of the net that methods share: its program, its epochs, and the journal of a long fit.

May import: bags, neighbours.
"""
