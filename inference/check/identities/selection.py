"""Selection (tier 0): the program of what was kept is the law of an object given that it is kept, object by object.

Law: the measure of `selected(p, keep, n)` on what n objects return is the product of [[p given kept]] times what its
form says: 1, the probability that at most `bound` are rejected, or the probability of n objects.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from scipy import stats

from ...algorithms.enumerated import enumerate
from ...contract import PRESERVES, Contract
from ...transformers.reweigh.selected import Way, selected
from ..exact.suite import Instance, instances_of
from ..programs.limits import KINDS
from ..statistics.report import Report

TOLERANCE = 1e-12
CHANCES = np.array([0.25, 1.0, 0.5, 0.0, 0.75])  # of being kept
BOUND, RATE = 2, 3.0
DATA = ("factor", "observe", "weigh")  # what would say more of an object than its law
FLAT = ("site", "assign")  # what may stand in a plate of objects


@dataclass(frozen=True)
class Selection:
    """A form of `selected`, and how many programs it is checked on, each with some sets of tables."""

    by: Way
    programs: int = 2
    tables: int = 10

    name: ClassVar[str] = "selected"
    contract: ClassVar[Contract] = PRESERVES


def selection(how: Selection, tolerance: float = TOLERANCE) -> Report:
    """Check a form of `selected` on random finite programs, one and two objects, and alone with branches.

    Args:
        how: the form.
        tolerance: largest difference of a mass.
    """
    worst, count = 0.0, 0
    rng = np.random.default_rng(0)
    for one in instances_of(how.programs, structured=0.0, particles=1, max_paths=6, kinds=FLAT):
        for objects in (1, 2):
            worst, count = max(worst, _error(one, how, objects, rng)), count + how.tables
    if how.by == "divide":
        kinds = tuple(kind for kind in KINDS if kind not in DATA)
        for one in instances_of(how.programs, structured=1.0, particles=1, max_paths=12, kinds=kinds):
            worst, count = max(worst, _error(one, how, None, rng)), count + how.tables
    return Report(
        status="passed" if worst <= tolerance else "failed",
        law=f"[[selected(p, keep, by={how.by!r})]] = product of [[p given kept]]",
        level="exact",
        measure_error=worst,
        instances=count,
        worst=("difference of a mass", worst),
    )


def _error(instance: Instance, how: Selection, objects: int | None, rng: np.random.Generator) -> float:
    """Largest difference of a mass, over random tables of one program."""
    assert instance.finite is not None
    variables, program = instance.finite.returns, instance.finite.program

    def code(values: Any) -> Any:
        """One number of what an object returns."""
        total: Any = 0
        for variable, value in zip(variables, values, strict=True):
            total = total * (variable.card + 1) + (jnp.sum(value) if variable.shape else value)
        return total

    def keep(number: Any) -> Any:
        return jnp.asarray(CHANCES)[number % len(CHANCES)]

    options: dict[str, dict[str, Any]] = {"divide": {}, "impute": {"bound": BOUND}, "poisson": {"rate": RATE}}
    plan = enumerate(selected(lambda tables: code(program(tables)), keep, objects, by=how.by, **options[how.by]))
    worst = 0.0
    for _ in range(how.tables):
        sibling = instance.with_tables(instance.random_tables(rng))
        law: Any = sibling.truth().marginal(lambda trace: int(code([np.asarray(x) for x in trace.output])))
        mass = {number: float(p) * CHANCES[number % len(CHANCES)] for number, p in law.items()}
        if (total := math.fsum(mass.values())) == 0:
            continue  # nothing can be kept
        found = plan(*sibling.args)
        worst = max(
            worst, _difference(found, {k: p / total for k, p in mass.items()}, objects, _extra(how, objects, total))
        )
    return worst


def _extra(how: Selection, objects: int | None, share: float) -> float:
    """Total mass of a form."""
    if how.by == "impute":
        return float(stats.nbinom.cdf(BOUND, objects, share))
    return float(stats.poisson.pmf(objects, RATE * share)) if how.by == "poisson" else 1.0


def _difference(found: Any, kept: dict[int, float], objects: int | None, extra: float) -> float:
    """Largest difference between what was enumerated and the product of the laws of the objects."""
    total, marginal = math.exp(found.log_evidence), found.marginal("return")
    each = kept.items()
    if objects is None:
        truth: dict[Any, float] = {number: p for number, p in each}
    else:
        rows = itertools.product(each, repeat=objects)
        truth = {tuple(k for k, _ in row): math.prod(p for _, p in row) for row in rows}
    keys = truth.keys() | marginal.keys()
    return max(abs(total * marginal.get(key, 0.0) - extra * truth.get(key, 0.0)) for key in keys)
