"""Tree proposals: programs that draw finite sites from beliefs along a spanning forest of their factor graph.

Law: the proposal is a program with a density, so that Metropolis-Hastings, importance sampling and SMC stay exact
whatever belief propagation got wrong; a bad belief costs acceptance or effective draws alone. The beliefs depend on
numbers that a move does not change: never on what a chain or a particle was before, so no run begins with the messages
of another one.

Reference: Chow and Liu (1968), Approximating discrete probability distributions with dependence trees.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.distributions.protocol import BoundLaw
from lawful.errors import LawfulError, refuse_unknown
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import Choice
from lawful.language.statements import sample, scope
from lawful.tracing.trace import trace

from ...summing.chosen_sites import chosen_sites
from ..loopy.belief_forests import Forest, forest_of, spanning_forest
from ..loopy.propagation import propagated
from ..model.graph import FactorGraph, graph_of
from ..model.potentials import Potentials
from .discrete_part import DiscretePart, discrete_part
from .graph_law import GraphLaw, SiteLaw, left_given, states_of
from .lifted import TABLE, applied, known


@dataclass(frozen=True)
class _Drawn:
    """A site that the proposal draws: its address, its name in the graph, shape, type of values, and its states'."""

    address: Address
    name: str
    shape: tuple[int, ...]
    kind: str
    support: tuple[Any, ...]


def tree_proposal(
    model: Any,
    *args: Any,
    sites: Collection[Any] | None = None,
    given: Mapping[str, Any] | None = None,
    floor: float = 1e-3,
    follow: bool = False,
    max_table: int = TABLE,
    **settings: Any,
) -> Callable[..., None]:
    """Make a proposal program for finite sites from loopy beliefs.

    A spanning forest of the factors that tell most is chosen; the sites are drawn one after the other, each given those
    before, from a product of conditionals of beliefs along the forest, mixed with a share `floor` of uniform draws.

    Args:
        model: a program, its Form, or a `FactorGraph` (for `to_program` of it).
        args: the arguments of the program.
        sites: names of the finite sites to propose; default: all.
        given: values of all other latent sites, by name, at which the beliefs are taken.
        floor: share of draws that are uniform: over all states where the rest of the program says which are possible,
            as other arguments and sites that do not always run may, else over those that no variable excludes by
            itself. With 0 a state of positive mass may be out of reach, and neither chains nor weights would show it.
        follow: False for beliefs at `args` and `given`, the same in all calls: for `mh(independence(q))`,
            `importance(proposal=q)`, `smc(proposal=q)` and `propose(q)`. True for beliefs at the arguments of the run
            and the current values of the other sites, found anew for each move: for `mh(q)`; then `args` and `given`
            decide the forest alone, and may be left out.
        max_table: largest number of entries of a factor's table.
        settings: of `propagated`.

    Returns: a program that samples the sites under their names.

    Raises: LawfulError for a floor outside [0, 1], a setting that is not known, a warm start, and where a name is no
        finite site or a value is missing; errors of `to_factor_graph`.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def ring():
    ...     with lawful.plate("i", 4):
    ...         z = lawful.sample("z", dist.Bernoulli(0.6))
    ...     lawful.factor("pull", jnp.sum(jnp.where(z == jnp.roll(z, 1), 0.5, 0.0)))
    >>> proposed = inference.propose(tree_proposal(ring))(ring)
    >>> both = inference.enumerate(proposed)().log_evidence, inference.enumerate(ring)().log_evidence
    >>> bool(jnp.allclose(*both))
    True
    """
    if not 0 <= floor <= 1:
        raise LawfulError(f"tree_proposal: floor: expected a share in [0, 1], got {floor}.")
    refuse_unknown("tree_proposal", settings, tree_proposal, propagated)
    if "init" in settings:
        raise LawfulError(
            "tree_proposal: init: messages of another run would make the proposal depend on the past, and no kernel "
            "would keep its target. Fix: leave it out; all runs begin with the same messages."
        )
    if isinstance(model, FactorGraph):
        if args or sites is not None or given or follow:
            raise LawfulError("tree_proposal: a factor graph takes no arguments, sites, given or follow.")
        kind, families = str(jnp.result_type(int)), [f for f in model.structure.families if f.size]
        drawn = [_Drawn((f.name,), f.name, f.shape, kind, tuple(range(f.cardinality))) for f in families]
        return _fixed(model, drawn, floor, False, settings)
    form = model if isinstance(model, Form) else trace(model, *args)
    asked = "all" if sites is None else sites if isinstance(sites, str) else list(sites)
    chosen = chosen_sites(form, asked, "tree_proposal")
    if not chosen:
        raise LawfulError("tree_proposal: no site to propose. Fix: name finite sites, or leave sites= out for all.")
    part = discrete_part(form, [c.address for c in chosen], max_table)
    drawn = [
        _Drawn(c.address, c.name, c.full_shape, str(c.dtype), tuple(s.tolist()))
        for c, s in zip(part.choices, part.supports, strict=True)
    ]
    arrays, factors = split_arguments(args)[0], None
    if not follow:
        wide = bool(part.held or form.inputs)
        return _fixed(part.graph(*arrays, *_values(part.held, given)), drawn, floor, wide, settings)
    if (args or not form.inputs) and (given or not part.held):
        _, factors = _beliefs(part.graph(*arrays, *_values(part.held, given)), settings)
    forest = forest_of(part.structure, spanning_forest(part.structure, factors), floor)

    def tree(current: Mapping[str, Any], *arrays: Any) -> None:
        """Draw the sites at the current values of the others."""
        _draw(forest, _following(part, forest, settings, current, arrays), drawn)

    return tree


