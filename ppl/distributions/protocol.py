"""Protocol: what every law of a site answers, those of the language and those of the algorithms alike.

Law: `draw` has exactly the law that `log_prob` scores and, where the support is finite, that `enumerate` lists. A law
is hashable; its parameters are arrays. Nobody asks what class a law is of: what differs between laws is a member here.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import PathLimitError, UnsupportedProgramError
from .sampling.batched_draw import widen

MAX_ATOMS = 1 << 20


class Law:
    """The interface of every law: sites of the language and of the algorithms alike.

    A law has `shape`, `dtype`, `label` and `draw`, and one of `log_prob` and `log_prob_units`; the rest has defaults,
    which are those of a value of one part, with no finite support, from a law that is no distribution of NumPyro.

    Attributes:
        lanes: axes of independent copies, before those of one copy.
        is_point_mass: whether it has one value, whatever the parameters.
        shared: whether runs side by side whose parameters are the same take one value for all.
        truncated: whether values of some mass are missing from its list.
        scaled: whether it is a power of a density, which is no law to draw from.
        known_arrays: how many of its parameters say what is known of the data of the site.
        masked: whether such an array says which units count.
        leaves_out: whether elements that do not count may have any parameters.
        unobserved: what the data are where not all was observed: "missing" or "censored".
    """

    lanes: tuple[int, ...] = ()
    is_point_mass: bool = False
    shared: bool = False
    truncated: bool = False
    scaled: bool = False
    known_arrays: int = 0
    masked: bool = False
    leaves_out: bool = False
    unobserved: str | None = None

    if TYPE_CHECKING:  # every law has these, some of them as fields
        draw: Callable[..., jax.Array]  # of one value: (key, *parameters)

        @property
        def shape(self) -> tuple[int, ...]:
            """Shape of one value."""

        @property
        def dtype(self) -> Any:
            """Type of one value."""

        @property
        def label(self) -> str:
            """Name for people."""

    @property
    def numbered(self) -> Any:
        """The distribution with the place of each parameter in the parameter's stead; None where the law is none."""
        return None

    @property
    def atoms(self) -> int | None:
        """Static number of values that `enumerate` lists, or None where the support is not finite."""
        listed = self.element_values
        return None if listed is None else len(listed) ** math.prod(self.shape)

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the independent parts of a value, which stand in its first axes."""
        return ()

    @property
    def element_values(self) -> np.ndarray | None:
        """Values of one element, where a value is made of independent elements of one finite support."""
        return None

    @property
    def averaged(self) -> Any:
        """The law of each component, where the law is an average of some; else None."""
        return None

    @property
    def innermost(self) -> Any:
        """The law of one copy of the value, whatever is known of the data."""
        return self

    def draw_side_by_side(self, key: jax.Array, count: int, laned: Sequence[bool], *parameters: jax.Array) -> jax.Array:
        """Draw independent values with one key; the parameters that are `laned` have a leading axis of them."""
        types = [jax.ShapeDtypeStruct(p.shape[has:], p.dtype) for p, has in zip(parameters, laned, strict=True)]
        return widen(self.draw, types, laned, count).function(key, *parameters)

    def log_prob(self, value: jax.Array, *parameters: Any, **_: Any) -> jax.Array:  # or by their names
        """Score one value: a scalar, summed over the parts of the value."""
        return jnp.sum(self.log_prob_units(value, *parameters))

    def log_prob_units(self, value: jax.Array, *parameters: Any, **_: Any) -> jax.Array:
        """Score each independent part."""
        if type(self).log_prob is Law.log_prob:
            raise NotImplementedError(f"{type(self).__name__} has no density")
        return self.log_prob(value, *parameters)

    def element_masses(self, *parameters: jax.Array) -> jax.Array:
        """Log masses (values, *shape): of each value of `element_values`, for each element."""
        raise NotImplementedError(f"{self.label} has no elements of one finite support")

    def element_table(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of one element (values,) and the log masses of all elements (values, elements)."""
        masses = self.element_masses(*parameters)
        return jnp.asarray(self.element_values).astype(self.dtype), masses.reshape(len(masses), -1)

    def enumerate(self, *parameters: Any, **_: Any) -> tuple[jax.Array, jax.Array]:
        """List all values (atoms, *shape) and their log probabilities (atoms,): the product over the elements.

        Raises: UnsupportedProgramError: there is no finite list.
        """
        if self.element_values is None:
            raise UnsupportedProgramError(
                f"{self.label} is not finite: give breakpoints, or use level='statistical'.", law=self.label
            )
        support, table = self.element_table(*parameters)
        elements = math.prod(self.shape)
        grid = product_grid(len(support), elements)
        masses = table[grid, jnp.arange(elements)].sum(axis=1, dtype=table.dtype)
        return support[grid].reshape((len(grid), *self.shape)), masses

    def finite_elements(self, site_of: Callable[[Any], Any], *parameters: Any, **_: Any) -> tuple[list[Any], Any]:
        """List the independent elements of a finite value with their probabilities, and how they make up the value.

        Args:
            site_of: lists the elements of a distribution, as an enumerator knows them.
            parameters: numbers.
        """
        arrays = [np.asarray(p) for p in parameters]
        return [_listed(self, tuple((x.tobytes(), x.dtype.str, x.shape) for x in arrays))], itemgetter(0)

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each unit whether it lies in the support.

        Raises: NotImplementedError where that is not known.
        """
        raise NotImplementedError(f"the support of {self.label} has no test")

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number of the value whether it is none where data are wanted."""
        return jnp.isnan(value)

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell for each part whether its parameters make no law, by a draw if there is one; None where they always do.

        The whole draw may stand for what it shows.
        """
        return None

    def own(self, parameters: Sequence[Any]) -> tuple[Any, ...]:
        """Return those parameters that are of the innermost law."""
        return tuple(parameters)

    def of_one(self, parameters: Sequence[Any]) -> Sequence[Any]:
        """Return the parameters of one of those that the law averages."""
        return parameters

    def bound(self, parameters: Sequence[Any]) -> Any:
        """Return what stands for the law with parameters in the place of a distribution."""
        return BoundLaw(self, tuple(parameters))

    def text(self, parameters: Sequence[str]) -> str:
        """Write the law with its parameters for people."""
        return f"{self.label}({', '.join(parameters)})"


def of_base[T: type](*names: str) -> Callable[[T], T]:
    """Let a law have the named members of the law that it is made of, its field `base`."""

    def complete(law: T) -> T:
        for name in names:
            setattr(law, name, property(attrgetter(f"base.{name}")))
        return law

    return complete


def product_grid(values: int, elements: int) -> np.ndarray:
    """List all index vectors (values ** elements, elements), the last element fastest.

    >>> product_grid(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    count = values**elements
    if count > MAX_ATOMS:
        raise PathLimitError(
            f"a site of {elements} elements with {values} values each has {count} values, more than {MAX_ATOMS}.",
            needed=count, cap=MAX_ATOMS,
        )  # fmt: skip
    return np.array(list(itertools.product(range(values), repeat=elements)), dtype=np.int32).reshape(count, elements)


@dataclass(frozen=True)
class BoundLaw:
    """A law with its parameters: what an eager run of a Form announces as the distribution of a site."""

    law: Any
    parameters: tuple[Any, ...]

    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        return self.law.shape

    def sample(self, key: jax.Array) -> jax.Array:
        """Draw one value."""
        return self.law.draw(key, *self.parameters)

    def log_prob(self, value: Any) -> Any:
        """Score one value."""
        return self.law.log_prob(jnp.asarray(value), *map(jnp.asarray, self.parameters))

    def support(self, value: Any) -> Any:
        """Algorithm sites never reject a value by its support."""
        return np.ones((), bool)

    def finite_elements(self, site_of: Callable[[Any], Any]) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
        """List the elements of a finite value, as the law does."""
        return self.law.finite_elements(site_of, *self.parameters)


@functools.lru_cache(maxsize=4096)
def _listed(law: Law, coded: tuple[tuple[bytes, str, tuple[int, ...]], ...]) -> tuple[list[Any], list[float]]:
    """List the values of positive mass; an enumeration asks for the same law with the same parameters many times."""
    parameters = [np.frombuffer(raw, kind).reshape(shape) for raw, kind, shape in coded]
    values, masses = _listing(law)(*parameters)
    masses = np.asarray(masses, dtype=np.float64)
    kept = np.flatnonzero(masses > -np.inf)
    return list(np.asarray(values)[kept]), np.exp(masses[kept]).tolist()


@functools.lru_cache(maxsize=256)
def _listing(law: Law) -> Callable[..., Any]:
    return jax.jit(law.enumerate)
