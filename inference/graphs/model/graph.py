"""FactorGraph: a product of tables and counts over finite variables, by hand or from a program or a file.

Law: it denotes the unnormalised measure exp(sum_i theta_i(x_i) + sum_a theta_a(x_a)) on all assignments. Evidence keeps
what agrees with it and nothing else, so the total mass is then that of the evidence.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from .builder import Builder
from .counted import completed
from .potentials import Potentials, scores_at, seen_with, states_of, traced
from .structure import Structure

type Path = str | os.PathLike[str]


class FactorGraph(Builder):
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
        # The structure is made now, so that all copies share it and its hash, as they share what is found later.
        other._evidence, other._structure, other.notes = dict(self._evidence), self.structure, self.notes
        other._kept = self._kept
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
        other._kept = {}
        return other

    def extended(self, structure: Structure, unary: Sequence[Any], tables: Sequence[Any]) -> FactorGraph:
        """Return a graph of a larger structure, with the numbers and the evidence of this one and those of the rest."""
        return self.rearranged(structure, unary, [*self._tables, *tables])

    def rearranged(self, structure: Structure, unary: Sequence[Any], tables: Sequence[Any]) -> FactorGraph:
        """Return a graph with further variables, their scores, and other factors; the evidence is that of this one."""
        other = self.copy()
        other._families, other._groups = list(structure.families), list(structure.groups)
        other._counted = list(structure.counted)
        other._unary, other._tables, other._structure = [*self._unary, *unary], list(tables), structure
        other._kept = {}
        return other

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
        flat = [states_of(family, assignment[family.name]) for family in self._families]
        x = (jnp if any(map(traced, flat)) else np).concatenate([np.zeros(0, np.int32), *flat])
        return jnp.asarray(scores_at(self.structure, self.potentials, x))

    def factor_name(self, group: int, factor: int) -> str:
        """Name one factor for people: as its file does, or by its place there, or as `edge[3]`."""
        name = self._groups[group].name
        note = self.notes.on(name)
        if note.names is not None:
            return note.names[factor]
        return f"{name}[{factor}]" if note.places is None else f"factor {note.places[factor]}"

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return f"<pre>{html.escape(self.summary())}</pre>"

    def __repr__(self) -> str:
        """Count variables and factors."""
        count = sum(group.size for group in self._groups)
        bags = sum(count.size for count in self._counted)
        counts = f", {bags} {'count' if bags == 1 else 'counts'}" if self._counted else ""
        return f"FactorGraph({self.structure.size} variables, {count} factors{counts})"

    if TYPE_CHECKING:  # bound by the package, since formats and plans stand above a graph

        @staticmethod
        def from_uai(source: Path, evidence: Path | Mapping[int, int] | None = None) -> FactorGraph:
            """Read the UAI format: a file or its text, and evidence if there is any; see `uai.from_uai`."""

        def to_uai(self, path: Path | None = None, evidence: Path | None = None) -> str:
            """Return the graph in the UAI format, written where a path is given; see `uai.to_uai`."""

        @staticmethod
        def from_networkx(graph: Any) -> FactorGraph:
            """Read a bipartite networkx graph; see `networkx_graphs.from_networkx`."""

        def to_networkx(self) -> Any:
            """Return the graph as a bipartite networkx.Graph; see `networkx_graphs.to_networkx`."""

        def save(self, path: Path) -> None:
            """Write the graph as one .npz file, bit for bit; see `arrays.save`."""

        @staticmethod
        def load(path: Path) -> FactorGraph:
            """Read a graph that `save` wrote; see `arrays.load`."""

        @staticmethod
        def from_pgmpy(model: Any) -> FactorGraph:
            """Read a network of pgmpy; see `pgmpy_models.from_pgmpy`."""

        @staticmethod
        def from_bif(path: Path) -> FactorGraph:
            """Read a BIF, XMLBIF or XDSL file through pgmpy; see `pgmpy_models.from_bif`."""

        def to_dot(self, singly: bool | None = None) -> str:
            """Draw the graph in the DOT language; see `drawing.to_dot`."""

        def to_mermaid(self, singly: bool | None = None) -> str:
            """Draw the graph as a Mermaid flowchart; see `drawing.to_mermaid`."""

        def summary(self) -> str:
            """Write what the graph holds and what an inference would do; see `summary.summary`."""


def graph_of(structure: Structure, potentials: Potentials) -> FactorGraph:
    """Make a graph from its structure and its numbers, which may be traced."""
    graph = FactorGraph()
    graph._families, graph._groups = list(structure.families), list(structure.groups)
    graph._counted = list(structure.counted)
    graph._unary, graph._tables = list(potentials.unary), list(potentials.tables)
    graph._structure = structure
    return graph
