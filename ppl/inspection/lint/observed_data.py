"""Observed data of a traced program: their values, and whether they fit their sites, at every call.

Law: data that reach a site through the program's arguments meet the same rules as concrete data at the site: no NaN,
and inside a support that no choice can move.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ...addresses import show_address
from ...distributions.bijections import fixed_support
from ...distributions.constraints import contains
from ...distributions.protocol import Law
from ...errors import LawfulError
from ...form import Factor, Form, Site
from ...form.liveness import without_dead_code
from ...form.operations.equation import identity
from ...form.pipeline import per_form
from ...language.data.check_observations import empty_interval, nan_datum, outside_support
from ...passes.probe import Probe
from ...passes.rolling.roll import folded
from ...tracing.lower import lower
from .settled import Answer, reader, settled


@per_form
def _reader(form: Form) -> tuple[list[tuple[Site, Any]], Callable[[Sequence[Any]], list[Answer]]]:
    """List the observed sites, each with its support where that is known, and what reads their data."""
    sites: list[tuple[Site, Any]] = []

    def question(node: Site | Factor) -> Iterator[Probe]:
        if isinstance(node, Site) and node.observed is not None:
            support, number = _fixed(node), len(sites)
            sites.append((node, support))
            yield Probe(f"data {number}", identity, (node.observed,))
            tests = [name for name, asked in (("inside", support is None), ("broken", node.law.known_arrays)) if asked]
            operands = (node.observed, *node.parameters)
            for name in tests:
                test = _written(node.law, name, tuple(jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in operands))
                if test is not None:
                    yield Probe(f"{name} {number}", test[0], tuple(operands[place] for place in test[1]))

    _, run = settled(folded(form).form, question)
    return sites, run


def _fixed(node: Site) -> Any | None:
    """Return the support of a site where it is known and can be asked about an array of numbers."""
    if node.law.numbered is None:
        return None
    support = fixed_support(node.law, tuple(jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in node.parameters))
    try:
        tested = None if support is None else support(np.zeros(node.law.shape, node.law.dtype))
    except NotImplementedError:  # a constraint without a test
        return None
    return support if isinstance(tested, np.ndarray | np.generic) else None


@functools.lru_cache(maxsize=256)
def _written(law: Law, name: str, operands: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[int, ...]] | None:
    """Write a test of a law as a function of those of its operands that it reads, once for all sites that have it."""
    asked = law.broken if name == "broken" else law.inside
    try:
        with jax.ensure_compile_time_eval():  # the caller may be traced; what is remembered never is
            places, run = reader(without_dead_code(lower(asked, *operands)))
    except NotImplementedError:  # a constraint without a test: nothing is written
        return None
    return lambda *values: run(*values)[0], places


@per_form
def settled_names(form: Form) -> frozenset[str]:
    """Name the observations that depend on the arguments alone, whatever these are."""
    sites, run = _reader(form)
    asked = (part.kind.split() for part, _, _ in run([np.zeros(v.shape, v.dtype) for v in form.inputs]))
    found = (sites[int(number)][0].address for kind, number in asked if kind == "data")
    return frozenset(show_address(each) for one in found for each in folded(form).steps.get(one) or (one,))


def checked_data(form: Form, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the observations that depend on the arguments alone, by name; refuse NaN and values outside their support.

    An observation of an arm is NaN where its arm does not run.

    Raises: ObservationError naming site, index, value and support.
    """
    sites, run = _reader(form)
    if not sites or any(isinstance(x, jax.core.Tracer) for x in inputs):
        return {}
    answers = defaultdict[int, dict[str, Any]](dict)
    for part, value, runs in run(inputs):
        kind, number = part.kind.split()
        answers[int(number)][kind] = value, runs
    observed: dict[str, np.ndarray] = {}
    for k, found in answers.items():
        if "data" in found:
            observed |= _checked(form, *sites[k], found, observed)
    return observed


def _checked(
    form: Form, site: Site, support: Any, answers: Mapping[str, Any], observed: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Check the data of one site, and name them."""
    value, runs = answers["data"]
    if support is not None:
        inside = np.asarray(contains(support, value))
    else:
        inside, _ = answers.get("inside", (np.ones(value.shape, bool), None))
    nan = np.isnan(value) if np.issubdtype(value.dtype, np.inexact) else np.zeros(value.shape, bool)
    broken, _ = answers.get("broken", (nan, None))
    for bad, is_broken in ((broken, True), (~inside, False)):
        wrong = bad if runs is None else bad & _over(runs, bad)
        if wrong.any():
            raise _refusal(form, site, value, tuple(map(int, np.argwhere(wrong)[0])), is_broken)
    addresses = folded(form).steps.get(site.address)
    if addresses is not None:
        return {show_address(address): value[k, ...] for k, address in enumerate(addresses)}
    name = show_address(site.address)
    if runs is not None:
        other = observed.get(name)  # of another arm
        rest = np.full(value.shape, np.nan) if other is None or other.shape != value.shape else other
        value = np.where(_over(runs, value), value, rest)
    return {name: value}


def _over(runs: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Repeat over the elements of a datum where its arm runs."""
    return np.broadcast_to(runs.reshape(runs.shape + (1,) * (value.ndim - runs.ndim)), value.shape)


def _refusal(form: Form, site: Site, value: np.ndarray, place: tuple[int, ...], broken: bool) -> LawfulError:
    """Make the error of a datum of a site, or of one of the sites that it stands for."""
    found, where = value[place], place
    if site.address in folded(form).steps:
        address, where = folded(form).steps[site.address][place[0]], place[1:]
        site = next(s for s in form.sites() if s.address == address)
    if broken:
        return (empty_interval if site.law.unobserved == "censored" else nan_datum)(site, where)
    return outside_support(site, where, found, f"the support of {site.law.innermost.label}")
