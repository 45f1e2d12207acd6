"""Programs whose maximum is looked for: each as a program, and its log density written by hand in free coordinates.

Law: program and hand have the same density, so that the best of many searches by hand is what the program has to reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy import stats
from jax.scipy.special import gammaln, logsumexp
from numpyro.distributions import constraints

import lawful
from lawful.inference import integrate_normals, marginalise

LINE, POSITIVE = constraints.real, constraints.positive


@dataclass(frozen=True)
class Case:
    """A program, its arguments, what is summed, and the log density by hand of a vector of so many coordinates."""

    program: Callable[..., Any]
    args: tuple[Any, ...]
    hand: Callable[..., jax.Array]
    size: int
    sums: Any = None
    kind: str = "maximum"


def flat(name: str, support: Any = LINE, batch: tuple[int, ...] = (), event: tuple[int, ...] = ()) -> jax.Array:
    """Sample a site without a prior."""
    found: jax.Array = lawful.sample(name, dist.ImproperUniform(support, batch, event))
    return found


def regression(family: str, x: Any, y: Any) -> None:
    """Regress on the columns of x by the canonical link, or that of the logarithm."""
    slopes = flat("slopes", event=(x.shape[1],))
    shape = flat("shape", POSITIVE) if family == "gamma" else 1.0
    with lawful.plate("row", len(y)):
        linear = x @ slopes
        laws = {
            "logistic": lambda: dist.Bernoulli(logits=linear),
            "poisson": lambda: dist.Poisson(jnp.exp(linear)),
            "gamma": lambda: dist.Gamma(shape, shape * jnp.exp(-linear)),
        }
        lawful.sample("y", laws[family](), obs=y)


def regression_by_hand(family: str, v: jax.Array, x: Any, y: Any) -> jax.Array:
    """The same, term by term."""
    linear = x @ v[: x.shape[1]]
    if family == "logistic":
        return jnp.sum(y * linear - jnp.logaddexp(0.0, linear))
    if family == "poisson":
        return jnp.sum(y * linear - jnp.exp(linear) - gammaln(y + 1.0))
    shape = jnp.exp(v[-1])
    return jnp.sum(stats.gamma.logpdf(y, shape, scale=jnp.exp(linear) / shape))


def mixture(k: int, y: Any) -> None:
    """Normal vectors around k centres, with one covariance for all."""
    n, d = y.shape
    share = flat("share", constraints.simplex, event=(k,))
    root = flat("root", constraints.lower_cholesky, event=(d, d))
    roots = jnp.broadcast_to(root, (k, d, d))
    with lawful.plate("component", k):
        centre = flat("centre", constraints.real_vector, (k,), (d,))
    with lawful.plate("row", n):
        z = lawful.sample("z", dist.Categorical(share))
        lawful.sample("y", dist.MultivariateNormal(centre[z], scale_tril=roots[z]), obs=y)


def root_of(v: jax.Array, d: int) -> jax.Array:
    """Fill a root of a covariance, its diagonal by logarithms."""
    full = jnp.zeros((d, d)).at[jnp.tril_indices(d)].set(v)
    return jnp.tril(full, -1) + jnp.diag(jnp.exp(jnp.diag(full)))


def mixture_by_hand(k: int, v: jax.Array, y: Any) -> jax.Array:
    """The same, summed over the components."""
    d = y.shape[1]
    share = jax.nn.log_softmax(jnp.concatenate([jnp.zeros(1), v[: k - 1]]))
    centre, root = v[k - 1 : k - 1 + k * d].reshape(k, d), root_of(v[k - 1 + k * d :], d)
    noise = jax.scipy.linalg.solve_triangular(root, (y[:, None] - centre).reshape(-1, d).T, lower=True)
    terms = stats.norm.logpdf(noise).sum(axis=0).reshape(-1, k) - jnp.log(jnp.diag(root)).sum()
    return jnp.sum(logsumexp(terms + share, axis=1))


def experts(x: Any, y: Any) -> None:
    """Two lines, and a gate that a covariate turns; one noise."""
    gate, sd = flat("gate", event=(2,)), flat("sd", POSITIVE)
    with lawful.plate("expert", 2):
        level, slope = flat("level", batch=(2,)), flat("slope", batch=(2,))
    with lawful.plate("row", len(y)):
        z = lawful.sample("z", dist.Bernoulli(logits=gate[0] + gate[1] * x))
        lawful.sample("y", dist.Normal(level[z] + slope[z] * x, sd), obs=y)


def experts_by_hand(v: jax.Array, x: Any, y: Any) -> jax.Array:
    """The same, summed over the experts."""
    turn = v[0] + v[1] * x
    terms = [stats.norm.logpdf(y, v[2 + i] + v[4 + i] * x, jnp.exp(v[6])) for i in range(2)]
    return jnp.sum(jnp.logaddexp(jax.nn.log_sigmoid(-turn) + terms[0], jax.nn.log_sigmoid(turn) + terms[1]))


def trajectories(t: Any, y: Any) -> None:
    """Two classes of persons, with straight lines of their own around the line of the class."""
    odds = flat("odds")
    with lawful.plate("class", 2):
        mean, noise = flat("mean", constraints.real_vector, (2,), (2,)), flat("noise", POSITIVE, (2,))
        root = flat("root", constraints.lower_cholesky, (2,), (2, 2))
    with lawful.plate("person", len(y)):
        z = lawful.sample("z", dist.Bernoulli(logits=odds))
        eta = lawful.sample("eta", dist.MultivariateNormal(mean[z], scale_tril=root[z]))
        with lawful.plate("wave", len(t)):
            lawful.sample("y", dist.Normal(eta[:, 0] + t[:, None] * eta[:, 1], noise[z]), obs=y.T)


def trajectories_by_hand(v: jax.Array, t: Any, y: Any) -> jax.Array:
    """The same, with the lines integrated out and the classes summed out."""
    loads = jnp.stack([jnp.ones_like(t), t], axis=1)

    def score(mean: jax.Array, noise: jax.Array, entries: jax.Array) -> jax.Array:
        half = loads @ root_of(entries, 2)
        spread = half @ half.T + jnp.exp(2 * noise) * jnp.eye(len(t))
        return stats.multivariate_normal.logpdf(y, loads @ mean, spread)

    terms = [score(v[1 + 2 * i : 3 + 2 * i], v[5 + i], v[7 + 3 * i : 10 + 3 * i]) for i in range(2)]
    return jnp.sum(jnp.logaddexp(jax.nn.log_sigmoid(-v[0]) + terms[0], jax.nn.log_sigmoid(v[0]) + terms[1]))


def local_level(y: Any) -> None:
    """A level that wanders, seen through noise."""
    noise, step = flat("noise", POSITIVE), flat("step", POSITIVE)
    first = lawful.sample("first", dist.Normal(0.0, 10.0))
    lawful.sample("y_first", dist.Normal(first, noise), obs=y[0])

    def year(level: jax.Array, seen: jax.Array) -> tuple[jax.Array, None]:
        level = lawful.sample("level", dist.Normal(level, step))
        lawful.sample("y", dist.Normal(level, noise), obs=seen)
        return level, None

    lawful.scan(year, first, y[1:])


def local_level_by_hand(v: jax.Array, y: Any) -> jax.Array:
    """The same, as the density of a normal vector."""
    number = jnp.arange(len(y))
    steps = jnp.minimum(number[:, None], number)
    spread = 100.0 + jnp.exp(2 * v[1]) * steps + jnp.exp(2 * v[0]) * jnp.eye(len(y))
    return stats.multivariate_normal.logpdf(y, jnp.zeros(len(y)), spread)


def factor(y: Any) -> None:
    """One factor behind several variables."""
    d = y.shape[1]
    level, load, sd = flat("level", event=(d,)), flat("load", event=(d,)), flat("sd", constraints.positive, (d,))
    with lawful.plate("row", len(y)):
        spread = jnp.outer(load, load) + jnp.diag(sd**2)
        lawful.sample("y", dist.MultivariateNormal(level, spread), obs=y)


def factor_by_hand(v: jax.Array, y: Any) -> jax.Array:
    """The same."""
    level, load, sd = v.reshape(3, -1)
    spread = jnp.outer(load, load) + jnp.diag(jnp.exp(2 * sd))
    return jnp.sum(stats.multivariate_normal.logpdf(y, level, spread))


def groups(y: Any) -> None:
    """Groups of rows that share an effect, whose spread may be zero."""
    level, between, within = flat("level"), flat("between", POSITIVE), flat("within", POSITIVE)
    n = y.shape[1]
    with lawful.plate("group", len(y)):
        spread = within**2 * jnp.eye(n) + between**2
        lawful.sample("y", dist.MultivariateNormal(level * jnp.ones(n), spread), obs=y)


def groups_by_hand(v: jax.Array, y: Any) -> jax.Array:
    """The same."""
    n = y.shape[1]
    spread = jnp.exp(2 * v[2]) * jnp.eye(n) + jnp.exp(2 * v[1])
    return jnp.sum(stats.multivariate_normal.logpdf(y, v[0] * jnp.ones(n), spread))


def split_level(y: Any) -> None:
    """A level that is written as a sum of two."""
    one, other, sd = flat("one"), flat("other"), flat("sd", POSITIVE)
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(one + other, sd), obs=y)


def split_level_by_hand(v: jax.Array, y: Any) -> jax.Array:
    """The same."""
    return jnp.sum(stats.norm.logpdf(y, v[0] + v[1], jnp.exp(v[2])))


def cases() -> dict[str, Case]:
    """Make the twelve, with data."""
    rng = np.random.default_rng(2041)
    x = np.column_stack([np.ones(300), rng.normal(size=(300, 3))])
    linear = x @ [0.3, 1.0, -0.5, 0.2]
    side = rng.integers(0, 2, 200)
    corner = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])[rng.integers(0, 3, 240)]
    at = rng.uniform(-2, 2, 300)
    expert = rng.uniform(size=300) < 1 / (1 + np.exp(-2 * at))
    wave = np.arange(5.0) - 2
    kind = rng.integers(0, 2, 150)
    line = np.array([[0.0, 0.5], [2.0, -0.5]])[kind] + rng.normal(size=(150, 2)) * [0.6, 0.3]
    load = np.array([1.0, 0.8, -0.6, 0.5, 0.9])
    found = {}
    for family, y in (
        ("logistic", (rng.uniform(size=300) < 1 / (1 + np.exp(-linear))).astype(int)),
        ("poisson", rng.poisson(np.exp(linear))),
        ("gamma", rng.gamma(2.0, np.exp(linear) / 2.0)),
    ):
        by_hand = partial(regression_by_hand, family)
        found[family] = Case(partial(regression, family), (x, y), by_hand, 4 + (family == "gamma"))
    y2 = np.where(side, 2.5, 0.0)[:, None] + rng.normal(size=(200, 1))
    found["two centres"] = Case(partial(mixture, 2), (y2,), partial(mixture_by_hand, 2), 4, "z")
    y3 = corner + rng.normal(size=(240, 2)) @ [[1.0, 0.3], [0.0, 0.8]]
    found["three centres"] = Case(partial(mixture, 3), (y3,), partial(mixture_by_hand, 3), 11, "z")
    ye = np.where(expert, 1.0 + at, -1.0 - 0.5 * at) + 0.4 * rng.normal(size=300)
    found["experts"] = Case(experts, (at, ye), experts_by_hand, 7, "z")
    yt = line[:, :1] + line[:, 1:] * wave + 0.5 * rng.normal(size=(150, 5))
    sums = integrate_normals(["eta"]) >> marginalise(["z"])
    found["trajectories"] = Case(trajectories, (wave, yt), trajectories_by_hand, 13, sums)
    yl = np.cumsum(0.5 * rng.normal(size=100)) + rng.normal(size=100)
    found["local level"] = Case(local_level, (yl,), local_level_by_hand, 2, integrate_normals())
    yf = rng.normal(size=(200, 1)) * load + 0.7 * rng.normal(size=(200, 5))
    found["one factor"] = Case(factor, (yf,), factor_by_hand, 15)
    yg = np.array([[1.0, -1.0, 0.5], [0.9, -1.1, 0.4], [1.1, -0.9, 0.6], [1.0, -1.0, 0.55]])
    found["edge"] = Case(groups, (yg,), groups_by_hand, 3)
    found["ridge"] = Case(split_level, (yl,), split_level_by_hand, 3, kind="ridge")
    parted = (x[:, 1] + x[:, 2] > 0.2).astype(int)
    by_hand = partial(regression_by_hand, "logistic")
    found["no maximum"] = Case(partial(regression, "logistic"), (x, parted), by_hand, 4, kind="unbounded")
    return found
