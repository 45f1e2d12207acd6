"""Bijections: the support of each latent site, and the map from coordinates without bounds onto it.

Law: a site never draws outside its support, and `to_support` maps the whole space one to one onto it. A mixture has the
coordinates of its components, where these have one support; so has each copy that a batched law holds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to, constraints

from ..addresses import Address, show_address
from ..errors import UnsupportedProgramError
from ..form import Det, Form, Site, Var, subforms
from ..form.operations.on_numpy import evaluate
from ..messages import refused
from .batched import LanesLaw
from .protocol import Law


def supports(form: Form) -> dict[Address, Any]:
    """Return the constraint of numpyro that holds for each latent site, by address.

    A bound that is computed from inputs or choices has no value before the run: such a site has
    `constraints.dependent`, with the right `is_discrete` and `event_dim`. Of a site under a plain `jax.vmap` the
    constraint of one copy is given.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.HalfNormal(1.0)))
    >>> supports(form)
    {('x',): Positive(lower_bound=0.0)}
    """
    return _supports(form, lambda s: constraints.dependent(is_discrete=s.is_discrete, event_dim=s.event_dim))


def shown_supports(form: Form) -> dict[Address, Any]:
    """Return the same, but where a bound is computed the constraint with NaN for it.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda y: lawful.sample("x", dist.Uniform(0.0, y)), 1.0)
    >>> shown_supports(form)
    {('x',): Interval(lower_bound=0.0, upper_bound=nan)}
    """
    return _supports(form, lambda s: jax.tree.map(lambda x: np.nan if isinstance(x, jax.core.Tracer) else x, s))


def _supports(form: Form, shown: Callable[[Any], Any]) -> dict[Address, Any]:
    found: dict[Address, Any] = {}
    known = dict(form.constants)
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is None:
            found[node.address] = _support(node, known, shown)
        elif isinstance(node, Det) and not node.plates and all(v in known for v in node.ins):
            known |= zip(node.outs, evaluate(node.function, [known[v] for v in node.ins]), strict=True)
        for inner in subforms(node):
            found |= _supports(inner, shown)
    return found


def _support(site: Site, constants: dict[Var, Any], shown: Callable[[Any], Any]) -> Any:
    """Read the constraint of a site; `shown` says what stands for one that has a bound that is computed."""
    law = site.law.innermost
    if law.numbered is None:
        return constraints.dependent
    known = [constants.get(v) for v in site.parameters]

    def read(*parameters: Any) -> Any:
        rest = iter(parameters)
        with jax.ensure_compile_time_eval():
            full = [next(rest) if array is None else jnp.asarray(array) for array in known]
            support = law.bound(full).support
        return shown(support) if _moving(support) else support

    return _traced(read, _structs([v for v, array in zip(site.parameters, known, strict=True) if array is None]))


def _traced(read: Callable[..., Any], structs: Iterable[jax.ShapeDtypeStruct]) -> Any:
    """Return what is read of parameters that are traced."""
    found: list[Any] = []
    jax.eval_shape(lambda *parameters: found.append(read(*parameters)), *structs)
    return found[0]


def _moving(support: Any) -> bool:
    """Tell whether a constraint has a bound that is traced."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(support))


@functools.lru_cache(maxsize=1024)
def fixed_support(law: Law, parameters: tuple[jax.ShapeDtypeStruct, ...]) -> Any | None:
    """Return the constraint of a law where parameters of these types cannot move it, else None."""
    support = _traced(lambda *own: law.bound(own).support, parameters)
    return None if _moving(support) else support


def free_shape(site: Site) -> tuple[int, ...]:
    """Shape of the coordinates without bounds of a site.

    Raises: UnsupportedProgramError for a site that is discrete or has no density.
    """
    return _shape_of(site, site.law, _structs(site.parameters))


def _shape_of(site: Site, law: Any, parameters: Sequence[jax.ShapeDtypeStruct]) -> tuple[int, ...]:
    if isinstance(law, LanesLaw):
        laned = zip(parameters, law.laned, strict=True)
        one = [jax.ShapeDtypeStruct(p.shape[sum(flag) :], p.dtype) for p, flag in laned]
        return (*law.lanes, *_shape_of(site, law.base, one))
    if law.averaged is not None:
        shape = _shape_of(site, law.averaged, jax.eval_shape(law.of_one, parameters))
        _refuse_supports(site, law, parameters)
        return shape
    point, discrete = law.is_point_mass, is_discrete(site)
    if law.numbered is None or point or discrete:
        what = "is a point mass" if point else "is discrete" if discrete else f"has the law {law.label}"
        words = (
            f" {what}, so it has no density in coordinates without bounds. Fix: use lawful.deterministic for a known "
            "value, or sum a discrete site out first."
        )
        raise refused(site, words, UnsupportedProgramError)
    return _free_shape(law, tuple(parameters))


