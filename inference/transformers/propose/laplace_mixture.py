"""Laplace mixture: a law of the elements of a plate around optima that a search has found, and about the prior.

Law: it is symmetric in the elements, and its density is exact (see `laws.symmetric_mixture`), whatever the optima are:
they decide how far estimates spread, never what they estimate. Each element has a multivariate t law, at its optimum
and as wide as the curvature there says, given the rest; tails heavier than those of a posterior keep all weights
bounded, and a share from about the prior serves elements that nothing needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lawful
from lawful.backends.compile_options import quickly
from lawful.backends.initial_values import prior_coordinates
from lawful.backends.unchain_loops import UNCHAINED
from lawful.backends.xla import emit
from lawful.errors import ImproperPriorError, LawfulError
from lawful.form import Form
from lawful.form.choices import choices_of
from lawful.form.pipeline import per_form
from lawful.passes.unconstrain import coordinates_of

from ...laws.multivariate_t import MultivariateT
from ...laws.symmetric_mixture import SymmetricMixture
from ...representations.exchangeable import elements_of

NAME = "laplace_mixture"
FREEDOM = 5  # of the t laws: their tails are heavier than those of posteriors
WIDER = 2.0  # variances of an element, in those of the normal law at its optimum
SHARE = 0.1  # weight of the law about the prior
DRAWS = 1000  # of the prior, for mean and covariance of an element
ENDS, SAME = 8, 1e-2  # optima that a mixture is around, and heights that count as one
MOST = 12  # elements of a plate: the sum over all their orders has as many times 2^12 terms

type Values = Mapping[str, Any]


@dataclass(frozen=True)
class LaplaceMixtures:
    """Makes mixtures for a model; see `laplace_mixture`."""

    model: Any
    plate: str
    sites: tuple[str, ...] | None = None

    def __call__(
        self, optima: Values, *args: Any, heights: Any = None, hessians: Any = None, **named: Any
    ) -> SymmetricMixture:
        """Make the mixture around optima.

        Args:
            optima: values of all latent sites by name, an axis of optima first; other names are left alone.
            args: arguments of the model.
            heights: log densities of the optima, which rank them; -inf or NaN for one that is none. Default: that of
                the program in coordinates without bounds.
            hessians: of the log density there, (optima, n, n) by the n coordinates of
                `lawful.density(model, *args).ravel()`. Default: from differences of gradients.
            named: arguments of the model by name.

        Raises: LawfulError for optima that do not fit the model, or a plate whose elements are not exchangeable.
        """
        density = lawful.density(self.model, *args, **named)
        elements = _elements(density.form, self.plate, self.sites)
        values = _checked(optima, density.choices)
        drawn = elements.of_prior(density.inputs)
        elements.refuse_named(density, values, drawn)
        parts = elements.free(density.inputs, values)
        prior = np.asarray(elements.stacked(drawn))
        found = np.asarray(elements.heights(density.inputs, parts) if heights is None else heights, float)
        finite = [np.isfinite(np.asarray(part)).reshape(len(found), -1).all(axis=1) for part in parts]
        chosen, log_weight = _highest(np.where(np.all(finite, axis=0), found, -np.inf))
        parts = [part[chosen] for part in parts]
        if hessians is None:
            own = np.asarray(elements.curvature(density.inputs, parts))
        else:
            _, unravel = density.ravel()
            total = sum(int(np.prod(shape)) for shape in elements.shapes)
            place = unravel(jnp.arange(total))
            at = np.asarray(elements.joined([place[c.name] for c in density.choices])).astype(int)
            own = np.stack([np.asarray(hessians)[chosen][:, row[:, None], row[None]] for row in at], axis=1)
        return self._mixture(elements, np.asarray(elements.stacked(parts)), own, log_weight, prior)

    def _mixture(
        self, elements: _Elements, loc: np.ndarray, own: np.ndarray, log_weight: np.ndarray, prior: np.ndarray
    ) -> SymmetricMixture:
        """Make the laws of elements from where they are, their curvature, and draws of the prior."""
        d = loc.shape[-1]
        rows = prior.reshape(-1, d)
        rows = rows[np.isfinite(rows).all(axis=1)]
        spread = np.cov(rows, rowvar=False).reshape(d, d)
        whole = np.linalg.cholesky(spread + 1e-9 * np.trace(spread) / d * np.eye(d))
        precision = -0.5 * (own + np.swapaxes(own, -1, -2))
        precision = np.where(np.isfinite(precision).all(axis=(-2, -1), keepdims=True), precision, 0.0)
        curved, vectors = np.linalg.eigh(whole.T @ precision @ whole)
        axes = whole @ vectors / np.sqrt(np.maximum(curved, 1.0))[..., None, :]  # no wider than the prior
        root = np.linalg.cholesky(WIDER * axes @ np.swapaxes(axes, -1, -2))
        dtype = jnp.result_type(float)
        near = MultivariateT(FREEDOM, jnp.asarray(loc, dtype), jnp.asarray(root, dtype))
        far = MultivariateT(FREEDOM, jnp.asarray(rows.mean(axis=0), dtype), jnp.asarray(whole, dtype))
        return SymmetricMixture(
            jnp.asarray(log_weight, dtype), near, far, share=SHARE, plate=self.plate, sites=elements.sites
        )


def laplace_mixture(model: Any, plate: str, sites: Sequence[str] | None = None) -> LaplaceMixtures:
    """Make mixtures of Laplace approximations at optima, symmetric in the elements of a plate, for `start_from`.

    Args:
        model: a program, whose finite sites are summed out.
        plate: name of a plate of at most 12 elements that are exchangeable, as the classes of a mixture.
        sites: which sites of the plate the mixture is of; default: all.

    Returns: a function of optima by site name and of the model's arguments, `LaplaceMixtures`, which gives a
        `SymmetricMixture`. Data of the same shapes compile nothing.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     with lawful.plate("class", 2):
    ...         level = lawful.sample("level", dist.Normal(0.0, 3.0))
    ...     parts = dist.Normal(level, 0.5)
    ...     with lawful.plate("row", 4):
    ...         lawful.sample("y", dist.MixtureSameFamily(dist.Categorical(jnp.ones(2) / 2), parts), obs=y)
    >>> found = laplace_mixture(model, "class")({"level": jnp.array([[-2.0, 2.0]])}, jnp.array([-2.1, -1.9, 1.8, 2.2]))
    >>> found.event_shape, found.sites
    ((2, 1), (('level', 1),))
    """
    return LaplaceMixtures(model, plate, None if sites is None else tuple(sites))


@per_form
def _elements(form: Form, plate: str, sites: tuple[str, ...] | None) -> _Elements:
    return _Elements(form, plate, sites)


class _Elements:
    """The elements of a plate in coordinates without bounds, and what is computed of them, compiled once for a form."""

    def __init__(self, form: Form, plate: str, sites: tuple[str, ...] | None) -> None:
        self.choices, self.plate = choices_of(form), plate
        self.elements = elements_of(self.choices, plate, NAME)
        self.size, own = self.elements.size, self.elements.own
        names = [self.choices[number].name for number in own]
        strange = [name for name in sites or () if name not in names]
        if strange or self.size > MOST:
            what = f"no site of it is named {strange[0]!r}" if strange else f"it has {self.size} elements"
            raise LawfulError(
                f"{NAME}: plate {plate!r}: {what}; expected sites among {', '.join(names)}, and at most {MOST} "
                "elements. Fix: name others, or temper from the prior.",
                plate=plate,
            )
        self.axes = {n: axis for n, axis in own.items() if sites is None or self.choices[n].name in sites}
        found, drawn = coordinates_of(form), prior_coordinates(form)
        if drawn is None:
            raise ImproperPriorError(
                f"{NAME}: the program has a flat prior, and no draws of it. Fix: give a proper one."
            )
        self.shapes = [v.shape for v in found.values.inputs[len(form.inputs) :]]
        self.run, self.back, self.drawn = (emit(f, UNCHAINED) for f in (found.values, found.free, drawn))
        widths = [int(np.prod(self.shapes[n])) // self.size for n in self.axes]
        self.sites = tuple(zip((self.choices[n].name for n in self.axes), widths, strict=True))
        self.heights = jax.jit(jax.vmap(lambda inputs, parts: self._scored(inputs, parts)[0], (None, 0)))
        self.free = jax.jit(jax.vmap(self._free, (None, 0)))
        self.stacked = jax.jit(jax.vmap(self.joined))
        self.of_prior = quickly(self._of_prior)  # which is run once
        self.values = quickly(lambda inputs, parts: self._scored(inputs, parts)[1])
        self.curvature = jax.jit(self._curvature)

    def joined(self, parts: Sequence[Any]) -> jax.Array:
        """Give the coordinates of all elements (elements, d) from those of all choices."""
        moved = (jnp.moveaxis(parts[n], axis, 0).reshape(self.size, -1) for n, axis in self.axes.items())
        return jnp.concatenate([*moved], axis=1)

    def put(self, parts: Sequence[jax.Array], point: jax.Array) -> list[jax.Array]:
        """Give the coordinates of all choices with those of the elements replaced."""
        found, start = list(parts), 0
        for (n, axis), (_, width) in zip(self.axes.items(), self.sites, strict=True):
            shape = self.shapes[n]
            own = point[:, start : start + width].reshape(self.size, *shape[:axis], *shape[axis + 1 :])
            found[n], start = jnp.moveaxis(own, 0, axis).astype(parts[n].dtype), start + width
        return found

    def refuse_named(self, density: Any, optima: Sequence[jax.Array], drawn: Sequence[jax.Array]) -> None:
        """Refuse a program whose density changes when elements change places: two of them, or all in a circle.

        It is looked at where the optima are, and at the first draw of the prior.
        """
        circle = np.roll(np.arange(self.size), 1)
        orders = [np.array([1, 0, *range(2, self.size)]), circle][: self.size - 1]  # they make all others
        if not orders:
            return
        first = self.values(density.inputs, [np.asarray(part)[0] for part in drawn])
        rows = [*zip(*map(np.asarray, optima), strict=True), first]
        points = [dict(zip(density.names, row, strict=True)) for row in rows]
        for point, order in ((point, order) for point in points for order in orders):
            here, there = (float(density.log_density(p)) for p in (point, self._renamed(point, order)))
            if np.isfinite(here) and not abs(there - here) <= 1e3 * np.finfo(np.float32).eps * (1 + abs(here)):
                raise LawfulError(
                    f"{NAME}: the elements of plate {self.plate!r} are not exchangeable: the log density changes from "
                    f"{here:.6g} to {there:.6g} when they change places as {order.tolist()}. Fix: name a plate whose "
                    "elements have one prior and one role, and let what depends on all of them be symmetric, as a sum "
                    "to zero or shares with one concentration.",
                    plate=self.plate,
                )

    def _renamed(self, point: Values, order: np.ndarray) -> dict[str, Any]:
        """Let the elements change places in values by name."""
        found = dict(point)
        for number, axis in self.elements.axes.items():
            name = self.choices[number].name
            found[name] = np.take(np.asarray(point[name]), order, axis=axis)
        return found

    def _scored(self, inputs: Sequence[Any], parts: Sequence[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        (log_density, *values), _ = self.run(jax.random.key(0), *inputs, *parts)
        return log_density, values

    def _free(self, inputs: Sequence[Any], values: Sequence[jax.Array]) -> list[jax.Array]:
        return self.back(jax.random.key(0), *inputs, *values)[0]

    def _of_prior(self, inputs: Sequence[Any]) -> list[jax.Array]:
        """Draw coordinates of all choices (draws, ...)."""
        keys = jax.random.split(jax.random.key(0), DRAWS)
        return [*jax.vmap(lambda key: self.drawn(key, *inputs)[0])(keys)]

    def _curvature(self, inputs: Sequence[Any], parts: Sequence[jax.Array]) -> jax.Array:
        """Give second derivatives by the coordinates of each element, the rest as it is (optima, elements, d, d).

        They are differences of gradients, which every program has that can be climbed.
        """

        def one(parts: Sequence[jax.Array]) -> jax.Array:
            point = self.joined(parts)
            k, d = point.shape
            step = float(np.finfo(point.dtype).eps) ** 0.25  # coordinates are of order one
            slope = jax.grad(lambda point: self._scored(inputs, self.put(parts, point))[0])
            moves = step * jnp.eye(k * d, dtype=point.dtype).reshape(k * d, k, d)
            found = jax.vmap(slope)(point[None] + jnp.concatenate([moves, -moves]))  # one gradient is compiled
            up, down = found.reshape(2, k, d, k, d)
            second = (up - down) / (2 * step)
            return jnp.stack([second[j, :, j] for j in range(k)])

        return jax.lax.map(one, list(parts))


def _checked(optima: Values, choices: Sequence[Any]) -> list[jax.Array]:
    """Give the values of optima in the order of the choices.

    Raises: LawfulError for other sites, other shapes, or no optimum.
    """
    lengths = {jnp.shape(v)[:1] for v in optima.values()}
    wanted = {c.name: c.full_shape for c in choices}
    wrong = [
        name for name in {*wanted, *optima} if name not in optima or jnp.shape(optima[name])[1:] != wanted.get(name)
    ]
    if wrong or len(lengths) != 1 or lengths & {(), (0,)}:
        given = ", ".join(f"{name} {jnp.shape(v)}" for name, v in optima.items())
        there = ", ".join(f"{name} (optima, {str(shape)[1:]}" for name, shape in wanted.items())
        raise LawfulError(
            f"{NAME}: expected values of all latent sites, an axis of optima first: {there}; got {given or 'none'}. "
            "Fix: stack the values of each site over the optima."
        )
    return [jnp.asarray(optima[c.name], c.dtype) for c in choices]


def _highest(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give numbers of the highest ends that differ, and log weights that fall with their rank.

    There are as many for all data, so that they share their programs: the first ones come again where ends are few.

    >>> chosen, log_weight = _highest(np.array([-np.inf, 3.0, 5.0, 5.0]))
    >>> chosen[:4].tolist(), np.exp(log_weight[:4]).tolist()
    ([2, 1, 2, 1], [1.0, 0.5, 1.0, 0.5])
    """
    value = np.where(np.isfinite(height), height, -np.inf)
    if not (value > -np.inf).any():
        raise LawfulError(
            f"{NAME}: none of {len(value)} optima has a finite height and finite coordinates. Fix: give values inside "
            "the supports of the sites, where the density is positive."
        )
    kept: list[int] = []
    for i in np.argsort(-value, kind="stable"):
        if not kept or (value[i] > -np.inf and all(abs(value[i] - value[j]) > SAME for j in kept)):
            kept.append(int(i))
    return np.resize(kept[:ENDS], ENDS), -np.log(1.0 + np.arange(ENDS) % len(kept[:ENDS]))
