"""Density ratios as rewards: what a strong model of texts has more of than a weak one, and what follows that ratio.

Texts are Markov chains of tokens, so that every density is known. The ratio of two models is a factor of a program:
`inference.tilt(weak, toward=strong, beta)` is the weak model steered by it, and with two regressions in place of the
models of texts, the path from one posterior to another, whose evidence ratio is the Bayes factor.

Law: `log_ratio` ranks texts as the reward does where the models know different shares of it and have no errors; the
density of the steered program is weak**(1 - beta) * strong**beta.

Reference: Xu, Xu, Sudalairaj, Wang and Srivastava (2024), Dr. SoW: density ratio of strong-over-weak LLMs for reducing
the cost of human annotation in preference tuning, arXiv:2411.02481.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

__all__ = ["line", "log_ratio", "text"]


def text(start: Any, follow: Any, length: int = 5) -> jax.Array:
    """Draw a text: the first token ~ start, each next one ~ the row of `follow` of the one before.

    Args:
        start: (K,), logits of the first token.
        follow: (K, K), logits of a token by the one before it.
        length: number of tokens, 2 or more.

    Returns: (length,), the tokens.

    >>> lawful.handlers.seed(text, jax.random.key(0))(jnp.zeros(3), jnp.zeros((3, 3)), 4).shape
    (4,)
    """
    first = lawful.sample("first", dist.Categorical(logits=start))

    def step(token: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        token = lawful.sample("next", dist.Categorical(logits=jnp.asarray(follow)[token]))
        return token, token

    _, rest = lawful.scan(step, first, None, length=length - 1)
    return jnp.append(first, rest)


def log_ratio(strong: Any, weak: Any, texts: Any) -> jax.Array:
    """Give log density of a strong model over that of a weak one, the reward of each text up to a constant.

    Args:
        strong: arguments `(start, follow)` of `text`.
        weak: arguments of another.
        texts: (n, length), tokens.

    Returns: (n,).

    >>> better = jnp.zeros(2), jnp.array([[0.0, 1.0], [1.0, 0.0]])  # the next token is another one
    >>> worse = jnp.zeros(2), jnp.zeros((2, 2))
    >>> ratio = log_ratio(better, worse, jnp.array([[0, 1, 0], [0, 0, 1]]))
    >>> round(float(ratio[0] - ratio[1]), 6)
    1.0
    """
    texts = jnp.asarray(texts)
    length = texts.shape[1]

    def log_density(model: Any) -> jax.Array:
        form = lawful.trace(text, *model, length)
        return jax.vmap(lambda x: form.log_density({"first": x[0], "next": x[1:]}, *model, length))(texts)

    return log_density(strong) - log_density(weak)


def line(x: Any, y: Any, spread: Any = 10.0) -> jax.Array:
    """Regress on one covariate, with conjugate priors, so that the evidence has a closed form.

    variance ~ InverseGamma(1, 1), (intercept, slope) ~ N(0, spread^2 variance), y ~ N(intercept + slope x, variance).

    Args:
        x: (n,), the covariate.
        y: (n,), the values.
        spread: prior standard deviation of the coefficients over that of the values.

    Returns: (2,), the coefficients.

    >>> from lawful import inference
    >>> x = jnp.array([-1.0, 0.0, 1.0])
    >>> both = inference.tilt(lambda y: line(x, y), toward=lambda y: line(x**2, y), beta=0.5)
    >>> inference.importance(both, particles=50)(jax.random.key(0), x).posterior["coefficients"].shape
    (1, 50, 2)
    """
    variance = lawful.sample("variance", dist.InverseGamma(1.0, 1.0))
    sd = jnp.sqrt(variance)
    coefficients: jax.Array = lawful.sample("coefficients", dist.Normal(jnp.zeros(2), spread * sd).to_event(1))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(coefficients[0] + coefficients[1] * x, sd), obs=y)
    return coefficients
