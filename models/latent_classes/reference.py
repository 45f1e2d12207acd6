"""A reference for tempering: a law of all classes, around the optima that a search has found and about the prior.

Law: the measure is that of the program, whatever the reference: classes are drawn from it and weighed by the density of
the program over that of the reference. Names of classes mean nothing to it.

Why: the posterior of a mixture has modes that differ in what the classes are. On the way from the prior, while the
likelihood counts little, broad classes outnumber narrow ones, and particles leave the modes that matter at the end. A
search finds these within seconds. Tails heavier than those of a posterior keep all weights bounded, so that nothing is
left out; and each class may come from the prior, for a mixture with more classes than there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import biject_to, constraints

import lawful
from lawful import handlers
from lawful.distributions.bijections import supports

__all__ = ["Reference", "around", "coordinates", "drawn_classes", "of_the_prior", "or_none", "valued"]

FREEDOM = 5.0  # of the t laws: their tails are heavier than those of posteriors
WIDER = 2.0  # variances of a class, in those of the normal law at its optimum
PRIOR = 0.1  # weight of the law about the prior
STEP = 1e-4  # of central differences, coordinates being of order one
DRAWS = 1000  # of the prior, for mean and covariance of a class
ENDS, SAME = 8, 1e-2  # optima that a reference is around, and heights that count as one


class Reference(dist.Distribution):
    """A law of the coordinates of all classes (classes, d), which have no bounds; it does not know names of classes.

    One of the ends is chosen by its weight; its classes take names at random; each class is drawn from a multivariate t
    law around it, or from one about the prior.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("log_weight", "loc", "root", "centre", "spread")
    support = constraints.independent(constraints.real, 2)
    exchangeable_axis = 0  # of a value: its elements may change places

    def __init__(self, log_weight: Any, loc: Any, root: Any, centre: Any, spread: Any) -> None:
        """Keep the parts.

        Args:
            log_weight: of the ends (ends,).
            loc: their classes (ends, classes, d).
            root: Cholesky factors of the scales of these (ends, classes, d, d).
            centre: of the law about the prior of a class (d,).
            spread: Cholesky factor of its scale (d, d).
        """
        self.log_weight, self.loc, self.root, self.centre, self.spread = log_weight, loc, root, centre, spread
        super().__init__((), jnp.shape(loc)[-2:], validate_args=False)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw."""
        if sample_shape:
            keys = jax.random.split(key, math.prod(sample_shape))
            return jax.vmap(self.sample)(keys).reshape(*sample_shape, *self.event_shape)
        which, names, broad, first, second = jax.random.split(key, 5)
        k, d = self.event_shape
        end = jax.random.categorical(which, self.log_weight, mode="high")
        order = jax.random.permutation(names, k)
        prior = jax.random.bernoulli(broad, PRIOR, (k,))
        loc = jnp.where(prior[:, None], self.centre[None], self.loc[end][order])
        root = jnp.where(prior[:, None, None], self.spread[None], self.root[end][order])
        noise = jax.random.normal(first, (k, d), loc.dtype)
        heat = jax.random.chisquare(second, jnp.full(k, FREEDOM, loc.dtype))
        return loc + jnp.einsum("kij,kj->ki", root, noise) * jnp.sqrt(FREEDOM / heat)[:, None]

    def of_class(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give log densities of classes (places, d).

        Returns: those around each class of each end (ends, classes, places), and about the prior (places,).
        """
        freedom = jnp.asarray(FREEDOM, self.loc.dtype)
        near = dist.MultivariateStudentT(freedom, self.loc[:, :, None], self.root[:, :, None]).log_prob(value)
        return near, dist.MultivariateStudentT(freedom, self.centre, self.spread).log_prob(value)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Score: a sum over ends and over all namings of their classes."""
        k, _ = self.event_shape
        near, far = self.of_class(value)
        each = jnp.logaddexp(math.log1p(-PRIOR) + near, math.log(PRIOR) + far[None, None])  # (ends, class, place)
        orders = np.array(list(itertools.permutations(range(k))))
        whole = each[:, orders, np.arange(k)[None]].sum(axis=-1)
        by_end = jax.nn.logsumexp(whole, axis=1) - math.lgamma(k + 1)
        return jax.nn.logsumexp(by_end + jax.nn.log_softmax(self.log_weight))


def drawn_classes(reference: Reference, plate: str, program: Callable[..., Any], *args: Any) -> dict[str, jax.Array]:
    """Draw classes from a reference, and weigh them so that the measure is that of a program.

    Args:
        reference: where classes come from.
        plate: name of the plate of the classes.
        program: draws the sites of the classes, all of them in this plate.
        args: its arguments.

    Returns: values of the sites by name (classes, ...); they are named values of the program that calls.

    >>> import numpyro.distributions as dist
    >>> def program():
    ...     with lawful.plate("class", 2):
    ...         lawful.sample("scale", dist.HalfNormal(1.0))
    >>> at = Reference(jnp.zeros(1), jnp.zeros((1, 2, 1)), jnp.ones((1, 2, 1, 1)), jnp.zeros(1), jnp.ones((1, 1)))
    >>> form = lawful.trace(lambda: drawn_classes(at, "class", program))
    >>> [site.address for site in form.sites()]
    [('point',)]
    """
    point = lawful.sample("point", reference)
    density, values = valued(point, program, *args)
    lawful.factor("reference", or_none(density - reference.log_prob(point)))
    with lawful.plate(plate, len(point)):
        return {name: lawful.deterministic(name, value) for name, value in values.items()}


def or_none(log_density: jax.Array) -> jax.Array:
    """Give no density where it is no number, so far out that it overflows: the tails of a reference reach there.

    >>> or_none(jnp.array([1.0, jnp.nan])).tolist()
    [1.0, -inf]
    """
    return jnp.where(jnp.isnan(log_density), -jnp.inf, log_density)


def valued(point: jax.Array, program: Callable[..., Any], *args: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Give the log density of coordinates under a program, Jacobian included, and the values of its sites.

    Args:
        point: of all classes (classes, d), in the order of `coordinates`.
        program: draws the sites of the classes.
        args: its arguments.

    >>> import numpyro.distributions as dist
    >>> def program():
    ...     with lawful.plate("class", 2):
    ...         lawful.sample("level", dist.Normal(0.0, 1.0))
    >>> density, values = valued(jnp.array([[0.0], [1.0]]), program)
    >>> round(float(density), 3), values["level"].tolist()
    (-2.338, [0.0, 1.0])
    """
    found = lawful.density(program, *args)
    origin, unravel = found.ravel()
    zeros, position, start = unravel(origin), dict[str, jax.Array](), 0
    for name in found.names:
        size = zeros[name].size // len(point)
        position[name] = point[:, start : start + size].reshape(zeros[name].shape)
        start += size
    return found.logp(position), found.constrain(position)


