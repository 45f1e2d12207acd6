"""Program reader: the walk over a program that writes its factor graph.

Law: an element of an array is a variable of its own, with a state for each of its values; a term is a factor on the
elements that it reads, and the factors have the sum of the terms. A factor reads no variable twice, factors on the same
variables are added up, and tables that are all alike are stored once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.backends.xla import map_over
from lawful.form import Branch, Det, Factor, Form, Loop, Site, Var
from lawful.form.builder import LogProb, Tupled
from lawful.form.choices import Choice
from lawful.messages import Source

from ..model.builder import Variables
from ..model.graph import FactorGraph
from ..model.potentials import refuse_not_finite
from ..model.structure import Count
from .lifted import Budget, Table, Terms, aligned, known, of, plain, taken, terms, too_large
from .lifting import Lifting
from .linear_counts import LARGE, LinearCount
from .loops import LoopReader
from .templates import Lanes, mapped, spread


class Chosen(NamedTuple):
    """A site that becomes variables.

    Attributes:
        choice: the site.
        values: of its states (S,).
        arms: how many statements draw it, in different arms of a branch.
    """

    choice: Choice
    values: np.ndarray
    arms: int


@dataclass
class Reader:
    """The walk over a program.

    Attributes:
        form: the program.
        chosen: the sites that become variables.
        fixed: values of the others.
        budget: largest number of entries of a table.
        count_from: number of entries from which on a count takes the place of a table.
        graph: what was read so far.
        parts: tables by the name of their term, before they become groups.
        sources: where the terms stand.
        handles: the variables of each site.
        states: the variables that stand for states of loops, and which state each has given the others; None for
            variables that hold counts.
        counts: the variables that hold counts, by what they count.
        running: of sites that several arms draw, at some steps: their variables, and where each of the arms runs.
        weighing: whether densities are added, and not values looked up alone.
        source: where the statement stands that is read.
    """

    form: Form
    chosen: Mapping[Address, Chosen]
    fixed: Mapping[Address, Any]
    budget: int
    count_from: int = LARGE
    graph: FactorGraph = field(default_factory=FactorGraph)
    parts: dict[str, list[Table]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    handles: dict[Address, Variables] = field(default_factory=dict)
    states: list[tuple[Variables, Table | None]] = field(default_factory=list)
    counts: dict[tuple[bytes, ...], Variables] = field(default_factory=dict)
    running: dict[tuple[Address, bytes], tuple[np.ndarray, list[Any]]] = field(default_factory=dict)
    weighing: bool = True
    source: Source = Source("<program>", 0)

    def __post_init__(self) -> None:
        """Declare the variables."""
        self.lifting = Lifting(self.budget, count=self.count, count_from=self.count_from)
        for address, (choice, values, _) in self.chosen.items():
            plain = np.array_equal(values, np.arange(len(values)))
            names = None if plain else [str(v) for v in values.tolist()]
            self.handles[address] = self.graph.variables(choice.name, choice.full_shape, len(values), states=names)

    def read(self, inputs: Sequence[Any]) -> FactorGraph:
        """Walk the program and make its tables groups of factors."""
        with np.errstate(all="ignore"):  # as in JAX
            self.nodes(self.form, dict(zip(self.form.inputs, map(known, inputs), strict=True)), (), None)
            self.idle()
            constants = [
                constant
                for name, parts in self.parts.items()
                for constant in add_groups(
                    self.graph, name, parts, f"term '{name}' ({self.sources.get(name, self.source)})"
                )
            ]
        if constants:
            self.graph.add("~constant", np.zeros((1, 0), np.int64), (), of(*constants).stack(constants).sum()[None])
        return self.graph

    def values(self, states: Mapping[str, np.ndarray]) -> dict[Address, Any]:
        """Give the values of the sites at states."""
        return {address: values[states[c.name]] for address, (c, values, _) in self.chosen.items()}

    def nodes(self, form: Form, env: dict[Var, Any], steps: tuple[Any, ...], guard: Any) -> list[Any]:
        """Walk nodes, at some steps of the loops around them, where a guard holds.

        The last of the steps may be many, (T,), whose values are `Lanes`.
        """
        env |= {variable: known(array) for variable, array in form.constants}
        for node in form.nodes:
            if isinstance(node, Det):
                self.source = node.source
                function, shape = node.function, node.outs[0].shape if node.outs else None
                if node.plates:  # of sites that were summed before
                    function, shape = map_over(function, node.plates, [v.plates for v in node.ins]), None
                found = self.apply(node.label, function, [env[v] for v in node.ins], shape=shape)
                env |= zip(node.outs, found, strict=True)
            elif isinstance(node, Factor):
                self.source = node.source
                self.weigh(show_address(node.address), env[node.term], steps, guard)
            elif isinstance(node, Site):
                self.source = node.source
                env[node.out] = self.site(node, env, steps, guard)
            elif isinstance(node, Loop):
                LoopReader(self, node, steps, guard).read(env)
            else:
                self.branch(node, env, steps, guard)
        return [env[v] for v in form.outputs]

    def apply(
        self, what: str, function: Any, values: Sequence[Any], out_axis: int = 0, shape: tuple[int, ...] | None = None
    ) -> tuple[Any, ...]:
        """Apply a function of arrays to values of one step, or of many; the shape of its first result may be known."""
        if any(isinstance(v, Lanes) for v in values):
            return self.tried(what, mapped, self.lifting, function, values, out_axis)
        return self.tried(what, self.lifting.apply, function, values, shape)

    def tried(self, what: str, function: Any, *args: Any) -> Any:
        """Run a rule; a table over budget becomes an error that names its variables."""
        try:
            return function(*args)
        except Budget as error:
            place = f" ({self.source})" if self.source.line else ""
            raise too_large(error, self.graph.structure, f"'{what}'{place}", self.budget) from error

    def site(self, node: Site, env: dict[Var, Any], steps: tuple[Any, ...], guard: Any) -> Any:
        """Add the density of a site, and give its value."""
        name = f"p({show_address(node.address)})"
        if node.observed is None and node.address in self.chosen:
            return self.variable(node, name, env, steps, guard)
        value = env[node.observed] if node.observed is not None else _own(self.fixed[node.address], steps)
        if self.weighing:
            density = Tupled(node.law.log_prob_units) if node.law.units else LogProb(node.law)
            (score,) = self.apply(name, density, [value, *(env[v] for v in node.parameters)])
            self.weigh(name, score, steps, guard)
        return value

    def variable(self, node: Site, name: str, env: dict[Var, Any], steps: tuple[Any, ...], guard: Any) -> Any:
        """Give a site's value by its states, and add its prior; where its arm does not run it has its first state."""
        numbers = np.asarray(self.handles[node.address].numbers[steps])
        values = self.chosen[node.address].values
        if self.weighing:
            (found,) = self.apply(name, Tupled(node.law.element_masses), [env[v] for v in node.parameters], out_axis=1)
            if _many(steps):
                found = spread(found, len(steps[-1]), axis=1)
            prior = self.prior(found, numbers)
            if guard is not None and self.chosen[node.address].arms == 1:
                prior = _chosen_by(guard, prior, _idle(numbers, len(values)), self.budget)
            elif guard is not None:
                prior = _chosen_by(guard, prior, prior.map(_zeros), self.budget)
                self.running.setdefault((node.address, numbers.tobytes()), (numbers, []))[1].append(guard)
            self.parts.setdefault(name, []).append(prior)
            self.sources[name] = self.source
            if node.law.truncated:
                self.missing(show_address(node.address), prior)
        column = values.reshape((-1, *[1] * numbers.ndim))
        own = terms(Table(np.broadcast_to(column, (len(values), *numbers.shape)), numbers[..., None]))
        return Lanes(own) if _many(steps) else own

    def missing(self, name: str, prior: Table) -> None:
        """Note how much of a law lies outside the states that are kept, at most."""
        share = outside(of(prior.array).moveaxis(prior.array, prior.arity - 1, 0))
        if share is not None:
            notes = self.graph.notes
            share = max(share, notes.outside.get(name, 0.0))
            self.graph.notes = replace(notes, outside={**notes.outside, name: share})

    def count(self, found: LinearCount) -> Table:
        """Give a value that is a count by the variables that hold it; they are made where they are new."""
        arrays = found.members, found.starts, found.states
        key = tuple(x.tobytes() for x in arrays)
        sizes, shape = np.diff(found.starts), found.step.shape
        largest = int(sizes.max(initial=0))
        if key not in self.counts:
            name = f"~count {len(self.counts)}"
            self.counts[key] = self.graph.variables(name, (len(sizes),), largest + 1)
            self.graph.add_count(Count(name, self.counts[key].numbers, *arrays))
            self.states.append((self.counts[key], None))
        ones = np.minimum(np.arange(largest + 1)[:, None], sizes).reshape((largest + 1, *shape))
        added = known((ones * found.step).astype(found.offset.dtype))
        return Table(found.offset + added, self.counts[key].numbers.reshape((*shape, 1)))

    def prior(self, masses: Any, numbers: np.ndarray) -> Table:
        """Make the masses of the states of variables (count, *shape) a table."""
        table = masses.single(self.budget) if isinstance(masses, Terms) else plain(masses)
        assert all(np.array_equal(table.scopes[0], other) for other in table.scopes[1:]), "states differ in scope"
        return Table(table.array, np.concatenate([table.scopes[0], numbers[..., None]], axis=-1))

    def idle(self) -> None:
        """Give sites that several arms draw their first state where none of these runs."""
        for (address, _), (numbers, guards) in self.running.items():
            name = f"p({show_address(address)})"
            (runs,) = self.apply("a branch", lambda *arms: (functools.reduce(jnp.logical_or, arms),), guards)
            idle = _idle(numbers, len(self.chosen[address].values))
            self.parts[name].append(_chosen_by(runs, idle.map(_zeros), idle, self.budget))

    def weigh(self, name: str, value: Any, steps: tuple[Any, ...], guard: Any) -> None:
        """Add a log weight, counted where the guard holds."""
        if not self.weighing:
            return
        value = spread(value, len(steps[-1])) if _many(steps) else value
        parts = value.parts if isinstance(value, Terms) else (plain(value),)
        for part in parts:
            if guard is not None:
                part = _chosen_by(guard, part, part.map(_zeros), self.budget)
            self.parts.setdefault(name, []).append(part)
        self.sources[name] = self.source

    def values_of(self, form: Form, env: dict[Var, Any], steps: tuple[Any, ...]) -> list[Any]:
        """Walk nodes without adding densities."""
        weighing, self.weighing = self.weighing, False
        try:
            return self.nodes(form, env, steps, None)
        finally:
            self.weighing = weighing

    def branch(self, node: Branch, env: dict[Var, Any], steps: tuple[Any, ...], guard: Any) -> None:
        """Walk all arms, each where the index says so, and choose among their results."""
        index = env[node.index]
        arms = []
        for number, arm in enumerate(node.forms):
            runs = self.apply("a branch", lambda i, k=number: (i == k,), [index])[0]
            both = runs if guard is None else self.apply("a branch", lambda a, b: (a & b,), [guard, runs])[0]
            arms.append(
                self.nodes(arm, dict(zip(arm.inputs, [env[v] for v in node.operands], strict=True)), steps, both)
            )
        for k, out in enumerate(node.outs):
            cases = [arm[k] for arm in arms]

            def choose(i: Any, *xs: Any) -> tuple[Any]:
                return (jax.lax.select_n(jnp.broadcast_to(i.astype(jnp.int32), jnp.shape(xs[0])), *xs),)

            env[out] = self.apply("a branch", choose, [index, *cases])[0]


