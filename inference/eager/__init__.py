"""Eager inference: programs whose structure has no bound, run as plain Python, one run at a time.

Law: each algorithm here is itself a program, whose picks, coins and new choices are sites; so it can be enumerated, and
the checks do. Reached by `mode="eager"` of `inference.enumerate`, `importance`, `smc` and `mcmc`.
May import: laws, findings.
"""
