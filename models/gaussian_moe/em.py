"""Expectation maximisation: experts by weighted least squares, the gate by one Newton step of a weighted softmax.

An iteration is one pass over the rows, which gives the log likelihood and all sums that the next step is made of. A
step of the gate is halved until the log likelihood is not below the last one: the experts' step cannot lower it, and
the gate's direction goes uphill, so some length serves. The next step begins at twice the length that served, and at
most at 1: of a top-K gate, whose likelihood jumps where the selection of a row changes, only short ones serve.

Law: the log likelihood, less what ridges take, never falls. Weights of rows count as repetitions of rows.

Reference: Jordan and Xu (1995), Convergence results for the EM approach to mixtures of experts architectures.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .gates import Gate, active_experts
from .parameters import Parameters
from .rows import Rows, pairs, total

__all__ = ["Climb", "Experts", "Limits", "Sums", "begin", "climb", "iterate", "objective", "path", "sums_of"]

SHORTEST = 2.0**-10  # share of Newton's step of a gate


class Experts(NamedTuple):
    """Parameters as matrices that multiply (x, 1): scores (k, d + 1), lines (k, d + 1), variances (k,)."""

    gate: Any
    line: Any
    nu: Any

    @classmethod
    def of(cls, parameters: Parameters) -> Experts:
        """Put slopes and intercepts side by side; a temperature is divided out."""
        gate = jnp.concatenate([parameters.beta1, parameters.beta0[:, None]], axis=1) / parameters.tau
        line = jnp.concatenate([parameters.a, parameters.b[:, None]], axis=1)
        return cls(gate - gate[-1:], line, parameters.nu)

    def parameters(self) -> Parameters:
        """Take them apart, with a temperature of 1."""
        gate, line, nu = self
        return Parameters(gate[:, :-1], gate[:, -1], line[:, :-1], line[:, -1], nu, jnp.ones((), nu.dtype))


class Limits(NamedTuple):
    """What keeps a fit finite.

    Attributes:
        floor: least variance of an expert.
        bound: largest norm of a row of beta1.
        ridge: added to the Gram matrix of each expert's line, which takes `ridge |line|^2 / (2 nu)` from the log
            likelihood.
        gate_ridge: added to the curvature of the gate's step, which makes the step shorter and is no prior.
    """

    floor: Any
    bound: Any = jnp.inf
    ridge: Any = 0.0
    gate_ridge: Any = 0.0


class Sums(NamedTuple):
    """What one pass over the rows gives.

    Attributes:
        log_likelihood: of all rows, ().
        mass: sums of the responsibilities (k,).
        gram: sums of responsibility times products of (x, 1) (k, p, p).
        cross: sums of responsibility times error times (x, 1) (k, p).
        square: sums of responsibility times squared error (k,).
        slope: gradient of the expected log weights in the gate of all experts but the last (k - 1, p).
        curvature: of the same, with its sign changed (k - 1, p, k - 1, p).
    """

    log_likelihood: Any
    mass: Any
    gram: Any
    cross: Any
    square: Any
    slope: Any
    curvature: Any


def sums_of(experts: Experts, rows: Rows, top: Gate | None = None) -> Sums:
    """Go over the rows once.

    Errors are those of the lines as they are, so that the next lines are found as differences, without cancellation.

    Args:
        experts: parameters.
        rows: the data.
        top: a top-K gate, whose active set is that of these parameters; None for the softmax.
    """
    k, p = experts.line.shape
    one, other, number = pairs(p)
    left, right, both = pairs(k - 1)
    scale = -0.5 * jnp.log(2 * jnp.pi * experts.nu)[:, None]

    def of_block(block: Rows) -> tuple[Any, ...]:
        score = experts.gate @ block.x
        if top is not None:
            score = jnp.where(active_experts(top, experts.parameters(), block.x[:-1]), score, -jnp.inf)
        log_weight = jax.nn.log_softmax(score, axis=0)
        error = block.y[None] - experts.line @ block.x
        term = log_weight + scale - 0.5 * error**2 / experts.nu[:, None]
        log_density = jax.nn.logsumexp(term, axis=0)
        r = jnp.exp(term - log_density[None]) * block.weight[None]
        w = jnp.exp(log_weight)
        weighted = (w * block.weight[None])[:-1]
        bend = jnp.where((left == right)[:, None], weighted[left], 0.0) - weighted[left] * w[right]
        products = block.x[one] * block.x[other]
        return (
            jnp.sum(log_density * block.weight),
            jnp.concatenate([r, bend]) @ products.T,
            jnp.concatenate([r * error, r[:-1] - weighted]) @ block.x.T,
            jnp.sum(r * error**2, axis=1),
        )

    log_likelihood, second, first, square = total(rows, of_block)
    square_matrices = second[:, number]
    curvature = square_matrices[k:][both].swapaxes(1, 2)
    gram = square_matrices[:k]
    return Sums(log_likelihood, gram[:, -1, -1], gram, first[:k], square, first[k:], curvature)


def experts_step(experts: Experts, sums: Sums, limits: Limits) -> Experts:
    """Give the lines and the variances of weighted least squares; an expert without mass keeps its own."""
    eye = jnp.eye(experts.line.shape[1], dtype=experts.line.dtype)
    p = len(eye)
    tiny = jnp.finfo(experts.line.dtype).eps
    trace = jnp.trace(sums.gram, axis1=1, axis2=2) / p
    steady = (tiny * trace + jnp.finfo(experts.line.dtype).tiny)[:, None, None] * eye[None]
    penalised = sums.gram + limits.ridge * eye[None]
    right = sums.cross - limits.ridge * experts.line
    step = jnp.linalg.solve(penalised + steady, right[..., None])[..., 0]
    lost = jnp.einsum("ki,ki->k", step, 2 * sums.cross - jnp.einsum("kij,kj->ki", sums.gram, step))
    alive = sums.mass > tiny
    line = experts.line + step
    square = sums.square - lost + limits.ridge * jnp.sum(line**2, axis=1)
    nu = jnp.maximum(square / jnp.where(alive, sums.mass, 1.0), limits.floor)
    return experts._replace(line=jnp.where(alive[:, None], line, experts.line), nu=jnp.where(alive, nu, experts.nu))


def gate_direction(experts: Experts, sums: Sums, limits: Limits) -> Float[Array, "k p"]:
    """Give the Newton step of the gate, 0 for the last expert."""
    k, p = experts.gate.shape
    size = (k - 1) * p
    if size == 0:
        return jnp.zeros_like(experts.gate)
    curvature = sums.curvature.reshape(size, size)
    tiny = jnp.finfo(curvature.dtype).eps
    steady = limits.gate_ridge + tiny * (jnp.trace(curvature) / size + 1)
    step = jnp.linalg.solve(curvature + steady * jnp.eye(size, dtype=curvature.dtype), sums.slope.reshape(size))
    return jnp.concatenate([step.reshape(k - 1, p), jnp.zeros((1, p), step.dtype)])


def bounded(gate: Float[Array, "k p"], bound: Any) -> Float[Array, "k p"]:
    """Shorten rows of the gate, slopes and intercept, whose slopes are longer than the bound."""
    norm = jnp.sqrt(jnp.sum(gate[:, :-1] ** 2, axis=1))
    return gate * jnp.where(norm > bound, bound / jnp.where(norm > bound, norm, 1.0), 1.0)[:, None]


class Climb(NamedTuple):
    """Where a fit stands.

    Attributes:
        experts: parameters.
        sums: of the rows at these parameters.
        gain: what the last iteration added to the log likelihood.
        iterations: done so far.
        length: of the gate's last step, as a share of Newton's; 0 where none served.
    """

    experts: Experts
    sums: Sums
    gain: Any
    iterations: Any
    length: Any


def objective(experts: Experts, sums: Sums, limits: Limits) -> Any:
    """Give the log likelihood less the ridge, which no iteration lowers."""
    return sums.log_likelihood - 0.5 * limits.ridge * jnp.sum(experts.line**2 / experts.nu[:, None])


def iterate(state: Climb, rows: Rows, limits: Limits, top: Gate | None = None) -> Climb:
    """Do one iteration."""
    before = objective(state.experts, state.sums, limits)
    experts = experts_step(state.experts, state.sums, limits)
    direction = gate_direction(experts, state.sums, limits)

    def at(length: jax.Array) -> tuple[Experts, Sums, Any]:
        moved = experts._replace(gate=bounded(experts.gate + length * direction, limits.bound))
        sums = sums_of(moved, rows, top)
        return moved, sums, objective(moved, sums, limits)

    def falls(tried: tuple[jax.Array, Any]) -> jax.Array:
        length, (_, _, value) = tried
        return ~(value >= before) & (length > 0)

    def halve(tried: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
        length, _ = tried
        length = jnp.where(length > SHORTEST, 0.5 * length, 0.0)
        return length, at(length)

    first = jnp.clip(2 * state.length, SHORTEST, 1.0)
    length, (moved, sums, value) = lax.while_loop(falls, halve, (first, at(first)))
    # At length 0 only rounding can lower it: then stay.
    kept = value >= before
    moved, sums = jax.tree.map(partial(jnp.where, kept), (moved, sums), (state.experts, state.sums))
    return Climb(moved, sums, jnp.where(kept, value - before, 0.0), state.iterations + 1, length)


def begin(experts: Experts, rows: Rows, top: Gate | None = None) -> Climb:
    """Look at the rows once."""
    sums = sums_of(experts, rows, top)
    return Climb(experts, sums, jnp.full_like(sums.log_likelihood, jnp.inf), 0, jnp.ones_like(sums.log_likelihood))


def climb(
    experts: Experts, rows: Rows, limits: Limits, tol: Any = 1e-6, most: Any = 2000, top: Gate | None = None
) -> Climb:
    """Iterate until the log likelihood gains less than tol, or for a largest number of iterations.

    Args:
        experts: where to start.
        rows: the data.
        limits: what keeps the fit finite.
        tol: least gain of an iteration that is worth another.
        most: largest number of iterations.
        top: a top-K gate; None for the softmax.

    >>> from .rows import rows_of
    >>> x = jnp.linspace(0.0, 1.0, 9)
    >>> start = Experts.of(Parameters.of([1.0, 0.0], [0.0, 0.0], [1.0, -1.0], [0.0, 1.0], [0.1, 0.1]))
    >>> found = climb(start, rows_of(x[:, None], jnp.abs(x - 0.5)), Limits(1e-6))
    >>> found.experts.line.round(2).tolist()
    [[1.0, -0.5], [-1.0, 0.5]]
    """

    def going(state: Climb) -> jax.Array:
        return (state.gain >= tol) & (state.iterations < most)

    return lax.while_loop(going, lambda state: iterate(state, rows, limits, top), begin(experts, rows, top))


def path(
    experts: Experts, rows: Rows, limits: Limits, iterations: int, top: Gate | None = None
) -> tuple[Experts, Float[Array, " iterations"]]:
    """Do a number of iterations, and give the log likelihood of the pass that each begins with."""

    def step(state: Climb, _: None) -> tuple[Climb, Any]:
        return iterate(state, rows, limits, top), state.sums.log_likelihood

    state, values = lax.scan(step, begin(experts, rows, top), None, length=iterations)
    return state.experts, values
