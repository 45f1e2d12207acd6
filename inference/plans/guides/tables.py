"""Tables: finite sites of a program whose values a guide draws by tables of log masses, each element by itself.

Law: the gradient of an objective by the tables is unbiased. Where all values together are few it is that of the sum
over them; else it is that of the log masses, times what the objective is beyond a baseline that is made of the other
draws alone, so that its mean is zero.

Reference: Kool, van Hoof and Welling (2019), Buy 4 REINFORCE samples, get a baseline for free; Mnih and Rezende (2016),
Variational inference for Monte Carlo objectives, for the bound of several weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.form.choices import Choice

from ...transformers.propose.guide import values_of

FEW = 64  # values of all finite sites together, up to which gradients sum over them
PRIOR = 64  # draws from the prior whose shares begin the tables
LITTLE = 0.1  # of a draw, which each value counts besides

type Numbers = tuple[jax.Array, ...]


@dataclass(frozen=True, eq=False)
class Tables:
    """Finite choices of a program, in its order."""

    choices: tuple[Choice, ...]

    @cached_property
    def listed(self) -> tuple[np.ndarray, ...]:
        """The values of an element of each choice."""
        return tuple(values_of(choice, "guide") for choice in self.choices)

    @cached_property
    def all(self) -> Numbers | None:
        """All values of all choices together, by their numbers; None where they are many."""
        sizes = [(len(values), prod(c.full_shape)) for c, values in zip(self.choices, self.listed, strict=True)]
        if sum(elements * np.log(count) for count, elements in sizes) > np.log(FEW + 0.5):
            return None
        each = [itertools.product(range(count), repeat=elements) for count, elements in sizes]
        rows = [*itertools.product(*each)]
        shapes = [choice.full_shape for choice in self.choices]
        return tuple(
            jnp.asarray(np.array([row[place] for row in rows]).reshape(len(rows), *shape))
            for place, shape in enumerate(shapes)
        )

    def begin(self, drawn: Sequence[jax.Array]) -> dict[str, jax.Array]:
        """Begin at the shares of the values among draws (draws, *shape)."""
        found = {}
        for choice, values, own in zip(self.choices, self.listed, drawn, strict=True):
            same = own[..., None] == jnp.asarray(values).astype(own.dtype)
            found[choice.name] = jnp.log(jnp.sum(same, axis=0, dtype=jnp.result_type(float)) + LITTLE)
        return found

    def even(self, keys: jax.Array) -> list[jax.Array]:
        """Draw values (keys, *shape) of which all are as likely."""
        pairs = zip(self.choices, self.listed, strict=True)
        tables = {choice.name: jnp.zeros((*choice.full_shape, len(values))) for choice, values in pairs}
        return [*self.values(tuple(own[:, 0] for own in jax.vmap(lambda key: self.draw(key, tables, 1))(keys)))]

    def laws(self, tables: Mapping[str, jax.Array]) -> list[dist.Distribution]:
        """Give the law of the numbers of each choice."""
        return [
            dist.Categorical(logits=tables[choice.name]).to_event(len(choice.full_shape)) for choice in self.choices
        ]

    def draw(self, key: jax.Array, tables: Mapping[str, jax.Array], count: int) -> Numbers:
        """Draw numbers."""
        keys = [jax.random.fold_in(key, place) for place in range(len(self.choices))]
        return tuple(law.sample(own, (count,)) for law, own in zip(self.laws(tables), keys, strict=True))

    def log_mass(self, tables: Mapping[str, jax.Array], numbers: Numbers) -> jax.Array:
        """Score numbers (draws, *shape)."""
        return sum((law.log_prob(own) for law, own in zip(self.laws(tables), numbers, strict=True)), jnp.zeros(()))

    def values(self, numbers: Numbers) -> Numbers:
        """Give the values of numbers."""
        return tuple(
            jnp.asarray(values)[own].astype(choice.dtype)
            for choice, values, own in zip(self.choices, self.listed, numbers, strict=True)
        )


def others(terms: jax.Array) -> jax.Array:
    """Give for each term the mean of the others; 0 where there are none.

    >>> others(jnp.array([1.0, 2.0, 6.0])).tolist()
    [4.0, 3.5, 1.5]
    """
    return (jnp.sum(terms) - terms) / max(len(terms) - 1, 1)


def bound_of_others(log_weight: jax.Array) -> jax.Array:
    """Give for each weight the bound with the geometric mean of the others in its place; 0 where there are none."""
    count = len(log_weight)
    if count == 1:
        return jnp.zeros_like(log_weight)
    replaced = jnp.where(jnp.eye(count, dtype=bool), others(log_weight)[:, None], log_weight[None])
    return jax.nn.logsumexp(replaced, axis=1) - jnp.log(float(count))


def scored(gain: jax.Array, log_mass: jax.Array) -> jax.Array:
    """Give zero, whose gradient is that of the log masses times what is gained."""
    return jax.lax.stop_gradient(gain) * (log_mass - jax.lax.stop_gradient(log_mass))
