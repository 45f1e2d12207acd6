"""Suite: the random finite programs that exact checks run on, chosen once and kept.

Law: the same arguments give the same programs in every process; each fits the path budget of the algorithm that it
serves.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from ..programs.grammar import random_program
from ..programs.limits import KINDS, Limits
from ..programs.programs import FiniteProgram
from .measure import Measure
from .reference import enumerate_measure

# Programs tried for each one that is asked for; the rows of `make law` need at most 17.
SEARCH = 500

# What makes a site run on some runs only, or more than once; a switch is a branch, and a bounded loop has guards.
STRUCTURE = frozenset({"branch", "guard", "plate", "switch", "repeat"})


@dataclass(frozen=True)
class Needs:
    """What an algorithm needs of a random program.

    Attributes:
        particles: number of particles of the algorithm.
        loops: whether every program has exactly one loop with weights.
        steps: smallest number of steps of that loop; with 2, the weights of the first meet the decision at the second.
        max_paths: budget of choice sequences of the algorithm.
        kinds: statements that may occur, of `limits.KINDS`.
        features: what must occur, of `FiniteProgram.features`.
        nested: whether constructs stand inside others, and arms share names.
    """

    particles: int = 2
    loops: bool = False
    steps: int = 0
    max_paths: int = 3000
    kinds: tuple[str, ...] = KINDS
    features: frozenset[str] = frozenset()
    nested: bool = False

    def limits(self, seed: int) -> Limits:
        """Limits of the program of a seed, small for several particles."""
        several = self.particles > 1
        return Limits(
            statements=2 if several or self.loops else 4,
            max_paths=12 if several else 200,
            max_cardinality=3,
            max_length=2,
            kinds=self.kinds,
            loops="exactly one" if self.loops else False if seed % 3 and not self.nested else True,
            shared=self.nested,
            nested=self.nested,
        )

    def admit(self, program: FiniteProgram) -> bool:
        """Tell whether the algorithm can be enumerated on a program, and has something to do there."""
        if program.path_count() < 2 or program.loop_length < self.steps or not self.features <= program.features:
            return False
        if self.particles == 1:
            return program.path_count() <= self.max_paths
        return program.population_path_count(self.particles) <= self.max_paths


@dataclass(eq=False)
class Instance:
    """A program with its arguments, and its true measure; a random program knows what its structure came from."""

    program: Any
    args: tuple[Any, ...]
    name: str
    features: frozenset[str] = frozenset()
    finite: FiniteProgram | None = None
    seed: int | None = None
    limits: Limits | None = None
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
            sibling = instance(self.finite, tables)
            sibling.seed, sibling.limits = self.seed, self.limits
            self._siblings[code] = sibling
        return self._siblings[code]


@contextlib.contextmanager
def blamed(instance: Instance) -> Iterator[None]:
    """Add the program to whatever is raised inside: a check that breaks off has to say on which one."""
    try:
        yield
    except Exception as error:
        error.add_note(f"on the program:\n{instance.name}")
        raise


def instance(program: FiniteProgram, tables: Any = None) -> Instance:
    """Make an instance of a finite program, with its own tables or with others."""
    arguments = (program.default_tables() if tables is None else tables,)
    return Instance(program.program, arguments, repr(program), program.features, program)


def instances_of(count: int, *, structured: float = 0.5, **needs: Any) -> list[Instance]:
    """Choose random programs, as `Needs` says, whose algorithm stays within a path budget.

    At least the fraction `structured` of them has a branch, guard or plate.

    Raises: LawfulError: too few of many random programs fit the budget.
    """
    return list(_chosen(count, Needs(**needs), structured))


@functools.cache
def _chosen(count: int, needs: Needs, structured: float) -> tuple[Instance, ...]:
    found: list[Instance] = []
    plain = count - int(np.ceil(structured * count))
    seed = 0
    while len(found) < count:
        if seed >= SEARCH * count:
            raise LawfulError(
                f"only {len(found)} of {count} random programs fit {needs.particles} particles in "
                f"max_paths={needs.max_paths} (steps={needs.steps}) among {seed} tried. Fix: raise max_paths, or ask "
                "for fewer particles or steps."
            )
        candidate = _candidate(seed, needs.limits(seed))
        program = candidate.finite
        assert program is not None
        seed += 1
        if not needs.admit(program) or (not candidate.structured and plain <= 0):
            continue
        plain -= not candidate.structured
        found.append(candidate)
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _candidate(seed: int, limits: Limits) -> Instance:
    """The program of a seed; suites that choose it share it, and its truth with it."""
    made = instance(random_program(seed, **vars(limits)))
    made.seed, made.limits = seed, limits
    return made
