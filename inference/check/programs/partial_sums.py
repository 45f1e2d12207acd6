"""Partial sums: sums over a part of the finite sites, for the laws of the sums where other sites stay.

Law: each keeps the measure, as every sum does. Where a chosen site decides whether another one exists, which no sum can
keep apart, all sites or none are summed. A graph is given, with a site, those whose law reads it.
"""

from __future__ import annotations

from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import finite_sites
from lawful.form.markov_blanket import reached

from ...contract import PRESERVES, Transformer
from ...transformers.marginalise import marginalise


def _half(form: Form) -> Form:
    try:
        return marginalise([choice.address for choice in finite_sites(form)[::2]], method="program")(form)
    except UnsupportedProgramError:
        return marginalise(method="program")(form)


def _outside(form: Form) -> Form:
    try:
        return marginalise(lambda choice: not choice.loops, method="program")(form)
    except UnsupportedProgramError:
        return form


def _readers(form: Form) -> Form:
    finite = {choice.address for choice in finite_sites(form)}
    chosen = {choice.address for choice in finite_sites(form)[1::2]}
    while True:
        reach = reached(form, chosen)
        more = finite & (reach.terms | reach.switched) - chosen
        if not more:
            return marginalise(sorted(chosen), method="graph")(form)
        chosen |= more


GraphHalf = Transformer("graph sums(every other site, and its readers)", _readers, PRESERVES)
SumHalf = Transformer("sums(every other site)", _half, PRESERVES)
SumOutside = Transformer("sums(outside loops)", _outside, PRESERVES)
