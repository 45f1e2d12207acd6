"""Back ends: from a form to numbers, by a program that XLA compiles or by enumeration of all joint values.

May import: form, distributions, passes.
"""
