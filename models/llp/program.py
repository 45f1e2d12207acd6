"""The model as an ordinary program: labels given logits, counts of bags, and neighbours that agree.

Law: the program has the density prod_i Bernoulli(y_i; sigma(z_i)) prod_b f_b(sum_{i in b} y_i) prod_ij psi(y_i, y_j),
so belief propagation, elimination, block Gibbs and random walks run on it and check each other. Labels of counted rows
(`labelling`, `transduction`) are those of the factor graph that is read off it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import ObservationError
from lawful.inference.graphs import count, counts

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

    Raises: ObservationError for a prior where the noise is not normal, and for neighbours that are no rows.

    Returns: the labels "y" (n,). Counts are the statements "count 1 0", "count 1 1" and so on: of which class, and of
        bags of which sizes. Of K classes all but the most common are counted, as that one is what is left. A bag whose
        count is not known weighs all counts alike: one compiled program serves any choice of known bags; where bags
        overlap it is left out, as it would close cycles that are none.

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
    held = bags.take((bags.sizes > 0) & (bags.known | (not bags.overlapping)))
    for state in (1,) if bags.counts.ndim == 1 else _all_but_the_most_common(held):
        part = held if bags.counts.ndim == 1 else replace(held, counts=held.counts[:, state])
        for number, chosen in enumerate(part.size_classes):
            own = part.take(chosen)
            ones = (y[own.members] == state).astype(jnp.int32)
            weights = jnp.asarray(own.log_weights(), z.dtype)
            if sd is not None:
                told = counts.potentials.normal_count(jnp.asarray(own.counts, z.dtype), sd, weights.shape[1] - 1)
                told = jnp.where(jnp.asarray(own.known)[:, None], told, 0)
                weights = jnp.where(weights == -jnp.inf, -jnp.inf, told.astype(z.dtype))
            count(f"count {state} {number}", ones, bags=own.owners, noise=weights, size=own.n_bags)
    if coupling is not None and len(coupling.edges):
        first, second = np.asarray(coupling.edges).T
        if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) >= bags.n_rows:
            raise ObservationError(
                f"llp_program: neighbours are rows {min(first.min(), second.min())} to "
                f"{max(first.max(), second.max())} of {bags.n_rows} rows."
            )
        table = jnp.asarray(coupling.log_table, z.dtype)
        pairs = (y[first], y[second]) if table.ndim == 2 else (np.arange(len(first)), y[first], y[second])
        lawful.factor("near", jnp.sum(table.at[pairs].get(wrap_negative_indices=False)))
    return y


def _all_but_the_most_common(bags: Bags) -> list[int]:
    most = int(np.argmax(bags.counts.sum(axis=0)))
    return [k for k in range(bags.n_classes) if k != most]
