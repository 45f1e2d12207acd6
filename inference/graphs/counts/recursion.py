"""The recursion over members in the log domain: any potential, any size of a message, and whole weights.

Law: alpha_i(s) is the log probability that the members before i have sum s, beta_i(s) the log of the mean of exp(g)
over the members after i when the sum is s after i; log sums over s of alpha_i(s) + beta_i(s) and alpha_i(s) +
beta_i(s + w_i) are those with y_i zero and one. It costs exponentials for each pair of a member and a count, so it
serves where products of linear numbers underflow, and for weighted counts sum_i w_i y_i.

Arrays have members or counts first and bags last. Reference: Barlow and Heidtmann (1984), Computing k-out-of-n system
reliability; Gail, Lubin and Rubinstein (1981), Likelihood calculations for matched case-control studies.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lawful.distributions.softplus import softplus


@jax.custom_jvp
def log_add(a: Float[Array, "*S"], b: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """Return log(exp(a) + exp(b)); where both are -inf it is -inf, with derivative 0.

    >>> float(log_add(jnp.array(-jnp.inf), jnp.array(2.0)))
    2.0
    """
    top, low = jnp.maximum(a, b), jnp.minimum(a, b)
    return top + jnp.log1p(jnp.exp(low - jnp.where(top == -jnp.inf, 0, top)))


@log_add.defjvp
def _(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    out = log_add(*primals)
    (a, b), (da, db) = primals, tangents
    return out, _share(a, out) * da + _share(b, out) * db


@jax.custom_jvp
def log_total(x: Float[Array, "S ..."]) -> Float[Array, " ..."]:
    """Return log sum exp over the first axis; of nothing or of -inf alone it is -inf, with derivative 0.

    >>> float(log_total(jnp.full(3, -jnp.inf)))
    -inf
    """
    top = jax.lax.stop_gradient(jnp.max(x, axis=0, initial=-jnp.inf))
    shift = jnp.where(top == -jnp.inf, 0, top)
    return jnp.log(jnp.sum(jnp.exp(x - shift[None]), axis=0)) + shift


@log_total.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    out = log_total(*primals)
    return out, jnp.sum(_share(primals[0], out[None]) * tangents[0], axis=0)


def _share(part: jax.Array, whole: jax.Array) -> jax.Array:
    return jnp.exp(part - jnp.where(whole == -jnp.inf, 0, whole))


def log_law(x: Float[Array, "B G"], length: int, weights: Int[Array, " B"] | None = None) -> Float[Array, "S G"]:
    """Return the log law of the whole sum; the arguments are those of `forward`."""
    members = (x,) if weights is None else (x, weights)
    return jax.lax.scan(lambda alpha, m: (_add(alpha, m), None), _nothing(x, length), members)[0]


def forward(x: Float[Array, "B G"], length: int, weights: Int[Array, " B"] | None = None) -> Float[Array, "B S G"]:
    """Return the log laws of the sums of the members before each.

    Args:
        x: log odds.
        length: number of sums kept, from 0 up.
        weights: what each member adds to the sum, at least 0; None for one each.
    """
    members = (x,) if weights is None else (x, weights)
    return jax.lax.scan(lambda alpha, m: (_add(alpha, m), alpha), _nothing(x, length), members)[1]


def _nothing(x: jax.Array, length: int) -> jax.Array:
    return jnp.full((length, x.shape[1]), -jnp.inf, x.dtype).at[0].set(0)


def _add(alpha: jax.Array, member: tuple[jax.Array, ...]) -> jax.Array:
    log_one, log_zero = -softplus(-member[0]), -softplus(member[0])
    moved = _up(alpha, member[1] if len(member) > 1 else None)
    return log_add(alpha + log_zero[None], moved + log_one[None])


def log_sums(
    x: Float[Array, "B G"], log_weights: Float[Array, "S G"], weights: Int[Array, " B"] | None = None
) -> tuple[Float[Array, "B G"], Float[Array, "B G"]]:
    """Return the log sums with each member one, and with it zero."""
    alphas = forward(x, len(log_weights), weights)

    def take(beta: jax.Array, member: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        at, alpha = member[:2]
        after_one = _down(beta, member[2] if len(member) > 2 else None)
        sums = log_total(alpha + after_one), log_total(alpha + beta)
        return log_add(beta - softplus(at)[None], after_one - softplus(-at)[None]), sums

    members = (x, alphas) if weights is None else (x, alphas, weights)
    return jax.lax.scan(take, log_weights, members, reverse=True)[1]


def _up(alpha: jax.Array, weight: jax.Array | None) -> jax.Array:
    """Move to sums larger by the weight; what leaves the table is lost."""
    none = jnp.full((len(alpha) if weight is not None else 1, alpha.shape[1]), -jnp.inf, alpha.dtype)
    wide = jnp.concatenate([none, alpha])
    if weight is None:
        return wide[:-1]
    return jax.lax.dynamic_slice_in_dim(wide, len(alpha) - weight, len(alpha))


def _down(beta: jax.Array, weight: jax.Array | None) -> jax.Array:
    none = jnp.full((len(beta) if weight is not None else 1, beta.shape[1]), -jnp.inf, beta.dtype)
    wide = jnp.concatenate([beta, none])
    return wide[1:] if weight is None else jax.lax.dynamic_slice_in_dim(wide, weight, len(beta))
