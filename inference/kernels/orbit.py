"""Orbit: how the no-U-turn sampler picks a point of a trajectory, as pure functions of a tree that grows leaf by leaf.

Law: on any orbit of a map that keeps volume, with any energies and any symmetric rule on where trajectories turn, the
choice of a point keeps exp(-energy) on the orbit; `check.orbit` enumerates this.

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

from .leapfrog import Phase

LARGEST_ERROR = 1000.0  # of the energy: beyond, the integrator has lost its way

type Turning = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class Chosen(NamedTuple):
    """A leaf, with its log weight: the energy of the start minus its own."""

    position: jax.Array
    log_density: jax.Array
    gradient: jax.Array
    log_weight: jax.Array


class Tree(NamedTuple):
    """A trajectory while it grows.

    Attributes:
        here: the end that moves.
        there: the other one.
        direction: of the end that moves, 1 or -1.
        chosen: the point chosen from what is complete.
        log_weight: log of the sum of the weights there.
        total: sum of the momenta there.
        half_chosen: the same three of the half that grows.
        half_log_weight: the same.
        half_total: the same.
        firsts: (depth, d), momentum at the first leaf of the halves that a later leaf may end.
        totals: (depth, d), sum of the momenta up to it.
        leaf: leaves of the half so far.
        depth: doublings that are complete.
        steps: all leaves.
        acceptance: sum of min(1, weight) of all leaves.
        diverging: whether a leaf's energy was too large.
        going: whether it grows on.
    """

    here: Phase
    there: Phase
    direction: jax.Array
    chosen: Chosen
    log_weight: jax.Array
    total: jax.Array
    half_chosen: Chosen
    half_log_weight: jax.Array
    half_total: jax.Array
    firsts: jax.Array
    totals: jax.Array
    leaf: jax.Array
    depth: jax.Array
    steps: jax.Array
    acceptance: jax.Array
    diverging: jax.Array
    going: jax.Array


class Met(NamedTuple):
    """What a new leaf means: the half with it, what follows, and the probabilities of three coins.

    `odds` are those of taking the leaf as the point of its half, of taking the point of the half as that of the tree,
    and of turning to the other end.
    """

    leaf: Phase
    log_weight: jax.Array
    half_log_weight: jax.Array
    half_total: jax.Array
    firsts: jax.Array
    totals: jax.Array
    complete: jax.Array
    going: jax.Array
    diverging: jax.Array
    odds: jax.Array


def planted(start: Phase, direction: Any, max_depth: int) -> Tree:
    """A tree of one leaf."""
    dtype, zero = start.position.dtype, jnp.zeros((), jnp.int32)
    none = jnp.zeros((), dtype)
    chosen = Chosen(start.position, start.log_density, start.gradient, none)
    slots = jnp.zeros((max(max_depth, 1), *start.momentum.shape), start.momentum.dtype)
    nothing, no = jnp.full((), -jnp.inf, dtype), jnp.zeros((), bool)
    return Tree(
        start, start, jnp.asarray(direction, dtype), chosen, none, start.momentum, chosen, nothing,
        jnp.zeros_like(start.momentum), slots, slots, zero, zero, zero, none, no, jnp.full((), max_depth > 0),
    )  # fmt: skip


def met(tree: Tree, leaf: Phase, log_weight: jax.Array, turning: Turning, max_depth: int) -> Met:
    """Look at the next leaf; nothing is random here.

    Args:
        tree: the tree.
        leaf: what the map makes of its moving end.
        log_weight: the energy of the start minus that of the leaf; what is not a number weighs nothing.
        turning: (first momenta, last momentum, sums of momenta) -> whether each trajectory turns; symmetric in the two.
        max_depth: most doublings.
    """
    log_weight = jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)
    diverging = ~(log_weight > -LARGEST_ERROR)
    half_log_weight = jnp.logaddexp(tree.half_log_weight, log_weight)
    half_total = tree.half_total + leaf.momentum
    odd = (tree.leaf & 1) == 1
    last = jax.lax.population_count(tree.leaf >> 1)
    slots = jnp.arange(len(tree.firsts), dtype=tree.leaf.dtype)
    stored = ((slots == last) & ~odd)[:, None]
    firsts = jnp.where(stored, leaf.momentum, tree.firsts)
    totals = jnp.where(stored, half_total, tree.totals)
    ending = (slots > last - trailing_ones(tree.leaf)) & (slots <= last) & odd
    turned = jnp.any(ending & turning(firsts, leaf.momentum, half_total - totals + firsts))
    size = jnp.left_shift(jnp.ones((), tree.leaf.dtype), tree.depth)
    complete = (tree.leaf + 1 == size) & ~diverging & ~turned
    whole_turns = turning(tree.there.momentum, leaf.momentum, tree.total + half_total)
    going = ~diverging & ~turned & ~(complete & (whole_turns | (tree.depth + 1 >= max_depth)))
    odds = jnp.stack([leaf_share(log_weight, half_log_weight), half_share(half_log_weight, tree.log_weight), 0.5])
    odds = jnp.where(jnp.stack([tree.going, tree.going & complete, tree.going & complete & going]), odds, 0.0)
    return Met(
        leaf, log_weight, half_log_weight, half_total, firsts, totals, complete, going, diverging,
        odds.astype(tree.log_weight.dtype),
    )  # fmt: skip


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


def grown(tree: Tree, found: Met, coins: jax.Array) -> Tree:
    """Add the leaf, by three coins of the probabilities `found.odds`; a tree that ended stays as it is."""
    take_leaf, take_half, swap = coins[0], coins[1], coins[2]
    active, complete = tree.going, tree.going & found.complete
    leaf = found.leaf
    fresh = Chosen(leaf.position, leaf.log_density, leaf.gradient, found.log_weight)
    half_chosen = chosen_by(take_leaf, fresh, tree.half_chosen)
    here, there = leaf, tree.there
    return Tree(
        here=_swapped(swap, there, here),
        there=_swapped(swap, here, there),
        direction=jnp.where(swap, -tree.direction, tree.direction),
        chosen=chosen_by(take_half, half_chosen, tree.chosen),
        log_weight=jnp.where(complete, jnp.logaddexp(tree.log_weight, found.half_log_weight), tree.log_weight),
        total=jnp.where(complete, tree.total + found.half_total, tree.total),
        half_chosen=half_chosen,
        half_log_weight=jnp.where(complete, -jnp.inf, found.half_log_weight),
        half_total=jnp.where(complete, 0.0, found.half_total),
        firsts=found.firsts,
        totals=found.totals,
        leaf=jnp.where(complete, 0, tree.leaf + 1),
        depth=tree.depth + complete,
        steps=tree.steps + active,
        acceptance=tree.acceptance + jnp.where(active, jnp.exp(jnp.minimum(found.log_weight, 0.0)), 0.0),
        diverging=tree.diverging | (active & found.diverging),
        going=active & found.going,
    )


def chosen_by(coin: jax.Array, new: Chosen, old: Chosen) -> Chosen:
    """Take the new point where the coin says so."""
    return Chosen(*(jnp.where(coin, a, b) for a, b in zip(new, old, strict=True)))


def _swapped(swap: jax.Array, a: Phase, b: Phase) -> Phase:
    return Phase(*(jnp.where(swap, x, y) for x, y in zip(a, b, strict=True)))


def turns(first: jax.Array, last: jax.Array, total: jax.Array) -> jax.Array:
    """Generalised no-U-turn rule: whether the ends go back against the mean momentum, each end counted by half.

    >>> bool(turns(jnp.array([1.0]), jnp.array([1.0]), jnp.array([2.0])))
    False
    >>> bool(turns(jnp.array([1.0]), jnp.array([-1.0]), jnp.array([0.5])))
    True
    """
    middle = total - 0.5 * (first + last)
    return (jnp.sum(first * middle, -1) <= 0) | (jnp.sum(last * middle, -1) <= 0)
