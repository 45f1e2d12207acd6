"""Trajectories: the leapfrog of Hamiltonian moves, and how the no-U-turn sampler picks a point on an orbit of it.

Law: a leapfrog is reversible (with the momentum negated it leads back), keeps volume, and errs by O(step^3) in the
energy; `flipped` after any number of them is an involution. On any orbit of a map that keeps volume, with any energies
and any symmetric rule on where trajectories turn, the choice of a point keeps exp(-energy) on the orbit; `check.orbit`
enumerates this.

Momentum is that of coordinates in which the scale of the target is one: root has the scales, position = root @ those
coordinates, so the mass is root^-T root^-1 and the kinetic energy half of the momentum's square. Source: Neal (2011),
MCMC using Hamiltonian dynamics, section 5.2.

A tree is doubled in a random direction. Inside a new half a leaf takes the place of the one chosen so far with its
share of the weight (uniform progressive); a complete half takes the place of the old one with min(1, ratio of weights)
(biased progressive). It ends where it turns, or where a leaf has no weight to speak of. Turns of all halves inside are
seen from O(depth) checkpoints: of the halves that end at an odd leaf, each has its first momentum in a slot, numbered
by the ones in the leaf's number. Sources: Hoffman and Gelman (2014), The No-U-Turn Sampler; Betancourt (2017), A
conceptual introduction to Hamiltonian Monte Carlo, A.3; Phan, Pradhan and Jankowiak (2019), Composable effects for
flexible and accelerated probabilistic programming in NumPyro, appendix A.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

LARGEST_ERROR = 1000.0  # of the energy: beyond, the integrator has lost its way

type Target = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
type Turning = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
type Flip = Callable[[jax.Array], Any]


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


def faults(phase: Phase) -> jax.Array:
    """Tell whether the log density is NaN or +inf, and whether it is finite and its gradient is not."""
    return jnp.stack([~(phase.log_density < jnp.inf), lacks_slope(phase)])


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


class Chosen(NamedTuple):
    """A leaf, with its log weight: the energy of the start minus its own."""

    position: jax.Array
    log_density: jax.Array
    gradient: jax.Array
    log_weight: jax.Array


class Tree(NamedTuple):
    """A trajectory while it grows.

    Attributes:
        left: the end that is reached by steps back.
        right: the end that is reached by steps forward.
        chosen: the point chosen from it.
        log_weight: log of the sum of the weights of its points.
        total: sum of their momenta.
        depth: doublings that are complete.
        going: whether it grows on.
        diverging: whether a leaf's energy was too large.
        steps: all leaves, those of a half that was given up included.
        acceptance: sum of min(1, weight) of these.
    """

    left: Phase
    right: Phase
    chosen: Chosen
    log_weight: jax.Array
    total: jax.Array
    depth: jax.Array
    going: jax.Array
    diverging: jax.Array
    steps: jax.Array
    acceptance: jax.Array


class Half(NamedTuple):
    """A new half while it grows.

    Attributes:
        here: its last leaf, at first the end of the tree that it grows from.
        chosen: the point chosen from it.
        log_weight: as that of a tree.
        total: the same.
        firsts: (depth, d), momentum at the first leaf of the parts that a later leaf may end.
        totals: (depth, d), sum of the momenta up to that leaf.
        growing: whether nothing turned in it and no leaf diverged.
        diverging: as that of a tree.
        steps: the same.
        acceptance: the same.
    """

    here: Phase
    chosen: Chosen
    log_weight: jax.Array
    total: jax.Array
    firsts: jax.Array
    totals: jax.Array
    growing: jax.Array
    diverging: jax.Array
    steps: jax.Array
    acceptance: jax.Array


def planted(start: Phase) -> Tree:
    """A tree of one leaf."""
    none, no = jnp.zeros((), start.position.dtype), jnp.zeros((), bool)
    chosen = Chosen(start.position, start.log_density, start.gradient, none)
    zero = jnp.zeros((), jnp.int32)
    return Tree(start, start, chosen, none, start.momentum, zero, ~no, no, zero, none)


def begun(tree: Tree, forward: jax.Array, max_depth: int) -> Half:
    """An empty half at one end of a tree; one of a tree that ended does not grow."""
    here = _either(forward, tree.right, tree.left)
    none, no = jnp.zeros((), here.position.dtype), jnp.zeros((), bool)
    slots = jnp.zeros((max(max_depth - 1, 1), *here.momentum.shape), here.momentum.dtype)
    return Half(
        here, tree.chosen, none - jnp.inf, jnp.zeros_like(here.momentum), slots, slots, tree.going, no,
        jnp.zeros((), jnp.int32), none,
    )  # fmt: skip


def added(half: Half, leaf: Phase, log_weight: jax.Array, number: Any, turning: Turning, flip: Flip) -> Half:
    """Add a leaf to a half.

    Args:
        half: the half.
        leaf: what the map makes of its last leaf.
        log_weight: the energy of the start minus that of the leaf; what is NaN or +inf weighs nothing.
        number: of the leaf, from 0.
        turning: (first momenta, last momentum, sums of momenta) -> whether each stretch turns; symmetric in the two.
        flip: gives a coin of a given probability.
    """
    log_weight = jnp.where(log_weight < jnp.inf, log_weight, -jnp.inf)  # a NaN is not less either
    diverging = half.growing & ~(log_weight > -LARGEST_ERROR)
    total_weight = jnp.logaddexp(half.log_weight, log_weight)
    total = half.total + leaf.momentum
    number = jnp.asarray(number, jnp.int32)
    slot, ending = jax.lax.population_count(number >> 1), trailing_ones(number)
    even = number & 1 == 0
    firsts = jnp.where(even, half.firsts.at[slot].set(leaf.momentum), half.firsts)
    totals = jnp.where(even, half.totals.at[slot].set(total), half.totals)
    slots = jnp.arange(len(firsts), dtype=jnp.int32)
    ends = (slots > slot - ending) & (slots <= slot)
    turned = jnp.any(ends & turning(firsts, leaf.momentum, total - totals + firsts))
    taken = flip(jnp.where(half.growing, leaf_share(log_weight, total_weight), 0.0))
    fresh = Chosen(leaf.position, leaf.log_density, leaf.gradient, log_weight)
    return Half(
        here=leaf,
        chosen=_either(taken, fresh, half.chosen),
        log_weight=total_weight,
        total=total,
        firsts=firsts,
        totals=totals,
        growing=half.growing & ~diverging & ~turned,
        diverging=half.diverging | diverging,
        steps=half.steps + half.growing,
        acceptance=half.acceptance + jnp.where(half.growing, jnp.exp(jnp.minimum(log_weight, 0.0)), 0.0),
    )


def joined(tree: Tree, half: Half, forward: jax.Array, turning: Turning, flip: Flip, max_depth: Any) -> Tree:
    """Join a half to its tree, if all of it grew; else the tree ends as it is."""
    whole = tree.going & half.growing
    taken = flip(jnp.where(whole, half_share(half.log_weight, tree.log_weight), 0.0))
    left, right = _either(forward, tree.left, half.here), _either(forward, half.here, tree.right)
    total = tree.total + half.total
    turned = turning(left.momentum, right.momentum, total)
    depth = tree.depth + whole
    return Tree(
        left=left,
        right=right,
        chosen=_either(taken, half.chosen, tree.chosen),
        log_weight=jnp.where(whole, jnp.logaddexp(tree.log_weight, half.log_weight), tree.log_weight),
        total=total,
        depth=depth,
        going=whole & ~turned & (depth < max_depth),
        diverging=tree.diverging | half.diverging,
        steps=tree.steps + half.steps,
        acceptance=tree.acceptance + half.acceptance,
    )


def leaf_share(leaf: jax.Array, half: jax.Array) -> jax.Array:
    """Uniform progressive: the share of a leaf in the weight of its half so far."""
    return jnp.where(leaf == -jnp.inf, 0.0, jnp.exp(leaf - half))


def half_share(half: jax.Array, tree: jax.Array) -> jax.Array:
    """Biased progressive: min(1, weight of the new half / weight of the old one)."""
    return jnp.exp(jnp.minimum(half - tree, 0.0))


def trailing_ones(number: jax.Array) -> jax.Array:
    """Count the ones at the end of a number's binary digits.

    >>> [int(trailing_ones(jnp.array(n))) for n in (0, 1, 3, 5, 7)]
    [0, 1, 2, 1, 3]
    """
    return jax.lax.population_count(number & ~(number + 1))


def _either[T: (Phase, Chosen)](coin: jax.Array, a: T, b: T) -> T:
    return type(a)(*(jnp.where(coin, x, y) for x, y in zip(a, b, strict=True)))


def turns(first: jax.Array, last: jax.Array, total: jax.Array) -> jax.Array:
    """Generalised no-U-turn rule: whether the ends go back against the mean momentum, each end counted by half.

    >>> bool(turns(jnp.array([1.0]), jnp.array([1.0]), jnp.array([2.0])))
    False
    >>> bool(turns(jnp.array([1.0]), jnp.array([-1.0]), jnp.array([0.5])))
    True
    """
    middle = total - 0.5 * (first + last)
    return (jnp.sum(first * middle, -1) <= 0) | (jnp.sum(last * middle, -1) <= 0)


def coin(word: jax.Array, odds: jax.Array) -> jax.Array:
    """Make a coin of a word, as exactly as its probability can be told.

    >>> bool(coin(jnp.array(2**32 - 1, jnp.uint32), jnp.array(1.0)))
    True
    """
    bits = 24 if odds.dtype == jnp.float32 else 32
    heads = (word >> (32 - bits)).astype(odds.dtype) * 2.0**-bits < odds
    # Without the barrier XLA makes the coin, its word included, once for each number that it chooses.
    return jax.lax.optimization_barrier(heads)
