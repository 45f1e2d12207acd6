"""Programs with loops, branches, plates and none of them, on which eager and compiled runs are compared."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import cond, deterministic, factor, plate, sample, scan, scope


def straight(y):
    mu = sample("mu", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfCauchy(5.0))
    deterministic("ratio", mu / tau)
    sample("y", dist.Normal(mu, tau), obs=y)
    factor("soft", -(mu**2) / 10)


def plates(y):
    with plate("row", 3, dim=-2):
        row = sample("row", dist.Gamma(2.0, 1.0))
        with plate("column", 2, dim=-1):
            cell = sample("cell", dist.Beta(row, jnp.array([1.0, 2.0])))
            sample("y", dist.Binomial(5, cell), obs=y)
    return cell


def empty(y):
    with plate("none", 0):
        z = sample("z", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(z, 1.0), obs=y)
    x = sample("x", dist.Normal(z.sum(), 1.0))
    return scan(lambda c, _: (c, sample("w", dist.Normal(c, 1.0))), x, length=0)


def chain(y):
    start = sample("start", dist.Normal(0.0, 1.0))

    def step(state, y):
        x, count = state
        x = sample("x", dist.Normal(0.9 * x, 0.5))
        k = sample("k", dist.Poisson(jnp.exp(x)))
        sample("y", dist.Normal(x, 1.0), obs=y)
        factor("f", -0.1 * k)
        return (x, count + k), x**2

    return scan(step, (start, 0), y)


def grid(y):
    def column(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    def row(x, ys):
        scale = sample("scale", dist.LogNormal(0.0, 1.0))
        x, xs = scan(column, x * scale, ys)
        return x, xs.sum()

    return scan(row, 0.0, y)[1]


def branches(y):
    b = sample("b", dist.Bernoulli(0.3))
    x = cond(
        b == 1,
        lambda: sample("x", dist.Normal(1.0, 1.0)),
        lambda: sample("x", dist.Normal(-1.0, 2.0)) + sample("only", dist.Exponential(1.0)),
    )

    def low(x):
        factor("low", -x)
        return sample("z", dist.Gamma(2.0, 1.0))

    k = sample("k", dist.Categorical(probs=jnp.array([0.2, 0.3, 0.5])))
    z = cond(k == 0, low, lambda x: cond(k == 1, jnp.cos, jnp.sin, x), x)
    sample("y", dist.Normal(x + z, 1.0), obs=y)
    return z


def branch_in_loop(y):
    def step(x, y):
        jump = sample("jump", dist.Bernoulli(0.2))
        x = cond(jump == 1, lambda x: x + sample("size", dist.StudentT(3.0)), lambda x: x, x)
        with plate("sensor", 2):
            sample("y", dist.Normal(x, 1.0), obs=y)
        return x, jump

    return scan(step, 0.0, y)[1]


def loop_in_branch(y):
    b = sample("b", dist.Bernoulli(0.5))

    def walk():
        return scan(lambda x, _: (sample("x", dist.Normal(x, 1.0)),) * 2, 0.0, length=3)[1].sum()

    total = cond(b == 1, walk, lambda: jnp.array(0.0))
    sample("y", dist.Normal(total, 1.0), obs=y)


def scopes(y):
    def part(loc):
        with plate("unit", 2):
            return sample("x", dist.Normal(loc, jnp.array([1.0, 2.0])))

    with scope("left"):
        left = part(0.0)
    with scope("right"):
        sample("y", dist.MultivariateNormal(part(left), jnp.eye(2) + 0.5), obs=y)


def moving_support(y):
    high = sample("high", dist.Gamma(3.0, 1.0))
    x = sample("x", dist.Uniform(-high, high))
    p = sample("p", dist.Dirichlet(jnp.array([1.0, 2.0, high])))
    sample("y", dist.Categorical(probs=p), obs=y)
    return x


PROGRAMS = {
    "straight": (straight, (1.5,)),
    "plates": (plates, (np.array([[1, 2], [0, 5], [3, 3]]),)),
    "empty": (empty, (np.zeros(0),)),
    "chain": (chain, (np.array([0.5, -1.0, 2.0, 0.0]),)),
    "chain of no steps": (chain, (np.zeros(0),)),
    "grid": (grid, (np.arange(6.0).reshape(2, 3),)),
    "branches": (branches, (0.3,)),
    "branch in loop": (branch_in_loop, (np.arange(8.0).reshape(4, 2),)),
    "loop in branch": (loop_in_branch, (0.7,)),
    "scopes": (scopes, (np.array([0.5, -0.5]),)),
    "moving support": (moving_support, (np.array(2),)),
}
