"""Limits: what a generated program may contain.

Law: a program within its limits can be enumerated.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lawful.errors import LawfulError

KINDS = ("site", "factor", "observe", "assign", "guard", "branch", "plate", "loop", "call", "switch", "repeat", "weigh")


@dataclass(frozen=True)
class Limits:
    """What a generated program may contain.

    Attributes:
        statements: largest number of statements at the outermost level.
        max_paths: largest number of choice sequences.
        max_cardinality: largest number of values of one site.
        max_length: largest number of steps of a scan.
        kinds: statements that may occur, of `KINDS`.
        include: kinds that must occur.
        loops: True for any number of scans, False for none, "exactly one" for one scan of at least one step that is
            weighed in every step, which is what sequential Monte Carlo needs.
        loop_last: with "exactly one", whether nothing follows the scan.
        shared: whether arms of a branch may draw a site of one name, with the same values.
        nested: whether constructs stand inside others, two levels deep, and read what stands around them; with
            `shared`, arms may be alike but for their laws.
        invalid: whether one table of probabilities may have a row that makes no law, so that no method may answer
            where a run of positive weight reads it.
        extreme: whether factors may be moved by exp(700) up or down; for float64 only.
    """

    statements: int = 6
    max_paths: int = 4096
    max_cardinality: int = 4
    max_length: int = 3
    kinds: Collection[str] = KINDS
    include: Collection[str] = ()
    loops: bool | str = True
    loop_last: bool = False
    extreme: bool = False
    shared: bool = False
    nested: bool = False
    invalid: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in (*self.kinds, *self.include) if kind not in KINDS]
        if unknown or self.loops not in (True, False, "exactly one"):
            raise LawfulError(
                f"finite programs: unknown kinds {unknown} or loops={self.loops!r}; kinds are {', '.join(KINDS)}, "
                "loops is True, False or 'exactly one'."
            )
