"""Training of the net that methods share: its program, its epochs, and its losses.

May import: bags, neighbours.
"""
