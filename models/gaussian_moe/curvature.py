"""Value, gradient and Hessian of the log likelihood, as sums over rows.

For the softmax gate they are in closed form. A row's log density is a function of few predictors, which are linear in
the parameters: scores s_i, means m_i, and rho_i = log(nu_i - floor), which keeps variances above their floor. With r
the responsibilities, w the weights and l_i the log density of expert i, its derivatives are r - w in the scores and
r_i dl_i in the others; the second ones follow. The other gates are left to automatic differentiation, which takes the
softmax with three experts and 2,000 rows .67 ms in place of .18 with one covariate, and 1.7 in place of .18 with two.

Law: they are the derivatives of `Mixture.log_density` in the coordinates of `coordinates`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .density import log_terms
from .gates import Gate
from .parameters import Parameters
from .rows import Rows, pairs, total

__all__ = ["Local", "automatic", "coordinates", "derivatives", "parameters_at"]


class Local(NamedTuple):
    """Value (), gradient (m,) and Hessian (m, m) of the mean log density of the rows."""

    value: Any
    slope: Any
    curvature: Any


def coordinates(gate: Gate, parameters: Parameters, floor: Any) -> jax.Array:
    """Lay the parameters out as one vector without bounds.

    The softmax has the gate of all experts but the last, which is pinned at 0, the lines, and log(nu - floor). The gate
    "temperature" has log tau besides; the activated gate, too, and beta1 of the last expert.

    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [1.0, 2.0])
    >>> np.asarray(coordinates(Gate(), told, 0.0)).round(2).tolist()
    [25.0, -8.0, -20.0, 15.0, 20.0, -5.0, 0.0, 0.69]
    """
    beta1, beta0, a, b, nu, tau = parameters
    lines = jnp.concatenate([a, b[:, None]], axis=1).reshape(-1)
    rho = jnp.log(jnp.maximum(nu - floor, floor * jnp.finfo(nu.dtype).eps))
    heat = [jnp.log(jnp.asarray(tau, nu.dtype))[None]]
    if gate.kind == "activated":
        return jnp.concatenate([beta1.reshape(-1), (beta0 - beta0[-1])[:-1], lines, rho, *heat])
    scores = jnp.concatenate([beta1, beta0[:, None]], axis=1)
    scores = (scores - scores[-1:])[:-1].reshape(-1)
    return jnp.concatenate([scores, lines, rho, *(heat if gate.kind == "temperature" else [])])


def parameters_at(gate: Gate, theta: jax.Array, floor: Any, k: int, d: int) -> Parameters:
    """Undo `coordinates`."""
    zero = jnp.zeros((1,), theta.dtype)
    p = d + 1
    if gate.kind == "activated":
        sizes = [k * d, k - 1]
        first, second, rest = jnp.split(theta, np.cumsum(sizes))
        beta1, beta0 = first.reshape(k, d), jnp.concatenate([second, zero])
    else:
        first, rest = jnp.split(theta, [(k - 1) * p])
        scores = jnp.concatenate([first.reshape(k - 1, p), jnp.zeros((1, p), theta.dtype)])
        beta1, beta0 = scores[:, :-1], scores[:, -1]
    lines, rho, heat = jnp.split(rest, [k * p, k * p + k])
    lines = lines.reshape(k, p)
    tau = jnp.exp(heat[0]) if len(heat) else jnp.ones((), theta.dtype)
    return Parameters(beta1, beta0, lines[:, :-1], lines[:, -1], floor + jnp.exp(rho), tau)


def derivatives(gate: Gate, rows: Rows, floor: Any, k: int) -> Callable[[jax.Array], Local]:
    """Make the function that looks at the rows once, and gives the derivatives of their mean log density.

    Args:
        gate: "softmax", "temperature" or "activated".
        rows: the data.
        floor: least variance.
        k: number of experts.
    """
    d = rows.x.shape[-2] - 1
    weight = jnp.sum(rows.weight)

    def at(theta: jax.Array) -> Local:
        parameters = parameters_at(gate, theta, floor, k, d)
        if gate.kind == "softmax":
            value, first, second = total(rows, partial(_softmax, parameters, floor))
            return Local(value / weight, *_assembled(first / weight, second / weight, k, d + 1))
        return automatic(rows, terms)(theta)

    def terms(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return log_terms(gate, parameters_at(gate, theta, floor, k, d), x, y)

    return at


def automatic(
    rows: Rows, terms: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
) -> Callable[[jax.Array], Local]:
    """Make the same function by automatic differentiation, of any mixture.

    Args:
        rows: the data.
        terms: gives log weight plus log density of each expert (k, n) at a point, for covariates (d, n) and answers.
    """

    def at(theta: jax.Array) -> Local:
        def of_block(block: Rows) -> tuple[jax.Array, ...]:
            def value(theta: jax.Array) -> jax.Array:
                return jnp.sum(jax.nn.logsumexp(terms(theta, block.x[:-1], block.y), axis=0) * block.weight)

            return *jax.value_and_grad(value)(theta), jax.hessian(value)(theta)

        weight = jnp.sum(rows.weight)
        return Local(*(sums / weight for sums in total(rows, of_block)))

    return at


def _softmax(parameters: Parameters, floor: Any, block: Rows) -> tuple[jax.Array, ...]:
    """Sum over a block: log density, gradient in predictors times (x, 1), Hessian times products of (x, 1)."""
    k = parameters.n_experts
    x = block.x[:-1]
    log_weight = jax.nn.log_softmax(parameters.beta1 @ x + parameters.beta0[:, None], axis=0)
    error = block.y[None] - parameters.a @ x - parameters.b[:, None]
    nu = parameters.nu[:, None]
    precise = 1 / nu
    term = log_weight - 0.5 * (jnp.log(2 * jnp.pi * nu) + error**2 * precise)
    log_density = jax.nn.logsumexp(term, axis=0)
    r, w = jnp.exp(term - log_density[None]), jnp.exp(log_weight)
    # First and second derivatives of an expert's log density in its mean and in rho; d nu / d rho = nu - floor.
    excess = nu - floor
    by_nu = 0.5 * precise * (error**2 * precise - 1)
    mean, rho = error * precise, by_nu * excess
    mean_mean = jnp.broadcast_to(-precise, r.shape)
    mean_rho = -mean * precise * excess
    rho_rho = (0.5 - error**2 * precise) * precise**2 * excess**2 + rho

    index = _Index.of(k)
    steep = jnp.concatenate([jnp.ones_like(r[:-1]), mean, rho])
    own = r[index.expert] * steep
    slope = jnp.concatenate([(r - w)[:-1], own[k - 1 :]])
    second = (
        jnp.where(index.same[:, None], own[index.one] * steep[index.other], 0.0) - own[index.one] * own[index.other]
    )
    second = second.at[index.curved].add(jnp.concatenate([r * mean_mean, r * mean_rho, r * rho_rho]))
    gates = w[index.left] * w[index.right] - jnp.where((index.left == index.right)[:, None], w[index.left], 0.0)
    second = second.at[index.gates].add(gates)
    one, other, _ = pairs(len(block.x))
    products = block.x[one] * block.x[other] * block.weight[None]
    return jnp.sum(log_density * block.weight), (slope * block.weight[None]) @ block.x.T, second @ products.T


class _Index(NamedTuple):
    """Numbers of predictors and of their pairs: scores of all experts but the last, then means, then rho."""

    expert: np.ndarray  # of each predictor
    one: np.ndarray
    other: np.ndarray
    same: np.ndarray  # whether a pair is of one expert
    curved: np.ndarray  # pairs (mean, mean), (mean, rho), (rho, rho) of each expert
    left: np.ndarray  # pairs of scores
    right: np.ndarray
    gates: np.ndarray  # their numbers

    @classmethod
    def of(cls, k: int) -> _Index:
        expert = np.concatenate([np.arange(k - 1), np.arange(k), np.arange(k)])
        one, other, number = pairs(len(expert))
        mean, rho = k - 1 + np.arange(k), 2 * k - 1 + np.arange(k)
        curved = np.concatenate([number[mean, mean], number[mean, rho], number[rho, rho]])
        left, right, _ = pairs(k - 1)
        return cls(expert, one, other, expert[one] == expert[other], curved, left, right, number[left, right])


def _assembled(first: jax.Array, second: jax.Array, k: int, p: int) -> tuple[jax.Array, jax.Array]:
    """Put sums over predictors and columns into the order of coordinates; rho has no column but the ones."""
    m = 3 * k - 1
    kept = np.concatenate([np.arange((2 * k - 1) * p), (2 * k - 1 + np.arange(k)) * p + p - 1])
    _, _, number = pairs(m)
    _, _, columns = pairs(p)
    full = second[number][..., columns].swapaxes(1, 2).reshape(m * p, m * p)
    return first.reshape(-1)[kept], full[kept][:, kept]
