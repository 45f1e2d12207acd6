"""GraphLaw: the law of some variables of a factor graph, all others summed out, as the law of a site.

Law: for states x of the variables, log p(x) = log Z(x observed) - log Z. The draw is a forward elimination and a draw
of each variable given those that were eliminated later. Of a graph without mass the first states are taken, so nothing
is ever NaN.

What is known of other variables is observed in the potentials. So the sites of a program can be drawn one after the
other, each given those before, and a block of variables given all that is held.

Reference: Dechter (1999), Bucket elimination: a unifying framework for reasoning, section on sampling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.distributions.protocol import MAX_ATOMS, Law
from lawful.errors import PathLimitError

from ..exact.orders import MOST
from ..inference import drawn_states, log_mass, uniforms_of
from ..model.graph import graph_of
from ..model.potentials import Potentials
from ..model.restriction import Restriction
from ..model.structure import Family, Structure
from ..planning import Plan, exactly


@dataclass(frozen=True)
class GraphLaw(Law):
    """States of some families of variables, one family after the other, as a vector.

    Its parameters are the arrays of the graph's potentials, `jax.tree.leaves` of them.

    Attributes:
        structure: of the graph.
        tree: that of the potentials.
        names: the families.
        normalised: whether the mass of the graph is known to be one.
        budget: largest number of entries of a table of its elimination.
    """

    structure: Structure
    tree: Any
    names: tuple[str, ...]
    normalised: bool = False
    budget: int = MOST
    dtype = jnp.dtype("int32")
    label = "factor graph"

    @property
    def plan(self) -> Plan:
        """How the graph is solved."""
        return exactly(self.structure, self.budget)

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that are drawn."""
        return tuple(f for name in self.names if (f := self.structure.family(name)) is not None)

    @property
    def shape(self) -> tuple[int, ...]:
        """One state a variable."""
        return (sum(family.size for family in self.families),)

    @property
    def atoms(self) -> int:
        """Number of joint states."""
        return math.prod(family.cardinality**family.size for family in self.families)

    def draw(self, key: jax.Array, *leaves: jax.Array) -> jax.Array:
        """Draw states, given those that the potentials hold."""
        return self.push(jax.random.uniform(key, (uniforms_of(self.plan),), jnp.result_type(float)), *leaves)

    def push(self, uniforms: jax.Array, *leaves: jax.Array) -> jax.Array:
        """Turn uniforms, as many as `uniforms_of` says, into states of those that are drawn."""
        potentials = self._potentials(leaves)
        states = jnp.asarray(drawn_states(self.plan, graph_of(self.structure, potentials), uniforms, compiled=True))
        possible = jnp.isfinite(log_mass(self.plan, potentials, compiled=True))
        own = [states[f.offset : f.offset + f.size] for f in self.families]
        return jnp.where(possible, jnp.concatenate([jnp.zeros(0, states.dtype), *own]), 0).astype(self.dtype)

    def log_prob(self, value: jax.Array, *leaves: jax.Array) -> jax.Array:
        """Give the log probability of states."""
        potentials = self._potentials(leaves)
        own = jnp.asarray(self._mass_at(potentials, value, compiled=True))
        if self.normalised:
            return own
        whole = jnp.asarray(log_mass(self.plan, potentials, compiled=True))
        possible = jnp.isfinite(whole)
        first = jnp.where(jnp.all(value == 0), 0.0, -jnp.inf).astype(own.dtype)
        return jnp.where(possible, own - jnp.where(possible, whole, 0.0), first)

    def enumerate(self, *leaves: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the joint states, the last variable fastest, with their log probabilities.

        Raises: PathLimitError for too many.
        """
        grid = self._grid()
        return jnp.asarray(grid), jax.vmap(lambda x: self.log_prob(x, *leaves))(jnp.asarray(grid))

    def finite_elements(self, site_of: Any, *leaves: Any) -> tuple[list[Any], Any]:
        """List the joint states of positive mass with their probabilities, one element, by NumPy for an eager run."""
        potentials = self._potentials([np.asarray(x) for x in leaves])
        whole, grid = 0.0 if self.normalised else float(log_mass(self.plan, potentials, False)), self._grid()
        if whole == -math.inf:
            return [(list(grid[:1]), [1.0])], _only
        own = [float(self._mass_at(potentials, x, compiled=False)) for x in grid]
        kept = [k for k, mass in enumerate(own) if mass > -math.inf]
        return [([grid[k] for k in kept], [math.exp(own[k] - whole) for k in kept])], _only

    def _grid(self) -> np.ndarray:
        """All joint states (S, n), the last variable fastest."""
        if self.atoms > MAX_ATOMS:
            raise PathLimitError(
                f"{', '.join(self.names)}: {self.atoms} joint states, more than {MAX_ATOMS}.",
                needed=self.atoms, cap=MAX_ATOMS,
            )  # fmt: skip
        cards = [f.cardinality for f in self.families for _ in range(f.size)]
        return np.indices(tuple(cards), np.int32).reshape((len(cards), -1)).T if cards else np.zeros((1, 0), np.int32)

    def _potentials(self, leaves: Any) -> Potentials:
        potentials: Potentials = jax.tree.unflatten(self.tree, leaves)
        return potentials

    def _mass_at(self, potentials: Potentials, value: Any, compiled: bool) -> Any:
        """Give the log of the mass at states: all other variables are summed."""
        rest, states = left_given(self.structure, self.names, value)
        own = rest.held_score(potentials, states)
        if not rest.structure.size:
            return own
        plan = exactly(rest.structure, self.budget)
        return own + log_mass(plan, rest.potentials(potentials, states), compiled)


def left_given(structure: Structure, names: tuple[str, ...], value: Any) -> tuple[Restriction, Any]:
    """Restrict a graph to what is left where some families have states (m,); give states of all variables (n,)."""
    rest, place = _left(structure, names)
    return rest, value[place] if value.size else np.zeros(structure.size, np.int32)


@lru_cache(maxsize=256)
def _left(structure: Structure, names: tuple[str, ...]) -> tuple[Restriction, np.ndarray]:
    """Restrict a graph to all variables but those of some families; give for each variable its place among theirs."""
    place, start = np.full(structure.size, -1, np.int64), 0
    for family in filter(None, map(structure.family, names)):
        place[family.offset : family.offset + family.size] = np.arange(start, start + family.size)
        start += family.size
    return Restriction(structure, np.flatnonzero(place < 0)), np.maximum(place, 0)


@dataclass(frozen=True)
class SiteLaw(Law):
    """A site of a program that is a family of variables: its values stand for their states.

    Attributes:
        base: the law of the family's states.
        shape: of the site.
        kind: type of its values, by name.
        support: the values of the states.
    """

    base: GraphLaw
    shape: tuple[int, ...]
    kind: str
    support: tuple[Any, ...]

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return jnp.dtype(self.kind)

    @property
    def atoms(self) -> int:
        """Number of joint values."""
        return self.base.atoms

    @property
    def label(self) -> str:
        """Name for people."""
        return self.base.label

    def draw(self, key: jax.Array, *leaves: jax.Array) -> jax.Array:
        """Draw the values."""
        return values_of(self.base.draw(key, *leaves), self.support, self.shape, self.dtype)

    def log_prob(self, value: jax.Array, *leaves: jax.Array) -> jax.Array:
        """Give the log probability of values; one that is no state has none."""
        states, known = states_of(value, self.support)
        return jnp.where(jnp.all(known), self.base.log_prob(states, *leaves), -jnp.inf)

    def enumerate(self, *leaves: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the joint values with their log probabilities."""
        states, masses = self.base.enumerate(*leaves)
        return jax.vmap(lambda x: values_of(x, self.support, self.shape, self.dtype))(states), masses

    def finite_elements(self, site_of: Any, *leaves: Any) -> tuple[list[Any], Any]:
        """List the joint values of positive mass with their probabilities, one element, by NumPy for an eager run."""
        [(states, masses)], first = self.base.finite_elements(site_of, *leaves)
        support = np.asarray(self.support, self.dtype)
        return [([support[x].reshape(self.shape) for x in states], masses)], first


def _only(values: Sequence[Any]) -> Any:
    return values[0]


def values_of(states: jax.Array, support: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Give the values of a site from the states of its variables (n,)."""
    return jnp.asarray(np.asarray(support, dtype))[states].reshape(shape)


def states_of(value: Any, support: Any) -> tuple[jax.Array, jax.Array]:
    """Give the states of the variables of a site (n,), and whether each value is one of a state."""
    value = jnp.asarray(value)
    same = value.reshape(-1)[:, None] == np.asarray(support, value.dtype)[None]
    return jnp.argmax(same, axis=1).astype(jnp.int32), jnp.any(same, axis=1)