def coordinates(form: Any, values: Mapping[str, Any]) -> jax.Array:
    """Give the coordinates without bounds of classes (..., classes, d), of values of their sites (..., classes, ...).

    Args:
        form: the program of the sites of the classes, traced.
        values: by name.

    >>> import numpyro.distributions as dist
    >>> def program():
    ...     with lawful.plate("class", 2):
    ...         lawful.sample("scale", dist.HalfNormal(1.0))
    >>> coordinates(lawful.trace(program), {"scale": jnp.array([1.0, 1.0])}).tolist()
    [[0.0], [0.0]]
    """
    columns = []
    for address, support in supports(form).items():
        value = jnp.asarray(values[str(address[-1])])
        own = value.ndim - support.event_dim
        free = biject_to(support).inv(value)
        columns.append(free.reshape(*value.shape[:own], -1) if support.event_dim else free[..., None])
    return jnp.concatenate(columns, axis=-1)


def of_the_prior(program: Callable[..., Any], *args: Any) -> jax.Array:
    """Draw coordinates of a class from its prior (draws, d)."""
    form = lawful.trace(program, *args)

    def one(key: jax.Array) -> jax.Array:
        record = handlers.trace(handlers.seed(program, key))(*args)
        return coordinates(form, {str(address[-1]): value for address, value in record.choices.items()})[0]

    return jax.vmap(one)(jax.random.split(jax.random.key(0), DRAWS))


def around(slope: Callable[[Any, jax.Array], jax.Array], given: Any, ends: Any, height: Any, prior: Any) -> Reference:
    """Make a reference around the ends of a search, by the curvature of each class there.

    Args:
        slope: the gradients of log densities by the coordinates of all classes: of what belongs to no class, (m, ...)
            leaf by leaf, and of coordinates (m, classes, d).
        given: what belongs to no class, at each end (ends, ...).
        ends: coordinates of the classes at each end (ends, classes, d).
        height: log densities there (ends,); -inf or NaN for an end that is no optimum.
        prior: coordinates of draws of a class from its prior (draws, d).
    """
    chosen, log_weight = _highest(np.asarray(height))
    given, ends = jax.tree.map(lambda x: jnp.asarray(x)[chosen], given), np.asarray(ends)[chosen]
    m, k, d = ends.shape
    spread = np.cov(np.asarray(prior), rowvar=False).reshape(d, d)
    whole = np.linalg.cholesky(spread + 1e-9 * np.trace(spread) / d * np.eye(d))
    moves = np.stack([1, -1])[:, None, None, None, None] * STEP * np.eye(k * d).reshape(k, d, k, d)
    points = (ends[:, None, None, None] + moves).reshape(-1, k, d)
    many = jax.tree.map(lambda x: jnp.repeat(x, 2 * k * d, axis=0), given)
    slopes = np.asarray(slope(many, jnp.asarray(points))).reshape(m, 2, k, d, k, d)
    second = (slopes[:, 0] - slopes[:, 1]) / (2 * STEP)
    own = np.stack([second[:, j, :, j] for j in range(k)], axis=1)  # of each class by itself (m, k, d, d)
    precision = -0.5 * (own + np.swapaxes(own, -1, -2))
    precision = np.where(np.isfinite(precision).all(axis=(-2, -1), keepdims=True), precision, 0.0)
    values, vectors = np.linalg.eigh(whole.T @ precision @ whole)
    axes = whole @ vectors / np.sqrt(np.maximum(values, 1.0))[..., None, :]  # no wider than the prior
    root = np.linalg.cholesky(WIDER * axes @ np.swapaxes(axes, -1, -2))
    centre = jnp.asarray(np.mean(np.asarray(prior), axis=0))
    return Reference(jnp.asarray(log_weight), jnp.asarray(ends), jnp.asarray(root), centre, jnp.asarray(whole))


def _highest(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give numbers of the highest ends that differ, and log weights that fall with their rank.

    There are as many for all data, so that they share their programs: the first ones come again where ends are few.
    """
    value = np.where(np.isfinite(height), height, -np.inf)
    kept: list[int] = []
    for i in np.argsort(-value, kind="stable"):
        if not kept or (value[i] > -np.inf and all(abs(value[i] - value[j]) > SAME for j in kept)):
            kept.append(int(i))
    return np.resize(kept[:ENDS], ENDS), -np.log(1.0 + np.arange(ENDS) % len(kept[:ENDS]))