def _one(law: Any, parameters: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """Give the law of one component in one lane, with its parameters."""
    if isinstance(law, LanesLaw):
        return _one(law.base, [p[(0,) * sum(flags)] for p, flags in zip(parameters, law.laned, strict=True)])
    if law.averaged is not None:
        return _one(law.averaged, law.of_one(parameters))
    return law, parameters


def _refuse_supports(site: Site, law: Any, parameters: Sequence[jax.ShapeDtypeStruct]) -> None:
    """Refuse a mixture of components whose supports depend on what tells them apart."""

    def moves(*own: Any) -> bool:
        with jax.ensure_compile_time_eval():  # what all components share does not tell their supports apart
            many = False, *law.many
            component, at = _one(law, [p if m else jnp.ones(p.shape, p.dtype) for p, m in zip(own, many, strict=True)])
            return _moving(component.bound(at).support)

    if _traced(moves, parameters):
        words = (
            f" is a {law.label} whose supports may differ, since their bounds depend on a site that is summed: it has "
            "no coordinates without bounds. Fix: leave that site out of enumerate=, or write "
            f"'{show_address(site.address)}' as a function of a site with fixed bounds."
        )
        raise refused(site, words, UnsupportedProgramError)


@functools.lru_cache(maxsize=1024)
def _free_shape(law: Any, parameters: tuple[jax.ShapeDtypeStruct, ...]) -> tuple[int, ...]:
    return _traced(lambda *own: tuple(_bijection(law, own).inverse_shape(law.shape)), parameters)


def to_support(law: Any) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the function (coordinates, *parameters) -> (value, log density of the coordinates).

    The density of the coordinates is that of the value times the Jacobian, so that it integrates to the same.
    """
    place = jacobian_to_support(law)

    def scored(free: jax.Array, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, jacobian = place(free, *parameters)
        return value, law.log_prob(value, *parameters) + jacobian

    return scored


def density_on_support(law: Any) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the function (coordinates, *parameters) -> (value, log density of the value), without Jacobian."""
    place = jacobian_to_support(law)

    def scored(free: jax.Array, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, _ = place(free, *parameters)
        return value, law.log_prob(value, *parameters)

    return scored


def jacobian_to_support(law: Any) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the function (coordinates, *parameters) -> (value, log |d value / d coordinates|)."""

    def placing(law: Any, free: jax.Array, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        bijection = _bijection(law, parameters)
        value = bijection(free)
        jacobian = jnp.sum(bijection.log_abs_det_jacobian(free, value))
        return jnp.broadcast_to(value, law.shape), jacobian.astype(jnp.result_type(float))

    place = _of_elements(law, placing)

    def placed(free: jax.Array, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, jacobian = place(free, *parameters)
        return value, jnp.sum(jacobian) if jacobian.ndim else jacobian

    return placed


def from_support(law: Any) -> Callable[..., jax.Array]:
    """Return the function (value, *parameters) -> coordinates, the inverse of the map of `to_support`."""
    return _of_elements(law, lambda law, value, *parameters: jnp.asarray(_bijection(law, parameters).inv(value)))


def _of_elements(law: Any, one: Callable[..., Any]) -> Callable[..., Any]:
    """Map a function (law, value, *parameters) over the lanes of a law, with the law of one component of a mixture."""
    if isinstance(law, LanesLaw):
        mapped: Callable[..., Any] = law.mapped(_of_elements(law.base, one), 1)
        return mapped
    if law.averaged is not None:
        inner = _of_elements(law.averaged, one)
        return lambda value, *parameters: inner(value, *law.of_one(parameters))
    return functools.partial(one, law)


def is_discrete(site: Site) -> bool:
    """Tell whether the values of a site are counts, classes or flags."""
    return not jnp.issubdtype(site.out.dtype, jnp.floating)


def without_elements(support: Any) -> Any:
    """Give the support of one element."""
    while isinstance(support, constraints.independent(constraints.real, 0).__class__):
        support = support.base_constraint
    return support


def is_line(support: Any) -> bool:
    """Tell whether a support has no bounds."""
    return without_elements(support) in (constraints.real, constraints.real_vector, constraints.real_matrix)


def _bijection(law: Any, parameters: Sequence[Any]) -> Any:
    return biject_to(law.bound(parameters).support)


def _structs(values: Sequence[Var]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in values]
