"""Notes: what a file says of a graph beyond its measure, so that it can be told of, and written, as it was read.

Law: notes change no number of a graph. A writer takes a note only where it agrees with the numbers, so notes that have
grown old, as those of a graph with other potentials, do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class GroupNote:
    """What is known of the factors of a group.

    Attributes:
        names: of the factors, or None.
        places: of the factors in the file (G,), or None.
        entries: the tables as they stood in the file, linear and in float64 (G, K_1, ..., K_r), NaN where unknown; or
            None.
    """

    names: tuple[str, ...] | None = None
    places: np.ndarray | None = None
    entries: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Notes:
    """What is known of a graph.

    Attributes:
        directed: whether the factors were read as tables of a variable, the last of the scope, given the others.
        numbers: of the variables in the file, by their number in the graph (n,), or None where these are the same.
        groups: notes on groups, by name.
        outside: variables that stand for a part of the values of a law -> largest share of the law that is missing.
    """

    directed: bool = False
    numbers: np.ndarray | None = None
    groups: Mapping[str, GroupNote] = field(default_factory=dict)
    outside: Mapping[str, float] = field(default_factory=dict)

    def on(self, group: str) -> GroupNote:
        """Give the notes on a group."""
        return self.groups.get(group) or GroupNote()

    def adding(self, group: str, note: GroupNote) -> Notes:
        """Return the notes with those on one more group."""
        return replace(self, groups={**self.groups, group: note})

    def file_numbers(self, size: int) -> np.ndarray:
        """Number the variables as the file does (n,); those added later come after them.

        >>> Notes(numbers=np.array([1, 0])).file_numbers(3).tolist()
        [1, 0, 2]
        """
        known = np.zeros(0, np.int64) if self.numbers is None else self.numbers
        return np.concatenate([known, np.arange(len(known), size)])
