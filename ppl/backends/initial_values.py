"""Initial values: where chains along gradients begin, in coordinates without bounds.

Law: a start is a point of finite density and gradient, made of its key alone; it changes no target.

Of some candidates, uniform in the cube (-2, 2) and draws from the prior in turn, one is kept that no later one exceeds
by a unit of log density for every coordinate. It climbs by quasi-Newton steps (L-BFGS; Nocedal and Wright 2006, chapter
7) as far as the height of draws: a step aims beside the maximum of the local parabola, where a quarter to three
quarters of a unit are left for every coordinate, and the climb ends where no more than one is left: starts stay apart,
on both sides. A step is at most four times as long as the last. Search and climb are one loop around one evaluation of
the density, so little is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..distributions.law import IMPROPER
from ..distributions.sampling.threefry import fold_in
from ..form import Form
from ..form.builder import Block
from ..form.liveness import without_dead_code
from ..passes.predict import without_weights
from ..passes.record import record
from ..passes.unconstrain import to_coordinates

TRIES = 100  # candidates until one is finite
CANDIDATES = 8  # to choose from
TRIALS = 100  # evaluations of a climb
MEMORY = 3  # pairs of steps and changes of the gradient
SHORT = 0.1  # first step, in roots of the number of coordinates
GROWS = 4.0  # how much longer than the last a step may be
SHRINKS = 0.25  # after a step that gained too little
SHORTEST = 1e-12  # share of a step after which a climb ends
GAIN = 1e-4  # least share of the gain that the slope promises (Armijo)
SMALL = 1e-10  # cosine of a step and the change of the gradient along it, below which it tells no curvature

type Target = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
type Draw = Callable[[jax.Array], jax.Array]


class Start(NamedTuple):
    """A start: its vector, log density and gradient, which candidate it was (-1: none is finite), and steps uphill."""

    vector: jax.Array
    log_density: jax.Array
    gradient: jax.Array
    candidate: jax.Array
    climbed: jax.Array


class _Search(NamedTuple):
    """A search: what is found, candidates and evaluations so far, the next step and its length, pairs, and an end."""

    found: Start
    tries: jax.Array
    trials: jax.Array
    direction: jax.Array
    share: jax.Array
    reach: jax.Array
    steps: jax.Array
    changes: jax.Array
    pairs: jax.Array
    rests: jax.Array
    aim: jax.Array


def found_start(target: Target, size: int, dtype: Any, key: jax.Array, prior: Draw | None) -> Start:
    """Find a start.

    Args:
        target: log density and gradient of a vector.
        size: of the vector.
        dtype: of the vector.
        key: a key.
        prior: draws a vector from the prior by a key; None where the prior has no draws.

    Returns: a start, whose candidate is -1 and whose vector is the last one tried where none in 100 was finite.

    >>> target = jax.value_and_grad(lambda x: -0.5 * jnp.sum((x - 1e3) ** 2) / 1e4)
    >>> start = found_start(target, 2, float, jax.random.key(0), None)
    >>> bool(start.log_density > -2.5), is_from_prior(start.candidate).item()
    (True, False)
    """

    def candidate(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = fold_in(key, 2 * number + jnp.arange(2))
        drawn = jax.random.uniform(keys[0], (size + 2,), dtype, -2.0, 2.0)
        cube, side, height = drawn[:size], drawn[size], 0.5 + 0.125 * drawn[size + 1]
        aim = jnp.sign(side) * jnp.sqrt(height * size)
        return cube if prior is None else jnp.where(is_from_prior(number), prior(keys[1]), cube), aim

    def goes(now: _Search) -> jax.Array:
        return jnp.where(_seeks(now), now.tries < TRIES, ~now.rests & (now.trials < TRIALS))

    def go(now: _Search) -> _Search:
        seeks, here = _seeks(now), now.found
        ahead = here.vector + now.share * now.direction
        sought, aim = candidate(now.tries)
        vector = jnp.where(seeks, sought, ahead)
        score, gradient = target(vector)
        finite = jnp.isfinite(score) & jnp.all(jnp.isfinite(gradient))
        return jax.tree.map(
            lambda sought, climbed: jnp.where(seeks, sought, climbed),
            _sought(now, Start(vector, score, gradient, now.tries, here.climbed), finite, aim),
            _climbed(now, Start(vector, score, gradient, here.candidate, here.climbed + 1), finite),
        )

    zero, none = jnp.zeros((), dtype), jnp.zeros((), jnp.int32)
    vector, pairs = jnp.zeros(size, dtype), jnp.zeros((MEMORY, size), dtype)
    nowhere = Start(vector, zero - jnp.inf, vector, none - 1, none)
    begun = _Search(
        nowhere, none, none, vector, zero + 1, zero + SHORT * size**0.5, pairs, pairs, none, zero > 0, zero
    )  # fmt: skip
    return jax.lax.while_loop(goes, go, begun).found


def candidates(size: int, dtype: Any, key: jax.Array, prior: Draw | None, count: int) -> jax.Array:
    """Draw vectors where a search may begin, (count, size): in the cube (-2, 2), and half of them from the prior.

    Args:
        size: of a vector.
        dtype: of a vector.
        key: a key.
        prior: draws a vector from the prior by a key; None where the prior has no draws.
        count: how many, an even number.
    """
    keys = fold_in(key, jnp.arange(1 + count // 2))
    cube = jax.random.uniform(keys[0], (count, size), dtype, -2.0, 2.0)
    if prior is None:
        return cube
    return jnp.concatenate([cube[: count // 2], jax.vmap(prior)(keys[1:]).astype(dtype)])


def is_from_prior(candidate: Any) -> Any:
    """Tell which candidates are draws from the prior, where it has draws."""
    return candidate % 2 == 1


def _seeks(now: _Search) -> jax.Array:
    return (now.tries < CANDIDATES) | (now.found.candidate < 0)


def _sought(now: _Search, new: Start, finite: jax.Array, aim: jax.Array) -> _Search:
    """Keep a candidate that is clearly better than those before; the first step is along its gradient."""
    here = now.found
    better = finite & (new.log_density > here.log_density + len(new.vector))  # draws differ by as much
    kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, here)
    kept = kept._replace(vector=jnp.where(kept.candidate < 0, new.vector, kept.vector))
    return now._replace(found=kept, tries=now.tries + 1, direction=_along(kept.gradient, now.reach), aim=aim)


def _climbed(now: _Search, new: Start, finite: jax.Array) -> _Search:
    """Take a step that gains enough and look for the next, or make it shorter."""
    here, step = now.found, now.share * now.direction
    gains = finite & (new.log_density >= here.log_density + GAIN * jnp.vdot(step, here.gradient))
    steps, changes, pairs = _learnt(now, step, here.gradient - new.gradient, gains)
    newton = _newton(new.gradient, steps, changes)
    left, aim = 0.5 * jnp.vdot(newton, new.gradient), now.aim**2
    # A step that gained much tells of the curvature where it came from: if little seems left, a short one asks here.
    near, ended = (pairs > 0) & (left <= len(step)), new.log_density - here.log_density <= len(step)
    known, asks = (pairs > 0) & (~near | ended), near & ~ended
    steps, changes, pairs = (jnp.where(asks, jnp.zeros_like(x), x) for x in (steps, changes, pairs))
    reach = jnp.where(asks, SHORT * len(step) ** 0.5, GROWS * _norm(step))
    newton *= 1 - jnp.sign(now.aim) * jnp.sqrt(aim / jnp.maximum(left, aim))
    newton *= reach / jnp.maximum(_norm(newton), reach)
    direction = jnp.where(known, newton, _along(new.gradient, reach))
    now = now._replace(trials=now.trials + 1, share=now.share * SHRINKS)
    taken = now._replace(
        found=new, direction=direction, share=jnp.ones_like(now.share), reach=reach,
        steps=steps, changes=changes, pairs=pairs, rests=(near & ended) | ~jnp.any(new.gradient),
    )  # fmt: skip
    return jax.tree.map(lambda a, b: jnp.where(gains, a, b), taken, now._replace(rests=now.share < SHORTEST))


def _learnt(now: _Search, step: jax.Array, change: jax.Array, gains: jax.Array) -> tuple[jax.Array, ...]:
    """Keep a step that was taken with the change of the gradient, where the parabola along it has a maximum."""
    curved = jnp.vdot(step, change)
    keeps = gains & (curved > SMALL * _norm(step) * _norm(change)) & jnp.isfinite(jnp.vdot(change, change))
    steps = jnp.where(keeps, jnp.concatenate([now.steps[1:], step[None]]), now.steps)
    changes = jnp.where(keeps, jnp.concatenate([now.changes[1:], change[None]]), now.changes)
    return steps, changes, now.pairs + keeps


def _newton(gradient: jax.Array, steps: jax.Array, changes: jax.Array) -> jax.Array:
    """Multiply by the inverse of the curvature that pairs tell (the two-loop recursion); a pair of zeros tells none."""
    curved = jnp.sum(steps * changes, 1)
    weight = jnp.where(curved > 0, 1 / jnp.where(curved > 0, curved, 1.0), 0.0)
    shares = []
    for step, change, w in reversed([*zip(steps, changes, weight, strict=True)]):
        shares.append(w * jnp.vdot(step, gradient))
        gradient -= shares[-1] * change
    square = jnp.vdot(changes[-1], changes[-1])
    gradient *= curved[-1] / jnp.where(square > 0, square, 1.0)
    for step, change, w, share in zip(steps, changes, weight, reversed(shares), strict=True):
        gradient += (share - w * jnp.vdot(change, gradient)) * step
    return gradient


def _along(gradient: jax.Array, length: jax.Array) -> jax.Array:
    """Give a step of some length along a gradient, however large."""
    largest = jnp.max(jnp.abs(gradient), initial=0.0)
    gradient = gradient / jnp.where(largest > 0, largest, 1.0)
    norm = _norm(gradient)
    return gradient * (length / jnp.where(norm > 0, norm, 1.0))


def _norm(vector: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.vdot(vector, vector))


def prior_coordinates(form: Form) -> Form | None:
    """Write the Form that draws from the prior and gives the coordinates of each choice; None for a flat prior."""
    if any(site.law.label == IMPROPER for site in form.sites() if site.observed is None):
        return None
    recorded, block = record(without_weights(form), ("sample",)), Block()
    inputs = tuple(v.like() for v in form.inputs)
    values = recorded.spliced(block, inputs).values
    return without_dead_code(block.form(inputs, block.splice(to_coordinates(form), [*inputs, *values])))
