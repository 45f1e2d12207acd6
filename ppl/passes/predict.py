"""Predict: a program run again with some of its choices given, its observations drawn, and its named values recomputed.

Law: given no choice the values have the joint law of the prior and of the data that it predicts; given draws of the
posterior, that of the posterior and of its predictions. A named value is computed, never given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import jax.numpy as jnp

from ..addresses import Address
from ..form import Det, Factor, Form, Node, Site, Var
from ..form.choices import Choice, choices_of
from ..form.liveness import without_dead_code
from ..form.operations.equation import identity
from ..form.rewriting import with_nodes, with_subforms
from .thread_sites import Rule, Walk, threaded


@dataclass(frozen=True)
class Rerun:
    """A program that runs again.

    Inputs of the form: the program's, then for each of `given` its value and, where its arm may not run, a flag that
    says whether the value is one. Outputs: the values of `named` and of `drawn`, then one flag for each conditional
    one among them.
    """

    form: Form
    given: tuple[Choice, ...]
    named: tuple[Choice, ...]
    drawn: tuple[Choice, ...]
    observed: frozenset[Address]


def rerun(form: Form, given: Iterable[Address]) -> Rerun:
    """Write the form that runs a program again.

    Args:
        form: the program.
        given: addresses of the choices that keep their values; all others are drawn, as are the observed sites.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(lawful.deterministic("twice", 2 * mu), 1.0), obs=y)
    >>> again = rerun(lawful.trace(model, 0.5), [("mu",)])
    >>> [c.name for c in again.named], [c.name for c in again.drawn]
    (['twice'], ['y'])
    """
    observed = frozenset(c.address for c in choices_of(form, ("observed",)))
    alone, kept = unobserved(form), frozenset(given)
    guarded = frozenset(c.address for c in choices_of(alone) if c.conditional)
    found = threaded(alone, _Replayed(kept, guarded))
    named = tuple(c for c in found.choices if c.kind == "deterministic")
    drawn = tuple(c for c in found.choices if c.kind == "sample" and c.address not in kept)
    values = {c.address: value for c, value in zip(found.choices, found.parts.values, strict=True)}
    flags = dict(zip([c.address for c in found.choices if c.conditional], found.parts.flags, strict=True))
    outputs = [values[c.address] for c in (*named, *drawn)]
    outputs += [flags[c.address] for c in (*named, *drawn) if c.conditional]
    again = without_dead_code(replace(found.form, outputs=tuple(outputs), out_tree=None))
    return Rerun(again, tuple(c for c in found.choices if c.address in kept), named, drawn, observed)


def unobserved(form: Form) -> Form:
    """Turn observations into choices and drop the factors.

    What reads the value that the site gives back reads the choice; the argument that was observed stays what it was.
    """
    return _unweighted(form, lambda site: replace(site, observed=None))


def without_weights(form: Form) -> Form:
    """Drop factors and observations, which leaves the prior."""
    return _unweighted(form, lambda site: Det(identity, site.ins[-1:], site.outs, "observed"))


def _unweighted(form: Form, instead: Callable[[Site], Node]) -> Form:
    """Drop the factors of a form, and write something else for its observations."""

    def written(node: Node) -> Node:
        if isinstance(node, Site) and node.observed is not None:
            return instead(node)
        return with_subforms(node, lambda inner: _unweighted(inner, instead))

    return with_nodes(form, [written(node) for node in form.nodes if not isinstance(node, Factor)])


@dataclass(frozen=True)
class _Replayed(Rule):
    """The rule that reads given choices, of which `guarded` ones come with a flag, and draws the others."""

    given: frozenset[Address]
    guarded: frozenset[Address]

    def places(self, form: Form) -> tuple[Choice, ...]:
        return choices_of(form, ("sample", "deterministic"))

    def inputs(self, place: Choice) -> list[Var]:
        if place.address not in self.given:
            return []
        value = Var(place.shape, place.dtype)
        return [value, Var((), jnp.dtype(bool))] if place.address in self.guarded else [value]

    def outputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype)]

    def node(self, walk: Walk, node: Det | Site | Factor) -> None:
        given = walk.given[node.address] if isinstance(node, Site) else []
        value = given[0] if given else node.outs[0]
        if len(given) != 1:
            walk.block.nodes.append(node)
        if len(given) == 2:
            value = walk.block.det(jnp.where, given[1], value, node.outs[0], label="given or drawn")
        if node.address is not None:
            walk.names[node.outs[0]] = value
            walk.taken[node.address] = (value,)
