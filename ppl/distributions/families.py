"""Families: what is known of single families of distributions beyond what NumPyro tells, a row for each.

Law: a family without a row is used as NumPyro gives it; a row holds for its class alone, not for those derived from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from . import densities, log_tails
from .sampling.categorical import sample_bernoulli, sample_categorical
from .softplus import GROUP

ENOUGH = 2 * GROUP  # elements from which a total pays


@dataclass(frozen=True)
class Family:
    """A row: functions of a distribution of the family, each None where NumPyro's own way is taken, or there is none.

    Attributes:
        log_prob: of (distribution, value), stable where NumPyro's log density is not.
        total: of (distribution, value), the sum of the log densities of all elements by a shorter way.
        log_tails: of (distribution, x), log P(Y <= x) and log P(Y > x): data may be censored, and truncated.
        draw: of (key, distribution, shape), exact where NumPyro's draw is not; it may give None.
        covariance: of a normal vector, some of whose parts may then be missing.
        symmetric: whether the density at x with location m is that at m with location x.
        support_by_shape: whether the shapes of the parameters alone tell the values of a finite family.
        masses: of a distribution of a finite family, the log masses of all its values, along a first axis.
    """

    log_prob: Callable[[Any, jax.Array], jax.Array] | None = None
    total: Callable[[Any, jax.Array], jax.Array] | None = None
    log_tails: Callable[[Any, jax.Array], log_tails.Tails] | None = None
    draw: Callable[[jax.Array, Any, tuple[int, ...]], jax.Array | None] | None = None
    covariance: Callable[[Any], jax.Array] | None = None
    symmetric: bool = False
    support_by_shape: bool = False
    masses: Callable[[Any], jax.Array] | None = None


def _by_logits(key: jax.Array, categorical: Any, shape: tuple[int, ...]) -> jax.Array:
    return sample_categorical(key, jnp.broadcast_to(categorical.logits, (*shape, categorical.logits.shape[-1])))


def _of_root(normal: Any) -> jax.Array:
    """Compute the covariance anew: what numpyro remembers on a distribution would outlive the trace."""
    root = jnp.asarray(normal.scale_tril)
    return root @ jnp.swapaxes(root, -1, -2)


def _of_factor(normal: Any) -> jax.Array:
    diagonal = normal.cov_diag[..., None] * jnp.eye(normal.cov_diag.shape[-1])
    return normal.cov_factor @ jnp.swapaxes(normal.cov_factor, -1, -2) + diagonal


FAMILIES: dict[type, Family] = {
    dist.BernoulliProbs: Family(densities.bernoulli, draw=sample_bernoulli, support_by_shape=True),
    dist.BernoulliLogits: Family(
        densities.bernoulli_logits, densities.bernoulli_logits_total, draw=sample_bernoulli, support_by_shape=True
    ),
    dist.Beta: Family(log_tails=log_tails.beta),
    dist.BinomialLogits: Family(log_tails=log_tails.binomial),
    dist.BinomialProbs: Family(log_tails=log_tails.binomial),
    dist.CategoricalLogits: Family(draw=_by_logits, support_by_shape=True, masses=densities.masses_by_logits),
    dist.CategoricalProbs: Family(densities.categorical, support_by_shape=True, masses=densities.masses_by_probs),
    dist.Cauchy: Family(log_tails=log_tails.cauchy, symmetric=True),
    dist.Chi2: Family(log_tails=log_tails.gamma),
    dist.Dirichlet: Family(densities.dirichlet),
    dist.Exponential: Family(log_tails=log_tails.exponential),
    dist.Gamma: Family(log_tails=log_tails.gamma),
    dist.GammaPoisson: Family(log_tails=log_tails.gamma_poisson),
    dist.GeometricLogits: Family(log_tails=log_tails.geometric),
    dist.GeometricProbs: Family(log_tails=log_tails.geometric),
    dist.Gumbel: Family(log_tails=log_tails.gumbel),
    dist.HalfCauchy: Family(log_tails=log_tails.half_cauchy),
    dist.HalfNormal: Family(log_tails=log_tails.half_normal),
    dist.Laplace: Family(log_tails=log_tails.laplace, symmetric=True),
    dist.Logistic: Family(log_tails=log_tails.logistic, symmetric=True),
    dist.LowRankMultivariateNormal: Family(covariance=_of_factor),
    dist.MultinomialProbs: Family(densities.multinomial),
    dist.MultivariateNormal: Family(densities.multivariate_normal, covariance=_of_root, symmetric=True),
    dist.NegativeBinomial2: Family(log_tails=log_tails.gamma_poisson),
    dist.Normal: Family(densities.normal, log_tails=log_tails.normal, symmetric=True),
    dist.Poisson: Family(densities.poisson, log_tails=log_tails.poisson),
    dist.StudentT: Family(log_tails=log_tails.student, symmetric=True),
    dist.Uniform: Family(log_tails=log_tails.uniform),
    dist.Weibull: Family(log_tails=log_tails.weibull),
}
_PLAIN = Family()


def family_of(distribution: Any) -> Family:
    """Return the row of a distribution that is neither repeated nor shaped.

    >>> family_of(dist.Normal(0.0, 1.0)).symmetric, family_of(dist.VonMises(0.0, 1.0)).log_tails
    (True, None)
    """
    return FAMILIES.get(type(distribution), _PLAIN)


def log_prob(distribution: Any, value: jax.Array) -> jax.Array:
    """Score a value by the density of the distribution's row, or by the distribution itself."""
    stable = family_of(distribution).log_prob
    if stable is not None:
        return stable(distribution, value)
    if isinstance(distribution, dist.ExpandedDistribution) and family_of(distribution.base_dist).log_prob is not None:
        batch = jnp.shape(value)[: jnp.ndim(value) - len(distribution.event_shape)]
        shape = batch if len(batch) >= len(distribution.batch_shape) else distribution.batch_shape
        return jnp.broadcast_to(log_prob(distribution.base_dist, value), shape)
    return distribution.log_prob(value)


