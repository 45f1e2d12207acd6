"""Roll: the steps of a sequence that a Python loop wrote one by one become a Loop.

Law: the rolled form has the outputs, the measure and, address by address, the random keys of the form. Steps are rolled
only where that is exact: equal operations on operands that come from the same step, from a step a fixed number of steps
before, or from outside. Whatever else stands in the program is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from ...addresses import Address
from ...form import Det, Factor, Form, Loop, Node, Site
from ...form.builder import unmapped_shape
from ...form.fingerprint import Describer
from ...form.operations.equation import Equation, operations_of
from ...form.operations.stacks import Cut, Row, of_a_stack
from ...form.pipeline import keeps, per_form
from ...form.rewriting import with_nodes, with_subforms
from .match_steps import Made, Steps, matched, repeats
from .write_loops import Body, Roller

LEAST = 8  # fewer steps compile fast, and run faster as they are
TRIES = 8
DRAW = 20  # operations of a draw and its key, at least


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


@dataclass(frozen=True, eq=False)
class Folded:
    """A form with loops; `steps` gives the addresses of the steps of each site that stands for many."""

    form: Form
    steps: dict[Address, tuple[Address, ...]]

    def names(self, address: Address) -> tuple[Address, ...]:
        """List the addresses of the form that a site of the folded one stands for."""
        return self.steps.get(address, (address,))


@per_form
def folded(form: Form) -> Folded:
    """Roll a form for what need not know each step by its own name, without its outputs.

    It has the choices, the data and the measure of the form: a site of a loop stands for the sites of all its steps,
    whose values are the rows of its stack.

    >>> import numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = 0.0
    ...     for i in range(100):
    ...         x = lawful.sample(f"x_{i}", dist.Normal(x, 1.0))
    >>> found = folded(lawful.trace(chain))
    >>> [site.address for site in found.form.sites()], found.names(("x_0",))[-1]
    ([('x_0',)], ('x_99',))
    """
    small = rolled_here(replace(form, outputs=()))
    steps = {own: names for node in small.nodes for own, names in getattr(node, "addresses", None) or ()}
    nodes = [replace(node, addresses=None) if isinstance(node, Loop) else node for node in small.nodes]
    return Folded(replace(small, nodes=tuple(nodes)), steps)


def rolled_here(form: Form, least: int = LEAST, *, always: bool = False) -> Form:
    """Roll the steps of a form, but not those of the forms inside it."""
    found = _runs(form, least)
    found = found if always else _worthwhile(form, found, least)
    if not found:
        return form
    roller, position = Roller(form, least), 0
    for steps in found:
        roller.keep(form.nodes[position : steps.start])
        Body(roller, steps).write()
        position = steps.stop
    roller.keep(form.nodes[position:])
    return roller.close()


def _runs(form: Form, least: int) -> list[Steps]:
    """Find the runs of isomorphic steps, in the order of the nodes; they do not overlap."""
    if len(form.nodes) < least:
        return []
    describe = Describer()
    numbers: dict[Any, int] = {}
    codes = np.array([numbers.setdefault(describe.signature(node), len(numbers)) for node in form.nodes])
    found: list[Steps] = []
    waiting: list[tuple[int, int]] = [(0, len(codes))]
    while waiting:
        start, stop = waiting.pop()
        tried = (matched(form.nodes, start, repeat, least) for repeat in repeats(codes[start:stop], least)[:TRIES])
        run = next((run for run in tried if run is not None), None)
        if run is not None:
            found.append(run)
            waiting += [(start, run.start), (run.stop, stop)]
    return sorted(found, key=lambda run: run.start)


def _worthwhile(form: Form, runs: list[Steps], least: int) -> list[Steps]:
    """Keep the runs of fewer operations as a loop, with what packs and unpacks single values, than as they are."""
    held = {id(node) for run in runs for node in run.nodes}
    free = {v for run in runs for node in run.nodes for v in node.outs} | {v for v, _ in form.constants}
    alone = set(form.outputs)
    for node in form.nodes:
        joins = isinstance(node, Det) and len(node.ins) >= least and of_a_stack(node.function) is not None
        if id(node) not in held and not joins:
            alone.update(node.ins)

    def pays(run: Steps) -> bool:
        outside = [origin for origins in run.origins for origin in origins if not isinstance(origin, Made)]
        packed = {v for values in outside if len(set(values)) > 1 for v in values} - free
        unpacked = sum(v in alone for node in run.nodes for v in node.outs)
        return sum(map(_operations, run.nodes[: run.period])) * run.length > 2 * (len(packed) + unpacked)

    kept = [run for run in runs if pays(run)]
    return kept if len(kept) == len(runs) else _worthwhile(form, kept, least)


def _operations(node: Node) -> int:
    if not isinstance(node, Det):
        return 1 if isinstance(node, Factor) else DRAW if isinstance(node, Site) else 2 * DRAW
    if isinstance(node.function, Row | Cut) or (isinstance(node.function, Equation) and not node.function.calls):
        return 1
    shapes = [jax.ShapeDtypeStruct(unmapped_shape(v, node.plates), v.dtype) for v in node.ins]
    return sum(1 for _ in operations_of(node.function, *shapes))
