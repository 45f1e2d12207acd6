"""Resampling schemes: when a population is resampled, the law of the ancestors, and how many are distinct.

Law: a scheme gives N weighted items M offspring as one structured random choice, with E[offspring_i] = M w_i / sum(w);
an item of weight zero never has offspring. A draw places the offspring by `push`, a pure function of uniforms, and
`enumerate` lists the exact law of that. Weights without a finite positive sum leave the population untouched, slot k
from item k modulo N: whoever calls flags dead weights (all zero), and NaN or infinite ones, from the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lawful.distributions.protocol import Law
from lawful.distributions.sampling.threefry import words as random_words
from lawful.errors import LawfulError

from ..missing_call import refuse_uncalled
from ..registered import stored_as


@dataclass(frozen=True)
class Scheme:
    """A resampling scheme; equal by its name and functions, so that it can be a static argument.

    Attributes:
        name: the name in the literature.
        uniforms_shape: (N, M) -> shape of the uniforms of one draw.
        push: (uniforms, weights (N,), M) -> ancestors (M,). Uniforms are floats in [0, 1), or unsigned words read as
            word / 2**width. Weights are linear, non-negative, of any common scale, and may be traced.
        enumerate: (weights (N,), M) -> ancestors (C, M) and their log masses (C,), -inf for cells that cannot occur.
        cells: (N, M) -> C, the static number of cells.
        paired: whether each uniform is a pair along the last axis whose second part refines the first (by 2**-24 for
            floats, by 2**-32 for words): more random bits than one float32 holds.
        ascending: whether ancestors always come in ascending order.
    """

    name: str
    uniforms_shape: Callable[[int, int], tuple[int, ...]] = field(repr=False)
    push: Callable[[jax.Array, jax.Array, int], jax.Array] = field(repr=False)
    enumerate: Callable[[jax.Array, int], tuple[jax.Array, jax.Array]] = field(repr=False)
    cells: Callable[[int, int], int] = field(repr=False)
    paired: bool = field(default=False, repr=False)
    ascending: bool = field(default=False, repr=False)

    def draw(self, key: jax.Array, weights: Float[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
        """Draw ancestors (M,), int32, with random words as wide as the weights can tell apart."""
        wide = weights.dtype == jnp.float64 and not self.paired
        shape = self.uniforms_shape(weights.shape[0], n_offspring)
        if wide:
            return self.push(jax.random.bits(key, shape, jnp.uint64), weights, n_offspring)
        return self.push(random_words(key, shape), weights, n_offspring)

    def __str__(self) -> str:
        return self.name


SCHEMES: dict[str, Scheme] = {}  # by name; the files of this folder that hold schemes fill it


def named(scheme: Scheme) -> Scheme:
    """Register a scheme, which its name stands for from now on."""
    SCHEMES[scheme.name] = scheme
    return scheme


def is_named(given: Any) -> bool:
    """Tell whether something is one of the schemes above, which its name stands for.

    >>> is_named(scheme("systematic")), is_named("systematic")
    (True, False)
    """
    return isinstance(given, Scheme) and SCHEMES.get(given.name) is given


def scheme(given: Any) -> Any:
    """Look a scheme up by its name; a scheme, or what draws as one, is itself.

    Raises: LawfulError for any other name or object, as a function that makes a scheme and was not called.

    >>> scheme("systematic").name
    'systematic'
    """
    if isinstance(given, Scheme):
        return given
    if isinstance(given, str) and given in SCHEMES:
        return SCHEMES[given]
    refuse_uncalled(given, "resampling")
    if hasattr(given, "draw"):
        return given
    raise LawfulError(
        f"no resampling scheme is called {given!r}: choose one of {', '.join(sorted(SCHEMES))}, or give a Scheme.",
        given=given,
    )


class AncestorsLaw(Law):
    """A law of ancestors, which several cells may give."""

    dtype = jnp.dtype("int32")

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Sum the masses of the cells that give these ancestors."""
        ancestors, masses = self.enumerate(*parameters)
        return jax.scipy.special.logsumexp(jnp.where(jnp.all(ancestors == value, axis=1), masses, -jnp.inf))


@dataclass(frozen=True)
class ResampleLaw(AncestorsLaw):
    """Ancestors of `offspring` particles drawn from `size` weights by a resampling scheme."""

    scheme: Scheme
    size: int
    offspring: int

    @property
    def shape(self) -> tuple[int, ...]:
        """One ancestor per offspring."""
        return (self.offspring,)

    @property
    def atoms(self) -> int:
        """Number of cells of the scheme's partition of its uniforms."""
        return self.scheme.cells(self.size, self.offspring)

    @property
    def label(self) -> str:
        """Name for people."""
        return str(self.scheme)

    def draw(self, key: jax.Array, weights: jax.Array) -> jax.Array:
        """Draw ancestors."""
        return self.scheme.draw(key, weights, self.offspring).astype(jnp.int32)

    def enumerate(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the cells with their log masses."""
        ancestors, masses = self.scheme.enumerate(weights, self.offspring)
        return ancestors.astype(jnp.int32), masses


@dataclass(frozen=True)
class Distinct:
    """Counts the distinct ancestors.

    Attributes:
        items: how many there are to choose from.
        ascending: whether ancestors come in ascending order: then neighbours tell, and nothing has to be marked.

    >>> int(Distinct(5)(jnp.array([3, 0, 3, 1]))), int(Distinct(5, ascending=True)(jnp.array([0, 1, 3, 3])))
    (3, 3)
    """

    items: int
    ascending: bool = False

    def __call__(self, ancestors: Int[Array, " M"]) -> Int[Array, ""]:
        """Count."""
        if self.ascending:
            return 1 + jnp.sum(ancestors[1:] != ancestors[:-1], dtype=jnp.int32)
        return jnp.sum(jnp.zeros(self.items, bool).at[ancestors].set(True), dtype=jnp.int32)

    def all(self) -> Int[Array, ""]:
        """Count those of a population that is left as it is."""
        return jnp.int32(self.items)


def ess(weights: Float[Array, " N"]) -> Float[Array, ""]:
    """Effective sample size of linear weights; 0 when every weight is 0.

    >>> ess(jnp.array([2.0, 2.0, 0.0, 0.0])).item()
    2.0
    """
    total = jnp.sum(weights)
    shares = weights / jnp.where(total == 0, 1, total)
    return jnp.where(total == 0, 0, 1 / jnp.sum(jnp.where(total == 0, 1, shares * shares)))


@stored_as("ess_below")
@dataclass(frozen=True)
class EssBelow:
    """The rule "resample when the effective sample size is below a fraction of N"; NaN never resamples."""

    fraction: float

    def __call__(self, effective_size: Float[Array, ""], size: int) -> Bool[Array, ""]:
        """Decide for a population of `size` particles."""
        return effective_size < self.fraction * size

    def __repr__(self) -> str:
        return f"ess < {self.fraction:g} N"


@dataclass(frozen=True)
class Decided:
    """A rule of (effective sample size, N), as the index of one of two arms: 1 where it holds."""

    rule: Callable[[jax.Array, int], jax.Array]
    size: int

    def __call__(self, effective_size: jax.Array) -> jax.Array:
        """Decide."""
        return self.rule(effective_size, self.size).astype(jnp.int32)


def ess_below(fraction: float) -> EssBelow:
    """Resample when the effective sample size is below this fraction of the number of particles.

    >>> rule = ess_below(0.5)
    >>> rule(ess(jnp.array([1.0, 0.0, 0.0, 0.0])), 4).item(), rule(ess(jnp.ones(4)), 4).item()
    (True, False)
    """
    return EssBelow(fraction)