def log_masses(distribution: Any) -> jax.Array | None:
    """Score all values of each element of a finite family (values, *batch); None where its row has no shorter way.

    >>> jnp.exp(log_masses(dist.Categorical(logits=jnp.zeros(2)).expand([3]))).tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    if isinstance(distribution, dist.ExpandedDistribution):
        found = log_masses(distribution.base_dist)
        if found is None:
            return None
        size, *own = found.shape
        ones = (1,) * (len(distribution.batch_shape) - len(own))
        return jnp.broadcast_to(found.reshape(size, *ones, *own), (size, *distribution.batch_shape))
    masses = family_of(distribution).masses
    return None if masses is None else masses(distribution)


def core_of(distribution: Any, masks: bool = True) -> Any:
    """Look through expansion and independence, and through masks if these do not matter."""
    while isinstance(distribution, dist.Independent | dist.ExpandedDistribution) or (
        masks and isinstance(distribution, dist.MaskedDistribution)
    ):
        distribution = distribution.base_dist
    return distribution


def law_name(distribution: Any) -> str:
    """Name a distribution for people: its family."""
    core = core_of(distribution)
    own = getattr(core, "label", None)  # of a distribution that is made of another one
    return own if isinstance(own, str) else name_of(type(core))


def name_of(family: type) -> str:
    """Name a family, whatever its parameters are.

    >>> name_of(dist.BernoulliLogits)
    'Bernoulli'
    """
    return family.__name__.removesuffix("Probs").removesuffix("Logits")


def element_distribution(distribution: Any) -> Any:
    """Undo `to_event`, so that every element of a finite site keeps its own score."""
    while isinstance(distribution, dist.Independent):
        distribution = distribution.base_dist
    return distribution


def written(distribution: Any) -> str:
    """Write a distribution whose parameters are texts.

    >>> written(jax.tree.map(lambda _: "sd", dist.HalfNormal(2.0).expand([3])))
    'HalfNormal(sd)'
    """
    core = core_of(distribution)
    own = getattr(core, "text", None)  # of a distribution that is made of another one
    return own if isinstance(own, str) else f"{law_name(core)}({', '.join(_arguments(core))})"


def _arguments(core: Any) -> list[str]:
    """List the arguments of a distribution whose parameters are texts.

    numpyro keeps parameters in no fixed order, and more than it was given; so they are read by the names of the
    constructor, and where those do not tell all, by the names of the fields.
    """
    fields = {name.strip("_"): value for name, value in sorted(vars(core).items()) if _texts(value)}
    given = {name: fields[name] for name in inspect.signature(type(core).__init__).parameters if name in fields}
    told = {text for value in given.values() for text in _texts(value)}
    if given and (set(core.arg_constraints) <= set(given) or set(_texts(core)) <= told):
        return [_argument(value) for value in given.values()]
    return [f"{name}={_argument(value)}" for name, value in fields.items() if name != "support"]


def _argument(value: Any) -> str:
    return written(value) if isinstance(value, dist.Distribution) else ", ".join(_texts(value))


def _texts(value: Any) -> list[str]:
    return [leaf for leaf in jax.tree.leaves(value) if isinstance(leaf, str)]
