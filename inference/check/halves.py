"""Halves: sums over a part of the finite sites, for the law of `enumerate_sites` where other sites stay.

Law: each keeps the measure, as every sum does. Where a chosen site decides whether another one exists, which no sum can
keep apart, all sites or none are summed.
"""

from __future__ import annotations

from lawful.errors import UnsupportedProgramError
from lawful.form import Form

from ..enumerate_sites import enumerate_sites
from ..summing import finite_sites
from ..transformer import Transformer


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


SumHalf = Transformer("enumerate_sites(every other site)", _half, enumerate_sites().contract)
SumOutside = Transformer("enumerate_sites(outside loops)", _outside, enumerate_sites().contract)