def _chosen_by(guard: Any, there: Table, idle: Table, budget: int) -> Table:
    """Take one table where a guard holds and another where it does not."""
    guard = guard.value if isinstance(guard, Lanes) else guard
    which = guard.single(budget) if isinstance(guard, Terms) else plain(guard)
    arrays, scopes = aligned([which.spread(there.shape), there, idle], budget)
    states = tuple(max(a.shape[k] for a in arrays) for k in range(scopes.shape[-1]))
    chosen = of(*arrays).where(arrays[0], arrays[1], arrays[2].astype(arrays[1].dtype))
    return Table(of(chosen).broadcast_to(chosen, (*states, *there.shape)), scopes)


def _idle(numbers: np.ndarray, count: int) -> Table:
    """Give variables their first state."""
    first = np.where(np.arange(count) == 0, 0.0, -np.inf).reshape((-1, *[1] * numbers.ndim))
    first = np.broadcast_to(first, (count, *numbers.shape))
    return Table(first.astype(jnp.result_type(float)), numbers[..., None])


def _zeros(array: Any) -> Any:
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def _many(steps: tuple[Any, ...]) -> bool:
    """Tell whether a walk is at many steps at once."""
    return bool(steps) and isinstance(steps[-1], np.ndarray)


def _own(values: Any, steps: tuple[Any, ...]) -> Any:
    """Take the values of a site at some steps."""
    return Lanes(values[steps]) if _many(steps) else taken(values, steps)


