"""Laws: what a site of a Form draws from, as a static description whose parameters are values of the Form.

Law: `draw` has exactly the law that `log_prob` scores and, where the support is finite, that `enumerate` lists.
A law is hashable; parameters are arrays. A law is never rebuilt from batched parameters: batches widen the scalar draw.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from .errors import LawfulError, PathLimitError, UnsupportedProgramError
from .rewrites import log_prob

MAX_ATOMS = 1 << 20


@runtime_checkable
class Law(Protocol):
    """The interface of every law: sites of the language and of the algorithms alike."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""

    @property
    def dtype(self) -> Any:
        """Type of one value."""

    @property
    def atoms(self) -> int | None:
        """Static number of values that `enumerate` lists, or None where the support is not finite."""

    @property
    def label(self) -> str:
        """Name for people."""

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw one value."""

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score one value: a scalar, summed over the axes of the value."""

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List all values (atoms, *shape) and their log probabilities (atoms,)."""


class _Table:
    """A small integer or float table that can be part of a hashable law."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._key = (array.shape, str(array.dtype), array.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and self._key == other._key


@dataclass(frozen=True)
class DistributionLaw:
    """A law given by a distribution of numpyro, flattened into its static part and its parameters."""

    tree: Any
    shape: tuple[int, ...]
    batch_shape: tuple[int, ...]
    dtype: Any
    label: str
    support_table: _Table | None
    is_point_mass: bool = False
    is_categorical: bool = False

    def distribution(self, *parameters: Any) -> dist.Distribution:
        """Rebuild the distribution from unbatched parameters."""
        return jax.tree.unflatten(self.tree, parameters)

    @property
    def elements(self) -> int:
        """Number of independent finite elements of one value."""
        return math.prod(self.shape)

    @property
    def atoms(self) -> int | None:
        """Number of values of the whole array: (values of one element) ** elements."""
        if self.is_point_mass:
            return 1
        return None if self.support_table is None else len(self.support_table.array) ** self.elements

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw one value."""
        distribution = self.distribution(*parameters)
        if self.is_categorical:
            from .categorical import sample_categorical

            base = core_of(distribution)
            return sample_categorical(key, jnp.broadcast_to(base.logits, (*self.shape, base.logits.shape[-1])))
        return distribution.sample(key)

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score one value; a value outside the support scores -inf."""
        return jnp.sum(self.log_prob_units(value, *parameters))

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the independent parts of one value: its batch axes."""
        return self.batch_shape

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each independent part."""
        distribution = self.distribution(*parameters)
        scores = log_prob(distribution, value)
        return jnp.where(distribution.support(value), scores, -jnp.inf) if _needs_guard(distribution) else scores

    def finite_elements(self, site_of: Callable[[Any], Any], *parameters: Any) -> Any:
        """List the elements of the distribution."""
        return site_of(self.distribution(*parameters))

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each element of the batch whether it lies in the support."""
        return self.distribution(*parameters).support(value)

    def element_table(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of one element (values,) and the log masses of all elements (values, elements)."""
        assert self.support_table is not None
        support = jnp.asarray(self.support_table.array)
        column = jnp.broadcast_to(support.reshape((-1,) + (1,) * len(self.shape)), (len(support), *self.shape))
        table = log_prob(_element_distribution(self.distribution(*parameters)), column)
        return support.astype(self.dtype), table.reshape(len(support), self.elements)

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List every value of the array: the product over its elements."""
        distribution = self.distribution(*parameters)
        if self.is_point_mass:
            value = jnp.broadcast_to(distribution.v, self.shape).astype(self.dtype)
            return value[None], jnp.zeros((1,), jnp.result_type(float))
        if self.support_table is None:
            raise UnsupportedProgramError(
                f"{self.label} is not finite: give breakpoints, or use level='statistical'.", law=self.label
            )
        support, table = self.element_table(*parameters)
        grid = product_grid(len(support), self.elements)
        masses = table[grid, jnp.arange(self.elements)].sum(axis=1, dtype=table.dtype)
        return support[grid].reshape((len(grid), *self.shape)), masses


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
    if elements == 0:
        return np.zeros((1, 0), dtype=np.int32)
    return np.array(list(itertools.product(range(values), repeat=elements)), dtype=np.int32).reshape(count, elements)


@dataclass(frozen=True)
class LanesLaw:
    """Independent copies of a law along new leading axes: what a plain `jax.vmap` over a site means.

    `laned[i]` says which of the lane axes parameter i has, outermost first; it lacks the others.
    """

    base: Any
    lanes: tuple[int, ...]
    laned: tuple[tuple[bool, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lanes, then the shape of one copy."""
        return (*self.lanes, *self.base.shape)

    @property
    def dtype(self) -> Any:
        """Type of one value."""
        return self.base.dtype

    @property
    def atoms(self) -> int | None:
        """Values of one copy to the power of the number of copies."""
        return None if self.base.atoms is None else self.base.atoms ** math.prod(self.lanes)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.base.label}{list(self.lanes)}"

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw all copies with one key."""
        return draw_lanes(self.base, key, self.lanes, parameters, self.laned)

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Sum the scores of the copies."""
        return jnp.sum(self.mapped(self.base.log_prob, (True,) * len(self.lanes))(value, *parameters))

    @property
    def units(self) -> tuple[int, ...]:
        """Lanes, then the parts of one copy."""
        return (*self.lanes, *self.base.units)

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each independent part."""
        return self.mapped(self.base.log_prob_units, (True,) * len(self.lanes))(value, *parameters)

    def element_table(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of one element (values,) and the log masses of all elements (values, elements)."""
        support, table = self.mapped(self.base.element_table)(*parameters)
        lanes = len(self.lanes)
        table = jnp.moveaxis(table, lanes, 0)
        return support[(0,) * lanes], table.reshape(table.shape[0], -1)

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each copy whether it lies in the support."""
        return self.mapped(self.base.inside, (True,) * len(self.lanes))(value, *parameters)

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the product over the copies."""
        values, masses = self.mapped(self.base.enumerate)(*parameters)
        return product_of_lanes(values, masses, self.lanes)

    def finite_elements(self, site_of: Callable[[Any], Any], *parameters: Any) -> Any:
        """List the elements of all copies, one copy after the other."""
        parts = []
        for cell in np.ndindex(*self.lanes):
            own = [
                np.asarray(p)[tuple(i for i, has in zip(cell, flag, strict=True) if has)]
                for p, flag in zip(parameters, self.laned, strict=True)
            ]
            parts.append(BoundLaw(self.base, tuple(own)).finite_elements(site_of))
        counts = [len(elements) for elements, _ in parts]

        def assemble(chosen: Sequence[Any]) -> Any:
            values, start = [], 0
            for count, (_, join) in zip(counts, parts, strict=True):
                values.append(join(chosen[start : start + count]))
                start += count
            return np.asarray(values, self.dtype).reshape(self.shape)

        return [element for elements, _ in parts for element in elements], assemble

    def mapped(self, function: Any, *first: tuple[bool, ...]) -> Any:
        """Map a function of a copy's parameters over the lanes; `first` holds the flags of arguments before them."""
        flags = (*first, *self.laned)
        for depth in reversed(range(len(self.lanes))):
            function = jax.vmap(
                function, in_axes=tuple(0 if flag[depth] else None for flag in flags), axis_size=self.lanes[depth]
            )
        return function


