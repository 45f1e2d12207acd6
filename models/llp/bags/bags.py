"""Bags: which rows of the data are in which bag, and what is known of the number of ones among them.

Law: the likelihood of labels y is prod_b p(report_b | sum_{i in b} y_i), one factor for each bag whose report is known.
Rows may be in one bag, in several or in none; bags may have any sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, issparse
from scipy.sparse.csgraph import connected_components

from lawful.errors import ObservationError
from lawful.inference.graphs import counts as counting

from .membership import members_by_ids, members_by_matrix, number_of_bags
from .noise import Noise, Sampled, is_noise
from .reports import counted_classes, refuse_impossible, reports_of, whole_numbers

__all__ = ["Bags"]


@dataclass(frozen=True, eq=False)
class Bags:
    """Rows in bags, with counts; made by `from_ids`, `from_membership` or `from_labels`.

    Attributes:
        n_rows: number of rows of the data, in bags or not.
        offsets: where each bag begins among the members, and the end of the last one (n_b + 1,).
        members: rows of all bags, one bag behind the other, ascending in each (M,).
        counts: number of ones in each bag (n_b,), or of each class (n_b, K); whole numbers without noise, reports
            with it; 0 where it is not known.
        known: bags whose count is known (n_b,).
        noise: how a report comes from a count; None where they are equal.

    >>> Bags.from_ids([0, 0, 1], counts=[1, np.nan])
    Bags(3 rows, 2 bags of 1 to 2, 1 counts missing)
    """

    n_rows: int
    offsets: np.ndarray
    members: np.ndarray
    counts: np.ndarray
    known: np.ndarray
    noise: Noise | None = None

    @staticmethod
    def from_ids(
        ids: Any, counts: Any = None, *, proportions: Any = None, noise: Any = None, n_bags: int | None = None
    ) -> Bags:
        """Put each row into the bag of its number, or into none.

        Args:
            ids: number of the bag of each row, from 0, or -1 for a row in no bag (n,).
            counts: number of ones in each bag (n_b,), or of members of each class (n_b, K); NaN where it is not known.
            proportions: the same over the size of the bag, in place of counts.
            noise: how a report comes from a count. Without it counts are whole, and proportions are within 1e-6 of one.
            n_bags: number of bags, where neither counts nor proportions are given: their counts are not known.

        Raises: ObservationError for shapes that do not fit and for counts that cannot be, with the bag;
            IndexRangeError for a number of a bag that has no count.

        >>> bags = Bags.from_ids([0, 1, 0, -1, 1], counts=[1, 2])
        >>> bags.sizes.tolist(), bags.members.tolist(), bags.base_rate
        ([2, 2], [0, 2, 1, 4], 0.75)
        """
        size = number_of_bags(counts, proportions, n_bags)
        offsets, members = members_by_ids(ids, size)
        return _counted(len(ids), offsets, members, counts, proportions, noise)

    @staticmethod
    def from_membership(membership: Any, counts: Any = None, *, proportions: Any = None, noise: Any = None) -> Bags:
        """Put rows into bags by a matrix of zeros and ones, bags by rows of the data (n_b, n): bags may overlap.

        Args:
            membership: a sparse matrix of SciPy, or an array.
            counts: as for `from_ids`.
            proportions: as for `from_ids`.
            noise: as for `from_ids`.

        Raises: as `from_ids`.

        >>> bags = Bags.from_membership([[1, 1, 0], [0, 1, 1]], counts=[1, 1])
        >>> bags.overlapping, bags.members.tolist()
        (True, [0, 1, 1, 2])
        """
        n_rows, offsets, members = members_by_matrix(membership)
        number_of_bags(counts, proportions, len(offsets) - 1)
        return _counted(n_rows, offsets, members, counts, proportions, noise)

    @staticmethod
    def from_labels(labels: Any, ids: Any, n_classes: int = 2) -> Bags:
        """Count labels within bags; nothing else of the labels is kept.

        Args:
            labels: class of each row, 0 to n_classes - 1 (n,); those of rows in no bag are not read.
            ids: number of the bag of each row, -1 for none (n,), or a matrix as for `from_membership`.
            n_classes: with 2 the counts are of ones (n_b,), with more of each class (n_b, K).

        Raises: ObservationError for labels that are no class; otherwise as `from_ids`.

        >>> Bags.from_labels([1, 0, 1, 1], [0, 0, 1, -1]).counts.tolist()
        [1, 1]
        """
        plain = not issparse(ids) and np.ndim(ids) == 1
        bags = Bags.from_ids(ids) if plain else Bags.from_membership(ids)
        labels = np.asarray(labels)
        if labels.shape != (bags.n_rows,):
            raise ObservationError(f"bags: labels of shape {labels.shape}, expected {(bags.n_rows,)}, one a row.")
        return replace(
            bags, counts=counted_classes(labels, bags.members, bags.owners, bags.n_bags, n_classes),
            known=np.ones(bags.n_bags, bool),
        )  # fmt: skip

    @property
    def n_bags(self) -> int:
        """Number of bags, n_b."""
        return len(self.offsets) - 1

    @property
    def n_classes(self) -> int:
        """Number of classes, 2 for counts of ones."""
        return 2 if self.counts.ndim == 1 else self.counts.shape[1]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of members of each bag (n_b,)."""
        return np.diff(self.offsets)

    @cached_property
    def owners(self) -> np.ndarray:
        """Number of the bag of each member (M,)."""
        return np.repeat(np.arange(self.n_bags), self.sizes)

    @cached_property
    def estimates(self) -> np.ndarray:
        """Counts, or guesses of them where they are noisy: (n_b,) or (n_b, K); NaN where they are not known."""
        found = self.counts if self.noise is None else self.noise.estimate(self.counts, self.sizes)
        return np.where(self.known.reshape((-1,) + (1,) * (found.ndim - 1)), found, np.nan)

    @property
    def proportions(self) -> np.ndarray:
        """The same over the sizes of the bags; NaN for a bag without members."""
        sizes = np.where(self.sizes > 0, self.sizes, np.nan)
        return self.estimates / sizes.reshape((-1,) + (1,) * (self.counts.ndim - 1))

    @property
    def base_rate(self) -> Any:
        """Share of ones among the members of bags with a known count, or of each class (K,); NaN without any."""
        members = self.sizes[self.known].sum()
        total = self.estimates[self.known].sum(axis=0) / members if members else np.full(self.counts.shape[1:], np.nan)
        return float(total) if self.counts.ndim == 1 else total

    @cached_property
    def memberships(self) -> np.ndarray:
        """Number of bags that each row is in (n,)."""
        return np.bincount(self.members, minlength=self.n_rows)

    @property
    def overlapping(self) -> bool:
        """Whether some row is in several bags."""
        return bool(np.any(self.memberships > 1))

    @cached_property
    def ids(self) -> np.ndarray:
        """Number of the bag of each row, -1 for none (n,).

        Raises: ObservationError where bags overlap.
        """
        if self.overlapping:
            row = int(np.argmax(self.memberships))
            raise ObservationError(f"bags: row {row} is in {self.memberships[row]} bags, so it has no number of one.")
        found = np.full(self.n_rows, -1, np.int64)
        found[self.members] = self.owners
        return found

    @cached_property
    def membership(self) -> csr_matrix:
        """Zeros and ones, bags by rows of the data (n_b, n)."""
        ones = np.ones(len(self.members), np.int8)
        return csr_matrix((ones, self.members, self.offsets), shape=(self.n_bags, self.n_rows))

    @cached_property
    def groups(self) -> np.ndarray:
        """For each bag, the number of the set of bags that hang together by rows (n_b,): splits must keep these."""
        if not self.overlapping:
            return np.arange(self.n_bags)
        ends = self.owners, self.n_bags + self.members
        size = self.n_bags + self.n_rows
        graph = coo_matrix((np.ones(len(self.members), np.int8), ends), shape=(size, size))
        return np.unique(connected_components(graph, directed=False)[1][: self.n_bags], return_inverse=True)[1]

    def members_of(self, bag: int) -> np.ndarray:
        """Rows of one bag, ascending."""
        return self.members[self.offsets[bag] : self.offsets[bag + 1]]

    def take(self, which: Any) -> Bags:
        """Keep some bags, by number or by a mask, in this order; all rows stay.

        >>> Bags.from_ids([0, 1, 0], counts=[1, 0]).take([1]).ids.tolist()
        [-1, 0, -1]
        """
        chosen = np.arange(self.n_bags)[np.asarray(which)]
        sizes = self.sizes[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        places = np.repeat(self.offsets[chosen] - offsets[:-1], sizes) + np.arange(offsets[-1])
        noise = self._noise_of(chosen)
        return Bags(self.n_rows, offsets, self.members[places], self.counts[chosen], self.known[chosen], noise)

    @cached_property
    def size_classes(self) -> tuple[np.ndarray, ...]:
        """Bags by number, put together where arrays of them are padded little."""
        return tuple(counting.alike(self.sizes))

    def padded(self, which: np.ndarray | None = None) -> np.ndarray:
        """Rows of some bags, by default all (G, B), B the size of the largest; `n_rows` where a bag is smaller."""
        taken, places = counting.padded(self.offsets, np.arange(self.n_bags) if which is None else which)
        return np.append(self.members[taken], self.n_rows)[places]

    def log_weights(self, which: np.ndarray | None = None) -> np.ndarray:
        """Log weights of the counts 0..B of some bags, by default all (G, B + 1), B the size of the largest.

        -inf is for what cannot be, such as a count beyond the bag; a bag whose count is not known has zeros.

        Raises: ObservationError for counts of classes, which have no single axis.

        >>> Bags.from_ids([0, 0, 1], counts=[2, np.nan]).log_weights().tolist()
        [[-inf, -inf, 0.0], [0.0, 0.0, -inf]]
        """
        if self.counts.ndim > 1:
            raise ObservationError(f"bags: log_weights: counts of {self.n_classes} classes are no single axis.")
        chosen = np.arange(self.n_bags) if which is None else which
        counts, sizes = self.counts[chosen], self.sizes[chosen]
        size = int(sizes.max(initial=0))
        s = np.arange(size + 1)[None]
        if self.noise is None:
            found = np.where(s == counts[:, None], 0.0, -np.inf)
        else:
            with jax.ensure_compile_time_eval():  # bags are known, even while logits are traced
                noise = self._noise_of(chosen)
                assert noise is not None
                found = np.asarray(noise.log_weights(counts, sizes, size), float)
        found = np.where(self.known[chosen][:, None], found, 0.0)
        return np.where(s <= sizes[:, None], found, -np.inf)

    def _noise_of(self, chosen: np.ndarray) -> Noise | None:
        """Give the noise of some bags, where it has numbers of its own for each."""
        return self.noise.take(chosen) if isinstance(self.noise, Sampled) else self.noise

    def possible(self) -> np.ndarray:
        """Tell which bags have a count that their report allows (n_b,)."""
        found = np.zeros(self.n_bags, bool)
        for chosen in self.size_classes:
            found[chosen] = np.any(self.log_weights(chosen) > -np.inf, axis=1)
        return found

    def __repr__(self) -> str:
        """Say how many, how large, and what is known."""
        low, high = (int(self.sizes.min()), int(self.sizes.max())) if self.n_bags else (0, 0)
        sizes = f"of {low}" if low == high else f"of {low} to {high}"
        parts = [f"{self.n_rows} rows", f"{self.n_bags} bags {sizes}"]
        parts += [f"{self.n_classes} classes"] * (self.n_classes > 2)
        parts += ["overlapping"] * self.overlapping
        parts += [f"{int((~self.known).sum())} counts missing"] * (not self.known.all())
        parts += [] if self.noise is None else [repr(self.noise)]
        return f"Bags({', '.join(parts)})"


def _counted(n_rows: int, offsets: np.ndarray, members: np.ndarray, counts: Any, proportions: Any, noise: Any) -> Bags:
    """Join members and reports, and refuse what cannot be."""
    sizes = np.diff(offsets)
    if noise is not None and not is_noise(noise):
        raise ObservationError(f"bags: noise={noise!r}. Fix: give a noise as Normal(1.0) or Rounded(2), or None.")
    if isinstance(noise, Sampled):
        noise.of_bags(len(sizes))
    if counts is None and proportions is None:
        return Bags(n_rows, offsets, members, np.zeros(len(sizes), np.int64), np.zeros(len(sizes), bool), noise)
    reports, known = reports_of(counts, proportions, sizes)
    if noise is None:
        reports = whole_numbers(reports, known, sizes, proportions is not None)
    found = Bags(n_rows, offsets, members, reports, known, noise)
    refuse_impossible(found.counts, known, sizes, None if noise is None else found.possible)
    return found
