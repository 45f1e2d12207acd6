"""Simplifying: algebra on a form before it is compiled."""
