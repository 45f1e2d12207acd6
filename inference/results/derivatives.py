"""Derivatives: log marginals as functions of one vector of parameters, and their derivatives by it at a point.

Law: a vector holds the values of all sites that stay, in the order of the marginal, or their coordinates without
bounds; the derivative of the log likelihood is the sum of those of the elements and of what stands outside of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.log_density import gather_choices
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.pipeline import per_form
from lawful.interop.density import Density

from ..representations.element_terms import LogMarginals, Parts
from .optima import Optimum

type Values = Mapping[Any, Any] | Optimum


class Parameters:
    """The sites that stay in log marginals, as one vector."""

    def __init__(self, found: LogMarginals, unconstrained: bool) -> None:
        self.found = found
        for choice in found.choices:
            if not jnp.issubdtype(choice.dtype, jnp.floating) or choice.conditional:
                what = "is made in an arm only" if choice.conditional else "is discrete"
                raise UnsupportedProgramError(
                    f"scores: the site '{choice.name}' ({choice.source}), which stays, {what}, and has no derivative. "
                    "Fix: sum it out, by enumerate= of log_marginals.",
                    site=choice.address,
                )
        self.density = Density(found.marginal, (), found.inputs) if unconstrained else None

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by site."""
        if self.density is None:
            return {c.name: c.full_shape for c in self.found.choices}
        start, unravel = self.density.ravel()
        whole = jax.eval_shape(unravel, jax.ShapeDtypeStruct(start.shape, jnp.result_type(float)))
        return {c.name: tuple(whole[c.name].shape) for c in self.found.choices}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers in the vector."""
        return tuple(
            f"{name}[{', '.join(map(str, index))}]" if index else name
            for name, shape in self.shapes.items()
            for index in np.ndindex(*shape)
        )

    def by_site[A: (jax.Array, np.ndarray)](self, rows: A) -> dict[str, A]:
        """Cut the last axis into what belongs to each site."""
        ends: list[int] = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()]).tolist()
        cuts = zip(self.shapes.items(), [0, *ends], ends, strict=False)
        return {name: rows[..., a:b].reshape(*rows.shape[:-1], *shape) for (name, shape), a, b in cuts}

    def vector(self, values: Values) -> jax.Array:
        """Give values as one vector."""
        if isinstance(values, Optimum):  # which has what the program names, too
            values = {c.name: values.values[c.name] for c in self.found.choices}
        arrays: Any = gather_choices(self.found.choices, values)[0]
        if self.density is not None:
            position = self.density.unconstrain(dict(zip(self.shapes, arrays, strict=True)))
            arrays = [position[name] for name in self.shapes]
        return jnp.concatenate([jnp.zeros(0), *(jnp.ravel(x) for x in arrays)])

    def split(self, vector: jax.Array) -> list[jax.Array]:
        """Give the values of the sites from a vector."""
        cut = self.by_site(vector)
        values = cut if self.density is None else self.density.constrain(cut)
        return [values[name] for name in self.shapes]

    def part(self, name: str, vector: jax.Array) -> jax.Array:
        """Give an attribute of `Parts`, elements in a row."""
        value: jax.Array = getattr(Parts(*self.found.function(self.found.inputs, self.split(vector))), name)
        return value.ravel() if name == "elements" else value


@dataclass(frozen=True, eq=False)
class Point:
    """Parameters at a point."""

    parameters: Parameters
    vector: jax.Array

    def derivative(self, part: str, order: int = 1) -> np.ndarray:
        """Differentiate an attribute of `Parts` once or twice; elements come first, in a row."""
        function = _derivative(self.parameters.found.marginal, self.parameters, part, order)
        return np.asarray(function(self.vector))


def parameters_of(found: LogMarginals, unconstrained: bool) -> Parameters:
    """Give the sites that stay as one vector: values, or coordinates without bounds.

    Raises: UnsupportedProgramError where one is discrete, or made in an arm only.
    """
    return _parameters(found.marginal, found, unconstrained)


def point(found: LogMarginals, values: Values, unconstrained: bool) -> Point:
    """Give the parameters at values of the sites that stay.

    Raises: as `parameters_of`; LawfulError for a missing site, an unknown name, or a wrong shape.
    """
    own = parameters_of(found, unconstrained)
    return Point(own, own.vector(values))


@per_form
def _parameters(marginal: Form, found: LogMarginals, unconstrained: bool) -> Parameters:
    return Parameters(found, unconstrained)


@per_form
def _derivative(marginal: Form, own: Parameters, part: str, order: int) -> Callable[[jax.Array], jax.Array]:
    """Compile a derivative: the first backward where there are more parameters than values, others forward."""

    def value(vector: jax.Array) -> jax.Array:
        return own.part(part, vector)

    many = part == "elements" and len(own.names) <= int(np.prod(own.found.shape))
    function = jax.jacfwd(value) if many else jax.jacrev(value)
    return jax.jit(jax.jacfwd(function) if order == 2 else function)


def each_at(own: Parameters, vectors: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """Give the log marginal of each element at a vector of its own, and the values of the sites there."""
    return _each_at(own.found.marginal, own)(vectors)


@per_form
def _each_at(marginal: Form, own: Parameters) -> Callable[[jax.Array], tuple[jax.Array, list[jax.Array]]]:
    def one(each: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        return own.part("elements", each[1])[each[0]], own.split(each[1])

    return jax.jit(lambda vectors: jax.lax.map(one, (jnp.arange(len(vectors)), vectors)))
