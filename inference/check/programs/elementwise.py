"""Elementwise: a program that weighs its data by the log marginals of the elements of a plate.

Law: it has the measure of the program, since the elements, and what stands outside of the plate, add up to the log
density of the data. Where elements are not seen to be independent, or no data stand in a plate, it is the program.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import UnsupportedProgramError
from lawful.form import Factor, Form, walk
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.passes.condition import conditioned
from lawful.passes.record import record

from ...contract import PRESERVES, Transformer
from ...transformers.log_marginals import elements_of


def by_elements(form: Form) -> Form:
    """Weigh by the elements of the first plate in which data stand and whose elements are independent.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     with lawful.plate("i", 2):
    ...         lawful.sample("y", dist.Normal(0.0, 1.0), obs=y)
    >>> form = lawful.trace(model, jnp.zeros(2))
    >>> [node.address for node in by_elements(form).nodes if isinstance(node, Factor)]
    [('~elements',)]
    """
    for plate in dict.fromkeys(f.name for c in choices_of(form, ("observed",)) for f in c.frames):
        try:
            found = elements_of(form, plate, None)
        except UnsupportedProgramError:
            continue
        stays = [c.address for c in choices_of(form)]
        stays += [n.address for n in walk(form) if isinstance(n, Factor) and n.role != "likelihood"]
        recorded = record(conditioned(form, (), stays).form, ("sample",))
        block, inputs = Block(), tuple(v.like() for v in form.inputs)
        parts = recorded.spliced(block, inputs)

        def weight(*values: Any, found: Any = found) -> jax.Array:
            elements, outside, _ = found.function(found.arrays(values[: len(inputs)]), list(values[len(inputs) :]))
            return jnp.sum(elements) + outside

        block.factor(("~elements",), block.det(weight, *inputs, *parts.values, label="elements"))
        return block.form(inputs, parts.own, in_tree=form.in_tree, out_tree=form.out_tree)
    return form


ByElements = Transformer("weigh by elements", by_elements, PRESERVES)