def _fixed(graph: FactorGraph, drawn: Sequence[_Drawn], floor: float, wide: bool, settings: Mapping[str, Any]) -> Any:
    """Make the proposal of a graph whose numbers are known."""
    beliefs = _beliefs(graph, settings)
    forest = forest_of(graph.structure, spanning_forest(graph.structure, beliefs[1]), floor)
    potentials = jax.tree.map(np.asarray, _on(forest, graph, beliefs, wide))

    def tree(*ignored: Any) -> None:
        """Draw the sites, whatever the current values are."""
        _draw(forest, potentials, drawn)

    return tree


def _following(
    part: DiscretePart, forest: Forest, settings: Mapping[str, Any], current: Mapping[str, Any], arrays: Sequence[Any]
) -> Potentials:
    """Give the numbers of a forest at the current values of the sites that are held."""
    graph = part.graph(*arrays, *(current[c.name] for c in part.held))
    return _on(forest, graph, _beliefs(graph, settings), any(c.conditional for c in part.held))


type _Beliefs = tuple[tuple[Any, ...], tuple[Any, ...]]


def _beliefs(graph: FactorGraph, settings: Mapping[str, Any]) -> _Beliefs:
    """Give beliefs of the families and of the groups by belief propagation; few numbers compile nothing."""
    leaves, tree = jax.tree.flatten(graph.potentials)
    settings = {"certify": False, **settings}

    def found(*leaves: Any) -> list[Any]:
        beliefs = propagated(graph_of(graph.structure, jax.tree.unflatten(tree, leaves)), **settings)
        return [*beliefs.variables, *beliefs.factors]

    every = found(*leaves) if settings.get("strict") else applied(found, list(map(known, leaves)))
    families = len(graph.structure.families)
    return tuple(every[:families]), tuple(every[families:])


def _on(forest: Forest, graph: FactorGraph, beliefs: _Beliefs, wide: bool) -> Potentials:
    """Put beliefs on a forest, with a floor that is `wide` where all states are in it."""
    given = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), graph.potentials) if wide else graph.potentials
    leaves, tree = jax.tree.flatten((given, *beliefs))

    def put(*leaves: Any) -> list[Any]:
        return jax.tree.leaves(forest.potentials(*jax.tree.unflatten(tree, leaves)))

    made = applied(jax.jit(put), list(map(known, leaves)))
    potentials: Potentials = jax.tree.unflatten(forest.tree, made)
    return potentials


def _draw(forest: Forest, potentials: Potentials, drawn: Sequence[_Drawn]) -> None:
    """Draw the sites one after the other, each given those before, which leave the graph."""
    structure = forest.structure
    for number, site in enumerate(drawn):
        base = GraphLaw(structure, jax.tree.structure(potentials), (site.name,), normalised=number == 0)
        law = SiteLaw(base, site.shape, site.kind, site.support)
        leaves = tuple(map(jnp.asarray, jax.tree.leaves(potentials)))
        with contextlib.ExitStack() as scopes:
            for name in site.address[:-1]:
                scopes.enter_context(scope(str(name)))
            value = sample(str(site.address[-1]), BoundLaw(law, leaves))
        if number + 1 < len(drawn):
            rest, states = left_given(structure, (site.name,), states_of(value, site.support)[0])
            potentials = rest.potentials(potentials, states)
            structure = rest.structure


def _values(held: Sequence[Choice], given: Mapping[str, Any] | None) -> list[Any]:
    missing = [c.name for c in held if c.name not in (given or {})]
    if missing:
        raise LawfulError(
            f"tree_proposal: {', '.join(missing)}: neither proposed nor given. Fix: pass values of all other latent "
            "sites as given={'name': value}.",
            sites=tuple(missing),
        )
    return [jnp.asarray((given or {})[c.name], c.dtype) for c in held]