def outside(log_masses: Any) -> float | None:
    """Give the largest share of a law that its states (S, ...) lack; None where it is traced.

    >>> outside(np.log(np.array([[0.5, 0.25], [0.5, 0.5]])))
    0.25
    """
    if isinstance(log_masses, jax.core.Tracer):
        return None
    kept = np.exp(np.asarray(log_masses, np.float64)).sum(axis=0)
    return float(np.maximum(1 - kept, 0).max(initial=0.0))


def add_groups(graph: FactorGraph, name: str, parts: Sequence[Table], what: str) -> list[Any]:
    """Add the tables of a term, a group for each number of states; give the numbers that depend on no variable.

    Raises: NonFiniteError, with `what` before it, for a score that is NaN or +inf.
    """
    found: dict[tuple[int, ...], list[tuple[np.ndarray, Any]]] = {}
    for part in parts:
        for cards, scopes, tables in _without_repeats(part):
            found.setdefault(cards, []).append((scopes, tables))
    constants = [tables.sum() for _, tables in found.pop((), [])]
    for constant in constants:
        refuse_not_finite(constant, what)
    number = 0
    for cards, pieces in sorted(found.items(), key=lambda item: -len(item[0])):
        scopes = np.concatenate([s for s, _ in pieces]) if len(pieces) > 1 else pieces[0][0]
        each = [t for _, t in pieces]
        tables = of(*each).concatenate(each) if len(pieces) > 1 else each[0]
        if not len(scopes):
            continue
        if len(pieces) > 1:
            scopes, tables = _added_up(scopes, tables, graph.structure.size)
        number += 1
        shared = _alike(tables)
        own = tables[:1] if shared else tables
        graph.add(name if number == 1 else f"{name} #{number}", scopes, cards, own, shared=shared, what=what)
    return constants


