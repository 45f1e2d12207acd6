"""Data outside a support that choices move: how many particles could not have made them.

Law: such a datum has density zero, so that its particle has weight zero; the count says which site was the reason. Data
outside a support that no choice moves are refused before the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.backends.pointwise import ask_at_choices
from lawful.form import Factor, Form, Site, Var
from lawful.form.choices import choices_of
from lawful.form.liveness import moved_operands, without_dead_code
from lawful.form.pipeline import per_form
from lawful.passes.probe import Probe
from lawful.tracing.lower import lower

from .batches import at_draws, over_rows
from .log_densities import absent_choices


def outside_counts(form: Form, args: tuple[Any, ...], particles: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Count the particles of each run, (run,) by site, that an observed site lies outside its support for.

    Nothing is counted where that cannot happen, or choices are missing among the particles (run, particle, ...).

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     lawful.sample("y", dist.Uniform(0.0, lawful.sample("high", dist.Exponential(1.0))), obs=y)
    >>> args = (2.0,)
    >>> outside_counts(lawful.trace(model, *args), args, {"high": np.array([[1.0, 3.0, 1.5]])})
    {'y': array([2])}
    """
    sites = moving_supports(form)
    if not sites or absent_choices(form, particles):
        return {}
    names, function = _compiled(form, sites)
    answers = at_draws(function, args, choices_of(form), particles)
    return {name: answer.sum(axis=1) for name, answer in zip(names, answers, strict=True)}


@per_form
def moving_supports(form: Form) -> frozenset[Address]:
    """Find the observed sites whose support the choices move."""
    sites = ((site, moved) for site, moved in moved_operands(form).items() if site.observed is not None)
    return frozenset(site.address for site, moved in sites if not moved.isdisjoint(_bounds(site)))


def _bounds(site: Site) -> list[Var]:
    """List the parameters that the support of an observed site reads."""
    try:
        operands = (site.out, *site.parameters)
        test = lower(site.law.inside, *(jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in operands))
    except NotImplementedError:  # a constraint without a test, as that of a law of an algorithm: nothing is outside
        return []
    test = without_dead_code(test)
    read = {v for inner in test.nodes for v in inner.ins} | set(test.outputs)
    return [outer for inner, outer in zip(test.inputs[1:], site.parameters, strict=True) if inner in read]


@per_form
def _compiled(form: Form, sites: frozenset[Address]) -> tuple[tuple[str, ...], Callable[..., Any]]:
    def question(node: Site | Factor) -> Iterable[Probe]:
        if isinstance(node, Site) and node.observed is not None and node.address in sites:
            yield Probe("outside", _Outside(node.law), (node.observed, *node.parameters))

    asked, function = ask_at_choices(form, question)
    any_part = over_rows(lambda inputs, values: [jnp.any(a) for a in function(inputs, values)])
    return tuple(part.name for part in asked), any_part


class _Outside:
    """Whether a part of a value lies outside the support of its law."""

    def __init__(self, law: Any) -> None:
        self.law = law

    def __call__(self, value: Any, *parameters: Any) -> Any:
        return ~jnp.all(self.law.inside(value, *parameters))
