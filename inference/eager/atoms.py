"""Atoms: the values of a finite site with their probabilities, one list for each independent element of the site.

Law: the site is the product of its elements, and each list holds exactly the values of positive probability. The tables
come from the parameters by NumPy in float64, since asking a distribution for every score would cost more than all the
rest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.addresses import Address, show_address
from lawful.distributions.families import core_of
from lawful.errors import ImpureProgramError, LawfulError, NonFiniteError, UnsupportedProgramError
from lawful.messages import FactorMessage, SampleMessage

NOT_FINITE = "not finite: give breakpoints, or use level='statistical'"

SUM_TO_ONE = 1e-5  # of probabilities in single precision, too
# Fractions with larger denominators are not told apart from rounded ones.
LARGEST_DENOMINATOR = 10**6


class Atoms(NamedTuple):
    """The values of one element, and their probabilities, all positive."""

    values: list[Any]
    probabilities: list[float | Fraction]


class FiniteSite(NamedTuple):
    """A site as a product of independent elements, and the value that a choice for each of them makes."""

    elements: Sequence[Atoms]
    assemble: Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Statement:
    """Names the statement of a message in errors; the text is made only when there is one."""

    message: SampleMessage | FactorMessage

    def __str__(self) -> str:
        kind = "site" if isinstance(self.message, SampleMessage) else "factor"
        return f"{kind} '{show_address(self.message.address)}' ({self.message.source})"


def diverged(address: Address, what: str) -> ImpureProgramError:
    """Make the error of a program that does not repeat itself."""
    return ImpureProgramError(
        f"site '{show_address(address)}' {what} when the program was run again with the same choices. Fix: take all "
        "randomness from sites, and change nothing outside the program.",
        site=address,
    )


class _Table(NamedTuple):
    """Values (*batch, S) of one element and probabilities (*batch, S); the site may broadcast the batch."""

    values: np.ndarray
    probabilities: np.ndarray


def finite_site(distribution: Any, where: object) -> FiniteSite:
    """List the atoms of a site.

    Args:
        distribution: a distribution of numpyro with a finite support, or an object that offers
            `enumerate_choices() -> (values, probabilities)` for its value as a whole, or
            `finite_elements(site_of) -> (list of (values, probabilities), assemble)` for independent elements, where
            `site_of` lists the atoms of a part.
        where: whatever names the site in error messages, by `str`.

    Raises: UnsupportedProgramError for a support that is not finite; NonFiniteError for probabilities that are none.

    >>> site = finite_site(dist.Categorical(np.array([0.25, 0.0, 0.75])), "x")
    >>> [(int(value), p) for value, p in zip(*site.elements[0])]
    [(0, 0.25), (2, 0.75)]
    """
    if hasattr(distribution, "finite_elements"):
        elements, assemble = distribution.finite_elements(lambda part: finite_site(part, where))
        return FiniteSite([_positive(v, list(p), where) for v, p in elements], assemble)
    if hasattr(distribution, "enumerate_choices"):
        values, probabilities = distribution.enumerate_choices()
        return FiniteSite([_positive(values, list(probabilities), where)], _first)
    core = _core(distribution)
    if isinstance(core, dist.Delta):
        value = np.broadcast_to(np.asarray(core.v), distribution.shape())
        mass = float(np.exp(np.sum(np.asarray(core.log_density, np.float64))))
        return FiniteSite([_positive([value[()]], [mass], where)], _first)
    table = None if core is None else _table(core, where)
    if table is None:
        return _generic(distribution, core, where)
    shape = tuple(distribution.shape())
    if shape == () and table.values.ndim == 1:
        return FiniteSite([_positive(table.values, table.probabilities.tolist(), where)], _first)
    return _product(table, shape, (), where)


def probabilities_at(distribution: Any, value: Any, where: object) -> list[float] | None:
    """Look up the probability of each element of an observed value; None for a family without a table.

    >>> probabilities_at(dist.Bernoulli(np.array([0.25, 0.5])), np.array([1, 1]), "y")
    [0.25, 0.5]
    """
    whole = hasattr(distribution, "enumerate_choices") or hasattr(distribution, "finite_elements")
    core = None if whole else _core(distribution)
    table = None if core is None else _table(core, where)
    if table is None:
        return None
    shape = tuple(distribution.shape())
    values = np.broadcast_to(table.values, (*shape, table.values.shape[-1]))
    hit = values == np.broadcast_to(np.asarray(value), shape)[..., None]
    found = np.where(hit, np.broadcast_to(table.probabilities, values.shape), 0.0).sum(axis=-1)
    return [_checked(p, where) for p in found.ravel().tolist()]


@functools.lru_cache(maxsize=1 << 16)
def rational(number: float) -> Fraction:
    """Read a float as the fraction of small denominator that it rounds, and otherwise as what it is.

    >>> rational(1 / 3), rational(0.1 + 0.2)
    (Fraction(1, 3), Fraction(3, 10))
    """
    exact = Fraction(number)
    near = exact.limit_denominator(LARGEST_DENOMINATOR)
    return near if abs(near - exact) <= abs(exact) / 10**15 else exact


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def _core(distribution: Any) -> Any:
    """Look through expansion and independence, which only repeat elements; None behind any other wrapper."""
    core = core_of(distribution, masks=False)
    return None if isinstance(core, dist.MaskedDistribution) else core


def _table(core: Any, where: object) -> _Table | None:
    """Tabulate the families whose probabilities are plain functions of their parameters.

    Raises: NonFiniteError where these make no law.
    """
    table = _tabulated(core)
    p = np.zeros((0, 1)) if table is None else table.probabilities
    bad = ~((p >= 0).all(axis=-1) & (np.abs(p.sum(axis=-1) - 1) <= SUM_TO_ONE)) & (p.shape[-1] > 0)
    if bad.any():
        row = p[bad][0].tolist()
        raise NonFiniteError(f"{where}: {row} are no probabilities, which lie in 0..1 and sum to 1.", row=row)
    return table


def _tabulated(core: Any) -> _Table | None:
    if isinstance(core, dist.BernoulliProbs):
        return _bernoulli(np.asarray(core.probs, np.float64))
    if isinstance(core, dist.BernoulliLogits):
        return _bernoulli(_expit(np.asarray(core.logits, np.float64)))
    if isinstance(core, dist.CategoricalProbs):
        return _categorical(np.asarray(core.probs, np.float64))
    if isinstance(core, dist.CategoricalLogits):
        logits = np.asarray(core.logits, np.float64)
        masses = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return _categorical(masses / masses.sum(axis=-1, keepdims=True))
    if isinstance(core, dist.DiscreteUniform):
        low, high = np.broadcast_arrays(np.asarray(core.low), np.asarray(core.high))
        size = (high - low + 1)[..., None]
        steps = np.arange(int(size.max(initial=0)), dtype=_integer())
        return _Table(low[..., None] + steps, np.where(steps < size, 1.0 / size, 0.0))
    if isinstance(core, dist.BinomialProbs | dist.BinomialLogits):
        p = core.probs if isinstance(core, dist.BinomialProbs) else _expit(np.asarray(core.logits, np.float64))
        p, n = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(core.total_count))
        counts = np.arange(int(n.max(initial=0)) + 1, dtype=_integer())
        p, n = p[..., None], n[..., None]
        ways = np.vectorize(math.comb, otypes=[float])(n, counts)
        return _Table(counts, ways * p**counts * (1 - p) ** np.maximum(n - counts, 0))
    return None


def _bernoulli(p: np.ndarray) -> _Table:
    return _Table(np.arange(2, dtype=_integer()), np.stack([1 - p, p], axis=-1))


def _categorical(p: np.ndarray) -> _Table:
    return _Table(np.arange(p.shape[-1], dtype=_integer()), p)


def _expit(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits)))


def _integer() -> np.dtype:
    """Return the integer type that numpyro's discrete distributions draw."""
    return np.dtype(jnp.result_type(int))


