"""The model as an ordinary program: labels given logits, counts of bags, and neighbours that agree.

Law: the program has the density prod_i Bernoulli(y_i; sigma(z_i)) prod_b f_b(sum_{i in b} y_i) prod_ij psi(y_i, y_j),
so belief propagation, elimination, block Gibbs and random walks run on it and check each other.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import ObservationError
from lawful.inference.graphs import count
from lawful.inference.graphs.counts.potentials import normal_count

from .bags.bags import Bags
from .bags.noise import Normal
from .labels.likelihood import checked_logits
from .neighbours.coupling import Coupling

__all__ = ["llp_program"]


def llp_program(
    logits: Any, bags: Bags, coupling: Coupling | None = None, scale: dist.Distribution | None = None
) -> jax.Array:
    """State what is known of the labels; give the arguments that are data by `functools.partial`.

    Args:
        logits: of the rows (n,), or log scores of the classes (n, K) where counts are of classes.
        bags: the bags and their counts, exact, noisy or missing.
        coupling: neighbours, from `coupled`; None for none.
        scale: the prior of the standard deviation of `Normal` noise, where that is not known: a site "scale".

    Raises: ObservationError for a prior where the noise is not normal.

    Returns: the labels "y" (n,). Counts are the statements "count 0", "count 1" and so on, one for each class of sizes.

    >>> from functools import partial
    >>> from lawful import inference
    >>> bags = Bags.from_ids([0, 0, 1, 1], [1, 2])
    >>> found = inference.bp(partial(llp_program, bags=bags))(0, jnp.zeros(4))
    >>> found.certificate, found.marginals["y"][:, 1].round(4).tolist()
    ('exact', [0.5, 0.5, 1.0, 1.0])
    """
    z = checked_logits(logits, bags)
    if scale is not None and not isinstance(bags.noise, Normal):
        raise ObservationError(
            f"llp_program: a prior of the scale, and the noise is {bags.noise!r}. Fix: give noise=Normal(1.0)."
        )
    sd = None if scale is None else lawful.sample("scale", scale)
    law = dist.Bernoulli(logits=z) if z.ndim == 1 else dist.Categorical(logits=z)
    with lawful.plate("row", bags.n_rows):
        y: jax.Array = lawful.sample("y", law)
    known = bags.take(bags.known & (bags.sizes > 0))
    for number, chosen in enumerate(known.size_classes):
        own = known.take(chosen)
        if bags.counts.ndim > 1:
            for k in range(bags.n_classes):
                ones = (y[own.members] == k).astype(jnp.int32)
                count(f"count {number} of {k}", ones, bags=own.owners, obs=jnp.asarray(own.counts[:, k], jnp.int32))
        elif bags.noise is None:
            count(f"count {number}", y[own.members], bags=own.owners, obs=jnp.asarray(own.counts, jnp.int32))
        else:
            weights = jnp.asarray(own.log_weights(), z.dtype)
            if sd is not None:
                told = normal_count(jnp.asarray(own.counts, z.dtype), sd, weights.shape[1] - 1)
                weights = jnp.where(weights == -jnp.inf, -jnp.inf, told.astype(z.dtype))
            count(f"count {number}", y[own.members], bags=own.owners, noise=weights, size=own.n_bags)
    if coupling is not None and len(coupling.edges):
        first, second = np.asarray(coupling.edges).T
        table = jnp.asarray(coupling.log_table, z.dtype)
        agreed = table[y[first], y[second]] if table.ndim == 2 else table[np.arange(len(first)), y[first], y[second]]
        lawful.factor("near", jnp.sum(agreed))
    return y
