"""Optima: the distinct maxima that many searches found, best first, and what became of each search.

Law: the log density of an optimum is that of the program at its values. A search counts for one optimum at most, so the
shares of all sum to one at most. Errors and covariance are NaN where the density has no inner maximum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

MAXIMUM, RIDGE, SADDLE, UNFINISHED, UNBOUNDED = KINDS = ("maximum", "ridge", "saddle", "unfinished", "unbounded")

type Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Optimum:
    """One optimum.

    Attributes:
        values: of the sites by name, and of what the program names.
        errors: standard errors of the same, by the curvature; NaN at an edge and along a flat direction.
        edges: of each number -1 where it is at the lower edge of its support, 1 at the upper one, else 0.
        flat: whether a number moves along a direction in which the density does not fall.
        log_density: the log density of the program, on the scale of the values.
        kind: "maximum"; "ridge", where other values are as good; "saddle"; "unfinished", where a search stopped on its
            way up; or "unbounded", where the density never falls.
        starts: how many searches ended there.
        share: the same, as a share of all.
        labellings: how many of its relabellings were found, which differ in the order of exchangeable parts alone.
        covariance: of all numbers of `values`, one after the other; None where they are too many.
    """

    values: Arrays
    errors: Arrays
    edges: Arrays
    flat: Arrays
    log_density: float
    kind: str
    starts: int
    share: float
    labellings: int
    covariance: np.ndarray | None

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Names of what is at an edge of its support, with the place of each number."""
        return marked(self.edges)

    @property
    def proper(self) -> bool:
        """Whether nothing near it is better."""
        return self.kind in (MAXIMUM, RIDGE)


@dataclass(frozen=True, eq=False)
class Optima:
    """Optima, best first: proper ones before those that are none. A sequence of `Optimum`.

    Attributes:
        values: by name, with the optima as the first axis; likewise `errors`, `edges` and `flat`.
        log_density: of each.
        kinds: of each, as a place in `KINDS`.
        labellings: of each.
        covariance: of each, or empty.
        search_value: the log density that each search ended at, -inf of one without a start.
        search_optimum: which optimum it is, or -1.
        search_converged: whether its gradient is small.
        search_steps: its steps.
        search_evaluations: its evaluations of density and gradient.
    """

    values: Arrays
    errors: Arrays
    edges: Arrays
    flat: Arrays
    log_density: np.ndarray
    kinds: np.ndarray
    labellings: np.ndarray
    covariance: np.ndarray
    search_value: np.ndarray
    search_optimum: np.ndarray
    search_converged: np.ndarray
    search_steps: np.ndarray
    search_evaluations: np.ndarray

    def __len__(self) -> int:
        return len(self.log_density)

    def __getitem__(self, number: int) -> Optimum:
        if not -len(self) <= number < len(self):
            raise IndexError(f"optimum {number} of {len(self)}")
        number %= len(self)
        starts = int(np.sum(self.search_optimum == number))
        values, errors, edges, flat = ({name: a[number] for name, a in part.items()} for part in self._by_name)
        return Optimum(
            values, errors, edges, flat, float(self.log_density[number]), KINDS[int(self.kinds[number])], starts,
            starts / max(1, len(self.search_value)), int(self.labellings[number]),
            self.covariance[number] if self.covariance.size else None,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Optimum]:
        return (self[number] for number in range(len(self)))

    @property
    def _by_name(self) -> tuple[Arrays, ...]:
        return self.values, self.errors, self.edges, self.flat

    def arrays(self) -> dict[str, np.ndarray]:
        """Give all arrays, named for a file."""
        found: dict[str, np.ndarray] = {}
        for name, value in ((one.name, getattr(self, one.name)) for one in fields(self)):
            found |= {f"{name}/{n}": a for n, a in value.items()} if isinstance(value, Mapping) else {name: value}
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Optima:
        """Make them again of `arrays`."""
        parts: dict[str, Any] = {one.name: arrays.get(one.name, {}) for one in fields(cls)}
        for name, array in arrays.items():
            part, slash, own = name.partition("/")
            if slash:
                parts[part] = {**parts[part], own: array}
        return cls(**parts)

    def lines(self, most: int = 6) -> list[str]:
        """Write a table, a line an optimum."""
        count = len(self.search_value)
        rows = [f"  {'log density':>14}  {'starts':>8}  kind"]
        for one in list(self)[:most]:
            edge = f", at an edge: {', '.join(one.at_edge[:3])}" if one.at_edge else ""
            orders = f", in {one.labellings} labellings" if one.labellings > 1 else ""
            rows.append(f"  {one.log_density:14.6g}  {f'{one.starts}/{count}':>8}  {one.kind}{edge}{orders}")
        return [*rows, *([f"  ... and {len(self) - most} more in .optima"] if len(self) > most else [])]


def marked(marks: Arrays) -> tuple[str, ...]:
    """Name the numbers that are marked.

    >>> marked({"s": np.array(0), "w": np.array([0, -1])})
    ('w[1]',)
    """
    return tuple(
        f"{name}[{', '.join(map(str, place))}]" if place else name
        for name, array in marks.items()
        for place in map(tuple, np.argwhere(np.asarray(array)).tolist())
    )
