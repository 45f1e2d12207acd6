"""Partly centred: normal sites written as affine functions of latent values that know a share of their law.

Law: [[partly_centred(p)]] = [[p]]: for x ~ Normal(m, s) and a share c the latent value is z ~ Normal(c m, s^c), and
x = m + s^(1 - c) (z - c m); then x - m = s^(1 - c) s^c e with e ~ N(0, 1), and log p(z) = log p(x) + (1 - c) log s,
the Jacobian of the map. With c = 1 z is x; with c = 0 it is the noise e, which a scale of zero leaves a law.

Reference: Papaspiliopoulos, Roberts and Skoeld (2007), A general framework for the parametrization of hierarchical
models, section 2. Gorinova, Moore and Hoffman (2020), Automatic reparameterisation of probabilistic programs,
section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.addresses import Address, show_address
from lawful.distributions.families import core_of
from lawful.distributions.law import DistributionLaw, law_of
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Det, Form, Site
from lawful.form.builder import Block, Tupled
from lawful.form.choices import PARTLY as PARTLY
from lawful.form.rewriting import with_subforms


def partly_centred(form: Form, shares: Mapping[Address, np.ndarray]) -> Form:
    """Rewrite normal sites by latent values that know shares of their mean and scale.

    Args:
        form: a form.
        shares: of the sites that are rewritten, by address; each has a shape that that of one value takes.

    Returns: the same measure on the same outputs; the choices are the latent values, named `<site>.~partly`, and the
        sites are named values.

    Raises: UnsupportedProgramError for a site whose law is not Normal; LawfulError for shares of another shape.
    """
    block = Block()
    block.constants.extend(form.constants)
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is None and node.address in shares:
            _rewrite(block, node, shares[node.address])
        else:
            block.nodes.append(with_subforms(node, lambda inner: partly_centred(inner, shares)))
    return block.form(form.inputs, form.outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def _rewrite(block: Block, node: Site, share: np.ndarray) -> None:
    """Append the law of the latent value of a site, the latent value, and the value that it makes."""
    law, name = node.law, show_address(node.address)
    if not is_plain(law):
        raise UnsupportedProgramError(
            f"noncentred: site '{name}' ({node.source}) has the law {law.label}, and centred= is of sites with a "
            "Normal law, without a mask. Fix: leave its share at 0, which writes it by standard normals.",
            site=node.address,
        )
    try:
        full = np.broadcast_to(share, law.shape).astype(law.dtype)
    except ValueError:
        raise LawfulError(
            f"noncentred: centred of '{name}' ({node.source}) has shape {share.shape}, its value {law.shape}. Fix: "
            "give a number, or one for each element of one value.",
            given=share.shape,
        ) from None
    known, plates = block.constant(full), node.plates
    told = block.det(partial(told_law, law), *node.parameters, label=f"law of {node.address[-1]}", plates=plates)
    latent, _ = law_of(dist.Normal(np.zeros(law.shape, law.dtype), np.ones(law.shape, law.dtype)))
    made = block.det(partial(_of_latent, latent), *told, known, label="law of a latent value", plates=plates)
    address = (*node.address, PARTLY)
    z = block.site(address, latent, made, plates)
    value = Det(Tupled(_value), (*told, known, z), (node.out,), f"{node.address[-1]} partly centred", plates)
    block.nodes.append(replace(value, **node.told()))


def is_plain(law: Any) -> bool:
    """Tell whether a law is that of independent normal numbers, none of them masked."""
    return law.numbered is not None and isinstance(core_of(law.numbered, masks=False), dist.Normal)


def told_law(law: DistributionLaw, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Give mean and scale of each element of a normal law."""
    normal = core_of(law.distribution(*parameters))
    mean, scale = (jnp.broadcast_to(x, law.shape).astype(law.dtype) for x in (normal.loc, normal.scale))
    return mean, scale


def _of_latent(law: DistributionLaw, mean: jax.Array, scale: jax.Array, share: jax.Array) -> tuple[jax.Array, ...]:
    """Give the parameters of the latent value, in the order of its law."""
    made = {law.numbered.loc: share * mean, law.numbered.scale: scale**share}
    return tuple(made[place] for place in sorted(made))


def _value(mean: jax.Array, scale: jax.Array, share: jax.Array, latent: jax.Array) -> jax.Array:
    """Map a latent value to that of the site."""
    return mean + scale ** (1 - share) * (latent - share * mean)
