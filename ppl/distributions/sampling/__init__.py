"""Sampling: from random bits to draws of whole batches with one key, exact in float32 too.

May import: form.
"""
