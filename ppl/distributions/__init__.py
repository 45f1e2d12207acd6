"""Distributions: what a site draws from and how its values are scored, in the program and in the algorithms.

`law` is the interface; the other files hold what single families, and data that are incomplete, need.
May import: form.
"""
