"""The discrete part of a form: the factor graph of some finite sites, as a function of everything else.

Law: for all values of the inputs and of the sites that are held, the measure of the graph is that of the terms which
the chosen sites reach. The structure is read once, when the form is transformed; the potentials are computed where the
transformed form runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.form import Form
from lawful.form.choices import Choice, by_name, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.markov_blanket import Blanket, reached
from lawful.form.pipeline import per_form
from lawful.passes.condition import conditioned

from ..model.graph import FactorGraph, graph_of
from ..model.structure import Structure
from .from_program import to_factor_graph
from .graph_law import GraphLaw, states_of, values_of
from .lifted import applied, known
from .linear_counts import LARGE


@dataclass(frozen=True, eq=False)
class DiscretePart:
    """The graph of some sites of a form.

    Attributes:
        choices: the sites.
        held: all other latent sites.
        reach: the terms that the sites reach.
        structure: of the graph; its families are the sites by name, and states of loops, whose names begin with `~`.
        tree: that of the potentials.
        potentials: from the form's inputs and the values of the sites that are held, to the leaves of the potentials.
    """

    choices: tuple[Choice, ...]
    held: tuple[Choice, ...]
    reach: Blanket
    structure: Structure
    tree: Any
    potentials: Any

    @property
    def supports(self) -> list[np.ndarray]:
        """Values of the states of each site."""
        return [c.law.element_values.astype(c.dtype) for c in self.choices]

    @property
    def determined(self) -> np.ndarray:
        """Numbers of the variables that the sites determine: the states of loops."""
        families = [f for f in self.structure.families if f.name.startswith("~")]
        return np.concatenate([np.zeros(0, np.int64), *(f.offset + np.arange(f.size) for f in families)])

    def law(self, budget: int, structure: Structure | None = None, tree: Any = None) -> GraphLaw:
        """Give the law of all variables of the graph, or of a restricted one, by tables within a budget."""
        structure = self.structure if structure is None else structure
        names = tuple(family.name for family in structure.families)
        return GraphLaw(structure, self.tree if tree is None else tree, names, budget=budget)

    def graph(self, *values: Any) -> FactorGraph:
        """Give the graph at the form's inputs and the values of the sites that are held."""
        leaves = applied(self.potentials, list(map(known, values)))
        return graph_of(self.structure, jax.tree.unflatten(self.tree, leaves))

    def values(self, states: Any) -> tuple[Any, ...]:
        """Give the values of the sites from the states of all variables (n,)."""
        found = []
        for choice, support in zip(self.choices, self.supports, strict=True):
            family = self.structure.family(choice.name)
            assert family is not None
            own = states[family.offset : family.offset + family.size]
            found.append(values_of(own, support, choice.full_shape, choice.dtype))
        return tuple(found)

    def states(self, *values: Any) -> Any:
        """Give the states of all variables (n,) from the values of the sites, then whether each conditional one runs.

        A site that does not run has its first state, and so have the states of loops.
        """
        given = by_name(self.choices, values)
        states = jnp.zeros(self.structure.size, jnp.int32)
        for choice, support in zip(self.choices, self.supports, strict=True):
            family = self.structure.family(choice.name)
            assert family is not None
            own = states_of(given.values[choice.name], support)[0]
            if choice.conditional:
                flag = given.flags[choice.name]
                flag = jnp.broadcast_to(flag.reshape(flag.shape + (1,) * len(choice.shape)), choice.full_shape)
                own = jnp.where(flag.reshape(-1), own, 0)
            states = states.at[family.offset : family.offset + family.size].set(own)
        return states


def discrete_part(form: Form, sites: Collection[Address], max_table: int, count_from: int = LARGE) -> DiscretePart:
    """Read the graph of finite sites, once for a form: a plan, a kernel and its blocks ask for the same one.

    Args:
        form: the form.
        sites: addresses of finite sites.
        max_table: largest number of entries of a factor's table.
        count_from: number of entries from which on a sum of indicators is a count.

    Raises: as `to_factor_graph`.
    """
    return _read(form, frozenset(sites), max_table, count_from)


@per_form
def _read(form: Form, sites: frozenset[Address], max_table: int, count_from: int) -> DiscretePart:
    choices = choices_of(form)
    chosen = tuple(c for c in choices if c.address in sites)
    held = tuple(c for c in choices if c.address not in sites)
    reach = reached(form, [c.address for c in chosen])
    rest = conditioned(form, [c.address for c in held], reach.terms).form
    inputs, rest = rest.inputs, without_dead_code(replace(rest, outputs=()), keep_sites=True)
    seen: list[FactorGraph] = []

    def read(*values: jax.Array) -> tuple[Any, ...]:
        with jax.ensure_compile_time_eval():  # what does not depend on the values is known, as counts need
            seen.append(to_factor_graph(rest, *values, max_table=max_table, count_from=count_from))
        return tuple(map(jnp.asarray, jax.tree.leaves(seen[-1].potentials)))

    potentials = jax.jit(read)
    jax.eval_shape(potentials, *(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in inputs))
    return DiscretePart(chosen, held, reach, seen[-1].structure, jax.tree.structure(seen[-1].potentials), potentials)
