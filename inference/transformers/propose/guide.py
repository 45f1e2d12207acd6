"""Guide: a law of all choices of a program, in coordinates without bounds, and the program that draws them from it.

Law: [[start_from(guide)(p)]] = [[p]], whatever the guide, where it reaches all values that p gives a positive density:
one site has the coordinates of all continuous choices, finite ones have a site each, the choices are functions of
these, and the weight is the density of the program, Jacobian included, over that of the guide. On a path of tempering
the first measure is then the guide, and the way to p is q^(1 - beta) p^beta.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import deterministic, factor, sample, scope
from lawful.distributions.bijections import is_line, without_elements
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import Choice
from lawful.form.pipeline import per_form
from lawful.form.rewriting import unnamed
from lawful.passes.fill_absent import unguarded
from lawful.passes.record import record
from lawful.passes.thread_sites import Threaded
from lawful.passes.unconstrain import at_places, refuse_conditional
from lawful.tracing.trace import trace

from ...laws.tailed import Tailed
from ...representations.naming import name_value
from ...representations.parameters import Around

GUIDE = "~guide"  # scope of what a guide draws
COORDINATES, WEIGHT = "coordinates", "weight"
DRAWS = 4000  # that tell the covariance of a law which does not


@partial(jax.tree_util.register_dataclass, data_fields=("law", "tables"), meta_fields=("sites", "family"))
@dataclass(frozen=True, eq=False, repr=False)
class Guide:
    """A law of all choices of a program.

    It is an array of JAX like any other argument of a program: guides of one family share what is compiled.

    Attributes:
        law: of the coordinates without bounds of all continuous choices, one after the other; None where there are
            none.
        sites: the names of the continuous choices with the number of coordinates of each, in the order of the program.
        tables: of each finite choice by name: log masses of its values, (*shape, values), to a constant.
        family: what the law was made as.
    """

    law: dist.Distribution | None
    sites: tuple[tuple[str, int], ...]
    tables: Mapping[str, Any] = field(default_factory=dict)
    family: str = "own"

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(size for _, size in self.sites)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the coordinates (d, d), as `kernels.nuts(inverse_mass=...)` takes it.

        Of heavy tails it is that of the normal law within, of laws that tell none that of 4,000 draws.
        """
        factor, inner = 1.0, self.law
        if isinstance(inner, Tailed):
            factor, inner = float(inner.factor), inner.normal
        if isinstance(inner, dist.MultivariateNormal | dist.LowRankMultivariateNormal):
            return factor**2 * np.asarray(inner.covariance_matrix, np.float64)
        if isinstance(inner, dist.Independent):
            return factor**2 * np.diag(np.asarray(inner.variance, np.float64))
        draws = np.zeros((2, 0)) if inner is None else inner.sample(jax.random.key(0), (DRAWS,))
        return np.atleast_2d(np.cov(np.asarray(draws, np.float64), rowvar=False))

    def __call__(self, model: Any) -> Guided:
        """Give the guide as a program of its own: it draws the choices of a model, and weighs nothing.

        It takes the arguments of the model, on which supports may depend, and names the choices as the model does.
        """
        return Guided(model, self, weighed=False, asker="guide(model)")

    def __repr__(self) -> str:
        """Show family and sites."""
        named = [*(name for name, _ in self.sites), *self.tables]
        return f"Guide({self.family!r}, {', '.join(named)})"


