"""Law: what a site of a form draws from, as a static description whose parameters are values of the form.

Law: `draw` has exactly the law that `log_prob` scores and, where the support is finite, that `enumerate` lists.
A law is hashable; parameters are arrays. A law is never rebuilt from batched parameters: batches widen the scalar draw.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import index, itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ..errors import ImproperPriorError, LawfulError
from ..form.operations.device import device_array
from .constraints import DRAWN, SCORED, contains, makes_law
from .families import ENOUGH, core_of, element_distribution, family_of, law_name, log_masses, log_prob, written
from .hidden_parameters import HIDDEN, Structure, check_bounded, opened
from .protocol import BoundLaw, Law

WHOLE_SPACE = (dist.constraints.real, dist.constraints.real_vector, dist.constraints.real_matrix)
IMPROPER = "ImproperUniform"  # the one family that has a density and no draw


class _Table:
    """A small integer or float table, of numbers or of whole values, that can be part of a hashable law."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._key = (array.shape, str(array.dtype), array.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and self._key == other._key


@dataclass(frozen=True)
class DistributionLaw(Law):
    """A law given by a distribution of numpyro, flattened into its static part and its parameters.

    The parameters stand in the `order` of the names of the distribution's fields: NumPyro flattens it in the order of a
    set, which is another in each process. A finite value whose elements depend on each other has all its values in the
    `whole_table`.
    """

    tree: Structure
    order: tuple[int, ...]
    shape: tuple[int, ...]
    batch_shape: tuple[int, ...]
    dtype: Any
    label: str
    support_table: _Table | None
    is_point_mass: bool = False
    truncated: bool = False
    whole_table: _Table | None = None

    def distribution(self, *parameters: Any) -> dist.Distribution:
        """Rebuild the distribution from unbatched parameters."""
        leaves = [value for _, value in sorted(zip(self.order, parameters, strict=True), key=itemgetter(0))]
        return self.tree.rebuilt(leaves)

    @functools.cached_property
    def numbered(self) -> Any:
        """The distribution with the place of each parameter in the parameter's stead."""
        return self.distribution(*range(self.tree.num_leaves))

    def bound(self, parameters: Sequence[Any]) -> Any:
        """Return the distribution."""
        return self.distribution(*parameters)

    def text(self, parameters: Sequence[str]) -> str:
        """Write the distribution with its arguments."""
        return written(self.distribution(*parameters))

    @property
    def atoms(self) -> int | None:
        """Number of values of the whole array."""
        if self.whole_table is not None:
            return len(self.whole_table.array)
        return 1 if self.is_point_mass else super().atoms

    @property
    def element_values(self) -> np.ndarray | None:
        """Values of one element."""
        return None if self.support_table is None or self.is_point_mass else self.support_table.array

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw one value."""
        distribution = self.distribution(*parameters)
        if self.label == IMPROPER:
            raise ImproperPriorError(
                "a flat prior (ImproperUniform) does not integrate to one, so nothing can be drawn from it. Fix: give "
                "a proper prior, a proposal for the site, or a start (init=, as of lawful.density.initial)."
            )
        core = core_of(distribution)
        if isinstance(core, HIDDEN):
            check_bounded(core)
        exact = family_of(core).draw
        drawn = None if exact is None else exact(key, core, self.shape)
        return distribution.sample(key) if drawn is None else drawn.astype(self.dtype)

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score one value; a value outside the support scores -inf."""
        distribution = self.distribution(*parameters)
        core = core_of(distribution, masks=False)
        total = family_of(core).total
        if total is None or jnp.size(value) < ENOUGH:
            return jnp.sum(self.log_prob_units(value, *parameters))
        return jnp.where(jnp.all(distribution.support(value)), total(core, value), -jnp.inf)

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the independent parts of one value: its batch axes."""
        return self.batch_shape

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each independent part."""
        distribution = self.distribution(*parameters)
        scores = log_prob(distribution, value)
        core = core_of(distribution)
        if not isinstance(core, dist.Delta) and not any(core.support is whole for whole in WHOLE_SPACE):
            # On a part of the space: numpyro scores values outside it as finite or NaN.
            scores = jnp.where(distribution.support(value), scores, -jnp.inf)
        return _where_lawful(distribution, scores)

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell for each part whether its parameters make no law."""
        shown = drawn if drawn is not None and jnp.issubdtype(drawn.dtype, jnp.floating) else None
        lawful = makes_law(self.distribution(*parameters), () if shown is None else DRAWN)
        broken = None if shown is None else jnp.any(jnp.isnan(shown))
        if broken is None or lawful is None:
            return broken if lawful is None else ~lawful
        return broken | ~lawful

    def finite_elements(self, site_of: Callable[[Any], Any], *parameters: Any) -> Any:
        """List the elements of the distribution."""
        return site_of(self.distribution(*parameters))

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each element of the batch whether it lies in the support."""
        return contains(self.distribution(*parameters).support, value)

    def element_masses(self, *parameters: jax.Array) -> jax.Array:
        """Log masses (values, *shape): of each value, for each element."""
        assert self.support_table is not None
        distribution = element_distribution(self.distribution(*parameters))
        listed = None if self.truncated else log_masses(distribution)
        if listed is not None:
            return _where_lawful(distribution, listed)
        support = jnp.asarray(self.support_table.array)
        column = jnp.broadcast_to(support.reshape((-1,) + (1,) * len(self.shape)), (len(support), *self.shape))
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
        """List every value of the array."""
        if self.whole_table is not None:
            values = jnp.asarray(self.whole_table.array)
            return values, jax.vmap(lambda value: self.log_prob(value, *parameters))(values)
        if not self.is_point_mass:
            return super().enumerate(*parameters)
        value = jnp.broadcast_to(self.distribution(*parameters).v, self.shape).astype(self.dtype)
        return value[None], jnp.zeros((1,), jnp.result_type(float))


