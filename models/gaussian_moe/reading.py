"""What users give: covariates, answers and counts, read once and refused early.

Law: what is read is finite numbers, one row each, that the precision in use can tell apart; anything else is refused
where it is given, with what was expected. A column that is constant is no error: it says nothing, and costs nothing.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, ObservationError

__all__ = ["columns_of", "count", "data", "numbers"]

RESOLUTION = 1e-3  # largest rounding of a column, as a share of its standard deviation


def count(value: Any, what: str, least: int = 1) -> int:
    """Read a whole number.

    >>> count(np.int64(3), "GaussianMoE: n_experts")
    3
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise LawfulError(f"{what}={value!r}. Fix: give a whole number, {least} or more.")
    return int(value)


def numbers(given: Any, what: str) -> np.ndarray | jax.Array:
    """Read an array, a list or a frame as floating-point numbers; arrays of JAX are taken as they are.

    >>> numbers([True, False], "X").tolist()
    [1.0, 0.0]
    """
    if isinstance(given, jax.Array):
        return given
    try:
        found = np.asarray(given)
        if found.dtype.kind in "mMc":
            raise TypeError(found.dtype)
        return np.asarray(found, float)
    except (TypeError, ValueError) as error:
        raise ObservationError(
            f"{what} holds what is no number ({error}). Fix: code categories as columns of 0 and 1, dates as numbers, "
            "and give rows of equal length."
        ) from error


def columns_of(X: Any, d: int) -> jax.Array:
    """Read covariates (n, d) for a mixture that has d of them, rows along the last axis (d, n).

    >>> columns_of([[1.0, 2.0], [3.0, 4.0]], 2).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    found = jnp.asarray(numbers(X, "X"))
    if found.ndim != 2 or found.shape[1] != d:
        raise ObservationError(
            f"covariates have the shape {found.shape}, expected (rows, {d}). Fix: give one column a covariate; "
            "X[:, None] makes a column."
        )
    return found.T


def data(X: Any, y: Any, k: int, who: str) -> tuple[jax.Array, jax.Array]:
    """Read the data of a fit.

    Args:
        X: covariates (n, d).
        y: answers (n,).
        k: number of experts, of which there are at most as many as rows.
        who: what is reading, for messages.

    Raises: ObservationError for shapes that do not fit, numbers that are missing or infinite, fewer rows than experts,
        answers that are all equal, and columns whose differences are lost to rounding.

    >>> data([[0.0], [1.0]], [1.0, 2.0], 1, "fit")[0].shape
    (2, 1)
    """
    x, answers = (np.asarray(numbers(each, f"{who}: {name}"), float) for each, name in ((X, "X"), (y, "y")))
    if x.ndim != 2 or answers.shape != x.shape[:1] or len(answers) == 0:
        raise ObservationError(
            f"{who}: X has the shape {x.shape} and y {answers.shape}; expected (n, d) and (n,), n 1 or more. Fix: "
            "X[:, None] makes a column, y.ravel() a flat array."
        )
    bad = np.flatnonzero(~(np.isfinite(x).all(axis=1) & np.isfinite(answers)))
    if len(bad):
        raise ObservationError(f"{who}: row {bad[0]} is not finite, and {len(bad) - 1} more. Fix: drop them.")
    if len(answers) < k:
        raise ObservationError(f"{who}: {len(answers)} rows for {k} experts. Fix: give more rows, or fewer experts.")
    if np.ptp(answers) == 0:
        raise ObservationError(
            f"{who}: all answers are {answers[0]}, so that the likelihood has no bound as variances fall to 0. Fix: "
            "give answers that differ."
        )
    dtype = jnp.zeros(0).dtype
    for name, column in [*((f"column {j} of X", column) for j, column in enumerate(x.T)), ("y", answers)]:
        largest, spread = np.abs(column).max(), column.std()
        if np.ptp(column) > 0 and float(jnp.finfo(dtype).eps) * largest > RESOLUTION * spread:
            raise ObservationError(
                f"{who}: {name} varies by {spread:.2g} about {column.mean():.6g}, which {dtype} cannot tell apart. "
                "Fix: subtract its mean, or jax.config.update('jax_enable_x64', True)."
            )
    return jnp.asarray(x), jnp.asarray(answers)
