"""Rolling: the steps of a sequence that a Python loop wrote one by one become a Loop.

Law: the rolled form has the outputs, the measure and, address by address, the random keys of the form. Steps are rolled
only where that is exact: equal operations on operands that come from the same step, from a step a fixed number of steps
before, or from outside. Whatever else stands in the program is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...form import Form, Node
from ...form.cached import keeps
from ...form.fingerprint import Describer
from ...form.rewriting import with_nodes, with_subforms
from .cost import worthwhile
from .match_steps import Steps, matched, repeats
from .write_loops import Body, Roller

LEAST = 8  # fewer steps compile fast, and run faster as they are
TRIES = 8


@keeps("the outputs, the weight, and the random key of each address")
def rolled(form: Form, least: int = LEAST, *, always: bool = False) -> Form:
    """Roll the isomorphic steps of a form, and of the forms inside it, into loops.

    Args:
        form: the form; it is returned itself where there is nothing to roll.
        least: the least number of steps.
        always: roll also where packing and unpacking cost more operations than the loop saves.

    >>> import numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = 0.0
    ...     for i in range(100):
    ...         x = lawful.sample(f"x_{i}", dist.Normal(x, 1.0))
    ...     return x
    >>> form = lawful.trace(chain)
    >>> len(form.nodes), [(type(node).__name__, node.length) for node in rolled(form).nodes]
    (100, [('Loop', 100)])
    """
    form = rolled_here(form, least, always=always)

    def inside(node: Node) -> Node:
        return with_subforms(node, lambda inner: rolled(inner, least, always=always))

    return with_nodes(form, [node if getattr(node, "unrolled", False) else inside(node) for node in form.nodes])


def rolled_here(form: Form, least: int = LEAST, *, always: bool = False) -> Form:
    """Roll the steps of a form, but not those of the forms inside it."""
    if len(form.nodes) < least:
        return form
    found = _runs(form, least)
    found = found if always else worthwhile(form, found, least)
    return _written(form, found, least) if found else form


def _runs(form: Form, least: int) -> list[Steps]:
    """Find the runs of isomorphic steps, in the order of the nodes; they do not overlap."""
    describe = Describer()
    numbers: dict[Any, int] = {}
    codes = np.array([numbers.setdefault(describe.signature(node), len(numbers)) for node in form.nodes])
    found: list[Steps] = []
    waiting: list[tuple[int, int]] = [(0, len(codes))]
    while waiting:
        start, stop = waiting.pop()
        for repeat in repeats(codes[start:stop], least)[:TRIES]:
            moved = replace(repeat, start=repeat.start + start)
            run = matched(form.nodes, moved, least)
            if run is not None:
                found.append(run)
                waiting += [(start, run.start), (run.stop, stop)]
                break
    return sorted(found, key=lambda run: run.start)


def _written(form: Form, runs: Sequence[Steps], least: int) -> Form:
    roller, position = Roller(form, least), 0
    for steps in runs:
        for node in form.nodes[position : steps.start]:
            roller.keep(node)
        Body(roller, steps).write()
        position = steps.stop
    for node in form.nodes[position:]:
        roller.keep(node)
    return roller.close()
