"""Unconstrained draws: the coordinates without bounds of every continuous choice, which gradient kernels move.

Law: mapped back to the supports they are the draws, to rounding; the map is that of `lawful.density`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lawful.backends.pointwise import ask_at_choices
from lawful.distributions.bijections import from_support, is_discrete
from lawful.errors import LawfulError
from lawful.form import Factor, Form, Site
from lawful.form.choices import choices_of, dims_of
from lawful.form.pipeline import per_form
from lawful.passes.probe import Asked, Probe

from .batches import BatchSize, at_draws, over_rows
from .log_densities import absent_choices

type Arrays = Mapping[str, Any]


def unconstrained(
    form: Form, args: tuple[Any, ...], draws: Arrays, batch_size: BatchSize = "auto"
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Map draws (chain, draw, ...) by name to coordinates without bounds; discrete sites have none, and are left out.

    Returns: arrays (chain, draw, ...) by site, NaN where an arm did not run, and the names of their further axes.

    Raises: LawfulError where a choice has no draws.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("sd", dist.HalfNormal(1.0)))
    >>> arrays, dims = unconstrained(form, (), {"sd": np.array([[1.0, 2.0]])})
    >>> arrays["sd"].round(3).tolist()
    [[0.0, 0.693]]
    """
    missing = absent_choices(form, draws)
    if missing:
        raise LawfulError(
            f"unconstrained draws need the draws of every choice; the result has none of {', '.join(missing)}.",
            names=missing,
        )
    asked, function = _mapped(form)
    choices = choices_of(form)
    arrays, known = {}, dims_of(choices)
    dims: dict[str, tuple[str, ...]] = {}
    by_name = {choice.name: choice for choice in choices}
    for part, array in zip(asked, at_draws(function, args, choices, draws, batch_size), strict=True):
        choice = by_name[part.name]
        if choice.conditional:
            absent = np.isnan(np.asarray(draws[part.name], dtype=float))
            absent = absent.any(axis=tuple(range(2 + len(choice.loops), absent.ndim)))
            array = np.where(absent.reshape(absent.shape + (1,) * (array.ndim - absent.ndim)), np.nan, array)
        arrays[part.name] = array
        same = array.shape[2:] == choice.full_shape
        axes = known[part.name] if same else _free_axes(part.name, known[part.name], choice.full_shape, array.shape[2:])
        dims[part.name] = axes
    return arrays, dims


def _free_axes(name: str, axes: Sequence[str], shape: Sequence[int], free: Sequence[int]) -> tuple[str, ...]:
    """Keep the names of the first axes that are the same, as plates; those of a simplex and the like get their own."""
    most = min(len(shape), len(free))
    same = next((i for i in range(most) if shape[i] != free[i]), most)
    return (*axes[:same], *(f"{name}_unconstrained_dim_{i}" for i in range(len(free) - same)))


@per_form
def _mapped(form: Form) -> tuple[tuple[Asked, ...], Callable[..., Any]]:
    asked, function = ask_at_choices(form, _question)
    return asked, over_rows(function)


def _question(node: Site | Factor) -> Iterable[Probe]:
    if not isinstance(node, Site) or node.observed is not None or is_discrete(node):
        return
    law = node.law.innermost
    if law.numbered is not None and not law.is_point_mass:
        yield Probe("free", from_support(node.law), (node.out, *node.parameters))
