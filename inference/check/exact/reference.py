"""The reference enumerator: the measure of a finite program, found by running it once for every sequence of choices.

Law: depth first over prefixes of choices, the eager program is run again under each prefix; the weight of a run is the
product of the probabilities of its choices, of the densities of its observations, and of its factors. Nothing here
knows the staged form: this is the oracle that staged code is compared with. The probabilities of all runs sum to 1,
so that no run was lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.errors import LawfulError, NonFiniteError, PathLimitError
from lawful.handlers.standard import Boundary, refuse_duplicate
from lawful.messages import OVERFLOW, FactorMessage, Handler, Message, SampleMessage, Source, only

from ...eager.atoms import FiniteSite, Statement, diverged, finite_site, probabilities_at, rational
from ...eager.decisions import note, recording
from .measure import LARGEST_LOG, Measure, Trace, Weight, exact_sum, freeze

# Beyond this, weights are kept in units of exp(log_scale), so that neither they nor their sums leave the range of
# float64.
LARGEST_LOG_WEIGHT = 300.0


def enumerate_measure(
    program: Callable[..., Any],
    *args: Any,
    arithmetic: str = "float64",
    max_paths: int = 100_000,
    jax_values: bool = False,
) -> Measure:
    """Enumerate a finite program through the eager interpreter.

    Args:
        program: a program whose every unobserved site is finite: a discrete distribution with finite support, a point
            mass, plates and batches of these, or an object that offers `enumerate_choices() -> (values,
            probabilities)`.
        args: arguments of the program.
        arithmetic: "float64", or "rational" for fractions: a probability or a weight that rounds a fraction with a
            denominator up to a million is read as that fraction, so that programs with small rationals are exact.
            Factors pass through JAX, so this needs `jax_enable_x64`.
        max_paths: largest number of runs.
        jax_values: give the program JAX arrays; by default choices are NumPy numbers and arrays, which run much faster.

    Returns: the unnormalised measure on traces (active choices, returned value).

    Raises:
        UnsupportedProgramError: a site is not finite.
        PathLimitError: more than `max_paths` runs; the message estimates how many it would take.
        NonFiniteError: a weight is NaN or +inf.
        ImpureProgramError: the program did not repeat itself under the same choices.

    >>> import numpyro.distributions as dist, lawful
    >>> def program():
    ...     coin = lawful.sample("coin", dist.Bernoulli(1 / 3))
    ...     lawful.factor("weight", jnp.log(jnp.where(coin == 1, 0.5, 0.25)))
    ...     return coin
    >>> measure = enumerate_measure(program, arithmetic="rational")
    >>> dict(measure.marginal(lambda trace: trace.output)), measure.total()
    ({0: Fraction(1, 6), 1: Fraction(1, 6)}, Fraction(1, 3))
    """
    if arithmetic not in ("float64", "rational"):
        raise LawfulError(f"enumerate_measure: expected arithmetic 'float64' or 'rational', got {arithmetic!r}.")
    exact = arithmetic == "rational"
    prefix: list[_Choice] = []
    coverage: dict[str, set[bool]] = {}
    found: dict[Hashable, list[tuple[Weight, Any]]] = {}
    cut_off: list[tuple[Weight, Any]] = []
    probabilities: list[Weight] = []
    while True:
        run = _Run(prefix, exact, jax_values, coverage)
        with only(run), recording(coverage):
            output = program(*args)
        if run.position != len(prefix):
            raise diverged(prefix[run.position].address, "was not reached")
        trace = Trace(frozenset(run.choices.items()), freeze(output))
        probability = run.probability()
        if run.overflow:
            cut_off.append((probability, run.weight()))
        found.setdefault(trace, []).append((probability, run.zero() if run.overflow else run.weight()))
        probabilities.append(probability)
        while prefix and not prefix[-1].advance():
            prefix.pop()
        if not prefix:
            break
        if len(probabilities) >= max_paths:
            needed = math.ceil(len(probabilities) / _progress(prefix))
            raise PathLimitError(
                f"the enumeration needs about {needed} runs, more than max_paths={max_paths}. "
                "Fix: raise max_paths, or make the instance smaller.",
                needed=needed,
                cap=max_paths,
            )
    weights, log_scale = _collect(found, exact)
    overflow = exact_sum([p * (w if exact else math.exp(min(w, LARGEST_LOG))) for p, w in cut_off])
    seen = {name: frozenset(outcomes) for name, outcomes in coverage.items()}
    return Measure(weights, log_scale, exact_sum(probabilities), len(probabilities), seen, overflow)


@dataclass
class _Choice:
    """One site of the current prefix, with the position of each element in its list of atoms: an odometer."""

    address: Address
    site: FiniteSite
    positions: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.positions = [0] * len(self.site.elements)

    def advance(self) -> bool:
        """Go to the next choice, the last element fastest; False when all were seen."""
        for element in reversed(range(len(self.positions))):
            self.positions[element] += 1
            if self.positions[element] < len(self.site.elements[element].values):
                return True
            self.positions[element] = 0
        return False

    def value(self) -> Any:
        return self.site.assemble(
            [atoms.values[i] for atoms, i in zip(self.site.elements, self.positions, strict=True)]
        )

    def probabilities(self) -> Iterator[float | Fraction]:
        return (atoms.probabilities[i] for atoms, i in zip(self.site.elements, self.positions, strict=True))


class _Run(Handler):
    """One run: repeats the choices of the prefix, then takes the first atom of every new site and appends it."""

    def __init__(self, prefix: list[_Choice], exact: bool, jax_values: bool, coverage: dict[str, set[bool]]) -> None:
        self.prefix = prefix
        self.exact = exact
        self.jax_values = jax_values
        self.coverage = coverage
        self.position = 0
        self.choices: dict[Address, Hashable] = {}
        self.used: dict[Address, Source] = {}
        self.log_weights: list[float] = []
        self.exact_weight = Fraction(1)
        self.overflow = False
        self.boundary = Boundary()

    def process(self, message: Message) -> None:
        if isinstance(message, SampleMessage):
            self.boundary.refuse_inside(message)
            refuse_duplicate(self.used, message.address, message.source)
            if message.value is None:
                message.value = self._choose(message)
            else:
                self._score(message)
            if not message.observed:
                self.choices[message.address] = freeze(message.value)
        elif isinstance(message, FactorMessage) and message.role == OVERFLOW:
            self.overflow = self.overflow or float(message.log_weight) == -math.inf
        elif isinstance(message, FactorMessage):
            self._weigh(float(message.log_weight), message)
        named = getattr(message, "decision", None)
        if named is not None:
            note(self.coverage, *named)

    def _choose(self, message: SampleMessage) -> Any:
        if self.position == len(self.prefix):
            self.prefix.append(_Choice(message.address, finite_site(message.distribution, Statement(message))))
        choice = self.prefix[self.position]
        if choice.address != message.address:
            raise diverged(choice.address, f"became '{show_address(message.address)}'")
        self.position += 1
        value = choice.value()
        return jax.tree.map(jnp.asarray, value) if self.jax_values else value

    def _score(self, message: SampleMessage) -> None:
        """Weigh by the density of a value that is given: an observation, or a choice that an inner handler made."""
        if self.overflow:
            return
        probabilities = probabilities_at(message.distribution, message.value, Statement(message))
        if probabilities is None:
            scores = np.asarray(message.distribution.log_prob(message.value), np.float64)
            for score in scores.ravel().tolist():
                self._weigh(score, message)
        elif self.exact:
            self.exact_weight *= math.prod((rational(p) for p in probabilities), start=Fraction(1))
        else:
            self.log_weights += [math.log(p) if p > 0 else -math.inf for p in probabilities]

    def _weigh(self, log_weight: float, message: SampleMessage | FactorMessage) -> None:
        if self.overflow:
            return
        if not log_weight < math.inf:
            raise NonFiniteError(f"{Statement(message)}: the log weight is {log_weight}.", log_weight=log_weight)
        if self.exact:
            self.exact_weight *= rational(math.exp(log_weight))
        else:
            self.log_weights.append(log_weight)

    def probability(self) -> Weight:
        """The probability of the choices of this run."""
        factors = (p for choice in self.prefix for p in choice.probabilities())
        if self.exact:
            return math.prod((p if isinstance(p, Fraction) else rational(p) for p in factors), start=Fraction(1))
        return math.prod((float(p) for p in factors), start=1.0)

    def weight(self) -> Weight:
        """The weight of this run: a fraction, or a logarithm in float64."""
        return self.exact_weight if self.exact else math.fsum(self.log_weights)

    def zero(self) -> Weight:
        """The weight of a run that a bounded loop cut off."""
        return Fraction(0) if self.exact else -math.inf


def _progress(prefix: list[_Choice]) -> float:
    """Return the share of the tree of choices that lies before the prefix, were every branch as large as the others."""
    done, share = 0.0, 1.0
    for choice in prefix:
        for atoms, position in zip(choice.site.elements, choice.positions, strict=True):
            share /= len(atoms.values)
            done += position * share
    return done


def _collect(found: dict[Hashable, list[tuple[Any, Any]]], exact: bool) -> tuple[dict[Hashable, Weight], float]:
    """Add up the runs of each trace."""
    if exact:
        return {trace: exact_sum([p * w for p, w in runs]) for trace, runs in found.items()}, 0.0
    finite = [log_weight for runs in found.values() for _, log_weight in runs if log_weight > -math.inf]
    largest = max(finite, default=0.0)
    scale = largest if abs(largest) > LARGEST_LOG_WEIGHT else 0.0
    return {trace: exact_sum([p * math.exp(w - scale) for p, w in runs]) for trace, runs in found.items()}, scale