def _generic(distribution: Any, core: Any, where: object) -> FiniteSite:
    """Ask the distribution itself for its support and its scores."""
    if core is None:
        raise UnsupportedProgramError(f"{where}: a masked choice has no finite measure. Fix: mask observations only.")
    try:
        support = np.asarray(core.enumerate_support(expand=False))
    except NotImplementedError:
        kind = type(core).__name__
        raise UnsupportedProgramError(f"{where}: {kind} is {NOT_FINITE}.", distribution=kind) from None
    event = tuple(core.event_shape)
    scores = np.asarray(core.log_prob(jnp.asarray(support)), np.float64)
    shape = tuple(distribution.shape())
    batch = shape[: len(shape) - len(event)]
    probabilities = np.moveaxis(np.exp(scores), 0, -1)
    lead = len(core.batch_shape)
    values = np.moveaxis(support, 0, lead).reshape((*support.shape[1 : 1 + lead], len(support), *event))
    return _product(_Table(values, probabilities), batch, event, where)


def _product(table: _Table, batch: tuple[int, ...], event: tuple[int, ...], where: object) -> FiniteSite:
    size = table.probabilities.shape[-1]
    values = np.broadcast_to(table.values, (*batch, size, *event)).reshape((-1, size, *event))
    probabilities = np.broadcast_to(table.probabilities, (*batch, size)).reshape((math.prod(batch), size))
    elements = [_positive(v, p.tolist(), where) for v, p in zip(values, probabilities, strict=True)]
    dtype = table.values.dtype

    def assemble(chosen: Sequence[Any]) -> Any:
        return np.asarray(chosen, dtype).reshape((*batch, *event))[()]

    return FiniteSite(elements, assemble)


def _positive(values: Sequence[Any] | np.ndarray, probabilities: Sequence[float | Fraction], where: object) -> Atoms:
    kept = [i for i, p in enumerate(probabilities) if _checked(p, where) > 0]
    if not kept:
        raise LawfulError(f"{where}: no value has positive probability.")
    return Atoms([values[i] for i in kept], [probabilities[i] for i in kept])


def _checked[P: float | Fraction](probability: P, where: object) -> P:
    if not 0 <= probability < math.inf:
        raise NonFiniteError(f"{where}: {probability} is not a probability.", probability=probability)
    return probability
