"""Tracing: from a function of the user to its form."""
