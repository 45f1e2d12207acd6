"""Passes: from a form to a form of the same measure, or to one that also says what was asked of its sites.

`thread_sites` carries values in and out of sites through loops and branches; record, condition and predict are rules
on it.
May import: form, distributions.
"""