def product_of_lanes(values: jax.Array, masses: jax.Array, lanes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Combine per-lane lists (*lanes, atoms, *shape), (*lanes, atoms) into the list of joint values."""
    copies, atoms = math.prod(lanes), masses.shape[len(lanes)]
    shape = values.shape[len(lanes) + 1 :]
    values = values.reshape((copies, atoms, *shape))
    masses = masses.reshape((copies, atoms))
    grid = product_grid(atoms, copies)
    which = jnp.arange(copies)
    joint = values[which, grid].reshape((len(grid), *lanes, *shape))
    return joint, jnp.sum(masses[which, grid], axis=1, dtype=masses.dtype)


def draw_lanes(
    law: Any, key: jax.Array, lanes: tuple[int, ...], parameters: Sequence[jax.Array], laned: Sequence[tuple[bool, ...]]
) -> jax.Array:
    """Draw independent copies along new leading axes with one key, by widening the scalar draw."""
    from .widening import widen

    count = math.prod(lanes)
    arguments, flags, flat = [], [], []
    for parameter, flag in zip(parameters, laned, strict=True):
        own = parameter.shape[sum(flag) :]
        if any(flag):
            index = tuple(slice(None) if has else None for has in flag)
            full = jnp.broadcast_to(parameter[index], (*lanes, *own))
            flat.append(full.reshape((count, *own)))
        else:
            flat.append(parameter)
        arguments.append(jax.ShapeDtypeStruct(own, parameter.dtype))
        flags.append(any(flag))
    if count == 0:
        return jnp.zeros((*lanes, *law.shape), law.dtype)
    widened = widen(law.draw, arguments, flags, count)
    return widened.function(key, *flat).reshape((*lanes, *law.shape))


def law_of(distribution: Any) -> tuple[Any, tuple[jax.Array, ...]]:
    """Split a distribution into its law and its parameters; a bound algorithm law gives itself."""
    if isinstance(distribution, BoundLaw):
        return distribution.law, tuple(map(jnp.asarray, distribution.parameters))
    leaves, tree = jax.tree.flatten(distribution)
    parameters = tuple(jnp.asarray(leaf) for leaf in leaves)
    shape = tuple(distribution.shape())
    base = _element_distribution(distribution)
    law = DistributionLaw(
        tree=tree,
        shape=shape,
        batch_shape=tuple(distribution.batch_shape),
        dtype=_value_dtype(distribution),
        label=law_name(distribution),
        support_table=_support_table(base),
        is_point_mass=isinstance(core_of(distribution), dist.Delta),
        is_categorical=isinstance(core_of(distribution), dist.CategoricalLogits),
    )
    return law, parameters


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
        return self.law.log_prob(value, *self.parameters)

    def support(self, value: Any) -> Any:
        """Algorithm sites never reject a value by its support."""
        return np.ones((), bool)

    def finite_elements(self, site_of: Callable[[Any], Any]) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
        """List the independent elements of a finite value with their probabilities, and how they make up the value.

        Args: site_of: lists the elements of a part, as an enumerator knows them.
        """
        own = getattr(self.law, "finite_elements", None)
        if own is not None:
            return own(site_of, *self.parameters)
        arrays = [np.asarray(p) for p in self.parameters]
        return [_listed(self.law, tuple((x.tobytes(), x.dtype.str, x.shape) for x in arrays))], _first


def _first(values: Sequence[Any]) -> Any:
    return values[0]


@functools.lru_cache(maxsize=4096)
def _listed(law: Any, coded: tuple[tuple[bytes, str, tuple[int, ...]], ...]) -> tuple[list[Any], list[float]]:
    """List the values of positive mass; an enumeration asks for the same law with the same parameters many times."""
    parameters = [np.frombuffer(raw, kind).reshape(shape) for raw, kind, shape in coded]
    values, masses = _listing(law)(*parameters)
    masses = np.asarray(masses, dtype=np.float64)
    kept = np.flatnonzero(masses > -np.inf)
    return list(np.asarray(values)[kept]), np.exp(masses[kept]).tolist()


@functools.lru_cache(maxsize=256)
def _listing(law: Any) -> Callable[..., Any]:
    return jax.jit(law.enumerate)


def core_of(distribution: Any) -> Any:
    """Look through expansion, independence and masks."""
    while isinstance(distribution, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        distribution = distribution.base_dist
    return distribution


def law_name(distribution: Any) -> str:
    """Name a distribution for people: its family."""
    return type(core_of(distribution)).__name__.removesuffix("Probs").removesuffix("Logits")


def _element_distribution(distribution: Any) -> Any:
    """Undo `to_event`, so that every element of a finite site keeps its own score."""
    while isinstance(distribution, dist.Independent):
        distribution = distribution.base_dist
    return distribution


_WHOLE_SPACE = (dist.constraints.real, dist.constraints.real_vector, dist.constraints.real_matrix)


def _needs_guard(distribution: Any) -> bool:
    """Tell whether the support is a part of the space: numpyro scores values outside it as finite or NaN."""
    core = core_of(distribution)
    return not isinstance(core, dist.Delta) and not any(core.support is whole for whole in _WHOLE_SPACE)


def _support_table(distribution: Any) -> _Table | None:
    core = core_of(distribution)
    if distribution.event_shape or not getattr(core, "has_enumerate_support", False):
        return None
    try:
        with jax.ensure_compile_time_eval():
            values = core.enumerate_support(expand=False)
    except (NotImplementedError, jax.errors.ConcretizationTypeError):  # a support that values of the program bound
        return None
    if isinstance(values, jax.core.Tracer):
        return None
    return _Table(np.asarray(values).reshape(-1))


def _value_dtype(distribution: Any) -> Any:
    try:
        return jax.eval_shape(lambda: distribution.sample(jax.random.key(0))).dtype
    except NotImplementedError as error:
        raise LawfulError(f"{type(distribution).__name__} cannot be sampled: {error}") from error
