"""Distributions: what a site draws from, and how its values are scored."""
