"""Partial sums: sums over a part of the finite sites, for the laws of the sums where other sites stay.

Law: each keeps the measure, as every sum does. Where a chosen site decides whether another one exists, which no sum can
keep apart, all sites or none are summed. `marginalise` is given, with a site, those whose law reads it.
"""

from __future__ import annotations

from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import finite_sites
from lawful.form.markov_blanket import reached

from ...contract import Transformer
from ...summing.enumerate_sites import enumerate_sites
from ...transformers.marginalise import marginalise


def _half(form: Form) -> Form:
    try:
        return enumerate_sites([choice.address for choice in finite_sites(form)[::2]])(form)
    except UnsupportedProgramError:
        return enumerate_sites()(form)


def _outside(form: Form) -> Form:
    try:
        return enumerate_sites(lambda choice: not choice.loops)(form)
    except UnsupportedProgramError:
        return form


def _readers(form: Form) -> Form:
    finite = {choice.address for choice in finite_sites(form)}
    chosen = {choice.address for choice in finite_sites(form)[1::2]}
    while True:
        reach = reached(form, chosen)
        more = finite & (reach.terms | reach.switched) - chosen
        if not more:
            return marginalise(sorted(chosen))(form)
        chosen |= more


MarginaliseHalf = Transformer("marginalise(every other site, and its readers)", _readers, marginalise().contract)
SumHalf = Transformer("enumerate_sites(every other site)", _half, enumerate_sites().contract)
SumOutside = Transformer("enumerate_sites(outside loops)", _outside, enumerate_sites().contract)
