"""Suite: the random finite programs that exact checks run on, chosen once and kept.

Law: the same arguments give the same programs in every process; each fits the path budget of the algorithm that it
serves.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .grammar import random_program
from .measure import Measure
from .programs import FiniteProgram
from .reference import enumerate_measure

# Programs tried for each one that is asked for; the rows of `make law` need at most 17.
SEARCH = 500

# What makes a site run on some runs only, or more than once; a switch is a branch, and a bounded loop has guards.
STRUCTURE = frozenset({"branch", "guard", "plate", "switch", "repeat"})


@dataclass(eq=False)
class Instance:
    """A program with its arguments, and its true measure."""

    program: Any
    args: tuple[Any, ...]
    name: str
    features: frozenset[str] = frozenset()
    finite: FiniteProgram | None = None
    _truth: Measure | None = field(default=None, repr=False)
    _siblings: dict[bytes, Instance] = field(default_factory=dict, repr=False)

    @property
    def structured(self) -> bool:
        """Whether the program has a branch, guard or plate."""
        return bool(self.features & STRUCTURE)

    def truth(self) -> Measure:
        """Enumerate the source program through the eager interpreter, once."""
        if self._truth is None:
            self._truth = enumerate_measure(self.program, *self.args)
        return self._truth

    def random_tables(self, rng: np.random.Generator) -> Any:
        """Draw other tables for the same structure."""
        assert self.finite is not None
        return self.finite.random_tables(rng)

    def with_tables(self, tables: Any) -> Instance:
        """The same structure with other tables; asked for twice with equal tables, it is the same instance."""
        assert self.finite is not None
        code = b"".join(np.ascontiguousarray(tables[name]).tobytes() for name in sorted(tables))
        if code not in self._siblings:
            self._siblings[code] = instance(self.finite, tables)
        return self._siblings[code]


def instance(program: FiniteProgram, tables: Any = None) -> Instance:
    """Make an instance of a finite program, with its own tables or with others."""
    arguments = (program.default_tables() if tables is None else tables,)
    return Instance(program.program, arguments, repr(program), program.features, program)


def instances_of(
    count: int,
    *,
    particles: int = 2,
    loops: bool = False,
    steps: int = 0,
    max_paths: int = 3000,
    structured: float = 0.5,
) -> list[Instance]:
    """Choose random programs whose algorithm stays within a path budget.

    Args:
        count: number of programs.
        particles: number of particles of the algorithm.
        loops: whether every program has exactly one loop with weights.
        steps: smallest number of steps of that loop; with 2, the weights of the first meet the decision at the second.
        max_paths: budget of choice sequences of the algorithm.
        structured: smallest fraction of programs with a branch, guard or plate.

    Raises:
        LawfulError: too few of many random programs fit the budget.
    """
    return list(_chosen(count, particles, loops, steps, max_paths, structured))


@functools.cache
def _chosen(
    count: int, particles: int, loops: bool, steps: int, max_paths: int, structured: float
) -> tuple[Instance, ...]:
    found: list[Instance] = []
    plain = count - int(np.ceil(structured * count))
    seed = 0
    while len(found) < count:
        if seed >= SEARCH * count:
            raise LawfulError(
                f"only {len(found)} of {count} random programs fit {particles} particles in max_paths={max_paths} "
                f"(steps={steps}) among {seed} tried. Fix: raise max_paths, or ask for fewer particles or steps."
            )
        candidate = _candidate(seed, particles > 1, loops)
        program = candidate.finite
        assert program is not None
        seed += 1
        if program.path_count() < 2 or program.loop_length < steps or not fits(program, particles, max_paths):
            continue
        if not candidate.structured and plain <= 0:
            continue
        plain -= not candidate.structured
        found.append(candidate)
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _candidate(seed: int, several: bool, loops: bool) -> Instance:
    """The program of a seed, small for several particles; suites that choose it share it, and its truth with it."""
    program = random_program(
        seed,
        statements=2 if several or loops else 4,
        max_paths=12 if several else 200,
        max_cardinality=3,
        max_length=2,
        loops="exactly one" if loops else False if seed % 3 else True,
    )
    return instance(program)


def fits(program: FiniteProgram, particles: int, max_paths: int) -> bool:
    """Tell whether an algorithm with this many particles can be enumerated on a program."""
    if particles == 1:
        return program.path_count() <= max_paths
    return program.population_path_count(particles) <= max_paths