@dataclass(frozen=True)
class Guided(Around):
    """The program that draws the choices of another one from a guide; `weighed` for the difference.

    `asker` is what was called, which errors name.
    """

    model: Any
    guide: Guide
    weighed: bool = True
    asker: str = "start_from"

    def __call__(self, *args: Any) -> Any:
        """Draw, weigh, and name the choices as the program does."""
        form, (inputs, _, _) = trace(self.model, *args), split_arguments(args)
        placed = _placed(form)
        placed.refuse_other(self.guide, self.asker)
        with scope(GUIDE):
            given, log_guide = placed.drawn(self.guide)
            found = placed.found.split(unnamed(placed.found.form)(*inputs, *given))
            if self.weighed:
                log_ratio = found.sums[0] - log_guide
                factor(WEIGHT, jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio))
        named = placed.recorded.split(found.own)
        flagged = (c.address for c in placed.recorded.choices if c.conditional)
        ran = dict(zip(flagged, named.flags, strict=True))
        for choice, value in zip(placed.found.choices, found.values, strict=True):
            deterministic(choice.name, value)
        for choice, value in zip(placed.recorded.choices, named.values, strict=True):
            name_value(choice.name, value, ran.get(choice.address))
        return placed.returned(named.own)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A program that reads its choices from coordinates, and gives out what it names."""

    form: Form
    recorded: Threaded
    found: Threaded
    shapes: tuple[tuple[int, ...], ...]

    def drawn(self, guide: Guide) -> tuple[list[Any], Any]:
        """Draw what the choices are functions of, in their order, with the log density of the guide there."""
        total: Any = jnp.zeros(())
        vector, start, given = None, 0, []
        if guide.law is not None:
            vector = sample(COORDINATES, guide.law)
            total += guide.law.log_prob(vector)
        for choice, shape in zip(self.found.choices, self.shapes, strict=True):
            if not is_finite(choice):
                assert vector is not None
                stop = start + prod(shape)
                given.append(vector[start:stop].reshape(shape).astype(choice.dtype))
                start = stop
                continue
            table = dist.Categorical(logits=jnp.asarray(guide.tables[choice.name])).to_event(len(shape))
            number = sample(choice.name, table)
            total += table.log_prob(number)
            given.append(jnp.asarray(values_of(choice))[number].astype(choice.dtype))
        return given, total

    def returned(self, outputs: Sequence[Any]) -> Any:
        """Give outputs the structure that the program gave them, where it is known."""
        tree = self.form.out_tree
        whole = tree is not None and tree.num_leaves == len(outputs)
        return jax.tree.unflatten(tree, outputs) if whole else tuple(outputs)

    def refuse_other(self, guide: Guide, asker: str) -> None:
        """Refuse a guide of other choices."""
        pairs = [*zip(self.found.choices, self.shapes, strict=True)]
        sites = tuple((c.name, prod(shape)) for c, shape in pairs if not is_finite(c))
        tables = {c.name: (*shape, len(values_of(c, asker))) for c, shape in pairs if is_finite(c)}
        own = {name: jnp.shape(table) for name, table in guide.tables.items()}
        if guide.sites != sites or own != tables or (guide.law is not None) != bool(sites):
            raise LawfulError(
                f"{asker}: the guide is of {_shown(guide.sites, own)}, and the program has "
                f"{_shown(sites, tables)}. Fix: fit a guide to this program, inference.guide(model)(key, *args)."
            )
        if guide.law is not None and (guide.law.batch_shape, guide.law.event_shape) != ((), (guide.size,)):
            raise LawfulError(
                f"{asker}: expected a law of one vector of {guide.size} coordinates, got batch shape "
                f"{guide.law.batch_shape} and event shape {guide.law.event_shape}. Fix: law.to_event(1)."
            )
        if guide.law is not None and not reaches_all(guide.law):
            raise LawfulError(
                f"{asker}: the law of the guide, or what it is transformed from, has a support with bounds, so that "
                "there are coordinates which it does not reach, and what the program has there would be lost. Fix: "
                "give a law of all real vectors, as a mixture with a broad one."
            )


def reaches_all(law: dist.Distribution) -> bool:
    """Tell whether a law has a density at all coordinates; the support that a transformed law tells is not asked alone.

    >>> cut = dist.TruncatedNormal(0.0, 1.0, low=-2.0)
    >>> wider = dist.TransformedDistribution(cut, dist.transforms.AffineTransform(0.0, 2.0))
    >>> [reaches_all(each) for each in (dist.Normal(0.0, 1.0), cut, wider)]
    [True, False, False]
    """
    if isinstance(law, dist.Independent | dist.ExpandedDistribution):
        return reaches_all(law.base_dist)
    if isinstance(law, dist.MixtureSameFamily):
        return reaches_all(law.component_distribution)
    if isinstance(law, dist.TransformedDistribution):
        domain, base = law.transforms[0].domain, law.base_dist
        whole = reaches_all(base) if is_line(domain) else without_elements(base.support) == without_elements(domain)
        return whole and is_line(law.support)
    return is_line(law.support)


def is_finite(choice: Choice) -> bool:
    """Tell whether a guide has a table for a choice."""
    return not jnp.issubdtype(choice.dtype, jnp.floating)


def values_of(choice: Choice, asker: str = "start_from") -> np.ndarray:
    """List the values of an element of a finite choice.

    Raises: UnsupportedProgramError for a choice whose values are no finite list, the same for all parameters.
    """
    values = choice.law.element_values
    if values is None:
        raise UnsupportedProgramError(
            f"{asker}: site '{choice.name}' ({choice.source}) has no finite list of values, so no guide has a table "
            "for it. Fix: sum it out, or leave the guide to the continuous sites.",
            site=choice.address,
        )
    return np.asarray(values)


@per_form
def _placed(form: Form) -> _Placed:
    refuse_conditional(form)
    recorded = record(unguarded(form), ("deterministic",))  # absent elements have their prior
    found, shapes = at_places(recorded.form)
    return _Placed(form, recorded, found, shapes)


def _shown(sites: Sequence[tuple[str, int]], tables: Mapping[str, tuple[int, ...]]) -> str:
    named = [f"{name} ({size})" for name, size in sites]
    named += [f"{name} ({', '.join(map(str, shape))})" for name, shape in tables.items()]
    return ", ".join(named) or "no choice"
