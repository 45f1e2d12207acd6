"""FactorGraph: a product of tables over finite variables, written by hand or read from a program or a file.

Law: it denotes the unnormalised measure exp(sum_i theta_i(x_i) + sum_a theta_a(x_a)) on all assignments. Evidence keeps
what agrees with it and nothing else, so the total mass is then that of the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import DuplicateSiteError, IndexRangeError, LawfulError, NonFiniteError

from .structure import Family, Group, Structure


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
        return Variables(self.family, np.asarray(self.numbers[index]))


type Scope = Variables | tuple[Variables, Any]


class FactorGraph:
    """Finite variables and factors.

    Variables are added in arrays, factors in groups, so a graph of a million factors takes a few calls.

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
        self._evidence: dict[int, Any] = {}
        self._structure: Structure | None = None

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
            log_potential: scores of the states as natural logs (*shape, cardinality), or (cardinality,) for all alike;
                -inf excludes a state. Default: zero.
            states: names of the states.

        Returns: a handle, for scopes.

        Raises: DuplicateSiteError for a name that is taken; LawfulError for shapes that do not fit; NonFiniteError for
            a score that is NaN or +inf.
        """
        if any(family.name == name for family in self._families):
            raise DuplicateSiteError(f"variables {name!r}: the name is taken. Fix: give another one.", site=name)
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
        for family in self._families:
            if family.name == name:
                return Variables(family, np.asarray(family.offset + np.arange(family.size).reshape(family.shape)))
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
        numbers = _joined(name, [part.numbers for part in parts])
        cards = tuple(part.family.cardinality for part in parts)
        tables = _scores(log_table)
        if tuple(tables.shape) not in (cards, (len(numbers), *cards)):
            raise LawfulError(
                f"factors {name!r}: log_table: expected shape {(len(numbers), *cards)}, or {cards} for all factors "
                f"alike, got {tuple(tables.shape)}.",
                site=name,
            )
        _refuse_not_finite(tables, f"log_table of {name!r}")
        shared = tables.ndim == len(cards)
        tables = tables[None] if shared else tables
        self.add(name, *_diagonal(numbers, cards, tables), shared=shared)

    def add(
        self, name: str, scopes: np.ndarray, cardinalities: tuple[int, ...], tables: Any, *, shared: bool = False
    ) -> None:
        """Add factors by the numbers of their variables (G, r), all different in a scope; tables (G or 1, K_1, ...)."""
        if any(group.name == name for group in self._groups):
            raise DuplicateSiteError(f"factors {name!r}: the name is taken. Fix: give another one.", site=name)
        self._groups.append(Group(name, np.asarray(scopes, np.int64), cardinalities, shared))
        self._tables.append(tables)
        self._structure = None

    def _part(self, name: str, axis: int, scope: Scope) -> Variables:
        variables, index = scope if isinstance(scope, tuple) else (scope, ...)
        if not isinstance(variables, Variables) or variables.family not in self._families:
            raise LawfulError(
                f"factors {name!r}: scope of axis {axis}: expected variables of this graph, as graph['z'] or z[index], "
                f"got {variables!r}.",
                site=name,
            )
        try:
            return variables[index if isinstance(index, slice | tuple) or index is ... else np.asarray(index)]
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

        Raises: LawfulError for a name or a state that is not known.

        >>> graph = FactorGraph()
        >>> rain = graph.variables("rain", states=["no", "yes"], log_potential=jnp.log(jnp.array([0.8, 0.2])))
        >>> graph.observe({"rain": "yes"}).log_score({"rain": 0}).item()
        -inf
        """
        other = self.copy()
        for name, given in evidence.items():
            variables = self[name]
            family, index, states = variables.family, *(given if isinstance(given, tuple) else (..., given))
            numbers = variables[index].numbers
            place = self._families.index(family)
            seen = other._evidence.get(place, np.full(family.size, -1))
            states = _numbered(family, states)
            where, states = (numbers - family.offset).reshape(-1), _spread(states, numbers.shape).reshape(-1)
            other._evidence[place] = (
                jnp.asarray(seen).at[where].set(states) if _traced(seen, states) else _put(seen, where, states)
            )
        return other

    def copy(self) -> FactorGraph:
        """Return a graph of its own that shares the arrays."""
        other = FactorGraph()
        for name in ("_families", "_groups", "_unary", "_tables"):
            setattr(other, name, list(getattr(self, name)))
        other._evidence, other._structure = dict(self._evidence), self._structure
        return other

    def replace(self, potentials: Potentials) -> FactorGraph:
        """Return the graph with other potentials, as a gradient or a parameter sweep needs."""
        other = self.copy()
        other._unary, other._tables = list(potentials.unary), list(potentials.tables)
        return other

    @property
    def structure(self) -> Structure:
        """Its variables and scopes."""
        if self._structure is None:
            self._structure = Structure(tuple(self._families), tuple(self._groups))
        return self._structure

    @property
    def potentials(self) -> Potentials:
        """Its numbers, with the evidence in the unary scores."""
        return Potentials(with_evidence(self._unary, self._evidence), tuple(self._tables))

    @property
    def evidence(self) -> dict[str, Any]:
        """States observed, name -> (*shape), -1 where nothing is."""
        return {
            self._families[place].name: seen.reshape(self._families[place].shape)
            for place, seen in self._evidence.items()
        }

    def log_score(self, assignment: Mapping[str, Any]) -> jax.Array:
        """Log of the measure of one assignment, name -> states (*shape), as numbers.

        Raises: LawfulError for a name that is missing or not known.
        """
        names = [family.name for family in self._families]
        if set(assignment) != set(names):
            raise LawfulError(f"log_score: expected states of {', '.join(names)}, got those of {list(assignment)}.")
        potentials, total = self.potentials, jnp.zeros((), jnp.result_type(float))
        flat = [jnp.asarray(assignment[f.name]).reshape(-1) for f in self._families]
        x = jnp.concatenate([jnp.zeros(0, jnp.int32), *(s.astype(jnp.int32) for s in flat)])
        for family, scores in zip(self._families, potentials.unary, strict=True):
            own = x[family.offset : family.offset + family.size]
            total = total + jnp.sum(jnp.take_along_axis(scores, own[:, None], axis=1))
        for group, tables in zip(self._groups, potentials.tables, strict=True):
            rows = np.zeros(group.size, np.int32) if group.shared else np.arange(group.size)
            total = total + jnp.sum(tables[(rows, *(x[group.scopes[:, k]] for k in range(group.arity)))])
        return total

    def __repr__(self) -> str:
        """Count variables and factors."""
        count = sum(group.size for group in self._groups)
        return f"FactorGraph({self.structure.size} variables, {count} factors)"


