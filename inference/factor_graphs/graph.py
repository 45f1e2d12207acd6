"""FactorGraph: a product of tables and counts over finite variables, by hand or from a program or a file.

Law: it denotes the unnormalised measure exp(sum_i theta_i(x_i) + sum_a theta_a(x_a)) on all assignments. Evidence keeps
what agrees with it and nothing else, so the total mass is then that of the evidence.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import DuplicateSiteError, IndexRangeError, LawfulError, NonFiniteError

from .counted import bags_of, completed, counts_at, refuse_impossible
from .evidence import indexed, seen_with, traced
from .notes import Notes
from .scopes import diagonal, joined
from .structure import Count, Family, Group, Structure

type Path = str | os.PathLike[str]

BY_NUMPY = 1 << 12  # entries up to which scores are compared with evidence on the host


class Potentials(NamedTuple):
    """The numbers of a factor graph, as natural logs: arrays that may be traced, batched and differentiated.

    Attributes:
        unary: for each family of variables, scores (n, K).
        tables: for each group of factors, tables (G, K_1, ..., K_r), or (1, ...) where all share one.
    """

    unary: tuple[Any, ...]
    tables: tuple[Any, ...]


@dataclass(frozen=True)
class Variables:
    """A handle on variables of a graph; `z[i]` are some of them, in any way an array is indexed."""

    family: Family
    numbers: np.ndarray

    def __getitem__(self, index: Any) -> Variables:
        """Select elements."""
        return Variables(self.family, indexed(self.numbers, index))


type Scope = Variables | tuple[Variables, Any]


class FactorGraph:
    """Finite variables and factors.

    Variables are added in arrays, factors in groups, so a graph of a million factors takes a few calls.

    Attributes:
        notes: what a file said of the graph beyond its measure.

    >>> import numpy as np
    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,), cardinality=2, log_potential=np.zeros((3, 2)))
    >>> graph.factors("same", [z[:-1], z[1:]], np.array([[0.5, 0.0], [0.0, 0.5]]))
    >>> graph
    FactorGraph(3 variables, 2 factors)
    """

    def __init__(self) -> None:
        """Make a graph without variables, whose mass is one."""
        self._families: list[Family] = []
        self._groups: list[Group] = []
        self._unary: list[Any] = []
        self._tables: list[Any] = []
        self._counted: list[Count] = []
        self._evidence: dict[int, Any] = {}
        self._structure: Structure | None = None
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
        family = Family(name, tuple(map(int, shape)), count, sum(f.size for f in self._families), named)
        full = (*family.shape, count)
        scores = jnp.zeros(full, jnp.result_type(float)) if log_potential is None else _scores(log_potential)
        if tuple(scores.shape) not in (full, (count,)):
            raise LawfulError(
                f"variables {name!r}: log_potential: expected shape {full} or {(count,)}, got {tuple(scores.shape)}.",
                site=name,
            )
        _refuse_not_finite(scores, f"log_potential of {name!r}")
        self._families.append(family)
        self._unary.append(_spread(scores, full).reshape((family.size, count)))
        self._structure = None
        return self[name]

    def __getitem__(self, name: str) -> Variables:
        """Find variables by name.

        Raises: LawfulError for a name that is not known.
        """
        family = self._families[self._place(name)]
        return Variables(family, np.asarray(family.offset + np.arange(family.size).reshape(family.shape)))

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
        tables = _scores(log_table)
        if tuple(tables.shape) not in (cards, (len(numbers), *cards)):
            raise LawfulError(
                f"factors {name!r}: log_table: expected shape {(len(numbers), *cards)}, or {cards} for all factors "
                f"alike, got {tuple(tables.shape)}.",
                site=name,
            )
        _refuse_not_finite(tables, f"log_table of {name!r}")
        tables = _spread(tables, (len(numbers),)) if not cards else tables
        shared = tables.ndim == len(cards)
        tables = tables[None] if shared else tables
        self.add(name, *diagonal(name, numbers, cards, tables), shared=shared)

    def add(
        self, name: str, scopes: np.ndarray, cardinalities: tuple[int, ...], tables: Any, *, shared: bool = False
    ) -> None:
        """Add factors by the numbers of their variables (G, r), all different in a scope; tables (G or 1, K_1, ...)."""
        if any(group.name == name for group in self._groups):
            raise DuplicateSiteError(f"factors {name!r}: the name is taken. Fix: give another one.", site=name)
        self._groups.append(Group(name, np.asarray(scopes, np.int64), cardinalities, shared))
        self._tables.append(tables)
        self._structure = None

    def count(
        self, name: str, members: Scope, log_potential: Any = None, bags: Any = None, state: Any = 1
    ) -> Variables:
        """Add bags of variables, and for each a variable that holds how many of its members are in a state.

        Args:
            name: a new name, of the variables that hold the counts.
            members: handle of the members: bags of one size lie along the last axis of an array.
            log_potential: scores of the counts as natural logs `(*shape, B + 1)`, or (B + 1,) for all bags alike, B the
                size of the largest; -inf excludes a count. See `numerics.counts.potentials`. Default: zero.
            bags: the number of the bag of each member, from 0, where bags differ in size; (*shape of the members).
            state: the state that counts, one or one for each member; 0 for a binary member that counts when it is 0.

        Returns: a handle on the counts, variables as all others: they may be observed, or stand in scopes of factors.

        Raises: as `variables`, and ObservationError for bags that do not fit, or without any possible count.

        >>> from lawful.inference.factor_graphs import infer
        >>> from lawful.inference.numerics.counts import potentials
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
        self._structure = None
        return handle

    def add_count(self, count: Count) -> None:
        """Add a count of variables that the graph has, by their numbers."""
        self._counted.append(count)
        self._structure = None

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

    def observe(self, evidence: Mapping[str, Any]) -> FactorGraph:
        """Return the graph with evidence, on top of what it has; the structure stays, so nothing is compiled again.

        Args:
            evidence: name -> state, by its number or its name, for a single variable; for an array, name -> (index,
                states). Numbers may be traced, as for a map over evidence. What is observed again takes the new state.

        Raises: LawfulError for a name or a state that is not known; IndexRangeError for an index that names nothing.

        >>> graph = FactorGraph()
        >>> rain = graph.variables("rain", states=["no", "yes"], log_potential=jnp.log(jnp.array([0.8, 0.2])))
        >>> graph.observe({"rain": "yes"}).log_score({"rain": 0}).item()
        -inf
        """
        other = self.copy()
        for name, given in evidence.items():
            place = self._place(name)
            family = self._families[place]
            seen = other._evidence.get(place, np.full(family.size, -1))
            other._evidence[place] = seen_with(family, seen, given)
        return other

    def without_evidence(self) -> FactorGraph:
        """Return the graph as it was before anything was observed."""
        other = self.copy()
        other._evidence = {}
        return other

    def copy(self) -> FactorGraph:
        """Return a graph of its own that shares the arrays."""
        other = FactorGraph()
        for name in ("_families", "_groups", "_unary", "_tables", "_counted"):
            setattr(other, name, list(getattr(self, name)))
        # The structure is made now, so that all copies share it, and the hash of it.
        other._evidence, other._structure, other.notes = dict(self._evidence), self.structure, self.notes
        return other

    def replace(self, potentials: Potentials) -> FactorGraph:
        """Return the graph with other potentials, as a gradient or a parameter sweep needs.

        Raises: LawfulError for arrays of other shapes than those of the graph.
        """
        for what, own, given in (("unary", self._unary, potentials.unary), ("tables", self._tables, potentials.tables)):
            shapes, found = ([tuple(x.shape) for x in arrays] for arrays in (own, given))
            if shapes != found:
                raise LawfulError(f"replace: {what}: expected arrays of shapes {shapes}, got {found}.")
        other = self.copy()
        other._unary, other._tables = list(potentials.unary), list(potentials.tables)
        return other

    def extended(self, structure: Structure, unary: Sequence[Any], tables: Sequence[Any]) -> FactorGraph:
        """Return a graph of a larger structure, with the numbers and the evidence of this one and those of the rest."""
        other = self.copy()
        other._families, other._groups = list(structure.families), list(structure.groups)
        other._counted = list(structure.counted)
        other._unary, other._tables, other._structure = [*self._unary, *unary], [*self._tables, *tables], structure
        return other

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
    def evidence(self) -> dict[str, Any]:
        """States observed, name -> `(*shape)`, -1 where nothing is."""
        return {
            self._families[place].name: seen.reshape(self._families[place].shape)
            for place, seen in self._evidence.items()
        }

    def log_score(self, assignment: Mapping[str, Any]) -> jax.Array:
        """Log of the measure of one assignment, name -> states `(*shape)`, as numbers; counts may be left out.

        Raises: LawfulError for a name that is missing or not known, for states of another shape, and for a number that
            is no state.
        """
        names = [family.name for family in self._families]
        if self._counted and set(assignment) >= set(names) - {count.name for count in self._counted}:
            assignment = completed(self.structure, assignment)
        if set(assignment) != set(names):
            raise LawfulError(f"log_score: expected states of {', '.join(names)}, got those of {list(assignment)}.")
        flat = [_states_of(family, assignment[family.name]) for family in self._families]
        # NumPy has nothing to compile, where all numbers are known.
        potentials, dtype = self.potentials, jnp.result_type(float)
        arrays = [*flat, *potentials.unary, *potentials.tables]
        xp = jnp if any(map(traced, arrays)) else np
        x = xp.concatenate([np.zeros(0, np.int32), *flat])
        total = xp.zeros((), dtype)
        for family, scores in zip(self._families, potentials.unary, strict=True):
            own = x[family.offset : family.offset + family.size]
            total = total + xp.sum(xp.take_along_axis(xp.asarray(scores), own[:, None], axis=1), dtype=dtype)
        for group, tables in zip(self._groups, potentials.tables, strict=True):
            rows = np.zeros(group.size, np.int32) if group.shared else np.arange(group.size)
            found = xp.asarray(tables)[(rows, *(x[group.scopes[:, k]] for k in range(group.arity)))]
            total = total + xp.sum(found, dtype=dtype)
        for count in self._counted:
            right = xp.all(counts_at(count, x) == x[count.totals])
            total = total + xp.where(right, xp.zeros((), dtype), -xp.inf)
        return jnp.asarray(total, dtype)

    def factor_name(self, group: int, factor: int) -> str:
        """Name one factor for people: as its file does, or by its place there, or as `edge[3]`."""
        name = self._groups[group].name
        note = self.notes.on(name)
        if note.names is not None:
            return note.names[factor]
        return f"{name}[{factor}]" if note.places is None else f"factor {note.places[factor]}"

    @staticmethod
    def from_uai(source: Path, evidence: Path | Mapping[int, int] | None = None) -> FactorGraph:
        """Read the UAI format: a file or its text, and evidence if there is any; see `uai.from_uai`."""
        from .uai import from_uai

        return from_uai(source, evidence)

    def to_uai(self, path: Path | None = None, evidence: Path | None = None) -> str:
        """Return the graph in the UAI format, written where a path is given; see `uai.to_uai`."""
        from .uai import to_uai

        return to_uai(self, path, evidence)

    @staticmethod
    def from_json(source: Path | Mapping[str, Any]) -> FactorGraph:
        """Read the project's JSON: a file, its text, or the object in it; see `json_networks`."""
        from .json_networks import from_json

        return from_json(source)

    def to_json(self, path: Path | None = None) -> str:
        """Return the graph as the project's JSON, written where a path is given; see `json_networks`."""
        from .json_networks import to_json

        return to_json(self, path)

    @staticmethod
    def from_networkx(graph: Any) -> FactorGraph:
        """Read a bipartite networkx graph; see `networkx_graphs.from_networkx`."""
        from .networkx_graphs import from_networkx

        return from_networkx(graph)

    def to_networkx(self) -> Any:
        """Return the graph as a bipartite networkx.Graph; see `networkx_graphs.to_networkx`."""
        from .networkx_graphs import to_networkx

        return to_networkx(self)

    def save(self, path: Path) -> None:
        """Write the graph as one .npz file, bit for bit; see `arrays.save`."""
        from .arrays import save

        save(self, path)

    @staticmethod
    def load(path: Path) -> FactorGraph:
        """Read a graph that `save` wrote; see `arrays.load`."""
        from .arrays import load

        return load(path)

    @staticmethod
    def from_pgmpy(model: Any) -> FactorGraph:
        """Read a network of pgmpy; see `pgmpy_models.from_pgmpy`."""
        from .pgmpy_models import from_pgmpy

        return from_pgmpy(model)

    @staticmethod
    def from_bif(path: Path) -> FactorGraph:
        """Read a BIF, XMLBIF or XDSL file through pgmpy; see `pgmpy_models.from_bif`."""
        from .pgmpy_models import from_bif

        return from_bif(path)

    def to_dot(self, singly: bool | None = None) -> str:
        """Draw the graph in the DOT language; see `drawing.to_dot`."""
        from .drawing import to_dot

        return to_dot(self, singly)

    def to_mermaid(self, singly: bool | None = None) -> str:
        """Draw the graph as a Mermaid flowchart; see `drawing.to_mermaid`."""
        from .drawing import to_mermaid

        return to_mermaid(self, singly)

    def summary(self) -> str:
        """Write what the graph holds and what an inference would do; see `summary.summary`."""
        from .summary import summary

        return summary(self)

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return f"<pre>{html.escape(self.summary())}</pre>"

    def __repr__(self) -> str:
        """Count variables and factors."""
        count = sum(group.size for group in self._groups)
        bags = sum(count.size for count in self._counted)
        counts = f", {bags} {'count' if bags == 1 else 'counts'}" if self._counted else ""
        return f"FactorGraph({self.structure.size} variables, {count} factors{counts})"


