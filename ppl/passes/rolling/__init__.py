"""Rolling: statements that repeat in a Python loop become a loop of the form, which is compiled once.

The way: `match_steps` finds stretches that repeat and their steps, `write_loops` writes the loop; `roll` is the pass,
and tells which are worth one.
May import: form, distributions.
"""
