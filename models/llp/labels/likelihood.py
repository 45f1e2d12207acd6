"""The exact likelihood of counts, and what they say of each row, where rows are independent given their logits.

Law: with y_i ~ Bernoulli(sigma(z_i)) independent, the likelihood of a bag is P(report_b | z) = E exp(g_b(sum y)), and
the posterior of a row is P(y_i = 1 | z, report of its bag). The gradient of the first by z_i is the posterior less
sigma(z_i), so following it is expectation maximisation. Both are exact for bags of any size; bags of like sizes run
side by side, padded by members that are never one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lawful.errors import MemoryLimitError, NonFiniteError, ObservationError
from lawful.inference.graphs import counts as counting

from ..bags.bags import Bags

__all__ = ["CountScore", "count_log_likelihood", "count_score", "posterior_given_counts"]


class CountScore(NamedTuple):
    """Log likelihood of the counts of bags (n_b,), and the gradient of its sum by the logits, (n,) or (n, K)."""

    log_likelihood: np.ndarray
    slope: np.ndarray


def count_log_likelihood(z: Any, bags: Bags, *, approximate: bool = False) -> Float[Array, " G"]:
    """Give log P(report_b | z) of each bag, exactly: the Poisson-binomial law of its count.

    It can be differentiated by z, and runs under `jax.jit` and `jax.vmap`. Where bags overlap each is looked at alone.

    Args:
        z: logits of the rows (n,), or log scores of the classes (n, K) where counts are of classes.
        bags: the bags and their counts.
        approximate: whether counts of classes with too many states may take the normal approximation.

    Returns: (n_b,); 0 for a bag whose count is not known, -inf for one that z excludes.

    Raises: ObservationError for logits that do not fit, NonFiniteError for NaN among them, MemoryLimitError for counts
        of classes with too many states.

    >>> count_log_likelihood(jnp.zeros(4), Bags.from_ids([0, 0, 0, 1], [1, 1])).round(4).tolist()
    [-0.9808, -0.6931]
    """
    z = checked_logits(z, bags)
    found = jnp.zeros(bags.n_bags, z.dtype)
    for chosen, _, solved in _solved(z, bags, approximate):
        found = _put(found, chosen, bags.known[chosen], solved.log_evidence)
    return found


def posterior_given_counts(z: Any, bags: Bags, *, approximate: bool = False) -> Float[Array, " ..."]:
    """Give the posterior of each row, given its logit and the report of its bag, exactly.

    Args:
        z: as for `count_log_likelihood`.
        bags: the bags, which must not overlap.
        approximate: as for `count_log_likelihood`.

    Returns: P(y_i = 1) of the rows (n,), or probabilities of the classes (n, K); those of a row in no bag are its
        learner's. Known counts are the sums over their bags. Rows of a bag whose count is impossible under z, which has
        log likelihood -inf, have no posterior: they are NaN, and other bags are as they would be without it.

    Raises: as `count_log_likelihood`; ObservationError where bags overlap.

    >>> bags = Bags.from_ids([0, 0, -1], [1])
    >>> posterior_given_counts(jnp.log(jnp.array([3.0, 1.0, 1.0])), bags).round(4).tolist()
    [0.75, 0.25, 0.5]
    """
    if bags.overlapping:
        raise ObservationError(
            "posterior_given_counts: bags overlap, so their counts are not independent. Fix: give them to `labelled`, "
            "which passes messages between them."
        )
    z = checked_logits(z, bags)
    told = jnp.zeros((bags.n_rows + 1, *z.shape[1:]), z.dtype)
    for _, rows, solved in _solved(z, bags, approximate):
        possible = (solved.log_evidence > -jnp.inf).reshape((-1,) + (1,) * (solved.messages.ndim - 1))
        told = told.at[rows].set(jnp.where(possible, solved.messages, jnp.nan).astype(z.dtype))
    scores = told[: bags.n_rows] + z
    return jax.nn.sigmoid(scores) if z.ndim == 1 else jax.nn.softmax(scores, axis=-1)


def count_score(z: Any, bags: Bags, which: np.ndarray | None = None) -> CountScore:
    """Give the log likelihood of each bag with its gradient, at the price of one of them: for those who search.

    Args:
        z: as for `count_log_likelihood`; log scores (n, K) are normalised by the classes' sum.
        bags: as for `count_log_likelihood`. Counts of classes with too many states take the normal approximation.
        which: the bags that count, a mask (n_b,); the others have 0, and one compiled program serves any choice.

    Raises: as `count_log_likelihood`.

    >>> told = count_score(jnp.zeros(3), Bags.from_ids([0, 0, 0], [1]))
    >>> told.log_likelihood.round(4).tolist(), told.slope.round(4).tolist()  # P(one) is a third, and was one half
    ([-0.9808], [-0.1667, -0.1667, -0.1667])
    """
    z = checked_logits(z, bags)
    used = bags.known if which is None else which & bags.known
    logs, slope = np.zeros(bags.n_bags), np.zeros((bags.n_rows + 1, *z.shape[1:]))
    chance = jax.nn.sigmoid if z.ndim == 1 else jax.nn.softmax
    padded = np.concatenate([np.asarray(z), np.zeros((1, *z.shape[1:]), z.dtype)])
    for chosen, rows, solved in _solved(z, bags, approximate=True):
        logs[chosen] = np.where(used[chosen], solved.log_evidence, 0)
        real = (rows < bags.n_rows) & (used[chosen] & np.isfinite(logs[chosen]))[:, None]
        told = np.asarray(solved.messages)[real]
        np.add.at(slope, rows[real], np.asarray(chance(padded[rows[real]] + told) - chance(padded[rows[real]])))
    return CountScore(logs, slope[:-1])


def checked_logits(z: Any, bags: Bags) -> jax.Array:
    """Give logits as an array, of one number a row or one for each class.

    >>> checked_logits(np.zeros(2, np.float32), Bags.from_ids([0, 0], [1])).dtype.name
    'float32'
    """
    z = z if isinstance(z, jax.Array) else jax.device_put(np.array(z))  # which compiles nothing
    if not jnp.issubdtype(z.dtype, jnp.floating):
        z = z.astype(float)
    shape = (bags.n_rows,) if bags.counts.ndim == 1 else (bags.n_rows, bags.n_classes)
    if z.shape != shape:
        raise ObservationError(
            f"logits of shape {z.shape} for bags of {bags.n_rows} rows and {bags.n_classes} classes, expected {shape}. "
            "Fix: give one logit a row, or one score for each class where counts are of classes."
        )
    if not isinstance(z, jax.core.Tracer):
        wrong = np.isnan(np.asarray(z))
        if wrong.any():
            row = int(np.argwhere(wrong)[0][0])
            raise NonFiniteError(f"logits: that of row {row} is NaN. Fix: look at the learner that made it.", row=row)
    return z


@jax.jit
def _members(z: jax.Array, rows: Any) -> jax.Array:
    """Give the logits of the members of bags (G, B); what pads a bag is never one."""
    return jnp.append(z, jnp.asarray(-jnp.inf, z.dtype))[rows]


@jax.jit
def _put(found: jax.Array, chosen: Any, known: Any, log_evidence: jax.Array) -> jax.Array:
    return found.at[chosen].set(jnp.where(known, log_evidence, 0))


def _solved(z: jax.Array, bags: Bags, approximate: bool) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
    """Solve bags of like sizes at once: their numbers (G,), their rows (G, B), messages and log evidence."""
    for chosen in bags.size_classes:
        if z.ndim > 1:  # else a bag whose count is not known says nothing, and one program serves any choice of bags
            chosen = chosen[bags.known[chosen]]
        rows = bags.padded(chosen)
        if not len(chosen):
            continue
        if z.ndim == 1:
            weights = jax.device_put(np.asarray(bags.log_weights(chosen), z.dtype))
            yield chosen, rows, counting.solve(_members(z, rows), weights)
        else:
            yield chosen, rows, _classes(z, bags, chosen, rows, approximate)


def _classes(z: jax.Array, bags: Bags, chosen: np.ndarray, rows: np.ndarray, approximate: bool) -> Any:
    """Solve counts of classes; what pads a bag is in the class with most members, and is counted there."""
    counts = bags.counts[chosen].copy()
    most = int(np.argmax(counts.max(axis=0)))
    counts[:, most] += rows.shape[1] - bags.sizes[chosen]
    padding = np.where(np.arange(bags.n_classes) == most, 0.0, -np.inf)
    scores = jnp.concatenate([z, jnp.asarray(padding, z.dtype)[None]])[rows]
    try:
        return counting.multiclass_solve(scores, jnp.asarray(counts), counts.max(axis=0).tolist())
    except MemoryLimitError as error:
        if not approximate:
            raise MemoryLimitError(
                f"counts of {bags.n_classes} classes in bags of up to {rows.shape[1]} members have more states than an "
                "exact sum may have. Fix: give approximate=True, for the normal approximation.",
                states=getattr(error, "states", None),
            ) from error
    return counting.multiclass_approximate(scores, jnp.asarray(counts))
