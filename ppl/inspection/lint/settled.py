"""Settled: what the arguments of a program alone decide about its sites, asked at each site and computed by NumPy.

Law: the numbers are those of the compiled form, to rounding, and no choice can move them. Nothing is compiled, but for
loops of very many steps that wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...backends.xla import run_nodes
from ...form import Form, Loop, Node, Var
from ...form.liveness import Moved, without_dead_code
from ...form.operations.on_numpy import evaluate
from ...form.rewriting import with_nodes, with_subforms
from ...passes.initial_values import without_weights
from ...passes.probe import Asked, Question, probed

MOST = 1 << 24  # numbers that the steps of a loop may hold together

type Answer = tuple[Asked, np.ndarray, np.ndarray | None]


def settled(form: Form, question: Question) -> tuple[tuple[Asked, ...], Callable[[Sequence[Any]], list[Answer]]]:
    """Ask at every site and factor, and keep the answers that no choice can move.

    Args:
        form: the form.
        question: what is asked at a site or factor.

    Returns: where these answers come from, and what gives them for the inputs of the form; with an answer that comes
    from an arm, whether the arm runs, at each step of the loops around it.
    """
    asked, recorded = probed(form, question)
    flags = dict(zip((c.address for c in recorded.choices if c.conditional), recorded.parts.flags, strict=True))
    columns = [(v, flags.get(c.address, v)) for c, v in zip(recorded.choices, recorded.parts.values, strict=True)]
    outputs = tuple(v for column in columns for v in column)
    moved = iter(Moved()(replace(recorded.form, outputs=outputs), [False] * len(form.inputs)))
    kept = [k for k, _ in enumerate(columns) if not next(moved) | next(moved)]
    small = without_dead_code(
        without_weights(replace(recorded.form, outputs=tuple(v for k in kept for v in columns[k])))
    )
    reading, read = _at_once(small), {v for node in small.nodes for v in node.ins} | set(small.outputs)
    places = [place for place, v in enumerate(reading.inputs) if v in read]
    reading = replace(reading, inputs=tuple(reading.inputs[place] for place in places))

    def compute(*inputs: Any) -> list[Any]:
        return run_nodes(reading, inputs, {})[0]

    def run(inputs: Sequence[Any]) -> list[Answer]:
        arrays = [np.asarray(inputs[place], v.dtype) for place, v in zip(places, reading.inputs, strict=True)]
        found = iter(map(np.asarray, evaluate(compute, arrays)))
        return [(asked[k], next(found), _flag(next(found), *columns[k])) for k in kept]

    return tuple(asked[k] for k in kept), run


def _flag(array: np.ndarray, value: Var, flag: Var) -> np.ndarray | None:
    return None if flag is value else array


def _at_once(form: Form) -> Form:
    """Let loops whose steps do not wait for each other take all of them at once, where these have room."""

    def rule(node: Node) -> Node:
        node = with_subforms(node, _at_once)
        if not isinstance(node, Loop) or node.init:
            return node
        numbers = sum(math.prod(v.shape) for v in (*node.body.inputs, *(v for n in node.body.nodes for v in n.outs)))
        return node if node.length * numbers > MOST else replace(node, addresses=())

    return with_nodes(form, [rule(node) for node in form.nodes])
