"""Uncertainty: standard errors, profiles of the likelihood, the bootstrap, bands of curves."""
