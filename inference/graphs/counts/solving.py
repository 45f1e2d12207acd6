"""Solving a chunk of bags by one method: the log sums with each member one and zero, bags in lanes.

Law: every method computes the same two sums; they differ in cost, and in what happens far from the bulk. A linear
method knows when it cannot vouch for its sums: a value that is possible (`possible`) has a sum below what rounding to
zero may have taken from it. Then the whole chunk is solved again by the recursion in the log domain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lawful.distributions.softplus import softplus

from . import asymptotic, blocks, product_tree, recursion
from .possible import Possible, possible
from .tilting import Known, Tilted, counts_of, known, tilt

METHODS = ("auto", "tree", "blocks", "fourier", "log", "asymptotic")
FLOOR = {jnp.dtype("float32"): 1e-26, jnp.dtype("float64"): 1e-280}
LARGEST_TREE = 2048  # members up to which sums are written out even where transforms are faster: they lose no digit
LOG_BAGS_BYTES = 1 << 27  # what the recursion in the log domain may keep, forward laws and their copies


class Sums(NamedTuple):
    """For each member the message, and for each bag the log of the mean of the tilted weight."""

    messages: Float[Array, "B G"]
    log_mean: Float[Array, " G"]


class Problem(NamedTuple):
    """A chunk of bags, tilted, with what is known of its members."""

    h: Float[Array, "B G"]
    g: Float[Array, "S G"]
    members: Known
    tilted: Tilted
    possible: Possible


def pose(h: Float[Array, "B G"], g: Float[Array, "S G"]) -> Problem:
    """Pad a chunk to a power of two, tilt it and find what is possible in it."""
    h, g = product_tree.filled(h, g)
    members = known(h)
    return Problem(h, g, members, tilt(h, g, members), possible(h, g, members))


def solve(problem: Problem, method: str, accuracy: float) -> Sums:
    """Solve a chunk by a method of METHODS."""
    if method == "log":
        return in_logs(problem)
    if method == "asymptotic":
        return by_variance(problem)
    if method == "auto":
        method = "tree" if len(problem.h) <= LARGEST_TREE else "fourier"
        if _worth_asking(problem, accuracy):
            exact = partial(_guarded, method=method, accuracy=accuracy)
            return jax.lax.cond(_easy(problem, accuracy), by_variance, exact, problem)
    return _guarded(problem, method, accuracy)


def _easy(problem: Problem, accuracy: float) -> Bool[Array, ""]:
    """Tell whether all counts are hard, and of so large a variance that the normal approximation serves."""
    hard = jnp.sum(problem.g > -jnp.inf, axis=0) == 1
    spread = jnp.sum(problem.tilted.one * problem.tilted.zero, axis=0)
    # The variance moves when theta is polished, by less than a tenth where it is large.
    return jnp.all(hard & (spread > 1.1 * asymptotic.least_variance(accuracy)))


def log_mean_alone(problem: Problem, method: str, accuracy: float) -> Float[Array, " G"]:
    """Give the log mean of the tilted weight without any message: one way up the tree, where a tree is what is asked.

    Trees with Fourier transforms are solved whole, since their guards look at messages.
    """
    if method not in ("auto", "tree") or len(problem.h) > LARGEST_TREE:
        return solve(problem, method, accuracy).log_mean
    if method == "auto" and _worth_asking(problem, accuracy):
        easy = _easy(problem, accuracy)
        return jax.lax.cond(easy, lambda p: by_variance(p).log_mean, _upwards, problem)
    return _upwards(problem)


def _upwards(problem: Problem) -> Float[Array, " G"]:
    tilted, real = problem.tilted, problem.possible.bag
    law = blocks.law(tilted.one, tilted.zero)
    # The law of what known members exclude is zero, so a weight that was clipped there does not matter.
    total = jnp.sum(law * tilted.weights, axis=0)

    def in_logs(problem: Problem) -> jax.Array:
        theta, s = tilted.theta[None], counts_of(problem.g)
        log_law = recursion.log_law(problem.h + theta, len(problem.g))
        log_weights = problem.g - tilted.log_top[None] - theta * (s - tilted.centre[None])
        return recursion.log_total(jnp.where(log_law == -jnp.inf, -jnp.inf, log_law + log_weights))

    trusted = jnp.all((total >= FLOOR[problem.h.dtype]) | ~real)
    mean = jax.lax.cond(trusted, lambda _: jnp.log(jnp.where(real, total, 1)), in_logs, problem)
    return _log_mean(problem, mean)


def _worth_asking(problem: Problem, accuracy: float) -> bool:
    return len(problem.h) / 4 > 1.1 * asymptotic.least_variance(accuracy)


def _guarded(problem: Problem, method: str, accuracy: float) -> Sums:
    """Solve by a linear method, and again by a safer one where its sums are too small to be trusted."""
    sums = linear_sums(problem, method)
    safer: Callable[[Problem], Sums] = in_logs
    if method == "fourier" and product_tree.uses_fourier(len(problem.h)):
        safer = partial(_guarded, method="tree", accuracy=accuracy)
    floor = least_sum(problem, method, accuracy)
    return jax.lax.cond(trusted(problem, sums, floor), in_products, lambda p, _: safer(p), problem, sums)


def least_sum(problem: Problem, method: str, accuracy: float) -> Float[Array, " G"]:
    """Return the least sum that a linear method gets right.

    Products of positive numbers lose nothing but what underflows. A Fourier transform spreads the rounding error of the
    largest values: measured, less than a thirtieth of a rounding unit of the norm of the weights; three times that.
    """
    dtype = problem.h.dtype
    least = jnp.full(problem.h.shape[1], FLOOR[dtype], dtype)
    if method != "fourier" or not product_tree.uses_fourier(len(problem.h)):
        return least
    norm = jnp.sqrt(jnp.sum(jnp.minimum(problem.tilted.weights, 1) ** 2, axis=0))
    accuracy = min(accuracy, 1e-5 if dtype == jnp.float32 else 1e-11)
    return jnp.maximum(least, 0.1 * float(jnp.finfo(dtype).eps) / accuracy * norm)


def linear_sums(problem: Problem, method: str) -> Float[Array, "2 B G"]:
    """Return the sums with each member zero and one, of tilted weights with maximum one."""
    one, zero, weights = problem.tilted.one, problem.tilted.zero, problem.tilted.weights
    if method == "blocks":
        return blocks.sums(one, zero, weights)
    fourier = method == "fourier"
    return product_tree.hand_down(product_tree.grow(one, zero, fourier), weights, fourier)


def trusted(problem: Problem, sums: Float[Array, "2 B G"], floor: Float[Array, " G"]) -> Bool[Array, ""]:
    """Tell whether every sum of a possible value is far above what rounding may have done to it."""
    one = (sums[1] >= floor[None]) | ~problem.possible.one
    zero = (sums[0] >= floor[None]) | ~problem.possible.zero
    return jnp.all(one & zero) & ~jnp.any(clipped(problem))


def clipped(problem: Problem) -> Bool[Array, " G"]:
    """Tell whether a weight was clipped at a count that an excluded known member would allow."""
    s, (ones, free) = counts_of(problem.g), problem.members
    near = (s >= (ones - 1)[None]) & (s <= (ones + free + 1)[None])
    return jnp.any(problem.tilted.clipped & near, axis=0)


def in_products(problem: Problem, sums: Float[Array, "2 B G"]) -> Sums:
    """Turn linear sums into messages."""
    both = problem.possible.one & problem.possible.zero
    ratio = jnp.log(jnp.where(both, sums[1], 1) / jnp.where(both, sums[0], 1))
    mean = problem.tilted.zero[:1] * sums[0, :1] + problem.tilted.one[:1] * sums[1, :1]
    return Sums(_told(problem, ratio), _log_mean(problem, jnp.log(jnp.where(problem.possible.bag, mean[0], 1))))


def in_logs(problem: Problem) -> Sums:
    """Solve in the log domain, a few bags at a time."""
    size, bags = problem.h.shape
    per_bag = 4 * size * len(problem.g) * problem.h.dtype.itemsize
    at_once = min(max(LOG_BAGS_BYTES // per_bag, 1), max(bags, 1))
    theta, centre = problem.tilted.theta, problem.tilted.centre
    x = problem.h + theta[None]
    log_weights = problem.g - problem.tilted.log_top[None] - theta[None] * (counts_of(problem.g) - centre[None])
    if at_once >= bags:
        one, zero = recursion.log_sums(x, log_weights)
    else:
        few = -(-bags // at_once)
        split = [
            jnp.pad(a, ((0, 0), (0, few * at_once - bags))).reshape(len(a), few, at_once) for a in (x, log_weights)
        ]
        each = jax.checkpoint(lambda pair: recursion.log_sums(*pair))
        one, zero = jax.lax.map(each, (split[0].swapaxes(0, 1), split[1].swapaxes(0, 1)))
        one, zero = (a.swapaxes(0, 1).reshape(size, -1)[:, :bags] for a in (one, zero))
    both = problem.possible.one & problem.possible.zero
    ratio = jnp.where(both, one, 0) - jnp.where(both, zero, 0)
    mean = recursion.log_add(zero[0] - softplus(x[0]), one[0] - softplus(-x[0]))
    return Sums(_told(problem, ratio), _log_mean(problem, mean))


def by_variance(problem: Problem) -> Sums:
    """Solve a hard count by its variance: the normal approximation with corrections."""
    target = problem.tilted.centre
    theta = asymptotic.exact_theta(problem.h, target, problem.tilted.theta)
    ratio = asymptotic.messages(problem.h, theta) - problem.tilted.theta[None]
    shift = theta - problem.tilted.theta  # log_mean refers to the theta of the problem
    moved = jnp.sum(jnp.where(jnp.isfinite(problem.h), softplus(problem.h + theta[None]), 0), axis=0) - jnp.sum(
        jnp.where(jnp.isfinite(problem.h), softplus(problem.h + problem.tilted.theta[None]), 0), axis=0
    )
    log_mean = asymptotic.log_law(problem.h, theta) + moved - shift * (target - problem.members.ones)
    return Sums(_told(problem, ratio), _log_mean(problem, log_mean))


def _told(problem: Problem, ratio: Float[Array, "B G"]) -> Float[Array, "B G"]:
    """Add theta back, and replace messages about impossible values by infinite ones; an impossible bag says nothing."""
    one, zero = problem.possible.one, problem.possible.zero
    impossible = jnp.where(one, jnp.inf, jnp.where(zero, -jnp.inf, 0)).astype(ratio.dtype)
    return jnp.where(one & zero, ratio + problem.tilted.theta[None], impossible)


def _log_mean(problem: Problem, log_mean: Float[Array, " G"]) -> Float[Array, " G"]:
    return jnp.where(problem.possible.bag, log_mean, -jnp.inf)


def log_normaliser(problem: Problem, log_mean: Float[Array, " G"]) -> Float[Array, " G"]:
    """Undo the tilt: log E exp(g(sum y)) under the law of the untilted members.

    Member by member, softplus(h + theta) - softplus(h) - theta p is minus a relative entropy, so the sum has terms of
    one sign; the sums are kept in two words, since log Z of a large bag is a small difference of large sums.
    """
    tilted, h = problem.tilted, problem.h
    free = jnp.isfinite(h)
    at = jnp.where(free, h, 0)
    entropy = softplus(at + tilted.theta[None]) - softplus(at) - tilted.theta[None] * tilted.one
    high, low = two_word_sum(jnp.where(free, entropy, 0))
    mean, rest = two_word_sum(tilted.one)
    log_z = log_mean + (tilted.log_top + (tilted.theta * ((mean - tilted.centre) + rest) + (high + low)))
    return jnp.where(problem.possible.bag, log_z, -jnp.inf)


def two_word_sum(x: Float[Array, "B G"]) -> tuple[Float[Array, " G"], Float[Array, " G"]]:
    """Sum over the first axis by halves, with the rounding errors of every addition in a second word.

    >>> high, low = two_word_sum(jnp.array([[1e8], [1.0], [-1e8]], jnp.float32))
    >>> float(high[0] + low[0])
    1.0
    """
    size = product_tree.padded_size(len(x))
    high = jnp.pad(x, ((0, size - len(x)), (0, 0)))
    low = jnp.zeros_like(high)
    while len(high) > 1:
        half = len(high) // 2
        a, b = high[:half], high[half:]
        total = a + b
        back = total - a
        low = low[:half] + low[half:] + ((a - (total - back)) + (b - back))
        high = total
    return high[0], low[0]
