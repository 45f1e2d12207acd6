"""Measure: a finite unnormalised measure, as an enumeration finds it.

Law: weights of equal outcomes add up; two enumerations of one program give equal measures, Z included.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError

type Weight = float | Fraction

LARGEST_LOG = math.log(sys.float_info.max)


class Trace(NamedTuple):
    """One outcome of a program: the values of its active latent sites, and what it returned, both hashable."""

    choices: frozenset[tuple[Address, Hashable]]
    output: Hashable

    def value(self, name: str | Address) -> Hashable:
        """Return the value of one site.

        >>> Trace(frozenset({(("x",), 1)}), None).value("x")
        1
        """
        address = as_address(name)
        for other, value in self.choices:
            if other == address:
                return value
        raise LawfulError(f"site {address} is not active in this trace.", address=address)


@dataclass(frozen=True, eq=False)
class Measure(Mapping[Hashable, Weight]):
    """A mapping from outcomes to their weights.

    Attributes:
        weights: outcome -> weight, in units of exp(log_scale).
        log_scale: 0, except where a weight would leave the range of float64.
        probability: the sum of the probabilities of all paths, which must be 1.
        paths: number of choice sequences.
        coverage: each declared decision with the outcomes seen with positive probability.
        overflow: the mass that runs had when a bounded loop cut them off; it is not a part of the measure.

    >>> measure = Measure({(0, 0): 0.1, (0, 1): 0.2, (1, 0): 0.4})
    >>> dict(measure.marginal(lambda pair: pair[1])), round(measure.total(), 12)
    ({0: 0.5, 1: 0.2}, 0.7)
    """

    weights: Mapping[Hashable, Weight]
    log_scale: float = 0.0
    probability: Weight = 1.0
    paths: int = 0
    coverage: Mapping[str, frozenset[bool]] = field(default_factory=dict)
    overflow: Weight = 0.0

    def __getitem__(self, outcome: Hashable) -> Weight:
        """Return the weight of an outcome that was met; infinite beyond the range of float64."""
        return self._scaled(self.weights[outcome])

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    def traces(self) -> Iterator[tuple[Trace, Weight]]:
        """Iterate over the outcomes that are traces, with their weights in units of exp(log_scale)."""
        return ((outcome, weight) for outcome, weight in self.weights.items() if isinstance(outcome, Trace))

    def total(self) -> Weight:
        """Return Z, the sum of all weights."""
        return self._scaled(exact_sum(self.weights.values()))

    def marginal(self, function: Callable[[Any], Hashable] | str) -> Measure:
        """Push the measure forward: through a function of the outcome, or to the value of a named site."""
        if isinstance(function, str):
            name, function = function, lambda trace: trace.value(name)
        parts: dict[Hashable, list[Weight]] = {}
        for outcome, weight in self.weights.items():
            parts.setdefault(function(outcome), []).append(weight)
        weights = {outcome: exact_sum(list_) for outcome, list_ in parts.items()}
        return Measure(weights, self.log_scale, self.probability, self.paths, self.coverage, self.overflow)

    def integral(self, function: Callable[[Any], Any]) -> Weight:
        """Integrate a number-valued function of the outcome against the unnormalised measure.

        >>> Measure({0: 0.5, 2: 0.25}).integral(lambda x: x)
        0.5
        """
        return self._scaled(exact_sum([weight * function(outcome) for outcome, weight in self.weights.items()]))

    def _scaled(self, weight: Weight) -> Weight:
        if not self.log_scale or not weight:
            return weight
        log = math.log(abs(float(weight))) + self.log_scale
        return math.copysign(math.exp(log) if log < LARGEST_LOG else math.inf, weight)


class Comparison(NamedTuple):
    """How far a measure is from the true one."""

    error: float
    evidence_ratio: float
    tv: float


def compare(measure: Measure, truth: Measure) -> Comparison:
    """Compare two unnormalised measures.

    Args:
        measure: the measure under test.
        truth: the measure that it should equal.

    Returns: a `Comparison`. Its error is the largest difference of a weight, relative to the true Z, or the plain
        difference where Z is 0; its evidence ratio is Z' / Z, 1 where both are 0; its total variation is that of the
        normalised measures, 0 where both vanish and 1 where one does.

    >>> compare(Measure({0: 0.5, 1: 1.5}), Measure({0: 0.25, 1: 0.75}))
    Comparison(error=0.75, evidence_ratio=2.0, tv=0.0)
    """
    scale = math.exp(min(measure.log_scale - truth.log_scale, 700.0)) if measure.log_scale != truth.log_scale else 1
    z, true_z = exact_sum(measure.weights.values()) * scale, exact_sum(truth.weights.values())
    outcomes = measure.weights.keys() | truth.weights.keys()
    pairs = [(measure.weights.get(outcome, 0) * scale, truth.weights.get(outcome, 0)) for outcome in outcomes]
    largest = max((abs(ours - theirs) for ours, theirs in pairs), default=0)
    if true_z == 0 or z == 0:
        vanish = true_z == 0 and z == 0
        ratio = 1.0 if vanish else math.inf if true_z == 0 else 0.0
        return Comparison(float(largest if true_z == 0 else largest / true_z), ratio, 0.0 if vanish else 1.0)
    tv = sum(abs(ours / z - theirs / true_z) for ours, theirs in pairs) / 2
    return Comparison(float(largest / true_z), float(z / true_z), float(tv))


def differences(measure: Measure, truth: Measure, tolerance: float, most: int = 6) -> list[str]:
    """Write the outcomes whose weights differ by more than a share of the true Z, the largest first, with both weights.

    >>> differences(Measure({0: 0.5, 1: 1.5}), Measure({0: 0.5, 1: 0.5, 2: 0.25}), 1e-12)
    ['outcome 1: 1.5 instead of 0.5', 'outcome 2: 0 instead of 0.25']
    """
    scale = math.exp(min(measure.log_scale - truth.log_scale, 700.0)) if measure.log_scale != truth.log_scale else 1
    ours = {outcome: weight * scale for outcome, weight in measure.weights.items()}
    pairs = [(o, float(ours.get(o, 0)), float(truth.weights.get(o, 0))) for o in ours.keys() | truth.weights.keys()]
    bound = tolerance * (float(exact_sum(truth.weights.values())) or 1.0)
    apart = [(outcome, here, there) for outcome, here, there in pairs if not abs(here - there) <= bound]
    apart.sort(key=lambda item: (-round(abs(item[1] - item[2]), 12), show_outcome(item[0])))
    lines = [f"{show_outcome(outcome)}: {here:.10g} instead of {there:.10g}" for outcome, here, there in apart[:most]]
    unit = [] if not apart or not truth.log_scale else [f"(in units of exp({truth.log_scale:.6g}))"]
    return [*lines, *([f"and {len(apart) - most} more"] if len(apart) > most else []), *unit]


def show_outcome(outcome: Hashable) -> str:
    """Write an outcome for people.

    >>> show_outcome(Trace(frozenset({(("x", 0), 1), (("b",), 0)}), (1,)))
    'b = 0, x[0] = 1, returns (1,)'
    """
    if not isinstance(outcome, Trace):
        return f"outcome {outcome!r}"
    shown = [f"{show_address(a)} = {value}" for a, value in sorted(outcome.choices, key=lambda c: show_address(c[0]))]
    return ", ".join([*shown, *([] if outcome.output is None else [f"returns {outcome.output!r}"])]) or "no choice"


def exact_sum(weights: Any) -> Weight:
    """Sum fractions exactly, and floats with one rounding.

    >>> exact_sum([Fraction(1, 3), Fraction(2, 3)]), exact_sum([0.1] * 10)
    (Fraction(1, 1), 1.0)
    """
    weights = list(weights)
    if any(isinstance(weight, Fraction) for weight in weights):
        return sum(weights, Fraction(0))
    return math.fsum(weights)


def freeze(value: Any) -> Hashable:
    """Turn a value into a hashable one: arrays become nested tuples of numbers, mappings sorted tuples.

    >>> import numpy as np
    >>> freeze({"b": np.array([1, 2]), "a": (np.float64(0.5), None)})
    (('a', (0.5, None)), ('b', (1, 2)))
    """
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _nested(np.asarray(value).tolist())
    if value is None or isinstance(value, bool | int | float | str | Fraction):
        return _NAN if value != value else value
    if isinstance(value, Mapping):
        return tuple((name, freeze(value[name])) for name in sorted(value, key=repr))
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    leaves, structure = jax.tree.flatten(value)
    if len(leaves) == 1 and leaves[0] is value:
        if isinstance(value, Hashable):
            return value
        raise LawfulError(
            f"a program returned a {type(value).__name__}, which cannot be an outcome of a measure. "
            "Fix: return numbers, arrays, tuples or dicts of them."
        )
    return (str(structure), *(freeze(leaf) for leaf in leaves))


# One object for all NaN, so that equal outcomes meet in a dictionary.
_NAN = math.nan


def _nested(value: Any) -> Hashable:
    if isinstance(value, list):
        return tuple(_nested(item) for item in value)
    return _NAN if value != value else value
