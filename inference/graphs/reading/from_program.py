"""From a program to a factor graph: finite sites become variables, and the terms of the density tables.

Law: the graph has the measure of the program on its finite sites, given the arguments and the sites that are fixed.
Every latent site is a variable or has a value. One with infinitely many values is restricted to a range where that was
asked for, its masses as they are, so the measure lacks what lies outside; elsewhere it is refused. Checked on every
build, unless that is switched off: scores of the graph at random assignments are those of the program.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.backends.log_density import gather_choices, scored
from lawful.distributions.families import core_of
from lawful.errors import LawfulError, UnboundedSupport, UnsupportedProgramError
from lawful.form import Form, Node, Site
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import Choice, choices_of, finite_sites
from lawful.form.rewriting import with_subforms
from lawful.tracing.number_arguments import with_inputs
from lawful.tracing.trace import trace

from ..model.counted import counts_at
from ..model.graph import FactorGraph
from ..model.potentials import scores_at
from ..model.structure import Structure
from .lifted import TABLE, known
from .linear_counts import LARGE
from .program_reader import Chosen, Reader

type Ranges = Mapping[Any, tuple[int, int]]

CHECKS = 8


def to_factor_graph(
    program: Any,
    *args: Any,
    sites: Collection[str | Address] | None = None,
    given: Mapping[str, Any] | None = None,
    max_table: int = TABLE,
    truncate: Ranges | None = None,
    count_from: int = LARGE,
    check: bool = True,
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
        check: whether to compare scores with those of the program at random assignments. Its density is compiled for
            that, which takes longer than to read a program that was read before with other arrays.

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
    return form_to_factor_graph(trace(program, *args), args, sites, given, max_table, truncate, count_from, check)


def form_to_factor_graph(
    form: Form,
    args: tuple[Any, ...],
    sites: Collection[str | Address] | None = None,
    given: Mapping[str, Any] | None = None,
    max_table: int = TABLE,
    truncate: Ranges | None = None,
    count_from: int = LARGE,
    check: bool = True,
) -> FactorGraph:
    """Read the factor graph off a form, as `to_factor_graph` off a program."""
    kept = restricted(form, truncate, max_table) if truncate else form
    inputs, _, _ = split_arguments(args)
    chosen = chosen_sites(kept, sites)
    reader = Reader(kept, chosen, fixed_sites(kept, chosen, given or {}), max_table, count_from)
    graph = reader.read(inputs)
    if check:
        _compare(graph, form, reader, args)
    return graph


def _flat(structure: Structure, states: Mapping[str, np.ndarray]) -> np.ndarray:
    own = [np.asarray(states[family.name]).reshape(-1) for family in structure.families]
    return np.concatenate([np.zeros(0, np.int32), *own], dtype=np.int32)


def _compare(graph: FactorGraph, form: Form, reader: Reader, args: Sequence[Any]) -> None:
    """Compare scores at random assignments with those of the program.

    Raises: LawfulError, a fault of this module, with both numbers.
    """
    structure, potentials = graph.structure, graph.potentials
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((potentials, args, dict(reader.fixed)))):
        return
    rng = np.random.default_rng(0)
    rest, arms = dict(reader.fixed), {a for a, (c, *_) in reader.chosen.items() if c.conditional}
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


def chosen_sites(form: Form, sites: Collection[str | Address] | None) -> dict[Address, Chosen]:
    """Find the finite sites that become variables: those of some names, or all.

    Raises: LawfulError for a name that is no finite site; UnboundedSupport where it has infinitely many values.
    """
    finite = {c.address: c for c in finite_sites(form)}
    if sites is None:
        return {address: support(form, c) for address, c in finite.items()}
    names = {as_address(name) for name in sites}
    missing = names - set(finite)
    refuse_unbounded(form, missing)
    if missing:
        raise LawfulError(
            f"to_factor_graph: {', '.join(map(show_address, sorted(missing)))}: no finite site of the program. "
            f"The finite sites are: {', '.join(c.name for c in finite.values()) or 'none'}."
        )
    return {address: support(form, c) for address, c in finite.items() if address in names}


def fixed_sites(form: Form, chosen: Collection[Address], given: Mapping[str, Any]) -> dict[Address, Any]:
    """Find the values of the sites that are no variables.

    Raises: LawfulError for a name that is no such site, and for one without a value.
    """
    values = {as_address(name): value for name, value in given.items()}
    rest = [c for c in choices_of(form) if c.address not in chosen]
    unknown = set(values) - {c.address for c in rest}
    if unknown:
        raise LawfulError(
            f"to_factor_graph: given: {', '.join(map(show_address, sorted(unknown)))}: no latent site beside the "
            f"variables. These are: {', '.join(c.name for c in rest) or 'none'}.",
            sites=tuple(unknown),
        )
    missing = [c.name for c in rest if c.address not in values]
    if missing:
        refuse_unbounded(form, {c.address for c in rest} - set(values))
        raise LawfulError(
            f"to_factor_graph: {', '.join(missing)}: neither a variable of the graph nor given. Fix: pass values of "
            "all other latent sites as given={'name': value}.",
            sites=tuple(missing),
        )
    return {c.address: known(jnp.asarray(values[c.address], c.dtype)) for c in rest}


def support(form: Form, choice: Choice) -> Chosen:
    """Find the values of the states of a site, which several arms of a branch may draw.

    Raises: UnsupportedProgramError for a law without independent finite elements, and for laws of different values.
    """
    laws = [node.law for node in form.sites() if node.address == choice.address and node.observed is None]
    for law in laws:
        if law.element_values is None:
            raise UnsupportedProgramError(
                f"site '{choice.name}': its law {law.label} has no independent finite elements. Fix: leave it out "
                "of sites=[...], and give its value.",
                site=choice.address,
            )
    found = [law.element_values.astype(choice.dtype) for law in laws]
    values = found[0]
    if not all(np.array_equal(values, other) for other in found):
        raise UnsupportedProgramError(
            f"site '{choice.name}' ({choice.source}): arms of a branch draw it with {found[0].tolist()} and with other "
            "values, so that it is no variable of a factor graph. Fix: give it another name in one of them, or use "
            "inference.enumerate or marginalise().",
            site=choice.address,
        )
    return Chosen(choice, values, len(laws))


def restricted(form: Form, ranges: Ranges, most: int) -> Form:
    """Restrict sites to ranges of whole numbers.

    Args:
        form: the form.
        ranges: site -> (lowest, highest) of what is kept.
        most: largest number of states.

    Raises: LawfulError for a name that is no latent site of whole numbers, and for a range that is none.
    """
    given = {as_address(name): (int(low), int(high)) for name, (low, high) in ranges.items()}
    countable = {c.address: c for c in choices_of(form) if is_countable(c.law)}
    for address, (low, high) in given.items():
        if address not in countable:
            raise LawfulError(
                f"truncate: {show_address(address)}: no latent site of whole numbers. These are: "
                f"{', '.join(c.name for c in countable.values()) or 'none'}.",
                site=address,
            )
        if not 0 <= high - low < most:
            raise LawfulError(
                f"truncate: {show_address(address)}: expected (lowest, highest), at most {most} values, got "
                f"{(low, high)}.",
                site=address,
            )

    def rule(node: Node) -> Node:
        if isinstance(node, Site) and node.observed is None and node.address in given:
            return replace(node, law=node.law.within(*given[node.address]))
        return with_subforms(node, inside)

    def inside(inner: Form) -> Form:
        return replace(inner, nodes=tuple(map(rule, inner.nodes)))

    return inside(form) if given else form


def refuse_unbounded(form: Form, free: Collection[Any]) -> None:
    """Refuse sites, of some by address, whose values are infinitely many whole numbers.

    Raises: UnboundedSupport.
    """
    for choice in choices_of(form):
        if choice.address in free and is_countable(choice.law) and choice.law.element_values is None:
            raise UnboundedSupport(
                f"site '{choice.name}' ({choice.source}): {choice.law.label} has infinitely many values, or as many as "
                f"other values say. Fix: keep some of them, as truncate={{'{choice.name}': (0, 50)}}, or give its "
                "value by given=.",
                site=choice.address,
            )


def is_countable(law: Any) -> bool:
    """Tell whether a law is one of whole numbers, element by element."""
    if law.numbered is None or law.is_point_mass:
        return False
    if law.element_values is not None:
        return True
    core = core_of(law.numbered)
    return not core.event_shape and bool(getattr(core.support, "is_discrete", False))
