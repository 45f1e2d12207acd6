"""Count sites: what is known of the number of ones among choices of a program, as a statement of the program.

Law: the program has the density of its statements, an observation of the count or a weight of it, under any inference;
`to_factor_graph` reads the same statement as a count of any size, for it recognises sums that are used as a whole.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import ObservationError


def count(name: str, y: Any, bags: Any = None, obs: Any = None, noise: Any = None, size: int | None = None) -> Any:
    """State what is known of counts, outside the plates of the members.

    Args:
        name: of the statement.
        y: members, zeros and ones `(*shape, B)`; with `bags` of any one shape.
        bags: the number of the bag of each member, from 0, where bags differ in size; the shape of y.
        obs: the counts observed `(*shape)`, or what `noise` makes of them.
        noise: None for counts that are seen as they are; a function that gives the distribution of what is observed
            from the true counts; or log weights of the counts 0..B, `(*shape, B + 1)` or (B + 1,).
        size: number of bags, where neither `obs` nor `bags` tells it.

    Returns: the true counts `(*shape)`, or one for each bag.

    Raises: ObservationError for shapes that do not fit.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> from lawful.inference.graphs import count
    >>> def ballot(counts):
    ...     with lawful.plate("district", 2, dim=-2), lawful.plate("voter", 9, dim=-1):
    ...         yes = lawful.sample("yes", dist.Bernoulli(jnp.linspace(0.1, 0.9, 9)))
    ...     count("votes", yes, obs=counts)
    >>> found = inference.bp(ballot)(0, jnp.array([3, 9]))
    >>> found.certificate, found.marginals["yes"][..., 1].sum(axis=-1).round(4).tolist()
    ('exact', [3.0, 9.0])
    """
    total = _totals(name, jnp.asarray(y), bags, obs, size)
    if obs is not None and jnp.shape(obs) != total.shape:
        raise ObservationError(
            f"count {name!r}: obs has shape {jnp.shape(obs)}, expected {total.shape}, one for each bag.", site=name
        )
    if noise is None and obs is None:
        lawful.deterministic(name, total)
    elif noise is None or callable(noise):
        law = dist.Delta(total) if noise is None else noise(total)
        lawful.sample(name, law.to_event(total.ndim), obs=obs)
    elif obs is None:
        lawful.factor(name, jnp.sum(_weights(name, jnp.asarray(noise), total)))
    else:
        raise ObservationError(
            f"count {name!r}: log weights say all that is known of a count, and obs was given besides. Fix: leave out "
            "obs=, or give noise= as a function of the counts.",
            site=name,
        )
    return total


def _totals(name: str, y: Any, bags: Any, obs: Any, size: int | None) -> Any:
    """Count by bag."""
    if not y.ndim or not (jnp.issubdtype(y.dtype, jnp.integer) or y.dtype == jnp.bool_):
        raise ObservationError(
            f"count {name!r}: expected zeros and ones along an axis, got {y.dtype} of shape {y.shape}.", site=name
        )
    y = y.astype(jnp.int32)
    if bags is None:
        return jnp.sum(y, axis=-1, dtype=jnp.int32)
    if jnp.shape(bags) != y.shape:
        raise ObservationError(
            f"count {name!r}: bags has shape {jnp.shape(bags)}, expected that of the members, {y.shape}.", site=name
        )
    if size is None and obs is not None and jnp.ndim(obs) == 1:
        size = len(obs)
    if size is None:
        if isinstance(bags, jax.core.Tracer):
            raise ObservationError(f"count {name!r}: bags are traced. Fix: give size=, the number of bags.", site=name)
        size = int(np.max(np.asarray(bags), initial=-1)) + 1
    return jax.ops.segment_sum(y.reshape(-1), jnp.asarray(bags).reshape(-1), size)


def _weights(name: str, table: Any, total: Any) -> Any:
    """Look up the log weight of each count."""
    if table.ndim == 1:
        return table[total]
    if table.shape[:-1] != total.shape:
        raise ObservationError(
            f"count {name!r}: log weights of shape {table.shape}, expected {(*total.shape, 'B + 1')}.", site=name
        )
    starts = table.shape[-1] * np.arange(total.size).reshape(total.shape)
    return table.reshape(-1).at[starts + total].get(wrap_negative_indices=False)