def graph_of(structure: Structure, potentials: Potentials) -> FactorGraph:
    """Make a graph from its structure and its numbers, which may be traced."""
    graph = FactorGraph()
    graph._families, graph._groups = list(structure.families), list(structure.groups)
    graph._counted = list(structure.counted)
    graph._unary, graph._tables = list(potentials.unary), list(potentials.tables)
    graph._structure = structure
    return graph


def with_evidence(unary: Sequence[Any], evidence: Mapping[int, Any]) -> tuple[Any, ...]:
    """Exclude the states that were not observed: evidence is states (n,) by the number of the family, -1 for none.

    Few numbers are left to NumPy: each operation of JAX takes longer to dispatch than all of them to carry out.
    """
    found = list(unary)
    for place, seen in evidence.items():
        scores = found[place]
        few = scores.size <= BY_NUMPY and not traced(scores) and not traced(seen)
        xp, scores = (np, np.asarray(scores)) if few else (jnp, scores)
        allowed = (seen[:, None] < 0) | (seen[:, None] == np.arange(scores.shape[1])[None])
        found[place] = xp.where(allowed, scores, -np.inf)
    return tuple(found)


def _scores(given: Any) -> Any:
    """Make an array of floats; traced ones stay as they are."""
    array = jnp.asarray(given)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _states_of(family: Family, given: Any) -> Any:
    """Check the states of a family in an assignment; traced ones by their shape alone."""
    states = given if traced(given) else np.asarray(given)
    whole = jnp.issubdtype(states.dtype, jnp.integer) or states.dtype == jnp.bool_
    if tuple(states.shape) != family.shape or not whole:
        raise LawfulError(
            f"log_score: {family.name!r}: expected numbers of states of shape {family.shape}, got {states.dtype} of "
            f"shape {tuple(states.shape)}.",
            site=family.name,
        )
    if not traced(states) and np.any((states < 0) | (states >= family.cardinality)):
        raise LawfulError(
            f"log_score: {family.name!r}: expected states from 0 to {family.cardinality - 1}, got {given!r}.",
            site=family.name,
        )
    return states.reshape(-1).astype(np.int32)


def _spread(array: Any, full: tuple[int, ...]) -> Any:
    if array.shape == full:
        return array
    return np.broadcast_to(array, full) if isinstance(array, np.ndarray) else jnp.broadcast_to(array, full)


def _refuse_not_finite(scores: Any, what: str) -> None:
    """Refuse NaN and +inf in concrete scores; traced ones are found by the verdict of the run."""
    if traced(scores):
        return
    found = np.argwhere(~(np.asarray(scores) < np.inf))
    if len(found):
        at = tuple(int(k) for k in found[0])
        raise NonFiniteError(
            f"{what}: element {at} is {float(scores[at])}; expected natural logs, where -inf excludes a state.",
            index=at,
        )


def table_entries(structure: Structure) -> int:
    """Number of entries of all tables, shared ones counted once."""
    return sum((1 if g.shared else g.size) * math.prod(g.cardinalities) for g in structure.groups)
