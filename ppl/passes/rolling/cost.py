"""Cost: which runs of steps have fewer operations as a loop than as they are.

Law: the choice never changes a result; it counts the operations of one step against those that pack the operands of the
loop and unpack its results.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax

from ...form import Det, Factor, Form, Node, Site, Var
from ...form.builder import unmapped_shape
from ...form.operations.equation import Equation, operations_of
from ...form.operations.stacks import Cut, Row
from .match_steps import Outside, Steps
from .write_loops import joins

DRAW = 20  # operations of a draw and its key, at least


def worthwhile(form: Form, runs: Sequence[Steps], least: int) -> list[Steps]:
    """Keep the runs that are worth a loop."""
    kept = list(runs)
    while True:
        free = {v for run in kept for node in run.nodes for v in node.outs} | {v for v, _ in form.constants}
        alone = _read_alone(form, kept, least)
        again = [run for run in kept if _operations(run) * run.length > 2 * _packing(run, free, alone)]
        if len(again) == len(kept):
            return kept
        kept = again


def _packing(run: Steps, free: set[Var], alone: set[Var]) -> int:
    """Count the values that are packed, and the results that are unpacked, one by one."""
    packed: set[Var] = set()
    for origins in run.origins:
        for origin in origins:
            if isinstance(origin, Outside) and any(v is not origin.values[0] for v in origin.values):
                packed.update(v for v in origin.values if v not in free)
    return len(packed) + sum(v in alone for node in run.nodes for v in node.outs)


def _read_alone(form: Form, runs: Sequence[Steps], least: int) -> set[Var]:
    """Find the values that an output or a node outside the runs reads, other than as one of many to be joined."""
    inside = {id(node) for run in runs for node in run.nodes}
    read = set(form.outputs)
    for node in form.nodes:
        if id(node) not in inside and not joins(node, least):
            read.update(node.ins)
    return read


def _operations(run: Steps) -> int:
    """Count the operations of one step."""
    return sum(operations(node) for node in run.nodes[: run.period])


def operations(node: Node) -> int:
    """Count the operations of a node, with those of the functions that it calls."""
    if isinstance(node, Factor):
        return 1
    if not isinstance(node, Det):
        return DRAW if isinstance(node, Site) else 2 * DRAW
    if isinstance(node.function, Row | Cut):
        return 1
    if isinstance(node.function, Equation) and not node.function.calls:
        return 1
    shapes = [jax.ShapeDtypeStruct(unmapped_shape(v, node.plates), v.dtype) for v in node.ins]
    return sum(1 for _ in operations_of(node.function, *shapes))
