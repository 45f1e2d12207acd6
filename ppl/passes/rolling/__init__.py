"""Rolling: statements that repeat in a Python loop become a loop of the form, which is compiled once.

The way: `match_steps` finds stretches that repeat and their steps, `cost` tells those that are worth a loop,
`write_loops` writes it; `roll` is the pass.
May import: form, distributions.
"""
