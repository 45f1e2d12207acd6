"""Leapfrog: the integrator of Hamiltonian moves, and the maps that are made of it.

Law: a step is reversible (with the momentum negated it leads back), keeps volume, and errs by O(step^3) in the energy;
`flipped` after any number of steps is an involution.

Momentum is that of coordinates in which the scale of the target is one: root has the scales, position = root @ those
coordinates, so the mass is root^-T root^-1 and the kinetic energy half of the momentum's square. Source: Neal (2011),
MCMC using Hamiltonian dynamics, section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

type Target = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


class Phase(NamedTuple):
    """A position with momentum, log density and its gradient."""

    position: jax.Array
    momentum: jax.Array
    log_density: jax.Array
    gradient: jax.Array


def stretched(root: jax.Array, vector: jax.Array) -> jax.Array:
    """Multiply by the root: a vector of scales, or a triangle."""
    return root * vector if root.ndim == 1 else root @ vector


def kicked(root: jax.Array, gradient: jax.Array, size: jax.Array) -> jax.Array:
    """Change of the momentum."""
    return size * (root * gradient if root.ndim == 1 else gradient @ root)


def half_kick(root: jax.Array, phase: Phase, step: jax.Array) -> jax.Array:
    """Momentum after half a step."""
    return phase.momentum + kicked(root, phase.gradient, 0.5 * step)


def drifted(target: Target, root: jax.Array, position: jax.Array, momentum: jax.Array, step: jax.Array) -> Phase:
    """Move the position by the momentum, and score it there."""
    position = position + step * stretched(root, momentum)
    return Phase(position, momentum, *target(position))


def leapfrog(target: Target, root: jax.Array, step: jax.Array, phase: Phase) -> Phase:
    """Take one step: half a kick, a drift, half a kick.

    >>> normal = lambda x: (-0.5 * x @ x, -x)
    >>> start = Phase(jnp.ones(1), jnp.zeros(1), *normal(jnp.ones(1)))
    >>> there = leapfrog(normal, jnp.ones(1), jnp.array(0.1), start)
    >>> abs(float(energy(there) - energy(start))) < 2e-5
    True
    """
    after = drifted(target, root, phase.position, half_kick(root, phase, step), step)
    return after._replace(momentum=half_kick(root, after, step))


class Passed(NamedTuple):
    """What was met on the way: the least log density that is a number, and a value whose gradient is not finite."""

    least: jax.Array
    no_slope: jax.Array


def flow(
    target: Target, root: jax.Array, step: jax.Array, phase: Phase, steps: int | jax.Array
) -> tuple[Phase, Passed]:
    """Take several steps; the half kicks between two drifts are one."""

    def whole(_: jax.Array, carry: tuple[Phase, Passed]) -> tuple[Phase, Passed]:
        now, passed = carry
        after = drifted(target, root, now.position, now.momentum, step)
        least = jnp.fmin(passed.least, after.log_density)
        passed = Passed(least, passed.no_slope | lacks_slope(after))
        return after._replace(momentum=after.momentum + kicked(root, after.gradient, step)), passed

    start = phase._replace(momentum=half_kick(root, phase, step))
    last, passed = jax.lax.fori_loop(0, steps, whole, (start, Passed(phase.log_density, jnp.zeros((), bool))))
    return last._replace(momentum=half_kick(root, last, -step)), passed


def lacks_slope(phase: Phase) -> jax.Array:
    """Tell whether the log density is finite and its gradient is not."""
    return jnp.isfinite(phase.log_density) & ~jnp.all(jnp.isfinite(phase.gradient))


def flipped(phase: Phase) -> Phase:
    """Negate the momentum."""
    return phase._replace(momentum=-phase.momentum)


def energy(phase: Phase) -> jax.Array:
    """Potential plus kinetic energy."""
    return 0.5 * jnp.vdot(phase.momentum, phase.momentum) - phase.log_density


def root_of(inverse_mass: jax.Array) -> jax.Array:
    """Scales of the coordinates, from variances (d,) or a covariance (d, d).

    >>> root_of(jnp.array([4.0, 9.0])).tolist()
    [2.0, 3.0]
    """
    return jnp.sqrt(inverse_mass) if inverse_mass.ndim == 1 else jnp.linalg.cholesky(inverse_mass)
