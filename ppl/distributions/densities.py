"""Densities: log densities of single families that are stable where numpyro's are not; `families` lists them.

Law: each equals the family's own log density to rounding, wherever that is finite and not clamped. Terms that cancel
are never computed, and what has probability 0 scores -inf with a finite gradient.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from .short_roots import SHORT, log_diagonal, numbers
from .softplus import softplus, softplus_sum

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
FEW_ITEMS = 8


def normal(distribution: dist.Normal, value: jax.Array) -> jax.Array:
    """Normal: log(scale) stands alone, so that log(exp(x)) of a log scale cancels.

    >>> abs(float(normal(dist.Normal(0.0, 2.0), jnp.array(1.0)) - dist.Normal(0.0, 2.0).log_prob(1.0))) < 1e-6
    True
    """
    scale = jnp.asarray(distribution.scale)
    z = (value - distribution.loc) / scale
    return -0.5 * (z * z) - jnp.log(scale) - HALF_LOG_2PI


def multivariate_normal(distribution: dist.MultivariateNormal, value: jax.Array) -> jax.Array:
    """Normal vector: the substitution of a short one is written out, so that many small roots fuse with the rest.

    >>> law = dist.MultivariateNormal(jnp.ones(2), scale_tril=jnp.array([[2.0, 0.0], [1.0, 3.0]]))
    >>> abs(float(multivariate_normal(law, jnp.zeros(2)) - law.log_prob(jnp.zeros(2)))) < 1e-6
    True
    """
    root = jnp.asarray(distribution.scale_tril)
    if root.shape[-1] > SHORT:
        scored: jax.Array = distribution.log_prob(value)
        return scored
    square = sum(z * z for z in numbers(root, value - distribution.loc))
    return -0.5 * square - log_diagonal(root) - root.shape[-1] * HALF_LOG_2PI


def log_mass(probability: jax.Array) -> jax.Array:
    """Log of a probability: -inf where it is exactly 0, and constant there, so that no derivative is 0 times infinity.

    A state without mass then leaves the gradient of a sum over states what the others make it.

    >>> jax.grad(lambda p: jnp.sum(jnp.exp(log_mass(p))))(jnp.array([0.0, 0.5])).tolist()
    [0.0, 1.0]
    """
    none = probability == 0
    return jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1.0, probability)))


def bernoulli(distribution: dist.BernoulliProbs, value: jax.Array) -> jax.Array:
    """Bernoulli by probabilities: exact at 0 and 1, where numpyro clamps.

    >>> float(bernoulli(dist.Bernoulli(1.0), jnp.array(0)))
    -inf
    """
    probs = jnp.asarray(distribution.probs)
    one = jnp.asarray(value) == 1
    return log_mass(jnp.where(one, probs, 1.0 - probs))


def bernoulli_logits(distribution: dist.BernoulliLogits, value: jax.Array) -> jax.Array:
    """Bernoulli by log odds: -softplus(z) with z = (1 - 2 value) logits, one number less to compute than numpyro has.

    >>> round(float(bernoulli_logits(dist.Bernoulli(logits=0.0), jnp.array(0))), 4)
    -0.6931
    """
    return -softplus(_against(distribution, value))


def categorical(distribution: dist.CategoricalProbs, value: jax.Array) -> jax.Array:
    """Categorical by probabilities: an item of probability 0 scores -inf, where numpyro gives a finite number.

    >>> float(categorical(dist.Categorical(jnp.array([0.0, 1.0])), jnp.array(0)))
    -inf
    """
    probs = jnp.asarray(distribution.probs)
    value = jnp.asarray(value)
    items, shape = probs.shape[-1], jnp.broadcast_shapes(value.shape, probs.shape[:-1])
    if items <= FEW_ITEMS:  # a choice among a few numbers fuses with what follows, a gather does not
        taken = jnp.broadcast_to(probs[..., 0], shape)
        for item in range(1, items):
            taken = jnp.where(value >= item, probs[..., item], taken)
        return log_mass(taken)
    index = jnp.clip(jnp.broadcast_to(value, shape), 0, items - 1)[..., None]
    taken = jnp.take_along_axis(jnp.broadcast_to(probs, (*shape, items)), index, axis=-1)
    return log_mass(taken[..., 0])


def masses_by_probs(distribution: dist.CategoricalProbs) -> jax.Array:
    """Log masses of all items, along a first axis: no item is looked up."""
    return log_mass(jnp.moveaxis(jnp.asarray(distribution.probs), -1, 0))


def masses_by_logits(distribution: dist.CategoricalLogits) -> jax.Array:
    """The same by log odds.

    >>> jnp.exp(masses_by_logits(dist.Categorical(logits=jnp.zeros((3, 2))))).tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    return jax.nn.log_softmax(jnp.moveaxis(jnp.asarray(distribution.logits), -1, 0), axis=0)


