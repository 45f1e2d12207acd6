"""Settled: what the arguments of a program alone decide about its sites, asked at each site and computed by NumPy.

Law: the numbers are those of the compiled form, to rounding, and no choice can move them. Nothing is compiled, but for
loops of very many steps that wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...backends.xla import run_nodes
from ...form import Form, Loop, Var
from ...form.builder import Block, renamed
from ...form.liveness import Moved, dependents, without_dead_code
from ...form.operations.on_numpy import evaluate, plain
from ...form.rewriting import unnamed, with_operands, with_subforms
from ...passes.predict import without_weights
from ...passes.probe import Asked, Question, probed

MOST = 1 << 24  # numbers that the steps of a loop may hold together

type Answer = tuple[Asked, np.ndarray, np.ndarray | None]


def settled(
    form: Form, question: Question, whole: bool = True
) -> tuple[tuple[Asked, ...], Callable[[Sequence[Any]], list[Answer]]]:
    """Ask at every site and factor, and keep the answers that no choice can move.

    Args:
        form: the form.
        question: what is asked at a site or factor.
        whole: whether an answer that all steps of a loop share is repeated for each; else its axis has length 1.

    Returns: where these answers come from, and what gives them for the inputs of the form; with an answer that comes
    from an arm, whether the arm runs, at each step of the loops around it.
    """
    asked, recorded = probed(form, question)
    flags = dict(zip((c.address for c in recorded.choices if c.conditional), recorded.parts.flags, strict=True))
    columns = [(v, flags.get(c.address, v)) for c, v in zip(recorded.choices, recorded.parts.values, strict=True)]
    outputs = tuple(v for column in columns for v in column)
    moved = iter(Moved()(replace(recorded.form, outputs=outputs), [False] * len(form.inputs)))
    kept = [k for k, _ in enumerate(columns) if not next(moved) | next(moved)]
    outputs = tuple(v for k in kept for v in columns[k])
    small = without_dead_code(without_weights(replace(recorded.form, outputs=outputs)))
    places, compute = reader(_at_once(unnamed(small)))

    def run(inputs: Sequence[Any]) -> list[Answer]:
        given = [(plain(inputs[place]), form.inputs[place].dtype) for place in places]
        found = iter(evaluate(compute, [x if x.dtype == dtype else x.astype(dtype) for x, dtype in given]))
        answers = []
        for k in kept:
            choice, value, runs = recorded.choices[k], next(found), next(found)
            value = np.broadcast_to(value, choice.full_shape if whole else np.shape(value))
            runs = np.broadcast_to(runs, choice.loops if whole else np.shape(runs)) if choice.conditional else None
            answers.append((asked[k], value, runs))
        return answers

    return tuple(asked[k] for k in kept), run


def inputs_read(form: Form) -> tuple[int, ...]:
    """Tell which inputs of a form something reads."""
    read = {v for node in form.nodes for v in node.ins} | set(form.outputs)
    return tuple(place for place, v in enumerate(form.inputs) if v in read)


def reader(form: Form) -> tuple[tuple[int, ...], Callable[..., list[Any]]]:
    """Give a form without choices as a function of those inputs that something reads, and which these are."""
    places = inputs_read(form)
    small = replace(form, inputs=tuple(form.inputs[place] for place in places))
    return places, lambda *inputs: run_nodes(small, inputs, {})[0]


def _at_once(form: Form, arm: bool = False) -> Form:
    """Compute before a loop what its steps share; steps that do not wait for each other are one, where there is room.

    The results of an arm keep their shapes, which those of other arms have, too.
    """
    block = Block()
    block.constants.extend(form.constants)
    shared: dict[Var, Var] = {}
    for node in form.nodes:
        node = with_operands(node, tuple(shared.get(v, v) for v in node.ins))
        node = with_subforms(node, partial(_at_once, arm=arm or not isinstance(node, Loop)))
        if isinstance(node, Loop):
            shared |= {} if arm else _shared(node, block)
            held = (*node.body.inputs[len(node.constants) :], *(v for n in node.body.nodes for v in n.outs))
            if not node.init and node.length * sum(math.prod(v.shape) for v in held) <= MOST:
                node = replace(node, addresses=())
        block.nodes.append(node)
    return without_dead_code(block.form(form.inputs, [shared.get(v, v) for v in form.outputs]))


def _shared(node: Loop, block: Block) -> dict[Var, Var]:
    """Append what is the same at all steps, with an axis of length 1 for them, for the stack that holds it."""
    body, count = node.body, len(node.constants)
    moving = dependents(body, body.inputs[count:])
    names = dict(zip(body.inputs[:count], node.constants, strict=True)) | {v: v for v, _ in body.constants}
    block.constants.extend(body.constants)
    block.nodes += [renamed(inner, names) for inner in body.nodes if moving.isdisjoint(inner.ins)]
    stacks = zip(node.ys, body.outputs[len(node.init) :], strict=True)
    return {y: block.det(partial(jnp.expand_dims, axis=0), names[v], label="row") for y, v in stacks if v in names}
