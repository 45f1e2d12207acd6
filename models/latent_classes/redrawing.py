"""One class drawn anew: a proposal for mixtures, some of whose classes nothing in the data needs.

Law: given which class is chosen, and it is each as likely, the proposal knows nothing of the current one, so that its
density is that of the class it leads to. Names of classes mean nothing to it.

Why: a class that no row needs has the breadth of its prior, the others that of their data. Steps that suit these take
it nowhere, and a population whose spare classes do not roam carries on what a few ancestors had.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints

import lawful

from .reference import FREEDOM, Reference

__all__ = ["OneClassRedrawn", "one_class_redrawn"]

PATH = 2  # arrays of a program on a path behind those of its arguments: its block and its power
BROAD = 0.5  # share of the draws from the law about the prior


class OneClassRedrawn(dist.Distribution):
    """The law of coordinates of all classes (classes, d) of which one is drawn anew.

    It comes from the law about the prior in half the draws, or from around a class of one of the ends of a reference.
    Its density is one by the coordinates of the class that moved.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("current", "reference")
    support = constraints.independent(constraints.real, 2)

    def __init__(self, current: jax.Array, reference: Reference) -> None:
        """Keep the parts.

        Args:
            current: coordinates of all classes (classes, d).
            reference: gives the laws of a class.
        """
        self.current, self.reference = current, reference
        super().__init__((), jnp.shape(current), validate_args=False)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw."""
        if sample_shape:
            keys = jax.random.split(key, math.prod(sample_shape))
            return jax.vmap(self.sample)(keys).reshape(*sample_shape, *self.event_shape)
        which, where, broad, first, second = jax.random.split(key, 5)
        at, (k, d) = self.reference, self.event_shape
        place = jax.random.categorical(where, jnp.repeat(at.log_weight, k), mode="high")
        prior = jax.random.bernoulli(broad, BROAD)
        loc = jnp.where(prior, at.centre, at.loc.reshape(-1, d)[place])
        root = jnp.where(prior, at.spread, at.root.reshape(-1, d, d)[place])
        heat = jax.random.chisquare(second, jnp.asarray(FREEDOM, loc.dtype))
        anew = loc + root @ jax.random.normal(first, (d,), loc.dtype) * jnp.sqrt(FREEDOM / heat)
        return jnp.where((jnp.arange(k) == jax.random.randint(which, (), 0, k))[:, None], anew, self.current)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Score: nothing leads to where more than one class differs."""
        k, _ = self.event_shape
        near, far = self.reference.of_class(value)
        share = jax.nn.log_softmax(self.reference.log_weight)[:, None, None] - math.log(k)
        near = jax.nn.logsumexp(near + share, axis=(0, 1))
        each = jnp.logaddexp(math.log1p(-BROAD) + near, math.log(BROAD) + far)
        moved = jnp.any(value != self.current, axis=-1)
        score = jnp.sum(jnp.where(moved, each, 0.0)) - math.log(k)
        return jnp.where(jnp.sum(moved) > 1, -jnp.inf, score)


def one_class_redrawn(current: Mapping[str, jax.Array], *arrays: jax.Array) -> None:
    """Propose one class anew: for the points of a path, of a program whose last argument is the reference.

    Args:
        current: the choices; `point` has the coordinates of the classes, as `drawn_classes` draws them.
        arrays: those of the program's arguments, then the point of the path.
    """
    leaves, tree = jax.tree.flatten(Reference(*jnp.zeros((5, 1, 1, 1))))
    at = jax.tree.unflatten(tree, arrays[-PATH - len(leaves) : -PATH])
    reference = Reference(at.log_weight, at.loc, at.root, at.centre, at.spread)
    lawful.sample("point", OneClassRedrawn(current["point"], reference))
