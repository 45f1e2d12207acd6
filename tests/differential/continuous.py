"""Random programs with continuous and finite sites, branches, guards, plates, loops and zeros, from a seed."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful

KINDS = ("normal", "positive", "unit", "simplex", "coin", "class", "branch", "guard", "plate", "loop", "zero", "weight")


def continuous_program(seed):
    """A program of four or five statements and its arguments; each statement reads what earlier ones drew."""
    rng = np.random.default_rng(seed)
    plan = [KINDS[rng.integers(len(KINDS))] for _ in range(rng.integers(4, 6))]
    reads = [int(rng.integers(i + 1)) for i in range(len(plan))]

    def program(y, slope):
        values = [slope]
        for i, (kind, read) in enumerate(zip(plan, reads, strict=True)):
            x = _STATEMENTS[kind](f"{kind}{i}", jnp.tanh(values[read]), y)
            lawful.deterministic(f"value{i}", x)
            values.append(x)
        lawful.sample("end", dist.Normal(values[-1], 1.0), obs=y[0])
        return tuple(values)

    return program, (rng.normal(size=3), 0.5), frozenset(plan)


def _normal(name, x, y):
    return lawful.sample(name, dist.Normal(x, 0.5 + x**2))


def _positive(name, x, y):
    rate = lawful.sample(name, dist.Gamma(2.0 + x, 1.5))
    return rate + lawful.sample(f"{name}_log", dist.LogNormal(x, 0.3))


def _unit(name, x, y):
    return lawful.sample(name, dist.Beta(2.0 + x, 3.0)) + lawful.sample(f"{name}_u", dist.Uniform(x - 1.0, x + 1.0))


def _simplex(name, x, y):
    return lawful.sample(name, dist.Dirichlet(jnp.array([2.0, 1.5, 3.0]) + x)) @ jnp.array([-1.0, 0.0, 2.0])


def _coin(name, x, y):
    return 1.0 * lawful.sample(name, dist.Bernoulli(0.5 + 0.4 * x))


def _class(name, x, y):
    k = lawful.sample(name, dist.Categorical(jax.nn.softmax(jnp.array([0.0, 1.0, -1.0]) * x)))
    return jnp.array([-0.5, 0.25, 1.0])[k]


def _branch(name, x, y):
    first = lambda: lawful.sample(f"{name}_first", dist.Normal(x, 1.0))
    second = lambda: lawful.sample(f"{name}_second", dist.Exponential(1.0 + x**2))
    return lawful.cond(_coin(f"{name}_which", x, y) == 1, first, second)


def _guard(name, x, y):
    def runs():
        z = lawful.sample(f"{name}_inside", dist.Normal(0.0, 1.0))
        lawful.factor(f"{name}_weight", -(z**2) * 0.3)
        return z

    return lawful.cond(lawful.sample(f"{name}_when", dist.Normal(x, 1.0)) > 0, runs, lambda: 0.1 * x)


def _plate(name, x, y):
    with lawful.plate(f"{name}_p", 3):
        k = lawful.sample(f"{name}_k", dist.Bernoulli(0.5 + 0.3 * x))
        z = lawful.sample(f"{name}_z", dist.Normal(x * k, 1.0))
        lawful.sample(f"{name}_y", dist.StudentT(4.0, z, 0.7), obs=y)
    return z.mean()


def _loop(name, x, y):
    def step(z, y):
        z = lawful.sample(f"{name}_z", dist.Normal(0.8 * z, 0.5))
        k = lawful.sample(f"{name}_k", dist.Bernoulli(jax.nn.sigmoid(z)))
        lawful.sample(f"{name}_y", dist.Normal(z + k, 1.0), obs=y)
        return z, k

    return lawful.scan(step, x, y)[0]


def _zero(name, x, y):
    z = lawful.sample(name, dist.Normal(x, 1.0))
    lawful.factor(f"{name}_zero", jnp.where(z > 0.5, -jnp.inf, 0.2 * z))
    return z


def _weight(name, x, y):
    lawful.factor(name, jnp.sum(x * y))
    return x


_STATEMENTS = {
    "normal": _normal, "positive": _positive, "unit": _unit, "simplex": _simplex, "coin": _coin, "class": _class,
    "branch": _branch, "guard": _guard, "plate": _plate, "loop": _loop, "zero": _zero, "weight": _weight,
}  # fmt: skip
