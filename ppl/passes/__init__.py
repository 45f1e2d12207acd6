"""Passes: from a form to a form."""
