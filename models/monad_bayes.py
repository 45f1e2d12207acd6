"""The four models that monad-bayes is timed on: line and label, hidden Markov, topics, a non-linear sequence.

Law: each has the evidence that exact summation or quadrature gives; sequences are in the order of time, where the
originals consume their lists from the end.

Source: the `models` of tweag/monad-bayes (Scibior, Ghahramani and Gordon 2015; Scibior, Kammar and Ghahramani 2018).
Its normal takes a standard deviation, its gamma a shape and a scale. Data of a program are drawn by
`inference.predictive(None, program, ...)`, where an observation that is given as None belongs to what is drawn.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

__all__ = ["hidden_markov", "latent_dirichlet", "logistic_regression", "nonlinear_sequence"]

TRANSITION = ((0.1, 0.4, 0.5), (0.2, 0.6, 0.2), (0.15, 0.7, 0.15))
MEANS = (-1.0, 1.0, 0.0)


def logistic_regression(x: Any, label: Any, query: Any = 8.0) -> jax.Array:
    """Classify points by a line seen through noise (LR).

    Slope and intercept are N(0, 1), the noise is Gamma(1, 1); each score is t ~ N(m x + b, sigma), and its label is
    true with probability logistic(t).

    Args:
        x: (n,), the points.
        label: (n,), truth values; None draws them.
        query: another point.

    Returns: logistic(t) of a score at `query`: the probability of a true label there.

    >>> from lawful import handlers
    >>> share = handlers.seed(logistic_regression, jax.random.key(0))(jnp.array([-1.0, 2.0]), jnp.array([False, True]))
    >>> bool(0 < share < 1)
    True
    """
    slope = lawful.sample("m", dist.Normal(0.0, 1.0))
    intercept = lawful.sample("b", dist.Normal(0.0, 1.0))
    sigma = lawful.sample("sigma", dist.Gamma(1.0, 1.0))

    def step(carry: Any, row: tuple[Any, Any]) -> tuple[Any, None]:
        x, label = row
        t = lawful.sample("t", dist.Normal(slope * x + intercept, sigma))
        lawful.sample("label", dist.Bernoulli(logits=t), obs=label)
        return carry, None

    lawful.scan(step, 0.0, (x, label))
    return jax.nn.sigmoid(lawful.sample("t_query", dist.Normal(slope * query + intercept, sigma)))


def hidden_markov(y: Any, transition: Any = TRANSITION, means: Any = MEANS, scale: Any = 1.0) -> jax.Array:
    """Walk among hidden states, each seen through normal noise (HMM).

    The first state is uniform and not observed; each observation follows a move.

    Args:
        y: (T,), the observations in the order of time.
        transition: (K, K), the rows are the laws of the next state.
        means: (K,), mean of an observation in each state.
        scale: standard deviation of an observation.

    Returns: the last state.

    >>> from lawful import inference
    >>> exact = inference.enumerate(hidden_markov)(jnp.array([0.9, 0.8]))
    >>> round(exact.log_evidence, 6)
    -2.330887
    """
    moves, centres = jnp.asarray(transition), jnp.asarray(means)

    def step(state: jax.Array, y: jax.Array) -> tuple[jax.Array, None]:
        state = lawful.sample("state", dist.Categorical(probs=moves[state]))
        lawful.sample("y", dist.Normal(centres[state], scale), obs=y)
        return state, None

    start = lawful.sample("start", dist.DiscreteUniform(0, len(centres) - 1))
    state: jax.Array = lawful.scan(step, start, y)[0]
    return state


def latent_dirichlet(
    document: Any, word: Any, documents: int, topics: int = 2, vocabulary: int = 4
) -> tuple[jax.Array, jax.Array]:
    """Find topics in documents (LDA; Blei, Ng and Jordan 2003), one word after the other.

    Topics are laws of words, Dirichlet(1, ..., 1); each document has a law of topics, Dirichlet(1, ..., 1).

    Args:
        document: (n,), the document of each word, from 0.
        word: (n,), the words as numbers from 0; None draws them.
        documents: how many documents.
        topics: how many topics.
        vocabulary: how many words.

    Returns: laws of words (topics, vocabulary), and laws of topics (documents, topics).

    >>> from lawful import handlers
    >>> phi, theta = handlers.seed(latent_dirichlet, jax.random.key(0))(jnp.array([0, 0, 1]), jnp.array([0, 1, 3]), 2)
    >>> phi.shape, theta.shape
    ((2, 4), (2, 2))
    """
    with lawful.plate("topic", topics):
        phi = lawful.sample("phi", dist.Dirichlet(jnp.ones(vocabulary)))
    with lawful.plate("document", documents):
        theta = lawful.sample("theta", dist.Dirichlet(jnp.ones(topics)))

    def step(carry: Any, now: tuple[Any, Any]) -> tuple[Any, None]:
        document, word = now
        z = lawful.sample("z", dist.Categorical(probs=theta[document]))
        lawful.sample("word", dist.Categorical(probs=phi[z]), obs=word)
        return carry, None

    lawful.scan(step, 0.0, (document, word))
    return phi, theta


def nonlinear_sequence(y: Any, variances: tuple[Any, Any] | None = None) -> jax.Array:
    """Follow a state that jumps between two wells, seen through its square (SSM; Doucet, Godsill and Andrieu 2000).

    x_0 ~ N(0, sqrt 5), x' ~ N(x/2 + 25 x/(1 + x^2) + 8 cos(1.2 n), sigma_x) with n = 0 at the first move,
    y ~ N(x'^2/20, sigma_y).

    A precision Gamma(0.01, scale 0.01) is below the smallest float32 with probability 0.44. So its logarithm is drawn,
    by log g + log(u)/0.01 with g ~ Gamma(1.01) and u uniform, which has the same law (Marsaglia and Tsang 2000), and a
    scale beyond the square root of the largest float is that root.

    Args:
        y: (T,), the observations.
        variances: (sigma_x^2, sigma_y^2); None gives both precisions the law above.

    Returns: (T,), the states.

    >>> from lawful import handlers
    >>> handlers.seed(nonlinear_sequence, jax.random.key(0))(jnp.zeros(3), (10.0, 1.0)).shape
    (3,)
    """
    if variances is None:
        scale_x, scale_y = (_scale(name) for name in ("x", "y"))
    else:
        scale_x, scale_y = (jnp.sqrt(jnp.asarray(v, jnp.result_type(float))) for v in variances)

    def step(x: jax.Array, now: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
        n, y = now
        mean = x / 2 + 25 * x / (1 + jnp.square(x)) + 8 * jnp.cos(1.2 * n)
        x = lawful.sample("x", dist.Normal(mean, scale_x))
        lawful.sample("y", dist.Normal(jnp.square(x) / 20, scale_y), obs=y)
        return x, x

    first = lawful.sample("x_0", dist.Normal(0.0, math.sqrt(5.0)))
    states: jax.Array = lawful.scan(step, first, (jnp.arange(len(y)), y))[1]
    return states


def _scale(name: str) -> jax.Array:
    """Draw a standard deviation whose precision is Gamma(0.01, scale 0.01)."""
    with lawful.scope(f"precision_{name}"):
        g = lawful.sample("g", dist.Gamma(1.01, 100.0))
        u = lawful.sample("u", dist.Uniform(0.0, 1.0))
    log_precision: jax.Array = lawful.deterministic(f"log_precision_{name}", jnp.log(g) + jnp.log(u) / 0.01)
    largest = 0.5 * math.log(float(jnp.finfo(log_precision.dtype).max))
    return jnp.exp(jnp.minimum(-0.5 * log_precision, largest))