def _without_repeats(part: Table) -> Iterator[tuple[tuple[int, ...], np.ndarray, Any]]:
    """Split a table by which of its axes hold the same variable, and take the diagonal of these."""
    r = part.scopes.shape[-1]
    scopes, cards = part.scopes.reshape((-1, r) if r else (math.prod(part.scopes.shape[:-1]), 0)), part.array.shape[:r]
    tables = part.array.reshape((*cards, len(scopes))).transpose((r, *range(r)))
    if not any(np.any(scopes[:, j] == scopes[:, k]) for k in range(r) for j in range(k)):
        yield cards, scopes, tables
        return
    first = np.argmax(scopes[:, :, None] == scopes[:, None, :], axis=2)
    for pattern in np.unique(first, axis=0):
        rows = np.flatnonzero((first == pattern).all(axis=1))
        own = tables if len(rows) == len(scopes) else tables[rows]
        kept = [k for k, j in enumerate(pattern) if j == k]
        for axis in reversed([k for k, j in enumerate(pattern) if j != k]):
            drawn = of(own).diagonal(own, axis1=int(pattern[axis]) + 1, axis2=axis + 1)
            own = of(own).moveaxis(drawn, -1, int(pattern[axis]) + 1)
        yield tuple(cards[k] for k in kept), scopes[rows][:, kept], own


def _added_up(scopes: np.ndarray, tables: Any, size: int) -> tuple[np.ndarray, Any]:
    """Add up the tables of factors on the same variables, which come in the order of their scopes then."""
    if size ** scopes.shape[1] < 2**63:
        keys = np.zeros(len(scopes), np.int64)
        for column in scopes.T:
            keys = keys * size + column
        same, at, place = np.unique(keys, return_index=True, return_inverse=True)
    else:
        same, at, place = np.unique(scopes, axis=0, return_index=True, return_inverse=True)
    if len(same) == len(scopes):
        return scopes, tables
    if isinstance(tables, np.ndarray):
        total = np.zeros((len(same), *tables.shape[1:]), tables.dtype)
        np.add.at(total, place.reshape(-1), tables)
        return scopes[at], total
    return scopes[at], jax.ops.segment_sum(tables, place.reshape(-1), len(same))


def _alike(tables: Any) -> bool:
    """Tell whether all tables are the same numbers, which of traced ones is not known."""
    if len(tables) < 2 or isinstance(tables, jax.core.Tracer):
        return False
    found = np.asarray(tables)
    return bool((found[0] == found[-1]).all() and (found == found[0]).all())
