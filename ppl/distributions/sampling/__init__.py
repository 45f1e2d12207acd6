"""Sampling: from bits to draws of whole batches."""
