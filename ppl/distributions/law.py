"""Law: what a site of a form draws from, as a static description whose parameters are values of the form.

Law: `draw` has exactly the law that `log_prob` scores and, where the support is finite, that `enumerate` lists.
A law is hashable; parameters are arrays. A law is never rebuilt from batched parameters: batches widen the scalar draw.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ..errors import ImproperPriorError, LawfulError, PathLimitError, UnsupportedProgramError
from ..form.operations.device import device_array
from .bound_law import BoundLaw
from .densities import log_prob, total_log_prob
from .parameter_constraints import DRAWN, SCORED, flaws, makes_law
from .sampling.bernoulli import sample_bernoulli
from .sampling.categorical import sample_categorical
from .support import contains

MAX_ATOMS = 1 << 20
IMPROPER = "ImproperUniform"  # the one family that has a density and no draw


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
    """A law given by a distribution of numpyro, flattened into its static part and its parameters.

    The parameters stand in the `order` of the names of the distribution's fields: NumPyro flattens it in the order of a
    set, which is another in each process.
    """

    tree: Any
    order: tuple[int, ...]
    shape: tuple[int, ...]
    batch_shape: tuple[int, ...]
    dtype: Any
    label: str
    support_table: _Table | None
    is_point_mass: bool = False
    is_categorical: bool = False
    is_coin: bool = False
    truncated: bool = False

    def distribution(self, *parameters: Any) -> dist.Distribution:
        """Rebuild the distribution from unbatched parameters."""
        leaves = [value for _, value in sorted(zip(self.order, parameters, strict=True), key=itemgetter(0))]
        return jax.tree.unflatten(self.tree, leaves)

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
        if self.label == IMPROPER:
            raise ImproperPriorError(
                "a flat prior (ImproperUniform) does not integrate to one, so nothing can be drawn from it. Fix: give "
                "a proper prior, a proposal for the site, or a start (init=, as of lawful.density.initial)."
            )
        if self.is_categorical:
            base = core_of(distribution)
            return sample_categorical(key, jnp.broadcast_to(base.logits, (*self.shape, base.logits.shape[-1])))
        if self.is_coin:
            drawn = sample_bernoulli(key, core_of(distribution), self.shape)
            if drawn is not None:
                return drawn.astype(self.dtype)
        return distribution.sample(key)

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score one value; a value outside the support scores -inf."""
        distribution = self.distribution(*parameters)
        total = total_log_prob(distribution, value)
        if total is None:
            return jnp.sum(self.log_prob_units(value, *parameters))
        return jnp.where(jnp.all(distribution.support(value)), total, -jnp.inf)

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the independent parts of one value: its batch axes."""
        return self.batch_shape

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each independent part."""
        distribution = self.distribution(*parameters)
        scores = log_prob(distribution, value)
        if _needs_guard(distribution):
            scores = jnp.where(distribution.support(value), scores, -jnp.inf)
        return _where_lawful(distribution, scores)

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell for each part whether its parameters make no law, by a draw if there is one; None where they always do.

        The whole draw may stand for what it shows.
        """
        distribution = self.distribution(*parameters)
        if drawn is None or not jnp.issubdtype(drawn.dtype, jnp.floating):
            return flaws(distribution)
        lawful, broken = makes_law(distribution, DRAWN), jnp.any(jnp.isnan(drawn))
        return broken if lawful is None else broken | ~lawful

    def finite_elements(self, site_of: Callable[[Any], Any], *parameters: Any) -> Any:
        """List the elements of the distribution."""
        return site_of(self.distribution(*parameters))

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each element of the batch whether it lies in the support."""
        return contains(self.distribution(*parameters).support, value)

    def element_table(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of one element (values,) and the log masses of all elements (values, elements)."""
        assert self.support_table is not None
        table = self.element_masses(*parameters)
        return jnp.asarray(self.support_table.array).astype(self.dtype), table.reshape(len(table), self.elements)

    def element_masses(self, *parameters: jax.Array) -> jax.Array:
        """Log masses (values, *shape): of each value, for each element."""
        assert self.support_table is not None
        support = jnp.asarray(self.support_table.array)
        column = jnp.broadcast_to(support.reshape((-1,) + (1,) * len(self.shape)), (len(support), *self.shape))
        distribution = element_distribution(self.distribution(*parameters))
        masses = log_prob(distribution, column)
        if self.truncated:
            masses = jnp.where(distribution.support(column), masses, -jnp.inf)
        return _where_lawful(distribution, masses)

    def within(self, low: int, high: int) -> DistributionLaw:
        """Restrict a law of whole numbers to those from low to high; masses stay as they are, so some may be missing.

        >>> law, parameters = law_of(dist.Poisson(1.0))
        >>> law.within(0, 1).atoms, jnp.round(jnp.exp(law.within(0, 1).element_masses(*parameters)), 4).tolist()
        (2, [0.3679, 0.3679])
        """
        return replace(self, support_table=_Table(np.arange(low, high + 1)), truncated=True)

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


def law_of(distribution: Any) -> tuple[Any, tuple[jax.Array, ...]]:
    """Split a distribution into its law and its parameters; a bound algorithm law gives itself."""
    law, leaves = split(distribution)
    return law, tuple(map(device_array, leaves))


def split(distribution: Any) -> tuple[Any, Sequence[Any]]:
    """Split a distribution into its law and its parameters as they were given, numbers among them."""
    if isinstance(distribution, BoundLaw):
        return distribution.law, distribution.parameters
    leaves, tree = jax.tree.flatten(distribution)
    law = _remembered_law(distribution, leaves, tree)
    return law, [leaves[place] for place in law.order]


def _remembered_law(distribution: Any, leaves: list[Any], tree: Any) -> DistributionLaw:
    kind: tuple[Any, ...] = tree, tuple(map(_kind, leaves)), bool(jax.config.read("jax_enable_x64"))
    try:
        known = _laws.get(kind)
        if known is not None:
            return known
    except TypeError:  # a distribution with an array in its structure
        return _law(distribution, tree)
    core = core_of(distribution)
    if getattr(core, "has_enumerate_support", False) and not isinstance(core, _FIXED_SUPPORT):
        if any(isinstance(leaf, jax.core.Tracer) or np.size(leaf) > _SMALL for leaf in leaves):
            return _law(distribution, tree)
        kind = *kind, tuple(np.asarray(leaf).tobytes() for leaf in leaves)
        if kind in _laws:
            return _laws[kind]
    if len(_laws) >= _REMEMBERED:
        _laws.clear()
    known = _laws[kind] = _law(distribution, tree)
    return known


# A support whose size is that of the parameters, not their value.
_FIXED_SUPPORT = (dist.BernoulliProbs, dist.BernoulliLogits, dist.CategoricalProbs, dist.CategoricalLogits)
# The law depends on structure and types alone, but for a support that parameters bound: there on their values too.
_laws: dict[Any, DistributionLaw] = {}
_SMALL = 64
_REMEMBERED = 1024


def _kind(leaf: Any) -> Any:
    if not hasattr(leaf, "dtype"):
        return type(leaf)
    return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)


def _places(part: Any) -> Iterator[int]:
    """List the numbers that stand for the leaves of a distribution, by the names of its fields."""
    if isinstance(part, dist.Distribution):
        for name in sorted(type(part).gather_pytree_data_fields()):
            yield from _places(vars(part).get(name))
    else:
        for inner in jax.tree.leaves(part, is_leaf=lambda x: isinstance(x, dist.Distribution)):
            yield from _places(inner) if isinstance(inner, dist.Distribution) else (inner,)


def _law(distribution: Any, tree: Any) -> DistributionLaw:
    shape = tuple(distribution.shape())
    base = element_distribution(distribution)
    return DistributionLaw(
        tree=tree,
        order=tuple(_places(jax.tree.unflatten(tree, range(tree.num_leaves)))),
        shape=shape,
        batch_shape=tuple(distribution.batch_shape),
        dtype=_value_dtype(distribution),
        label=law_name(distribution),
        support_table=_support_table(base),
        is_point_mass=isinstance(core_of(distribution), dist.Delta),
        is_categorical=isinstance(core_of(distribution), dist.CategoricalLogits),
        is_coin=isinstance(core_of(distribution), dist.BernoulliProbs | dist.BernoulliLogits),
    )


def core_of(distribution: Any) -> Any:
    """Look through expansion, independence and masks."""
    while isinstance(distribution, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        distribution = distribution.base_dist
    return distribution


def position_of(law: DistributionLaw, name: str) -> int | None:
    """Return the place that an argument of the distribution's family has among the parameters of a law.

    The parameters stand in the order of the names of the fields, which is not that of the family's arguments.

    >>> law, parameters = law_of(dist.Normal(0.5, 2.0))
    >>> float(parameters[position_of(law, "scale")])
    2.0
    """
    place = getattr(core_of(law.distribution(*range(law.tree.num_leaves))), name, None)
    return place if type(place) is int else None


def law_name(distribution: Any) -> str:
    """Name a distribution for people: its family."""
    core = core_of(distribution)
    own = getattr(core, "label", None)  # of a distribution that is made of another one
    return own if isinstance(own, str) else type(core).__name__.removesuffix("Probs").removesuffix("Logits")


def element_distribution(distribution: Any) -> Any:
    """Undo `to_event`, so that every element of a finite site keeps its own score."""
    while isinstance(distribution, dist.Independent):
        distribution = distribution.base_dist
    return distribution


_WHOLE_SPACE = (dist.constraints.real, dist.constraints.real_vector, dist.constraints.real_matrix)


def _needs_guard(distribution: Any) -> bool:
    """Tell whether the support is a part of the space: numpyro scores values outside it as finite or NaN."""
    core = core_of(distribution)
    return not isinstance(core, dist.Delta) and not any(core.support is whole for whole in _WHOLE_SPACE)


def _where_lawful(distribution: Any, scores: jax.Array) -> jax.Array:
    """Score NaN where parameters make no law."""
    lawful = makes_law(distribution, SCORED)
    return scores if lawful is None else jnp.where(lawful, scores, jnp.nan)


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
    if law_name(distribution) == IMPROPER:
        return jnp.result_type(float)
    try:
        return jax.eval_shape(lambda: distribution.sample(jax.random.key(0))).dtype
    except NotImplementedError as error:
        raise LawfulError(
            f"{type(distribution).__name__} gives no draws (its `sample` is not implemented), so its type is unknown. "
            "Fix: use a distribution that can be sampled, or score the value with lawful.factor."
        ) from error
