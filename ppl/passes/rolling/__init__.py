"""Rolling: statements that repeat in a Python loop become a loop of the form, which is compiled once.

The way: `repeats` finds stretches that repeat, `match_steps` their steps, `cost` tells those that are worth a loop,
`write_loops` and `rolled_body` write it; `roll` is the pass.
May import: form, distributions.
"""
