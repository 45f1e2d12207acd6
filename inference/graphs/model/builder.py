"""Builder: a graph that grows, as variables and factors are added in arrays and in groups, and the numbers it holds.

Law: each call multiplies the measure by what it adds, and changes nothing else. What is added is checked at once: its
name, shape and indices, and that scores are natural logs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import DuplicateSiteError, IndexRangeError, LawfulError
from lawful.form.operations.device import device_array

from .counted import bags_of, refuse_impossible
from .notes import Notes
from .potentials import (
    Potentials,
    Scores,
    indexed,
    kept,
    log_scores,
    refuse_not_finite,
    scores_of,
    spread,
    states_seen,
    traced,
    unary_scores,
    with_evidence,
)
from .scopes import diagonal, joined
from .structure import Count, Family, Group, Structure


@dataclass(frozen=True)
class Variables:
    """A handle on variables of a graph; `z[i]` are some of them, in any way an array is indexed."""

    family: Family
    numbers: np.ndarray

    def __getitem__(self, index: Any) -> Variables:
        """Select elements."""
        return Variables(self.family, indexed(self.numbers, index))


type Scope = Variables | tuple[Variables, Any]


class Builder:
    """A graph that grows; `FactorGraph` is what users see of it."""

    def __init__(self) -> None:
        """Make a graph without variables, whose mass is one."""
        self._families: list[Family] = []
        self._groups: list[Group] = []
        self._unary: list[Any] = []
        self._tables: list[Any] = []
        self._counted: list[Count] = []
        self._evidence: dict[int, Any] = {}
        self._structure: Structure | None = None
        self._kept: dict[str, Any] = {}
        self.notes = Notes()

    def variables(
        self,
        name: str,
        shape: tuple[int, ...] = (),
        cardinality: int = 2,
        log_potential: Any = None,
        states: Sequence[str] | None = None,
    ) -> Variables:
        """Add an array of variables.

        Args:
            name: a new name.
            shape: of the array.
            cardinality: number of states; left out where `states` are given.
            log_potential: scores of the states as natural logs `(*shape, cardinality)`, or (cardinality,) for all
                alike; -inf excludes a state. Default: zero.
            states: names of the states.

        Returns: a handle, for scopes.

        Raises: DuplicateSiteError for a name that is taken; LawfulError for shapes that do not fit; NonFiniteError for
            a score that is NaN or +inf.
        """
        if any(family.name == name for family in self._families):
            raise DuplicateSiteError(f"variables {name!r}: the name is taken. Fix: give another one.", site=name)
        if any(size < 0 for size in shape):
            raise LawfulError(f"variables {name!r}: expected a shape without negative sizes, got {shape}.", site=name)
        named = None if states is None else tuple(map(str, states))
        count = len(named) if named is not None else int(cardinality)
        if count < 1 or (named is not None and len(set(named)) < count):
            raise LawfulError(f"variables {name!r}: expected at least one state, all with different names.", site=name)
        family = Family(name, tuple(map(int, shape)), count, sum(map(len, self._unary)), named)
        self._unary.append(unary_scores(family, log_potential))
        self._families.append(family)
        self._changed()
        return _all_of(family)

    def __getitem__(self, name: str) -> Variables:
        """Find variables by name.

        Raises: LawfulError for a name that is not known.
        """
        return _all_of(self._families[self._place(name)])

    def _place(self, name: str) -> int:
        for place, family in enumerate(self._families):
            if family.name == name:
                return place
        raise LawfulError(
            f"no variables are called {name!r}. Known are: {', '.join(f.name for f in self._families) or 'none'}.",
            site=name,
        )

    def factors(self, name: str, scopes: Sequence[Scope], log_table: Any) -> None:
        """Add a group of factors.

        Args:
            name: a new name.
            scopes: for each axis of the tables, the variables there, one for each factor: handles as `z[index]`, or
                pairs (z, index). Those of one variable serve all factors. A variable may stand in a scope twice.
            log_table: natural logs (G, K_1, ..., K_r), or (K_1, ..., K_r) for all factors alike; -inf excludes.

        Raises: DuplicateSiteError, LawfulError or NonFiniteError as `variables`; IndexRangeError for an index that
            names no variable.

        >>> from lawful.inference.graphs import FactorGraph
        >>> graph = FactorGraph()
        >>> z = graph.variables("z", shape=(4,), cardinality=3)
        >>> graph.factors("field", [(z, [0, 2])], jnp.zeros((2, 3)))
        """
        parts = [self._part(name, axis, scope) for axis, scope in enumerate(scopes)]
        numbers = joined(name, [part.numbers for part in parts])
        self._checked(name, numbers, tuple(part.family.cardinality for part in parts), log_table)

    def factors_by_number(self, name: str, numbers: np.ndarray, log_table: Any) -> None:
        """Add a group of factors on variables of any families.

        Args:
            name: a new name.
            numbers: of the variables among all of the graph (G, r), G at least 1; those on one axis have as many
                states. Factors without variables (G, 0) are numbers.
            log_table: as for `factors`.

        Raises: as `factors`.

        >>> from lawful.inference.graphs import FactorGraph
        >>> graph = FactorGraph()
        >>> rain, wet = graph.variables("rain"), graph.variables("wet")
        >>> graph.factors_by_number("unlike", np.array([[0, 1]]), jnp.array([[-jnp.inf, 0.0], [0.0, -jnp.inf]]))
        """
        numbers, known = np.asarray(numbers), self.structure.cardinalities
        if numbers.ndim != 2 or not len(numbers) or numbers.dtype.kind not in "iu":
            raise LawfulError(
                f"factors {name!r}: expected numbers of variables of shape (factors, variables of each), got "
                f"{numbers.dtype} of shape {numbers.shape}.",
                site=name,
            )
        outside = (numbers < 0) | (numbers >= len(known))
        if outside.any():
            raise IndexRangeError(
                f"factors {name!r}: the graph has {len(known)} variables, there is no number {numbers[outside][0]}.",
                site=name,
            )
        cards = known[numbers]
        if (cards != cards[:1]).any():
            axis = int(np.flatnonzero((cards != cards[:1]).any(axis=0))[0])
            raise LawfulError(
                f"factors {name!r}: the variables on axis {axis} have different numbers of states "
                f"{sorted(set(cards[:, axis].tolist()))}. Fix: add a group for each.",
                site=name,
            )
        self._checked(name, numbers.astype(np.int64), tuple(cards[0].tolist()), log_table)

    def _checked(self, name: str, numbers: np.ndarray, cards: tuple[int, ...], log_table: Any) -> None:
        tables = log_scores(log_table)
        if tuple(tables.shape) not in (cards, (len(numbers), *cards)):
            raise LawfulError(
                f"factors {name!r}: log_table: expected shape {(len(numbers), *cards)}, or {cards} for all factors "
                f"alike, got {tuple(tables.shape)}.",
                site=name,
            )
        refuse_not_finite(tables, f"log_table of {name!r}")
        tables = spread(tables, (len(numbers),)) if not cards else tables
        shared = tables.ndim == len(cards)
        tables = tables[None] if shared else tables
        self.add(name, *diagonal(name, numbers, cards, tables), shared=shared)

    def add(
        self,
        name: str,
        scopes: np.ndarray,
        cardinalities: tuple[int, ...],
        tables: Any,
        *,
        shared: bool = False,
        what: str | None = None,
    ) -> None:
        """Add factors by the numbers of their variables (G, r), all different in a scope; tables (G or 1, K_1, ...).

        Raises: DuplicateSiteError; NonFiniteError, with `what` before it, where tables that were not checked have one.
        """
        if any(group.name == name for group in self._groups):
            raise DuplicateSiteError(f"factors {name!r}: the name is taken. Fix: give another one.", site=name)
        self._groups.append(Group(name, np.asarray(scopes, np.int64), cardinalities, shared))
        if what is not None:
            refuse_not_finite(tables, what)
        self._tables.append(kept(tables))
        self._changed()

    def count(
        self, name: str, members: Scope, log_potential: Any = None, bags: Any = None, state: Any = 1
    ) -> Variables:
        """Add bags of variables, and for each a variable that holds how many of its members are in a state.

        Args:
            name: a new name, of the variables that hold the counts.
            members: handle of the members: bags of one size lie along the last axis of an array.
            log_potential: scores of the counts as natural logs `(*shape, B + 1)`, or (B + 1,) for all bags alike, B the
                size of the largest; -inf excludes a count. See `graphs.counts.potentials`. Default: zero.
            bags: the number of the bag of each member, from 0, where bags differ in size; the shape of the members.
            state: the state that counts, one or one for each member; 0 for a binary member that counts when it is 0.

        Returns: a handle on the counts, variables as all others: they may be observed, or stand in scopes of factors.

        Raises: as `variables`, and ObservationError for bags that do not fit, or without any possible count.

        >>> from lawful.inference.graphs import infer
        >>> from lawful.inference.graphs.counts import potentials
        >>> from lawful.inference.graphs import FactorGraph
        >>> graph = FactorGraph()
        >>> y = graph.variables("y", shape=(2, 3), log_potential=[0.0, 1.0])
        >>> n = graph.count("n", y, potentials.hard_count(jnp.array([1, 3]), 3))
        >>> infer(graph).beliefs["y"][..., 1].round(4).tolist()
        [[0.3333, 0.3333, 0.3333], [1.0, 1.0, 1.0]]
        """
        part = self._part(name, 0, members)
        found = bags_of(name, np.asarray(part.numbers), part.family.cardinality, bags, state)
        if log_potential is not None and jnp.shape(log_potential)[-1:] == (found.largest + 1,):
            refuse_impossible(name, found, log_potential)
        handle = self.variables(name, found.shape, found.largest + 1, log_potential)
        self._counted.append(found.under(name, handle.numbers))
        self._changed()
        return handle

    def add_count(self, count: Count) -> None:
        """Add a count of variables that the graph has, by their numbers."""
        self._counted.append(count)
        self._changed()

    def _part(self, name: str, axis: int, scope: Scope) -> Variables:
        variables, index = scope if isinstance(scope, tuple) and len(scope) == 2 else (scope, ...)
        if not isinstance(variables, Variables) or variables.family not in self._families:
            raise LawfulError(
                f"factors {name!r}: scope of axis {axis}: expected variables of this graph, as graph['z'] or z[index], "
                f"got {variables!r}.",
                site=name,
            )
        try:
            return variables[index]
        except IndexError as error:
            raise IndexRangeError(
                f"factors {name!r}: scope of axis {axis}: {error}; {variables.family.name!r} has shape "
                f"{variables.family.shape}.",
                site=name,
            ) from error

    def _changed(self) -> None:
        """Forget what was found of the graph as it was; copies go on sharing it."""
        self._structure, self._kept = None, {}

    @property
    def structure(self) -> Structure:
        """Its variables and scopes."""
        if self._structure is None:
            self._structure = Structure(tuple(self._families), tuple(self._groups), tuple(self._counted))
        return self._structure

    @property
    def potentials(self) -> Potentials:
        """Its numbers, with the evidence in the unary scores."""
        return Potentials(with_evidence(self._unary, self._evidence), tuple(self._tables))

    @property
    def scores(self) -> Scores:
        """Its numbers without the evidence, in one vector; made once for all copies with other evidence."""
        if "scores" not in self._kept:
            self._kept["scores"] = scores_of(self.structure, Potentials(tuple(self._unary), tuple(self._tables)))
        found: Scores = self._kept["scores"]
        return found

    @property
    def placed(self) -> Scores:
        """The scores as arrays of JAX, which a compiled program takes up without a copy."""
        if "placed" not in self._kept:
            with jax.ensure_compile_time_eval():
                self._kept["placed"] = jax.tree.map(device_array, self.scores)
        found: Scores = self._kept["placed"]
        return found

    @property
    def seen(self) -> Any:
        """State observed of each variable by number (n,), -1 where nothing is."""
        return states_seen(sum(map(len, self._unary)), self._families, self._evidence)

    @property
    def known(self) -> bool:
        """Whether none of its numbers is traced."""
        return not any(map(traced, (*self.scores, *self._evidence.values())))


def _all_of(family: Family) -> Variables:
    size = math.prod(family.shape)
    return Variables(family, np.arange(family.offset, family.offset + size).reshape(family.shape))
