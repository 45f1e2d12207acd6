"""From a program to a factor graph: finite sites become variables, and the terms of the density tables.

Law: the graph has the measure of the program on its finite sites, given the arguments and the sites that are fixed. An
element of an array is a variable of its own; a term is a factor on the elements that it reads. Checked on every build:
scores of the graph at random assignments are those of the program.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.backends.log_density import gather_choices, scored
from lawful.errors import LawfulError
from lawful.form import Branch, Det, Factor, Form, Loop, Site, Var
from lawful.form.arguments.arrays import split_arguments
from lawful.form.builder import LogProb, Tupled
from lawful.form.choices import Choice
from lawful.messages import Source
from lawful.tracing.number_arguments import with_inputs
from lawful.tracing.trace import trace

from ..model.builder import Variables
from ..model.counted import counts_at
from ..model.graph import FactorGraph
from ..model.potentials import scores_at
from ..model.structure import Count, Structure
from .grouping import add_groups
from .lifted import TABLE, Budget, Table, Terms, aligned, known, of, plain, taken, terms, too_large
from .lifting import Lifting
from .linear_counts import LARGE, LinearCount
from .loops import LoopReader
from .supports import Ranges, chosen_sites, fixed_sites, outside, restricted, support
from .templates import Lanes, mapped, spread

CHECKS = 8


def to_factor_graph(
    program: Any,
    *args: Any,
    sites: Collection[str | Address] | None = None,
    given: Mapping[str, Any] | None = None,
    max_table: int = TABLE,
    truncate: Ranges | None = None,
    count_from: int = LARGE,
) -> FactorGraph:
    """Read the factor graph off a program.

    Args:
        program: a program or its Form.
        args: its arguments.
        sites: names of the finite sites that become variables; default: all of them.
        given: values of all other latent sites, by name.
        max_table: largest number of entries of a factor's table.
        truncate: site of whole numbers -> (lowest, highest) of those that are kept. What the law has outside is missing
            from the mass; `notes.outside` says how much that is, where it is known.
        count_from: number of entries from which on a table of a sum of indicators, as `f(y.sum())` is one, becomes a
            variable that holds their count.

    Returns: a graph whose families have the names of the sites, with an axis of steps for those of a loop. States of
        loops that became variables are called "~state 0" and so on, and are no marginals of the program's.

    Raises:
        LawfulError: a name is no finite site, or a latent site is neither a variable nor given.
        UnboundedSupport: a latent site has infinitely many values, and is neither restricted nor given.
        FactorTooLarge: a term reads too many variables at once; says which.
        NonFiniteError: a term is NaN or +inf at some state; says which, and where it stands.
        UnsupportedProgramError: a construct that cannot be followed.

    >>> import numpyro.distributions as dist, lawful
    >>> def ring():
    ...     with lawful.plate("site", 5):
    ...         z = lawful.sample("z", dist.Bernoulli(0.5))
    ...     lawful.factor("pull", jnp.sum(jnp.where(z == jnp.roll(z, 1), 0.3, 0.0)))
    >>> to_factor_graph(ring)
    FactorGraph(5 variables, 10 factors)
    """
    args = with_inputs(program, args)
    whole = trace(program, *args)
    form = restricted(whole, truncate, max_table) if truncate else whole
    inputs, _, _ = split_arguments(args)
    chosen = chosen_sites(form, sites)
    reader = _Reader(form, chosen, fixed_sites(form, chosen, given or {}), max_table, count_from)
    graph = reader.read(inputs)
    _compare(graph, whole, reader, args)
    return graph


@dataclass
class _Reader:
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
        supports: values of the states of each family.
        handles: the variables of each site.
        states: the variables that stand for states of loops, and which state each has given the others; None for
            variables that hold counts.
        counts: the variables that hold counts, by what they count.
        arms: how many statements draw each site, in different arms of a branch.
        running: of sites that several arms draw, at some steps: their variables, and where each of the arms runs.
        weighing: whether densities are added, and not values looked up alone.
        source: where the statement stands that is read.
    """

    form: Form
    chosen: Mapping[Address, Choice]
    fixed: Mapping[Address, Any]
    budget: int
    count_from: int = LARGE
    graph: FactorGraph = field(default_factory=FactorGraph)
    parts: dict[str, list[Table]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    supports: dict[str, np.ndarray] = field(default_factory=dict)
    handles: dict[Address, Variables] = field(default_factory=dict)
    states: list[tuple[Variables, Table | None]] = field(default_factory=list)
    counts: dict[tuple[bytes, ...], Variables] = field(default_factory=dict)
    arms: dict[Address, int] = field(default_factory=dict)
    running: dict[tuple[Address, bytes], tuple[np.ndarray, list[Any]]] = field(default_factory=dict)
    weighing: bool = True
    source: Source = Source("<program>", 0)

    def __post_init__(self) -> None:
        """Declare the variables."""
        self.lifting = Lifting(self.budget, count=self.count, count_from=self.count_from)
        for address, choice in self.chosen.items():
            same = (node for node in self.form.sites() if node.address == address and node.observed is None)
            laws = [node.law for node in same]
            self.arms[address] = len(laws)
            values, names = support(choice, laws)
            self.handles[address] = self.graph.variables(choice.name, choice.full_shape, len(values), states=names)
            self.supports[choice.name] = values

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
        return {c.address: self.supports[c.name][states[c.name]] for c in self.chosen.values()}

    def nodes(self, form: Form, env: dict[Var, Any], steps: tuple[Any, ...], guard: Any) -> list[Any]:
        """Walk nodes, at some steps of the loops around them, where a guard holds.

        The last of the steps may be many, (T,), whose values are `Lanes`.
        """
        env |= {variable: known(array) for variable, array in form.constants}
        for node in form.nodes:
            if isinstance(node, Det):
                self.source = node.source
                shape = node.outs[0].shape if node.outs else None
                found = self.apply(node.label, node.function, [env[v] for v in node.ins], shape=shape)
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
        values = self.supports[show_address(node.address)]
        if self.weighing:
            (found,) = self.apply(name, Tupled(node.law.element_masses), [env[v] for v in node.parameters], out_axis=1)
            if _many(steps):
                found = spread(found, len(steps[-1]), axis=1)
            prior = self.prior(found, numbers)
            if guard is not None and self.arms[node.address] == 1:
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
            idle = _idle(numbers, len(self.supports[show_address(address)]))
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


def _flat(structure: Structure, states: Mapping[str, np.ndarray]) -> np.ndarray:
    own = [np.asarray(states[family.name]).reshape(-1) for family in structure.families]
    return np.concatenate([np.zeros(0, np.int32), *own], dtype=np.int32)


def _compare(graph: FactorGraph, form: Form, reader: _Reader, args: Sequence[Any]) -> None:
    """Compare scores at random assignments with those of the program.

    Raises: LawfulError, a fault of this module, with both numbers.
    """
    structure, potentials = graph.structure, graph.potentials
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((potentials, args, dict(reader.fixed)))):
        return
    rng = np.random.default_rng(0)
    rest, arms = dict(reader.fixed), {c.address for c in reader.chosen.values() if c.conditional}
    inputs, _, _ = split_arguments(args)
    scores, function = scored(form)
    tried = []
    for _ in range(CHECKS):
        states = {f.name: rng.integers(0, f.cardinality, size=f.shape) for f in structure.families}
        if arms:  # a site whose arm does not run counts with its first state
            given, _ = gather_choices(scores.choices, reader.values(states) | rest)
            running = [c for c in scores.choices if c.conditional]
            for choice, runs in zip(running, function(inputs, given)[2], strict=True):
                if choice.address in arms:
                    flag = np.asarray(runs).reshape(np.shape(runs) + (1,) * len(choice.shape))
                    states[choice.name] = np.where(flag, states[choice.name], 0)
        for handle, table in reader.states:
            family = handle.family
            if table is None:
                (count,) = (c for c in structure.counted if c.name == family.name)
                states[family.name] = np.asarray(counts_at(count, _flat(structure, states))).reshape(family.shape)
            else:
                states[family.name] = table.at(_flat(structure, states))
        tried.append(states)
    found = scores_at(structure, potentials, np.stack([_flat(structure, states) for states in tried]))
    scale = 1e-5 if jnp.result_type(float) == jnp.float32 else 1e-10
    for states, ours in zip(tried, found.tolist(), strict=True):
        theirs = float(form.log_density(reader.values(states) | rest, *args))
        if ours != theirs and not abs(ours - theirs) <= scale * max(1.0, abs(theirs)):
            raise LawfulError(
                f"to_factor_graph: at {states} the graph scores {ours} and the program {theirs}: please report this "
                "program.",
                ours=ours, theirs=theirs,
            )  # fmt: skip
