"""Finite programs of every shape that a particle filter meets; each takes two binary observations."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from lawful import cond, deterministic, factor, plate, sample, scan

Y = jnp.array([1, 0])


def chain(z, name="z"):
    return sample(name, dist.Bernoulli(jnp.where(z == 1, 0.7, 0.2)))


def observe(z, y, name="y"):
    sample(name, dist.Bernoulli(jnp.where(z == 1, 0.9, 0.25)), obs=y)


def plain(y):
    def step(z, y):
        z = chain(z)
        observe(z, y)
        return z, None

    return scan(step, 0, y)[0]


def constant_per_particle(y):
    """A parameter drawn before the loop."""
    theta = sample("theta", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))

    def step(z, y):
        z = sample("z", dist.Bernoulli(jnp.array([0.2, 0.5, 0.9])[theta]))
        sample("y", dist.Bernoulli(jnp.array([0.3, 0.6, 0.8])[theta] * (0.5 + 0.4 * z)), obs=y)
        return z, None

    return scan(step, 0, y)[0] + 2 * theta


def weighed_before_and_after(y):
    """An observation before the loop, and one after it of a value of the first step."""
    theta = sample("theta", dist.Bernoulli(0.4))
    observe(theta, 1, "before")

    def step(z, y):
        z = chain(z)
        observe(z, y)
        return z, z

    last, all_z = scan(step, theta, y)
    late = sample("late", dist.Bernoulli(0.2 + 0.3 * all_z[0] + 0.2 * theta))
    factor("after", jnp.where(late == last, 0.3, -0.7))
    return all_z[0] + 2 * late


def two_loops(y):
    """The filter pauses in the first loop that is weighed; the other one runs whole."""

    def count(total, _):
        return total + sample("coin", dist.Bernoulli(0.5)), None

    total, _ = scan(count, 0, None, length=2)

    def step(z, y):
        z = sample("z", dist.Bernoulli(0.2 + 0.3 * z / (1 + total)))
        observe(z, y)
        return z, None

    return scan(step, 0, y)[0] + 2 * total


def no_loop(y):
    z = sample("z", dist.Bernoulli(0.4))
    observe(z, y[0])
    return z


def empty_loop(y):
    z = sample("z", dist.Bernoulli(0.4))
    observe(z, y[0], "first")

    def step(z, y):
        z = chain(z, "later")
        observe(z, y)
        return z, None

    return scan(step, z, y[:0])[0]


def factor_only(y):
    """No choice at all: the evidence is the factor."""
    factor("weight", jnp.log(0.3) * y[0])
    return 7


def factor_in_the_loop(y):
    """No latent site, a weight that the arguments fix in every step."""

    def step(total, y):
        factor("weight", -0.5 * y)
        return total + y, None

    return scan(step, 0, y)[0]


def weighed_by_factors(y):
    def step(z, y):
        z = chain(z)
        factor("weight", jnp.where(z == y, -0.2, -1.5))
        return z, None

    return scan(step, 0, y)[0]


def impossible_values(y):
    """Particles of weight zero."""

    def step(z, y):
        z = chain(z)
        factor("allowed", jnp.where(z == y, 0.0, -jnp.inf))
        return z, None

    return scan(step, 0, y)[0]


def branch_in_the_body(y):
    """Arms with different sites, one observed in only one arm; both arms share a name."""

    def step(z, y):
        def left(z):
            observe(z, y, "y left")
            return chain(z, "shared")

        def right(z):
            return chain(1 - z, "shared") + sample("extra", dist.Bernoulli(0.3))

        z = jnp.minimum(cond(z == 1, left, right, z), 1)
        observe(z, y)
        return z, None

    return scan(step, 0, y)[0]


def branch_by_an_argument(y):
    """An arm that all particles run or none: it observes in some steps only."""

    def step(z, y):
        z = chain(z)
        cond(y == 1, lambda z: (observe(z, 1), 0)[1], lambda z: 0, z)
        return z, None

    return scan(step, 0, y)[0]


def plate_in_the_body(y):
    """Two elements a step, each with its own observation, and a named value."""

    def step(total, y):
        with plate("pair", 2):
            z = sample("z", dist.Bernoulli(0.3 + 0.2 * total))
            sample("y", dist.Bernoulli(0.2 + 0.6 * z), obs=jnp.stack([y, 1 - y]))
        return deterministic("total", jnp.sum(z)), None

    return scan(step, 0, y)[0]


def plate_before_the_loop(y):
    """A vector of parameters per particle, read by index in each step."""
    with plate("state", 2):
        theta = sample("theta", dist.Bernoulli(jnp.array([0.3, 0.6])))

    def step(z, y):
        z = sample("z", dist.Bernoulli(0.2 + 0.5 * theta[z]))
        observe(z, y)
        return z, None

    return scan(step, 0, y)[0]


def nested_loops(y):
    """Two inner steps between observations."""

    def step(z, y):
        z, _ = scan(lambda z, _: (chain(z), None), z, None, length=2)
        observe(z, y)
        return z, None

    return scan(step, 0, y)[0]


def from_the_end(y):
    """A plain scan of JAX that runs from the last observation to the first."""

    def step(z, y):
        z = chain(z)
        observe(z, y)
        return z, None

    return jax.lax.scan(step, 0, y, reverse=True)[0]


def returns_a_dict(y):
    def step(z, y):
        z = chain(z)
        observe(z, y)
        return z, None

    z = scan(step, 0, y)[0]
    return {"last": z, "other": 3 - z}


PROGRAMS = [
    plain, constant_per_particle, weighed_before_and_after, two_loops, no_loop, empty_loop, factor_only,
    factor_in_the_loop, weighed_by_factors, impossible_values, branch_in_the_body, branch_by_an_argument,
    plate_in_the_body,
    plate_before_the_loop, nested_loops, returns_a_dict,
]  # fmt: skip
