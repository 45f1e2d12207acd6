"""Temperatures: at which points of a path a population stops, given beforehand or chosen by its effective sample size.

Law: a ladder ends at the end of the path. With a given one the algorithm keeps the measure exactly; a ladder that
looks at the particles makes the estimate of the evidence consistent, not unbiased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from ..laws.resampling_schemes import ess
from ..missing_call import refuse_uncalled
from ..registered import stored_as
from .root import RootStatus, falling_root

RESIDUAL = 1e-6  # largest |ESS - target| / N of a temperature that counts as solved


class Rung(NamedTuple):
    """One step of a ladder: the increase of the power, the block and power after it, and how it was found."""

    increase: jax.Array
    block: jax.Array
    power: jax.Array
    residual: jax.Array
    unsolved: jax.Array


@stored_as("given_ladder")
@dataclass(frozen=True)
class GivenLadder:
    """Powers at which each block stops, the last of them 1."""

    powers: tuple[float, ...]
    adaptive = False

    def stages(self, blocks: int) -> int:
        """Number of stages of a path."""
        return blocks * len(self.powers)

    def steps(self, blocks: int) -> list[np.ndarray]:
        """Give for every stage the increase of the power, and the block and power after it."""
        before = np.array([0.0, *self.powers[:-1]])
        after = np.array([*self.powers[:-1], 0.0])  # the end of a block is the start of the next
        number = np.repeat(np.arange(blocks), len(self.powers))
        last = np.tile(np.arange(len(self.powers)) == len(self.powers) - 1, blocks)
        increase = np.tile(np.array(self.powers) - before, blocks)
        return [increase, (number + last).astype(np.int32), np.tile(after, blocks)]

    def rung(self, step: Sequence[jax.Array], *state: Any) -> Rung:
        """Take the next step, whatever the particles are."""
        zero = jnp.zeros((), jnp.result_type(float))
        return Rung(step[0], step[1], step[2], zero, jnp.zeros((), bool))

    def __repr__(self) -> str:
        """Show the powers."""
        return f"{len(self.powers)} given powers"


def given(powers: Sequence[float]) -> GivenLadder:
    """The ladder of given powers, increasing, the last of them 1; in a path of many blocks each block climbs it.

    >>> given([0.1, 0.5, 1.0]).stages(blocks=2)
    6
    """
    values = np.asarray(powers, np.float64).reshape(-1)
    bad = None
    if not len(values) or not np.isfinite(values).all():
        bad = "expected finite numbers, at least one"
    elif values[0] < 0 or (np.diff(values) < 0).any():
        bad = "powers must not decrease, nor be negative"
    elif values[-1] != 1.0:
        bad = f"the last power must be 1, where the target is the posterior, not {values[-1]:g}"
    if bad is not None:
        raise LawfulError(f"ladder: got {list(np.asarray(powers).reshape(-1)[:8])}: {bad}.")
    return GivenLadder(tuple(values.tolist()))


@stored_as("by_ess")
@dataclass(frozen=True)
class AdaptiveLadder:
    """The next power leaves a fraction of the effective sample size."""

    fraction: float
    max_stages: int
    adaptive = True

    def stages(self, blocks: int) -> int:
        """Largest number of stages of a path.

        Raises: LawfulError where the blocks alone need more.
        """
        if blocks > self.max_stages:
            raise LawfulError(
                f"ladder: the path has {blocks} blocks, more than max_stages={self.max_stages}. Fix: allow more "
                "stages, or let more observations enter together."
            )
        return self.max_stages

    def steps(self, blocks: int) -> list[np.ndarray]:
        """Give for every stage the number of stages that are left, this one included."""
        return [np.arange(self.max_stages, 0, -1).astype(np.int32)]

    def rung(
        self,
        step: Sequence[jax.Array],
        blocks: int,
        block: jax.Array,
        power: jax.Array,
        log_weight: jax.Array,
        slope: jax.Array,
    ) -> Rung:
        """Solve for the next power; where the stages run out each remaining block enters at once."""
        (left,) = step
        out_of_stages = left <= blocks - block
        increase, residual, unsolved = next_increase(log_weight, slope, power, self.fraction)
        after = power + increase
        unsolved = unsolved | (out_of_stages & (after < 1.0))
        whole = out_of_stages | (after >= 1.0)
        increase = jnp.where(whole, 1.0 - power, increase)
        after = jnp.where(whole, 0.0, after)
        return Rung(increase, (block + whole).astype(jnp.int32), after, residual, unsolved)

    def __repr__(self) -> str:
        """Show the rule."""
        return f"ess {self.fraction:g} N"


def by_ess(fraction: float = 0.5, *, max_stages: int = 200) -> AdaptiveLadder:
    """The ladder whose next power leaves a fraction of the effective sample size (Del Moral, Doucet and Jasra 2012).

    Args:
        fraction: between 0 and 1, both excluded.
        max_stages: the arrays of a run have this length; when the stages run out, each block that is left enters at
            once, and the result says so.

    >>> by_ess(0.5)
    ess 0.5 N
    """
    if not isinstance(fraction, int | float | np.number) or not 0.0 < fraction < 1.0:
        raise LawfulError(f"ladder: ess: expected a fraction between 0 and 1, got {fraction!r}.")
    if not isinstance(max_stages, int | np.integer) or max_stages < 1:
        raise LawfulError(f"ladder: max_stages: expected an integer of 1 or more, got {max_stages!r}.")
    return AdaptiveLadder(float(fraction), int(max_stages))


def next_increase(
    log_weight: jax.Array, slope: jax.Array, power: jax.Array, fraction: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Solve ESS(increase) = fraction * ESS(0+), where 0+ leaves out the particles of likelihood zero.

    The effective size falls as the power grows: for equal weights the derivative of log ESS is twice the mean log
    likelihood under the weights w minus that under w squared, which is not positive.

    Returns: the increase of the power, at most 1 - power; the residual (ESS - target) / N of the equation, 0 where the
        end is reached with more than the target; and whether the equation was not solved within `RESIDUAL`.

    >>> import jax
    >>> slope = -jax.random.gamma(jax.random.key(0), 2.0, (1000,)) * 30.0
    >>> increase, residual, unsolved = next_increase(jnp.zeros(1000), slope, jnp.array(0.0), 0.5)
    >>> bool(abs(residual) < 1e-5), bool(unsolved), round(float(ess(jnp.exp(increase * slope))))
    (True, False, 500)
    """
    size = log_weight.shape[0]
    dtype = jnp.result_type(float)
    alive = (log_weight > -jnp.inf) & (slope > -jnp.inf)
    top = jnp.max(jnp.where(alive, slope, -jnp.inf))
    # Constants cancel in the ESS: with the largest slope 0 no exponential overflows.
    fall = jnp.where(alive, slope - jnp.where(jnp.isfinite(top), top, 0.0), 0.0).astype(dtype)
    base = jnp.where(alive, log_weight, -jnp.inf)
    base = base - jnp.where(jnp.any(alive), jnp.max(base), 0.0)

    def size_at(increase: jax.Array) -> jax.Array:
        tilted = base + increase * fall
        top = jnp.max(tilted)
        return ess(jnp.exp(tilted - jnp.where(jnp.isfinite(top), top, 0.0)))

    target = fraction * size_at(jnp.zeros((), dtype))

    def excess(increase: jax.Array) -> jax.Array:
        return (size_at(increase) - target) / size

    rest = (1.0 - power).astype(dtype)
    # Start near the scale on which the weights vary, so that a steep likelihood needs no more steps than a flat one.
    share = jnp.exp(base) / jnp.maximum(jnp.sum(jnp.exp(base)), 1e-30)
    tiny = jnp.finfo(dtype).tiny
    depth = jnp.maximum(-jnp.min(fall), tiny)  # squares of slopes may overflow, those of shares of the depth do not
    unit = fall / depth
    spread = jnp.sqrt(jnp.sum(share * (unit - jnp.sum(share * unit)) ** 2))
    high = jnp.minimum(rest, jnp.maximum(1.0 / (depth * jnp.where(spread > 0, spread, 1.0)), tiny))
    high = jax.lax.while_loop(lambda h: (h < rest) & (excess(h) > 0), lambda h: jnp.minimum(4.0 * h, rest), high)
    tolerance = RESIDUAL + 8 * jnp.finfo(dtype).eps
    root = falling_root(excess, jnp.zeros_like(rest), high, tolerance)
    to_end = ~(excess(rest) < 0) | ~jnp.any(alive)
    # Always a step forward, however small: a power that stands still would never end.
    smallest = jnp.maximum(jnp.nextafter(power.astype(dtype), jnp.asarray(2.0, dtype)) - power, tiny)
    increase = jnp.where(to_end, rest, jnp.minimum(jnp.maximum(root.x, smallest), rest))
    residual = jnp.where(to_end, 0.0, excess(increase))
    solved = to_end | ((root.status == RootStatus.FOUND) & (jnp.abs(residual) <= tolerance))
    return increase, residual, ~solved


def ladder_of(ladder: Any = None) -> GivenLadder | AdaptiveLadder:
    """Read a ladder: None for the adaptive one, or the powers of a given one.

    >>> ladder_of(), ladder_of([0.5, 1.0])
    (ess 0.5 N, 2 given powers)
    """
    refuse_uncalled(ladder, "ladder")
    if ladder is None:
        return by_ess()
    return ladder if isinstance(ladder, GivenLadder | AdaptiveLadder) else given(ladder)
