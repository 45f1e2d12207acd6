"""Passes: from a form to a form of the same measure, or to one that also says what was asked of its sites.

`thread_sites` carries values in and out of sites through loops and branches; record, condition and predict are rules
on it. `form.pipeline` declares passes, runs them one after the other and keeps what they make; which ones a back end
runs stands in it (`backends.xla.DEFAULT`).
May import: form, distributions.
"""
