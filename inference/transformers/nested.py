"""Nested: a particle filter inside a program, whose evidence is a factor and whose path a value of the program.

Law: E[Z-hat f(path)] is the integral of f over the inner program's measure, so the outer program has the measure that
it would have with the inner program in its place. Everything the filter draws is a choice of the outer program.

Reference: Scibior, Kammar et al. (2018), Denotational validation of higher-order Bayesian inference, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lawful import scope
from lawful.addresses import Address
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import unnamed
from lawful.passes.condition import conditioned
from lawful.passes.record import record
from lawful.passes.thread_sites import score
from lawful.tracing.trace import trace

from ..laws.resampling_schemes import EssBelow
from ..laws.resampling_schemes import scheme as scheme_named
from ..representations.naming import name_value
from ..representations.parameters import Around, parameters_of
from ..representations.standard_normals import by_normals
from .evidence_estimate import Filter, weighing

ESTIMATE = "~estimate"


@dataclass(frozen=True)
class Nested:
    """A program that runs a filter on another one; see `nested`."""

    model: Any
    estimate: Filter

    def __call__(self, *args: Any) -> dict[str, Any]:
        """Run the filter as a part of the program that calls: gives the choices of one path by name."""
        form = trace(self.model, *args)
        inputs, _, _ = split_arguments(args)
        path = run(form, self.estimate, inputs)
        return {c.name: path[c.address] for c in record(form, ("sample",)).choices}


def run(form: Form, estimate: Filter, inputs: Any, normals: bool = False) -> dict[Address, Any]:
    """Run a filter on a form, as a part of the program that calls; by `normals`, its draws are functions of them."""
    recorded = record(unnamed(form), ("sample",))
    filtered = estimate(replace(recorded.form, outputs=recorded.parts.values))
    with scope(ESTIMATE):
        values = (by_normals(filtered) if normals else filtered)(*inputs)
    return dict(zip((c.address for c in recorded.choices), values, strict=True))


def nested(
    model: Any, *, particles: int, resampling: str | Any = "systematic", resample_below: float | None = 0.5
) -> Nested:
    """Run a particle filter on a model inside a program: its unbiased evidence becomes a factor of that program.

    Args:
        model: a program with a sequence, as for `smc`.
        particles: number of particles.
        resampling: a scheme, as for `smc`.
        resample_below: resample when the effective sample size is below this fraction; None: at every step.

    Returns: a program: called with the model's arguments it gives the choices of one path by name. Under
        `lawful.scope` it can be called more than once.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def walk(sigma, y):
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, sigma))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     lawful.scan(step, 0.0, y)
    >>> filtered = nested(walk, particles=10)
    >>> def model(y):
    ...     sigma = lawful.sample("sigma", dist.LogNormal(0.0, 1.0))
    ...     lawful.deterministic("path", filtered(sigma, y)["x"])
    >>> result = inference.importance(model, particles=50)(jax.random.key(0), jnp.array([0.5, 1.0]))
    >>> result.posterior["path"].shape
    (1, 50, 2)
    """
    scheme = scheme_named(resampling)
    return Nested(model, Filter(particles, scheme, None if resample_below is None else EssBelow(resample_below)))


@dataclass(frozen=True)
class Nest(Around):
    """A program with parameters whose other sites are drawn by a filter inside; what it draws has names of its own.

    The path is named as the program names its choices, and so are the values that the program itself names.
    """

    model: Any
    sites: tuple[Any, ...]
    estimate: Filter
    who: str = "nest"
    normals: bool = False

    def __call__(self, *args: Any) -> None:
        """Draw parameters from their prior, and a path by the filter given them."""
        form = trace(self.model, *args)
        inputs, _, _ = split_arguments(args)
        known = parameters_of(form, self.sites, self.who)
        values = replace(unnamed(known.prior), in_tree=None, out_tree=None)(*inputs)
        given = conditioned(form, known.moved, weighing(form))
        drawn = dict(zip((c.address for c in known.chosen), values, strict=True))
        inner = replace(given.form, outputs=(), out_tree=None)
        drawn |= run(inner, self.estimate, [*inputs, *(drawn[c.address] for c in given.choices)], self.normals)
        _name(form, inputs, drawn, known.moved)


def _name(form: Form, inputs: Any, drawn: Mapping[Address, Any], known: frozenset[Address]) -> None:
    """Name all choices but the known ones, and what the form names, where their arms run."""
    named = record(form, ("deterministic",))
    at = score(named.form)
    parts, size = named.split(at.parts.own), len(named.choices)
    asked = replace(at.form, outputs=(*parts.values, *parts.flags, *at.parts.flags), in_tree=None, out_tree=None)
    found = without_dead_code(asked)(*inputs, *(drawn[c.address] for c in at.choices))
    values = {**drawn, **dict(zip((c.address for c in named.choices), found[:size], strict=True))}
    in_arms = (c.address for c in (*named.choices, *at.choices) if c.conditional)
    ran = dict(zip(in_arms, found[size:], strict=True))
    for choice in (*at.choices, *named.choices):
        if choice.address not in known:
            name_value(choice.name, values[choice.address], ran.get(choice.address))