def law_of(distribution: Any) -> tuple[Any, tuple[jax.Array, ...]]:
    """Split a distribution into its law and its parameters; a bound algorithm law gives itself."""
    law, leaves = split(distribution)
    return law, tuple(map(device_array, leaves))


def split(distribution: Any) -> tuple[Any, Sequence[Any]]:
    """Split a distribution into its law and its parameters as they were given, numbers among them."""
    if isinstance(distribution, BoundLaw):
        return distribution.law, distribution.parameters
    for size in (*distribution.batch_shape, *distribution.event_shape):
        index(size)  # of a law that keeps its sizes as they are given, a traced one has to be a number
    leaves, tree = opened(distribution)
    law = _remembered_law(distribution, leaves, tree)
    return law, [leaves[place] for place in law.order]


def _remembered_law(distribution: Any, leaves: list[Any], tree: Structure) -> DistributionLaw:
    kind: tuple[Any, ...] = tree, tuple(map(_kind, leaves)), bool(jax.config.read("jax_enable_x64"))
    core = core_of(distribution)
    if getattr(core, "has_enumerate_support", False) and not family_of(core).support_by_shape:
        if any(isinstance(leaf, jax.core.Tracer) or np.size(leaf) > _SMALL for leaf in leaves):
            return _law(distribution, tree)
        kind = *kind, tuple(np.asarray(leaf).tobytes() for leaf in leaves)
    try:
        known = _laws.get(kind)
    except TypeError:  # a distribution with an array in its structure
        return _law(distribution, tree)
    if known is None:
        if len(_laws) >= _REMEMBERED:
            _laws.clear()
        known = _laws[kind] = _law(distribution, tree)
    return known


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


def _law(distribution: Any, tree: Structure) -> DistributionLaw:
    core, label = core_of(distribution), law_name(distribution)
    return DistributionLaw(
        tree=tree,
        order=(*_places(tree.rebuilt(range(tree.num_leaves))), *range(tree.tree.num_leaves, tree.num_leaves)),
        shape=tuple(distribution.shape()),
        batch_shape=tuple(distribution.batch_shape),
        dtype=jnp.result_type(float) if label == IMPROPER else _value_dtype(distribution),
        label=label,
        support_table=_support_table(core),
        is_point_mass=isinstance(core, dist.Delta),
        whole_table=None if distribution.batch_shape or not core.event_shape else _listed_support(core),
    )


def position_of(law: Law, name: str) -> int | None:
    """Return the place that an argument of the distribution's family has among the parameters of a law.

    The parameters stand in the order of the names of the fields, which is not that of the family's arguments.

    >>> law, parameters = law_of(dist.Normal(0.5, 2.0))
    >>> float(parameters[position_of(law, "scale")])
    2.0
    """
    place = None if law.numbered is None else vars(core_of(law.numbered)).get(name)
    return place if type(place) is int else None


def _where_lawful(distribution: Any, scores: jax.Array) -> jax.Array:
    """Score NaN where parameters make no law."""
    lawful = makes_law(distribution, SCORED)
    return scores if lawful is None else jnp.where(lawful, scores, jnp.nan)


def _support_table(core: Any) -> _Table | None:
    found = None if core.event_shape else _listed_support(core)
    return None if found is None else _Table(found.array.reshape(-1))


def _listed_support(core: Any) -> _Table | None:
    """List the values of a distribution, where they are finitely many and no value of the program bounds them."""
    if not getattr(core, "has_enumerate_support", False):
        return None
    try:
        with jax.ensure_compile_time_eval():
            values = core.enumerate_support(expand=False)
    except (NotImplementedError, jax.errors.ConcretizationTypeError):
        return None
    return None if isinstance(values, jax.core.Tracer) else _Table(np.asarray(values))


def _value_dtype(distribution: Any) -> Any:
    if isinstance(core_of(distribution), HIDDEN):
        return jnp.result_type(int)  # without a bound of the numbers of trials they cannot be drawn
    try:
        return jax.eval_shape(lambda: distribution.sample(jax.random.key(0))).dtype
    except NotImplementedError as error:
        raise LawfulError(
            f"{type(distribution).__name__} gives no draws (its `sample` is not implemented), so its type is unknown. "
            "Fix: use a distribution that can be sampled, or score the value with lawful.factor."
        ) from error
