"""Flat priors: a flat site of all real numbers, as standard normals with a factor that takes their density back.

Law: [[by_flat_normals(p)]] = [[p]]: N(x; 0, 1) times its inverse is one, so the density of the program is the same at
every point. What integrates normals then takes flat sites as well: the two terms cancel in its precisions, which are
those of the data alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.addresses import Address
from lawful.distributions.bijections import is_line
from lawful.distributions.law import IMPROPER, law_of
from lawful.form import Factor, Form, Site
from lawful.form.builder import Block
from lawful.form.choices import Choice

FLAT = "~flat"  # ends the address of the factor


def is_flat(choice: Choice) -> bool:
    """Tell whether a choice in no loop and no arm is flat on all real numbers.

    >>> import lawful
    >>> from lawful.form.choices import choices_of
    >>> def model():
    ...     lawful.sample("x", dist.ImproperUniform(dist.constraints.real_vector, (), (2,)))
    ...     lawful.sample("s", dist.ImproperUniform(dist.constraints.positive, (), ()))
    >>> [is_flat(choice) for choice in choices_of(lawful.trace(model))]
    [True, False]
    """
    law = choice.law
    if law.numbered is None or law.label != IMPROPER or choice.loops or choice.conditional:
        return False
    return is_line(law.numbered.support)


def by_flat_normals(form: Form, only: Collection[Address]) -> Form:
    """Write flat sites as standard normals, whose density a factor takes back.

    Args:
        form: a form.
        only: addresses of sites that `is_flat` finds.

    >>> import lawful
    >>> flat = lawful.trace(lambda: lawful.sample("x", dist.ImproperUniform(dist.constraints.real, (), ())))
    >>> float(by_flat_normals(flat, [("x",)]).log_density({"x": 3.0})) == float(flat.log_density({"x": 3.0}))
    True
    """
    block = Block()
    block.constants.extend(form.constants)
    for node in form.nodes:
        if not isinstance(node, Site) or node.address not in only:
            block.nodes.append(node)
            continue
        law, parameters = law_of(dist.Normal(np.zeros(node.law.shape, node.out.dtype), 1.0).to_event())
        block.nodes.append(replace(node, law=law, parameters=tuple(map(block.constant, parameters))))
        term = block.det(_taken_back, node.out, label="flat prior")
        block.nodes.append(Factor((*node.address, FLAT), term, role="prior"))
    return block.form(form.inputs, form.outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def _taken_back(value: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum(value**2) + 0.5 * value.size * jnp.log(2 * jnp.pi)
