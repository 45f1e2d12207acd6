"""Collapse: a population becomes one of its particles, picked by weight, whose weight is the estimate of the evidence.

Law: [[collapse(p)]] = [[p]].
"""

from __future__ import annotations

from typing import Any

from lawful.form import Factor, Form, Site, walk
from lawful.form.liveness import is_random

from ..contract import PRESERVES, Transformer
from ..laws.picks import PickLaw
from ..representations.population import Population, Suspended, closed, gather, unwind
from .pauses import finish
from .resample import push_evidence


def collapse(population: Population) -> Form:
    """Pick one particle with probability proportional to its weight: a Form whose weight is the evidence estimate.

    Where only values are left to compute, those of the picked particle are, with its history alone.
    """
    pending = population.pending
    if pending is not None and not _ended(pending):
        population = finish(population)
    if population.weight is None:
        population = push_evidence(population)
    assert population.weight is not None
    block, plate = population.block, population.plate
    pick = block.site(population.address("pick"), PickLaw(plate.size), (population.weight,))
    values = gather(block, population.values, pick, plate, ())
    if not isinstance(population.pending, Suspended):
        return closed(population, values)
    found, _ = unwind(block, plate, population.trail.ancestors, population.pending.shed, pick)
    found |= zip(population.pending.names, values, strict=True)
    form = population.pending.cut.suffix
    return closed(population, block.splice(form, [found[v] for v in form.inputs]))


def _ended(pending: Any) -> bool:
    """Tell whether only values are left to compute at a pause, from what each particle has at hand."""
    if not isinstance(pending, Suspended) or not pending.at_the_end or pending.cut.hold:
        return False
    return not any(is_random(node) or isinstance(node, Factor | Site) for node in walk(pending.cut.suffix))


Collapse = Transformer("collapse", collapse, PRESERVES)
