"""Arguments: what a program is called with: arrays and numbers, names, constants and keys of random numbers.

May import: no other folder.
"""