def with_evidence(unary: Sequence[Any], evidence: Mapping[int, Any]) -> tuple[Any, ...]:
    """Exclude the states that were not observed: evidence is states (n,) by the number of the family, -1 for none."""
    found = list(unary)
    for place, seen in evidence.items():
        allowed = (seen[:, None] < 0) | (seen[:, None] == np.arange(found[place].shape[1]))
        found[place] = jnp.where(allowed, found[place], -jnp.inf)
    return tuple(found)


def _scores(given: Any) -> Any:
    """Make an array of floats; traced ones stay as they are."""
    array = jnp.asarray(given)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _traced(*arrays: Any) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in arrays)


def _spread(array: Any, full: tuple[int, ...]) -> Any:
    if array.shape == full:
        return array
    return np.broadcast_to(array, full) if isinstance(array, np.ndarray) else jnp.broadcast_to(array, full)


def _put(seen: np.ndarray, where: np.ndarray, states: np.ndarray) -> np.ndarray:
    seen = seen.copy()
    seen[where] = states
    return seen


def _refuse_not_finite(scores: Any, what: str) -> None:
    """Refuse NaN and +inf in concrete scores; traced ones are found by the verdict of the run."""
    if _traced(scores):
        return
    found = np.argwhere(~(np.asarray(scores) < np.inf))
    if len(found):
        at = tuple(int(k) for k in found[0])
        raise NonFiniteError(
            f"{what}: element {at} is {float(scores[at])}; expected natural logs, where -inf excludes a state.",
            index=at,
        )


def _joined(name: str, columns: Sequence[np.ndarray]) -> np.ndarray:
    """Put the variables of each axis side by side (G, r); a factor without variables is one number."""
    if not columns:
        return np.zeros((1, 0), np.int64)
    sizes = {column.size for column in columns if column.size != 1}
    count = max(sizes) if sizes else min((c.size for c in columns), default=1)
    if len(sizes) > 1:
        shapes = ", ".join(str(c.shape) for c in columns)
        raise LawfulError(f"factors {name!r}: the axes of the scope have {shapes} variables: expected as many each.")
    return np.stack([np.broadcast_to(c.reshape(-1), (count,)) for c in columns], axis=1).astype(np.int64)


def _diagonal(numbers: np.ndarray, cards: tuple[int, ...], tables: Any) -> tuple[np.ndarray, tuple[int, ...], Any]:
    """Take the diagonal of tables whose scopes have one variable on two axes.

    All factors of a group have to do so on the same axes.
    """
    for later in range(len(cards)):
        for earlier in range(later):
            same = numbers[:, later] == numbers[:, earlier]
            if same.any():
                if not same.all():
                    raise LawfulError(
                        "factors: some scopes of the group hold a variable twice and others do not. Fix: add those "
                        f"with a repeated variable as a group of their own (factors {np.flatnonzero(same)[:5]}).",
                    )
                kept = [axis for axis in range(len(cards)) if axis != later]
                drawn = jnp.diagonal(tables, axis1=earlier + 1, axis2=later + 1)
                tables = jnp.moveaxis(drawn, -1, earlier + 1)
                return _diagonal(numbers[:, kept], tuple(cards[k] for k in kept), tables)
    return numbers, cards, tables


def _numbered(family: Family, states: Any) -> Any:
    """Turn names of states into numbers, and check that each is a state; traced ones are taken as they are."""
    if _traced(states):
        return states
    given = np.asarray(states)
    if given.dtype.kind in "US":
        known = family.states or tuple(map(str, range(family.cardinality)))
        unknown = [str(s) for s in given.reshape(-1) if str(s) not in known]
        if unknown:
            raise LawfulError(f"{family.name!r} has no state {unknown[0]!r}: its states are {', '.join(known)}.")
        return np.array([known.index(str(s)) for s in given.reshape(-1)]).reshape(given.shape)
    if given.dtype.kind not in "iub" or np.any((given < 0) | (given >= family.cardinality)):
        raise LawfulError(
            f"{family.name!r}: expected a state from 0 to {family.cardinality - 1}, or its name, got {states!r}.",
            site=family.name,
        )
    return given.astype(np.int64)


def table_entries(structure: Structure) -> int:
    """Number of entries of all tables, shared ones counted once."""
    return sum((1 if g.shared else g.size) * math.prod(g.cardinalities) for g in structure.groups)