def multinomial(distribution: dist.MultinomialProbs, value: jax.Array) -> jax.Array:
    """Multinomial by probabilities: a class of probability 0 leaves the gradient by the others a number.

    >>> float(multinomial(dist.Multinomial(2, jnp.array([0.0, 1.0])), jnp.array([0, 2])))
    0.0
    """
    count = jnp.asarray(value, jnp.result_type(float))
    terms = _times_log(count, jnp.asarray(distribution.probs)) - gammaln(count + 1)
    return gammaln(distribution.total_count + 1) + jnp.sum(terms, axis=-1)


def poisson(distribution: dist.Poisson, value: jax.Array) -> jax.Array:
    """Poisson: at a rate of 0 no count but 0 has mass, and the gradient is a number.

    >>> jax.value_and_grad(lambda rate: poisson(dist.Poisson(rate), jnp.array(0)))(0.0)[1].tolist()
    -1.0
    """
    count, rate = (jnp.asarray(x, jnp.result_type(float)) for x in (value, distribution.rate))
    return _times_log(count, rate) - gammaln(count + 1) - rate


def dirichlet(distribution: dist.Dirichlet, value: jax.Array) -> jax.Array:
    """Dirichlet: on the border of the simplex a concentration of 1 counts nothing, where numpyro multiplies 0 by -inf.

    >>> flat = dist.Dirichlet(jnp.ones(3))
    >>> round(float(dirichlet(flat, jnp.array([0.0, 0.4, 0.6]))), 4)
    0.6931
    """
    concentration = jnp.asarray(distribution.concentration)
    normaliser = jnp.sum(gammaln(concentration), axis=-1) - gammaln(jnp.sum(concentration, axis=-1))
    return jnp.sum(_times_log(concentration - 1.0, value), axis=-1) - normaliser


@jax.custom_jvp
def _times_log(factor: jax.Array, probability: jax.Array) -> jax.Array:
    """Factor * log(probability); where the probability is 0 constant, and 0 if the factor is 0, too."""
    return jnp.where(factor == 0, 0.0, factor * jnp.log(probability))


@_times_log.defjvp
def _(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    factor, probability = primals
    none = probability == 0
    safe = jnp.where(none, 1.0, probability)
    slope = jnp.where(none, 0.0, factor / safe) * tangents[1] + jnp.log(safe) * tangents[0]
    return _times_log(factor, probability), slope


def bernoulli_logits_total(distribution: dist.BernoulliLogits, value: jax.Array) -> jax.Array:
    """Sum of the log densities of Bernoulli sites by log odds: -softplus(z) with z = (1 - 2 value) logits.

    >>> eta = jnp.linspace(-3.0, 3.0, 21)
    >>> flips = dist.Bernoulli(logits=eta)
    >>> abs(float(bernoulli_logits_total(flips, eta > 0) - flips.log_prob(eta > 0).sum())) < 1e-5
    True
    """
    return -softplus_sum(_against(distribution, value).reshape(-1))


def _against(distribution: dist.BernoulliLogits, value: jax.Array) -> jax.Array:
    """Log odds against the value that was observed."""
    logits = jnp.asarray(distribution.logits)
    return (1 - 2 * jnp.asarray(value).astype(logits.dtype)) * logits
