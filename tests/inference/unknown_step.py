"""A local level whose step size is unknown, with its exact posterior by quadrature over filters."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import inference

NOISE, CENTRE, SPREAD = 0.5, -0.5, 0.7
Y = np.array([0.4, 1.1, 0.8, 1.9, 2.4, 1.7])


def walk(y):
    sigma = lawful.sample("sigma", dist.LogNormal(CENTRE, SPREAD))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, sigma))
        lawful.sample("y", dist.Normal(x, NOISE), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


def exact():
    """Log evidence; posterior mean and sd of log sigma; posterior mean of the last state."""
    grid = jnp.linspace(-6.0, 4.0, 4_001)

    def given(log_sigma):
        found = inference.filtered(walk, Y, given={"sigma": jnp.exp(log_sigma)})
        return found.log_evidence + log_sigma, found.mean["x"][-1]  # the density of log sigma, not of sigma

    log_density, last = jax.vmap(given)(grid)
    mass = np.asarray(jnp.exp(log_density)) * float(grid[1] - grid[0])
    share = mass / mass.sum()
    mean = share @ grid
    return np.log(mass.sum()), mean, np.sqrt(share @ grid**2 - mean**2), share @ last
