"""Symmetric mixture: a law of the elements of an exchangeable plate, which does not know their names.

Law: one of the ends is chosen by its weight, its elements take the places of the plate in an order at random, and each
is drawn from its own law, or from a broad one for a share of the draws. The density is the exact sum over ends and over
all orders: an average of permanents, taken set by set, so that k elements cost k 2^k terms and not k k!.

Reference: Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions, for the broad
part, which keeps weights bounded.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

import lawful
from lawful.distributions.protocol import product_grid

START = "start"  # in the scope of the plate: the site of the elements in a program that draws them from here
BROAD = 0.5  # share of the broad law where one element is drawn anew


class SymmetricMixture(dist.Distribution):
    """The law of all elements of a plate, in coordinates without bounds (elements, d), or of one finite site as it is.

    Attributes:
        plate: name of the plate.
        sites: names of the sites of the plate, with the number of coordinates that each has of an element.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("log_weight", "near", "far")
    pytree_aux_fields = ("share", "plate", "sites")
    exchangeable_axis = 0  # of a value: its elements may change places

    def __init__(
        self, log_weight: Any, near: Any, far: Any, *, share: float = 0.1, plate: str = "class",
        sites: tuple[tuple[str, int], ...] = (),
    ) -> None:  # fmt: skip
        """Keep the parts.

        Args:
            log_weight: of the ends (ends,), to a constant.
            near: the laws of the elements of each end: a distribution of batch shape (ends, elements).
            far: the broad law of an element.
            share: of the broad law.
            plate: name of the plate.
            sites: names and sizes of its sites, in the order of the coordinates.
        """
        self.log_weight, self.near, self.far = log_weight, near, far
        self.share, self.plate, self.sites = share, plate, sites
        super().__init__((), (near.batch_shape[1], *near.event_shape), validate_args=False)

    @property
    def support(self) -> Any:
        """That of an element, for each."""
        return constraints.independent(self.near.support, 1)

    @property
    def has_enumerate_support(self) -> bool:
        """Whether elements have finitely many values."""
        return bool(self.near.has_enumerate_support)

    def enumerate_support(self, expand: bool = True) -> jax.Array:
        """List all values (values, elements)."""
        each = self.near.enumerate_support(expand=False).reshape(-1)
        return each[product_grid(len(each), self.event_shape[0])]

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw."""
        if sample_shape:
            keys = jax.random.split(key, math.prod(sample_shape))
            return jax.vmap(self.sample)(keys).reshape(*sample_shape, *self.event_shape)
        which, names, broad, first, second = jax.random.split(key, 5)
        k = self.event_shape[0]
        end = jax.random.categorical(which, self.log_weight, mode="high")
        order = jax.random.permutation(names, k)
        near, far = self.near.sample(first)[end][order], self.far.sample(second, (k,))
        away = jax.random.bernoulli(broad, self.share, (k,)).reshape(k, *(1,) * (near.ndim - 1))
        return jnp.where(away, far, near)

    def log_prob(self, value: Any) -> jax.Array:
        """Score: a sum over ends and over all orders of their elements."""
        if jnp.ndim(value) > len(self.event_shape):
            lead = jnp.shape(value)[: -len(self.event_shape)]
            return jax.vmap(self.log_prob)(jnp.reshape(value, (-1, *self.event_shape))).reshape(lead)
        value = jnp.asarray(value)
        near = jax.vmap(self.near.log_prob, out_axes=-1)(value)  # (end, element, place)
        far = jax.vmap(self.far.log_prob)(value)
        each = jnp.logaddexp(math.log1p(-self.share) + near, math.log(self.share) + far[None, None])
        orders = log_permanent(each) - math.lgamma(self.event_shape[0] + 1)
        return jax.nn.logsumexp(orders + jax.nn.log_softmax(self.log_weight))

    def anew(self, current: Any = None) -> None:
        """Draw one element in place of an old one, wherever that was: a proposal for `kernels.redraw`.

        It comes from the broad law in half the draws, or from around an element of an end.
        """
        with lawful.scope(self.plate):
            lawful.sample(START, ElementMixture(self.log_weight, self.near, self.far, BROAD))


class ElementMixture(dist.Distribution):
    """The law of one element: of the broad law, or of any element of one of the ends."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("log_weight", "near", "far")
    pytree_aux_fields = ("share",)

    def __init__(self, log_weight: Any, near: Any, far: Any, share: float) -> None:
        """Keep the parts, as `SymmetricMixture` has them."""
        self.log_weight, self.near, self.far, self.share = log_weight, near, far, share
        super().__init__((), near.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """That of an element."""
        return self.near.support

    @property
    def has_enumerate_support(self) -> bool:
        """Whether it has finitely many values."""
        return bool(self.near.has_enumerate_support)

    def enumerate_support(self, expand: bool = True) -> jax.Array:
        """List all values."""
        values: jax.Array = self.near.enumerate_support(expand=False)
        return values.reshape(-1)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw."""
        if sample_shape:
            keys = jax.random.split(key, math.prod(sample_shape))
            return jax.vmap(self.sample)(keys).reshape(*sample_shape, *self.event_shape)
        where, broad, first, second = jax.random.split(key, 4)
        place = jax.random.categorical(where, jnp.repeat(self.log_weight, self.near.batch_shape[1]), mode="high")
        near = self.near.sample(first).reshape(-1, *self.event_shape)[place]
        return jnp.where(jax.random.bernoulli(broad, self.share), self.far.sample(second), near)

    def log_prob(self, value: Any) -> jax.Array:
        """Score."""
        if jnp.ndim(value) > len(self.event_shape):
            return jax.vmap(self.log_prob)(value)
        shares = jax.nn.log_softmax(self.log_weight)[:, None] - math.log(self.near.batch_shape[1])
        near = jax.nn.logsumexp(self.near.log_prob(value) + shares)
        return jnp.logaddexp(math.log1p(-self.share) + near, math.log(self.share) + self.far.log_prob(value))


def log_permanent(log_matrix: jax.Array) -> jax.Array:
    """Give the logarithm of the permanents of matrices (..., k, k) of positive numbers, given by their logarithms.

    Rows are placed column by column: the sum over the orders of a set of rows is one over which of them comes last.

    >>> import jax.numpy as jnp
    >>> round(float(jnp.exp(log_permanent(jnp.log(jnp.array([[1.0, 2.0], [3.0, 4.0]]))))), 6)  # 1 * 4 + 2 * 3
    10.0
    """
    k = log_matrix.shape[-1]
    sums, place = jnp.zeros((*log_matrix.shape[:-2], 1), log_matrix.dtype), dict[tuple[int, ...], int]({(): 0})
    for column in range(k):
        sets = list(itertools.combinations(range(k), column + 1))
        last = np.array(sets)
        rest = np.array([[place[s[:i] + s[i + 1 :]] for i in range(len(s))] for s in sets])
        sums = jax.nn.logsumexp(sums[..., rest] + log_matrix[..., last, column], axis=-1)
        place = {s: i for i, s in enumerate(sets)}
    return sums[..., 0]
