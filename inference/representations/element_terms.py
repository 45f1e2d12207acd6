"""Element terms: the log density of a marginal as a vector of elements, what stands outside of them, and the prior.

Law: at all values of the sites that stay the three add up to the log density of the marginal; grouping elements keeps
their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.log_density import gather_choices
from lawful.errors import LawfulError
from lawful.form import Factor, Form, Site
from lawful.form.choices import Choice, choices_of
from lawful.passes.probe import Probe


@dataclass(frozen=True)
class Parts:
    """The log density of a marginal in three parts.

    Attributes:
        elements: of the data of each element, given the values of the sites that stay `(*sizes of the plates)`.
        outside: of the data, and of the factors, that belong to no element.
        prior: of the sites that stay.
    """

    elements: jax.Array
    outside: jax.Array
    prior: jax.Array

    @property
    def likelihood(self) -> jax.Array:
        """The log density of all data, given the values of the sites that stay."""
        return jnp.sum(self.elements) + self.outside

    @property
    def joint(self) -> jax.Array:
        """The log density of the marginal: data, and values of the sites that stay."""
        return self.likelihood + self.prior


@dataclass(frozen=True, eq=False, repr=False)
class LogMarginals:
    """The vector of log marginals of a program over a plate; see `log_marginals`.

    Attributes:
        plates: names of the plates, and
        shape: their sizes.
        sites: names of the observed sites whose data the elements have.
        coords: labels of the elements, by the name of the plate, where there are any.
        marginal: the program of the sites that stay; its inputs are the arguments, then the data of the elements.
        inputs: the arguments and these data.
        function: from the inputs and the values of the sites that stay to the three parts.
        apart: whether the elements are independent given the sites that stay; else each is given those before.
    """

    plates: tuple[str, ...]
    shape: tuple[int, ...]
    sites: tuple[str, ...]
    coords: Mapping[str, Any]
    marginal: Form
    inputs: tuple[Any, ...]
    function: Callable[..., tuple[jax.Array, jax.Array, jax.Array]]
    apart: bool = True

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The sites that stay, which are the parameters."""
        return choices_of(self.marginal)

    def __call__(self, values: Mapping[Any, Any]) -> jax.Array:
        """Give the log marginal of each element `(*sizes of the plates)` at values of the sites that stay, by name.

        `jax.jit`, `jax.grad` and `jax.vmap` take it.
        """
        return self.parts(values).elements

    def parts(self, values: Mapping[Any, Any]) -> Parts:
        """Give all three parts of the log density of the marginal.

        Raises: LawfulError for a missing site, an unknown name, or a wrong shape.
        """
        return Parts(*self.function(self.inputs, gather_choices(self.choices, values)[0]))

    def grouped(self, labels: Any, name: str = "group") -> LogMarginals:
        """Sum elements that have one label: the log marginals of groups, as persons that each have several rows.

        What elements of a group share may be summed out only where the groups are the plate (`plate=`); here it stays.

        Args:
            labels: of the elements `(*sizes of the plates)`.
            name: of what the labels tell apart.

        Returns: the same over the labels in sorted order, for all that takes log marginals.

        Raises: LawfulError where the labels do not fit the elements.

        >>> import numpyro.distributions as dist, lawful
        >>> from lawful.inference import log_marginals
        >>> def model(y):
        ...     mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
        ...     with lawful.plate("visit", len(y)):
        ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> found = log_marginals(model, jnp.array([0.0, 1.0, 2.0])).grouped(["ann", "bob", "ann"], "person")
        >>> found
        LogMarginals(y over person 2, given mu)
        >>> [round(float(x), 4) for x in found({"mu": 0.0})]
        [-3.8379, -1.4189]
        """
        names, index = groups_of(labels, self.shape, "labels")

        def function(inputs: Any, values: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
            elements, outside, prior = self.function(inputs, values)
            return jax.ops.segment_sum(elements.ravel(), index, len(names)), outside, prior

        shape, coords = (len(names),), {name: names}
        return replace(self, plates=(name,), shape=shape, coords=coords, function=jax.jit(function))

    def refuse_if_linked(self, who: str) -> None:
        """Refuse to leave elements out that others are given.

        Raises: LawfulError where the elements are not apart.
        """
        if not self.apart:
            raise LawfulError(
                f"{who}: a {self.plates[0]} cannot be left out of those after it, which are given its data. Fix: take "
                "log_marginals of a plate; these terms say themselves how well each is predicted by those before."
            )

    def __repr__(self) -> str:
        sizes = " x ".join(f"{name} {size}" for name, size in zip(self.plates, self.shape, strict=True))
        return f"LogMarginals({', '.join(self.sites)} over {sizes}, given {', '.join(c.name for c in self.choices)})"


def terms_of(node: Site | Factor) -> Iterable[Probe]:
    """Ask for the log density of a site, or the term of a factor, and whether it is of the data."""
    if isinstance(node, Factor):
        yield Probe("likelihood" if node.role == "likelihood" else "prior", jnp.asarray, (node.term,))
        return
    if node.observed is None:
        yield Probe("prior", node.law.log_prob, (node.out, *node.parameters))
    else:
        yield Probe("likelihood", partial(_sum_of_units, node.law), (node.observed, *node.parameters))


def _sum_of_units(law: Any, value: jax.Array, *parameters: jax.Array) -> jax.Array:
    """Score data unit by unit; what a law knows of their sum alone would not be taken apart."""
    return jnp.sum(law.log_prob_units(value, *parameters))


def groups_of(labels: Any, shape: tuple[int, ...], who: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the distinct labels of elements in order, and of each element, in a row, which one it has.

    Raises: LawfulError where there is not one label for each.
    """
    given = np.asarray(labels)
    if given.shape != shape:
        raise LawfulError(f"{who}: expected a label for each element, shape {shape}, got {given.shape}.")
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise LawfulError(f"{who}: some elements have the label NaN. Fix: give each a label, or leave them out.")
    found, index = np.unique(given.ravel(), return_inverse=True)
    return found, index
