"""By step: the log integral over a chain as a sum over its steps, each the log density of its data given those before.

Law: what the steps add, and what stands before and after them, sum to the log integral. Means and covariances go
forward (the Kalman filter), seen from any path; data enter as a precision, so covariances may be singular, and are
updated as sums of squares (Joseph's form), which differentiate where a root of them does not.

Reference: Särkkä (2013), Bayesian Filtering and Smoothing, theorem 4.2 and section 12.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import UnsupportedProgramError

from ...summing.axes import Mixed
from .backward import Moments, Steps, over_rows, times
from .chain_integral import ChainIntegral, Shape


@dataclass(frozen=True, eq=False)
class ByStep:
    """The log integral over the noises of a chain: what no step has, what each step has, then its conditional."""

    integral: ChainIntegral

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Integrate."""
        integral, found = self.integral, self.integral(*operands)
        given = integral.read(found[1:])
        rest, terms = evidence(integral, integral.mean(operands)[0], (given.before, given.steps), operands)
        infinite = jnp.isposinf(found[0])
        return jnp.where(infinite, jnp.inf, rest), terms, *found[1:]


def evidence(
    integral: ChainIntegral, shape: Shape, path: tuple[jax.Array, jax.Array], operands: Sequence[Any]
) -> tuple[jax.Array, jax.Array]:
    """Give the log density of what stands outside of the steps, and of each step given those before (T,).

    Args:
        integral: of the chain.
        shape: of the integral.
        path: noises before the loop, and of its steps.
        operands: of the chain.

    Raises: UnsupportedProgramError where all steps read a normal site that stands before the loop, or what they weigh
        is not seen to be a sum over them.
    """
    chain, (before, steps) = integral.chain, path
    if chain.shared:
        raise UnsupportedProgramError(
            "the data up to a step are not apart: all steps read a normal site that stands before the loop. Fix: carry "
            "the site in the state of the loop."
        )
    point, still = chain.walk(before, steps, operands)
    slope = jax.grad(lambda point: chain.apart(point, still, operands)[0])(point)
    slopes = integral.ordered(jnp.concatenate([slope.states, slope.noises], -1))
    ends = (before, shape.curvature, slope.before, shape.start, slope.last, shape.ended)
    through = integral.each(_through, ((0,) * 6, 1, (1, 1)), (0, 1))
    ended, masses = through(ends, shape.steps, (slopes, integral.ordered(steps)))
    try:
        rest, terms = chain.terms(point, still, operands)
    except Mixed as error:
        raise UnsupportedProgramError(
            f"the data of different steps are not seen to be apart: {error}. Fix: observe the data of a step in it."
        ) from error
    own = integral.ordered(masses)
    return rest + jnp.sum(ended), terms + jnp.sum(own, axis=tuple(range(1, own.ndim)))


def _through(ends: Sequence[jax.Array], steps: Steps, rows: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Go through the steps of a lane: what the data before and after them weigh, and those of each (T,)."""
    before, curvature, slope, start, last, ended = ends

    def forward(state: Moments, step: Steps, own: Sequence[jax.Array]) -> tuple[Moments, jax.Array]:
        (moves, curvature), (slope, noises) = step, own
        unit = jnp.eye(len(noises), dtype=noises.dtype)
        both = Moments(jnp.concatenate([state.mean, -noises]), jax.scipy.linalg.block_diag(state.covariance, unit))
        found, mass = _weighed(both, curvature, slope)
        return _moved(moves, found), mass

    early, mass = _weighed(Moments(-before, jnp.eye(len(before), dtype=before.dtype)), curvature, slope)
    state, masses = over_rows(forward, _moved(start, early), steps, rows, len(rows[0]))
    return mass + _weighed(state, ended, last)[1], masses


def _moved(matrix: jax.Array, state: Moments) -> Moments:
    covariance = times(matrix, times(state.covariance, matrix.T))
    return Moments(times(matrix, state.mean), 0.5 * (covariance + covariance.T))


def _weighed(prior: Moments, curvature: jax.Array, slope: jax.Array) -> tuple[Moments, jax.Array]:
    """Weigh normals by exp(slope'x - x'Qx / 2), Q the curvature; also the log of what the weights are on average."""
    mean, covariance = prior
    if not len(mean):
        return prior, jnp.zeros((), mean.dtype)
    unit = jnp.eye(len(mean), dtype=mean.dtype)
    grown = unit + times(covariance, curvature)
    kept = jnp.linalg.inv(grown)
    gain, towards = times(kept, covariance), slope - times(curvature, mean)
    move = times(gain, towards)
    mass = mean @ (slope + towards) + towards @ move - jnp.linalg.slogdet(grown)[1]
    after = times(kept, times(covariance, kept.T)) + times(gain, times(curvature, gain.T))
    return Moments(mean + move, 0.5 * (after + after.T)), 0.5 * mass
