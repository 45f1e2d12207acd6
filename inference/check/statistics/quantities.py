"""Quantities: bounded functions of a state in which a kernel that is not invariant shows.

Law: each is a fixed function of the state, bounded by 1: a coordinate enters through its rank among pilot draws, which
stands for its prior distribution function. Indicators have tests with a proof, the others normal ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.choices import Choice, by_name

MOST = 24  # coordinates that are followed; of more, evenly spaced ones
ATOMS = 8  # a coordinate of at most so many values is followed value by value
PAIRS = 10
QUARTILES = (0.25, 0.5, 0.75)

type Statistic = Callable[[Mapping[str, jax.Array]], Any]


@dataclass(frozen=True)
class Columns:
    """Reads the followed coordinates of a state: those of its choices, how many of them run, and its densities.

    A coordinate of a choice that does not run is NaN.

    Attributes:
        choices: the choices of the state.
        statistics: further columns by name: functions from the choices by name to a number.
    """

    choices: tuple[Choice, ...]
    statistics: tuple[tuple[str, Statistic], ...] = ()

    @property
    def places(self) -> list[tuple[int, int]]:
        """Choice and element of each followed coordinate."""
        every = [(i, k) for i, c in enumerate(self.choices) for k in range(int(np.prod(c.full_shape)))]
        if len(every) <= MOST:
            return every
        return [every[round(i)] for i in np.linspace(0, len(every) - 1, MOST)]

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        named = [
            self.choices[i].name + (f"[{k}]" if int(np.prod(self.choices[i].full_shape)) > 1 else "")
            for i, k in self.places
        ]
        counts = ["active sites"] if self._conditional else []
        return [*named, *(name for name, _ in self.statistics), *counts, "log likelihood", "log joint density"]

    @property
    def _conditional(self) -> bool:
        return any(c.conditional for c in self.choices)

    def read(self, state: Sequence[jax.Array], prior: jax.Array, likelihood: jax.Array) -> jax.Array:
        """Read one state, whose last value is its log density."""
        shown, active = [], []
        found = by_name(self.choices, state)
        told = [jnp.asarray(function(found.values), float).reshape(()) for _, function in self.statistics]
        for name, value in found.values.items():
            value = jnp.asarray(value, float)
            if name in found.flags:
                flag = found.flags[name]
                active.append(jnp.sum(flag))
                value = jnp.where(flag.reshape(flag.shape + (1,) * (value.ndim - flag.ndim)), value, jnp.nan)
            shown.append(value.reshape(-1))
        coordinates = [shown[i][k] for i, k in self.places]
        counts = [jnp.asarray(sum(active), float)] if active else []
        return jnp.stack([*coordinates, *told, *counts, likelihood, prior + likelihood])


class Quantities:
    """Test functions made from pilot draws of the columns."""

    def __init__(self, names: Sequence[str], pilot: np.ndarray) -> None:
        """Decide which columns are followed value by value, and sort the others."""
        self.names = list(names)
        self.sorted = [np.sort(column[~np.isnan(column)]) for column in pilot.T]
        found = [np.unique(column) for column in self.sorted]
        self.atoms = [values if len(values) <= ATOMS else None for values in found]
        smooth = [j for j, values in enumerate(self.atoms) if values is None]
        self.smooth = smooth
        self.pairs = list(itertools.combinations(range(len(self.names)), 2))[:PAIRS]

    def ranks(self, columns: np.ndarray) -> np.ndarray:
        """Map columns (n, k) into [0, 1] by their ranks among the pilot draws; what does not run has rank 0."""
        out = np.zeros(columns.shape)
        for j, known in enumerate(self.sorted):
            column = columns[:, j]
            low, high = (np.searchsorted(known, column, side) for side in ("left", "right"))
            out[:, j] = np.where(np.isnan(column), 0.0, (low + high) / max(2 * len(known), 1))
        return out

    @property
    def indicator_names(self) -> list[str]:
        """Names of the indicators."""
        named = []
        for j, name in enumerate(self.names):
            values = self.atoms[j]
            named += [f"{name} above its {q:.0%} point" for q in QUARTILES] if values is None else []
            named += [f"{name} = {value:g}" for value in values] if values is not None else []
        return named

    def indicators(self, columns: np.ndarray) -> np.ndarray:
        """Evaluate the indicators (n, number of them)."""
        ranks = self.ranks(columns)
        parts = []
        for j, values in enumerate(self.atoms):
            if values is None:
                parts += [ranks[:, j] > q for q in QUARTILES]
            else:
                parts += [columns[:, j] == value for value in values]
        return np.stack(parts, axis=1) if parts else np.zeros((len(columns), 0), bool)

    @property
    def bounded_names(self) -> list[str]:
        """Names of the other functions."""
        smooth = [self.names[j] for j in self.smooth]
        named = [f"{what} of {name}" for name in smooth for what in ("rank", "squared rank", "distance to the median")]
        return [*named, *(f"{self.names[i]} times {self.names[j]}" for i, j in self.pairs)]

    def bounded(self, columns: np.ndarray) -> np.ndarray:
        """Evaluate the other functions (n, number of them)."""
        centred = 2 * self.ranks(columns) - 1
        shapes: list[Callable[[np.ndarray], np.ndarray]] = [lambda u: u, np.square, np.abs]
        parts = [shape(centred[:, j]) for j in self.smooth for shape in shapes]
        parts += [centred[:, i] * centred[:, j] for i, j in self.pairs]
        return np.stack(parts, axis=1) if parts else np.zeros((len(columns), 0))
