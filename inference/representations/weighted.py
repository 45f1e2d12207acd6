"""Weighted: one run of a program as a pair (x, log w): its factors and observations are taken out of the density.

Meaning: the integral of w delta_x under the run's law. Law: `weighted` and `apply_weight` are inverse to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.passes.add_plate import lift


@dataclass(frozen=True)
class Weighted:
    """A Form without factors whose last output is the log weight."""

    form: Form


def weighted(form: Form) -> Weighted:
    """Reveal the weight of a program.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.form.liveness import has_weight
    >>> w = weighted(lawful.trace(lambda: lawful.factor("f", jnp.log(0.5))))
    >>> has_weight(w.form), len(w.form.outputs)
    (False, 1)
    """
    one = Plate("one", 1)
    lifted = lift(form, one, [False] * len(form.inputs), consume_all=True)
    block = Block()
    outputs = block.splice(lifted.form, lifted.form.inputs)
    values = [_first(block, v, one) for v in outputs[: len(form.outputs)]]
    weight = (
        _first(block, outputs[-1], one) if lifted.weighted else block.constant(np.zeros((), jnp.result_type(float)))
    )
    return Weighted(block.form(lifted.form.inputs, (*values, weight), in_tree=form.in_tree, out_tree=form.out_tree))


def _first(block: Block, value: Var, plate: Plate) -> Var:
    return block.det(lambda x: x[0], value, label="the one") if plate in value.plates else value


def apply_weight(pair: Weighted) -> Form:
    """Turn the weight back into a factor."""
    block = Block()
    outputs = block.splice(pair.form, pair.form.inputs)
    block.factor(("~weight",), outputs[-1])
    return block.form(pair.form.inputs, outputs[:-1], in_tree=pair.form.in_tree, out_tree=pair.form.out_tree)
