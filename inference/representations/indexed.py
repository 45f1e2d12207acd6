"""Indexed: loops that scan over values which choices have made read them by the number of the step.

Law: the form keeps its measure and its values. A population carries what varies with the particle as a whole, and
cannot scan over it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp

from lawful.form import Form, Loop, Node, Var
from lawful.form.builder import Block
from lawful.form.liveness import random_values


def indexed(form: Form, wanted: Callable[[Node], bool]) -> Form:
    """Let loops read by index what they would scan over.

    Args:
        form: the form.
        wanted: tells which loops.
    """
    varying = random_values(form)
    block = Block()
    block.constants.extend(form.constants)
    changed = False
    for node in form.nodes:
        moving = [i for i, v in enumerate(node.xs) if v in varying] if isinstance(node, Loop) and wanted(node) else []
        if moving:
            assert isinstance(node, Loop)
            node, changed = _by_index(block, node, moving), True
        block.nodes.append(node)
    return replace(form, nodes=tuple(block.nodes)) if changed else form


def row(values: jax.Array, index: jax.Array) -> jax.Array:
    """Take one step of stacked values."""
    return jax.lax.dynamic_index_in_dim(values, index, keepdims=False)


def _by_index(block: Block, loop: Loop, moving: Sequence[int]) -> Loop:
    length, first = loop.length, len(loop.constants) + len(loop.init)
    steps = block.det(lambda: jnp.arange(length, dtype=jnp.int32), label="steps")
    body = Block()
    given = tuple(v.like() for v in loop.body.inputs)
    whole = {i: Var(loop.xs[i].shape, loop.xs[i].dtype) for i in moving}
    index = Var((), jnp.dtype("int32"))
    operands = list(given)
    for i, value in whole.items():
        operands[first + i] = body.det(row, value, index, label="row")
    outputs = body.splice(loop.body, operands)
    rest = [i for i in range(len(loop.xs)) if i not in whole]
    n_const = len(loop.constants)
    inputs = (*given[:n_const], *whole.values(), *given[n_const:first], *(given[first + i] for i in rest), index)
    constants = (*loop.constants, *(loop.xs[i] for i in whole))
    xs = (*(loop.xs[i] for i in rest), steps)
    return replace(loop, body=body.form(inputs, outputs), constants=constants, xs=xs)
