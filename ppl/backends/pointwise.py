"""Pointwise: numbers asked at each site and factor of a form, at given choices or at draws from the prior.

Law: the terms of all sites and factors add up to the log density of the form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import Address
from ..form import Factor, Form, Site
from ..form.choices import Choice, choices_of, dims_of
from ..form.pipeline import per_form
from ..passes.probe import Asked, Probe, Question, probed
from ..passes.thread_sites import score
from .xla import emit


def ask_at_choices(form: Form, question: Question) -> tuple[tuple[Asked, ...], Callable[..., list[jax.Array]]]:
    """Return what is asked and `f(inputs, values) -> answers`, where the values are those of the form's choices."""
    with jax.ensure_compile_time_eval():  # the caller may be traced; the constants of a Form never are
        asked, recorded = probed(form, question)
        scoring = score(recorded.form)
    run = emit(replace(scoring.form, outputs=recorded.split(scoring.parts.own).values))

    def function(inputs: Sequence[Any], values: Sequence[Any]) -> list[jax.Array]:
        return run(jax.random.key(0), *inputs, *values)[0]

    return asked, function


def ask_at_prior(form: Form, question: Question) -> tuple[tuple[Asked, ...], Callable[..., list[jax.Array]]]:
    """Return what is asked and `f(key, inputs) -> answers`, at choices drawn from the prior."""
    asked, recorded = probed(form, question)
    run = emit(replace(recorded.form, outputs=recorded.parts.values))
    return asked, lambda key, inputs: run(key, *inputs)[0]


@dataclass(frozen=True)
class Pointwise:
    """The log density of a form, part by part.

    Attributes:
        asked: the parts; their kinds are "prior" and "likelihood".
        function: `f(inputs, values)`, one array a part, with the steps of loops and then the batch axes of the site.
        dims: names of these axes, by the name of the part.
    """

    asked: tuple[Asked, ...]
    function: Callable[..., list[jax.Array]]
    choices: tuple[Choice, ...]
    dims: dict[str, tuple[str, ...]]


@per_form
def pointwise(form: Form) -> Pointwise:
    """Take the log density of a form apart: one term a latent site, an observed site, and a factor.

    A factor belongs to the likelihood unless it was declared with `role="prior"`. The sum of all parts is
    `form.log_density`.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> parts = pointwise(lawful.trace(model, 0.0))
    >>> [(part.kind, part.name) for part in parts.asked]
    [('prior', 'mu'), ('likelihood', 'y')]
    """
    units: dict[Address, set[tuple[int, ...]]] = {}
    for site in form.sites():
        units.setdefault(site.address, set()).add(site.law.units)
    uneven = {address for address, found in units.items() if len(found) > 1}  # in several arms: only their sums agree

    def question(node: Site | Factor) -> Iterable[Probe]:
        if isinstance(node, Factor):
            yield Probe("likelihood" if node.role == "likelihood" else "prior", jnp.asarray, (node.term,))
            return
        kind, value = ("prior", node.out) if node.observed is None else ("likelihood", node.observed)
        scorer = node.law.log_prob if node.address in uneven else node.law.log_prob_units
        yield Probe(kind, scorer, (value, *node.parameters))

    asked, function = ask_at_choices(form, question)
    places = choices_of(form, ("sample", "observed", "factor"))
    whole = dims_of(places)
    dims = {}
    for choice in places:
        axes = len(choice.loops) + (0 if choice.address in uneven else len(choice.units))
        dims[choice.name] = whole[choice.name][:axes]
    return Pointwise(asked, function, choices_of(form), dims)
