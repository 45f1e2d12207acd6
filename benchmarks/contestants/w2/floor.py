"""The floor of W2: adaptive tempered SMC written by hand in JAX for this logistic regression, and nothing else.

Law: that of the library: the next temperature leaves an effective sample size of N/2 (bisection to float32), systematic
resampling within one of N w_i / sum(w), random-walk steps of covariance 2.38^2/d x weighted covariance, evidence as a
two-float sum. With `chains` the moves are waste-free: so many chains, all of their states kept.

What makes it fast: one `lax.while_loop` over temperatures, nothing stacked; log prior and log likelihood carried, so
that a temperature scores nothing again; one key and one batched draw a step; one matrix product for all particles; and
one logarithm for eight Bernoulli factors (`product`), since log (1 + a) + log (1 + b) = log (1 + a)(1 + b), in slices
that fill registers, with an exponential for arguments that are never positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contestants import threefry
from benchmarks.contestants.staged import Staged
from benchmarks.contestants.w1.floor import add_exactly, ancestors
from benchmarks.workloads import LOG_TWO_PI, regression

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"
WIDTH = 128  # eight slices of it hold the 1000 observations
# 2^f on [0, 1], fitted at Chebyshev's points; highest power first.
RISE = (0.000208179146, 0.00126921665, 0.0096521955, 0.0554960221, 0.240227208, 0.693147182, 1.0)

LogLikelihood = Callable[[jax.Array, jax.Array], jax.Array]


class Particles(NamedTuple):
    """Positions (N, d), log prior and log likelihood (N,)."""

    x: jax.Array
    prior: jax.Array
    likelihood: jax.Array


class Carry(NamedTuple):
    """The state of the loop over temperatures."""

    particles: Particles
    temperature: jax.Array
    evidence: jax.Array
    remainder: jax.Array
    stage: jax.Array


def plain(x: jax.Array, signed: jax.Array) -> jax.Array:
    """Log likelihood of each particle; `signed` (d, n) holds the covariates times (1 - 2 y)."""
    return -jnp.sum(jax.nn.softplus(x @ signed), axis=1)


def product(x: jax.Array, signed: jax.Array) -> jax.Array:
    """The same with one logarithm for eight factors, read as slices of whole registers."""
    z = x @ signed
    whole, rest = divmod(z.shape[1], WIDTH)
    total = jnp.zeros(len(x), z.dtype)
    for start, stop, slices in ((0, rest, whole + 1), (rest, WIDTH, whole)):
        parts = [z[:, i * WIDTH + start : i * WIDTH + stop] for i in range(slices)]
        factors = [1 + exp_minus(jnp.abs(part)) for part in parts]
        terms = jnp.log(reduce(jnp.multiply, factors)) + reduce(jnp.add, [jnp.maximum(part, 0) for part in parts])
        total -= jnp.sum(lax.optimization_barrier(terms), axis=1)  # fused with the sum, terms are made one by one
    return total


def exp_minus(x: jax.Array) -> jax.Array:
    """exp(-x) for x >= 0: 2^f by a polynomial, and the integer part of the exponent added to its bits.

    The library has one too; a floor is written by hand and shares no code with what it is compared with.
    """
    power = jnp.maximum(x * jnp.float32(-1 / math.log(2)), -126)
    floor = jnp.floor(power)
    f = power - floor
    mantissa = reduce(lambda value, coefficient: value * f + coefficient, RISE, jnp.zeros_like(f))
    return lax.bitcast_convert_type(
        lax.bitcast_convert_type(mantissa, jnp.int32) + (floor.astype(jnp.int32) << 23), jnp.float32
    )


def next_increase(likelihood: jax.Array, rest: jax.Array) -> jax.Array:
    """Bisect for the increase whose weights have an effective sample size of N/2; `rest` where it is larger there."""
    n = len(likelihood)
    fall = likelihood - jnp.max(likelihood)

    def too_far(increase: jax.Array) -> jax.Array:
        w = jnp.exp(increase * fall)
        return jnp.sum(w) ** 2 < 0.5 * n * jnp.sum(w * w)

    def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        far = too_far(middle)
        return jnp.where(far, low, middle), jnp.where(far, middle, high)

    low, _ = lax.fori_loop(0, 24, halve, (jnp.float32(0), rest))
    return jnp.where(too_far(rest), low, rest)


def tempered_program(
    particles: int, steps: int, chains: int | None, log_likelihood: LogLikelihood = product
) -> Callable[..., Any]:
    """The sampler as a function of a key and the signed covariates (d, n)."""
    n = particles

    def log_prior(x: jax.Array) -> jax.Array:
        return -0.5 * jnp.sum(x * x, axis=1) - 0.5 * LOG_TWO_PI * x.shape[1]

    def run(key: jax.Array, signed: jax.Array) -> dict[str, jax.Array]:
        d = signed.shape[0]
        scale = 2.38 / math.sqrt(d)

        def scored(x: jax.Array) -> Particles:
            return Particles(x, log_prior(x), log_likelihood(x, signed))

        def walk(root: jax.Array, temperature: jax.Array, p: Particles, key: jax.Array) -> Particles:
            step_key, accept_key = jax.random.split(key)
            m = len(p.x)
            step = threefry.normal(step_key, (m * d,)).reshape(m, d) @ root.T
            there = scored(p.x + step)
            ratio = there.prior - p.prior + temperature * (there.likelihood - p.likelihood)
            accept = jnp.log(jax.random.uniform(accept_key, (m,))) < ratio
            return Particles(
                jnp.where(accept[:, None], there.x, p.x), *(jnp.where(accept, a, b) for a, b in zip(there[1:], p[1:]))
            )

        def stage(c: Carry) -> Carry:
            p = c.particles
            increase = next_increase(p.likelihood, 1 - c.temperature)
            log_weight = increase * p.likelihood
            top = jnp.max(log_weight)
            weight = jnp.exp(log_weight - top)
            total = jnp.sum(weight)
            evidence, remainder = add_exactly(c.evidence, c.remainder, top + jnp.log(total / n))
            share = weight / total
            centred = p.x - share @ p.x
            root = scale * jnp.linalg.cholesky((centred * share[:, None]).T @ centred)
            temperature = jnp.where(increase >= 1 - c.temperature, 1.0, c.temperature + increase)
            resample_key, move_key = jax.random.split(jax.random.fold_in(key, c.stage + 1))
            u = jax.random.uniform(resample_key)
            move = partial(walk, root, temperature)
            if chains is None:
                index = ancestors(weight, u)
                start = Particles(*(a.at[index].get(mode="clip") for a in p))
                moved, _ = lax.scan(lambda q, k: (move(q, k), None), start, jax.random.split(move_key, steps))
            else:
                index = ancestors_of(weight, u, chains)
                start = Particles(*(a.at[index].get(mode="clip") for a in p))
                keys = jax.random.split(move_key, n // chains - 1)
                _, later = lax.scan(lambda q, k: (move(q, k),) * 2, start, keys)
                moved = Particles(
                    *(jnp.concatenate([a[None], b]).reshape(n, *a.shape[1:]) for a, b in zip(start, later))
                )
            return Carry(moved, temperature, evidence, remainder, c.stage + 1)

        x = threefry.normal(jax.random.fold_in(key, 0), (n * d,)).reshape(n, d)
        zero = jnp.float32(0)
        end = lax.while_loop(lambda c: c.temperature < 1, stage, Carry(scored(x), zero, zero, zero, jnp.int32(0)))
        mean = jnp.mean(end.particles.x, axis=0)
        return {
            "log_evidence": end.evidence,
            "log_evidence_remainder": end.remainder,
            "temperatures": end.stage,
            **{f"mean_{i}": mean[i] for i in range(d)},
        }

    return run


def ancestors_of(weight: jax.Array, u: jax.Array, m: int) -> jax.Array:
    """Systematic resampling of m ancestors by counting."""
    cumulative = jnp.cumsum(weight)
    ends = jnp.clip(jnp.ceil(cumulative * (m / cumulative[-1]) - u), 0, m).astype(jnp.int32)
    return jnp.cumsum(jnp.zeros(m, jnp.int32).at[ends].add(1, mode="drop", indices_are_sorted=True))


def build(settings: dict[str, Any], log_likelihood: LogLikelihood = product) -> Callable[[int], dict[str, jax.Array]]:
    """The contestant for one variant."""
    program = tempered_program(settings["particles"], settings["steps"], settings["chains"], log_likelihood)
    return Run(program)


class Run:
    """`run(i)` with key i and the data of W2."""

    def __init__(self, program: Callable[..., Any]) -> None:
        covariates, labels = regression()
        self._signed = jnp.asarray(covariates.T * (1 - 2 * labels), DTYPE)
        self._function = Staged(program)

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages

    def __call__(self, i: int) -> dict[str, jax.Array]:
        """One run with key i."""
        return self._function(jax.random.key(i), self._signed)
