"""Arguments: what a call about bags of members is given, checked and brought to one row for each bag.

Law: shapes are checked when a call is traced, values where they are known; what is asked of the members and of the
counts agrees in every axis but the last.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lawful.errors import LawfulError, NonFiniteError, ObservationError


class Rows(NamedTuple):
    """Bags as rows, members of opposite sense already turned, with the axes that the caller gave."""

    h: Float[Array, "G B"]
    g: Float[Array, "G S"]
    sign: Float[Array, "G B"] | None
    shape: tuple[int, ...]

    def bags(self, x: jax.Array) -> jax.Array:
        """Give back the caller's axes to results of bags."""
        return x.reshape(self.shape + x.shape[1:])

    def members(self, x: jax.Array) -> jax.Array:
        """Give back the sense of each member and the caller's axes to log odds of members."""
        return self.bags(x if self.sign is None else x * self.sign)


def rows(h: Float[Array, "... B"], g: Float[Array, "... S"], negated: Bool[Array, " ..."] | None, where: str) -> Rows:
    """Check log odds and log potentials, and bring them to rows."""
    check(h, g, where, h.shape[-1] + 1 if h.ndim else 1)
    shape = h.shape[:-1] if g.ndim == 1 else g.shape[:-1] if h.ndim == 1 else h.shape[:-1]
    bags, size = math.prod(shape), h.shape[-1]
    flat_h = jnp.broadcast_to(h, (*shape, size)).reshape(bags, size)
    flat_g = jnp.broadcast_to(g, (*shape, size + 1)).reshape(bags, size + 1)
    if negated is None:
        return Rows(flat_h, flat_g, None, shape)
    if negated.shape not in (h.shape, (size,), (*shape, size)):
        raise ObservationError(
            f"{where}: negated has shape {negated.shape}, expected {(*shape, size)}, one flag for each member. "
            f"Fix: give a flag for each log odds, or {(size,)} for the same flags in every bag.",
            shape=negated.shape,
        )
    sign = jnp.where(jnp.broadcast_to(negated, (*shape, size)).reshape(bags, size), -1, 1).astype(h.dtype)
    return Rows(flat_h * sign, flat_g, sign, shape)


def check(h: Float[Array, " ..."], g: Float[Array, " ..."], where: str, length: int) -> None:
    """Refuse shapes that do not fit, and values that are no log odds or no log potential."""
    if h.ndim == 0 or g.ndim == 0:
        raise ObservationError(
            f"{where}: log odds of shape {h.shape} and a log potential of shape {g.shape}; expected an axis of members "
            "and an axis of counts, last. Fix: give h (..., B) and g (..., B + 1)."
        )
    if g.shape[-1] != length:
        raise ObservationError(
            f"{where}: {h.shape[-1]} members have the counts 0 to {length - 1}: a log potential has {length} entries, "
            f"and this one has {g.shape[-1]}. Fix: tabulate it over all counts, with -inf for excluded ones.",
            given=g.shape[-1],
            expected=length,
        )
    if h.ndim > 1 and g.ndim > 1 and h.shape[:-1] != g.shape[:-1]:
        raise ObservationError(
            f"{where}: log odds for bags {h.shape[:-1]}, potentials for bags {g.shape[:-1]}. "
            "Fix: give both the same leading axes, or one potential without them for all bags."
        )
    if h.dtype not in (jnp.float32, jnp.float64):
        raise ObservationError(f"{where}: log odds are {h.dtype}. Fix: give float32 or float64, h.astype(jnp.float32).")
    if h.dtype != g.dtype:
        raise ObservationError(
            f"{where}: log odds are {h.dtype}, the log potential is {g.dtype}. Fix: convert one, g.astype(h.dtype)."
        )
    _check_values("log odds", h, where, np.isnan, "NaN")
    _check_values("log potential", g, where, lambda x: np.isnan(x) | (x == np.inf), "NaN or +inf")


def _check_values(name: str, x: jax.Array, where: str, wrong_in: object, what: str) -> None:
    if isinstance(x, jax.core.Tracer):
        return
    assert callable(wrong_in)
    wrong = np.argwhere(wrong_in(np.asarray(x)))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        raise NonFiniteError(
            f"{where}: the {name} at {index} is {np.asarray(x)[index]}; expected no {what}. "
            "Fix: look for what made it; -inf is how a value is excluded.",
            index=index,
        )


def check_choice(given: str, choices: tuple[str, ...], name: str, where: str) -> None:
    """Refuse a name that is not among the choices."""
    if given not in choices:
        raise LawfulError(
            f"{where}: {name}={given!r} is not known. Fix: choose one of {', '.join(choices)}.", given=given
        )
