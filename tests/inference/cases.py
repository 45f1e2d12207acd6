"""Sequence models with exact answers: the Kalman and the forward-backward cases of the reference data, as programs."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful


@dataclass(frozen=True)
class Case:
    """A program with its arguments, the exact log evidence of every prefix, and the name of its latent site."""

    program: Any
    args: tuple[Any, ...]
    increments: np.ndarray
    site: str
    exact: dict[str, Any]

    @property
    def log_evidence(self) -> float:
        return math.fsum(self.increments)

    def first(self, steps: int) -> "Case":
        """The same model on its first observations, whose evidence is exact too."""
        args = tuple(x[:steps] for x in self.args)
        return Case(self.program, args, self.increments[:steps], self.site, {})


def read(data: Path, name: str) -> dict[str, Any]:
    return json.loads((data / "exact" / f"{name}.json").read_text())


def local_level(data: Path) -> Case:
    case = read(data, "lgssm_local_level")
    step_sd, noise_sd, first_sd = (math.sqrt(case["model"][k][0][0]) for k in ("Q", "R", "P0"))
    mean = case["model"]["m0"][0]

    def program(y, first):
        def step(x, observed):
            y, first = observed
            x = lawful.sample("x", dist.Normal(jnp.where(first, mean, x), jnp.where(first, first_sd, step_sd)))
            lawful.sample("y", dist.Normal(x, noise_sd), obs=y)
            return x, None

        return lawful.scan(step, mean, (y, first))[0]

    y = jnp.array(case["data"]["y"])[:, 0]
    return Case(program, (y, jnp.arange(len(y)) == 0), np.array(case["exact"]["log_evidence_increments"]), "x", case)


def tracking(data: Path) -> Case:
    """Position and velocity; where the position is missing, an arm without an observation runs."""
    case = read(data, "lgssm_tracking_2d")
    transition, step_cov, first_cov, first_mean = (np.array(case["model"][k]) for k in ("A", "Q", "P0", "m0"))
    noise_sd = math.sqrt(case["model"]["R"][0][0])
    step_root, first_root = np.linalg.cholesky(step_cov), np.linalg.cholesky(first_cov)

    def program(y, seen, first):
        def step(x, now):
            y, seen, first = now
            mean = jnp.where(first, first_mean, transition @ x)
            root = jnp.where(first, first_root, step_root)
            x = lawful.sample("x", dist.MultivariateNormal(mean, scale_tril=root))

            def observe(position):
                lawful.sample("y", dist.Normal(position, noise_sd), obs=y)
                return 0.0

            lawful.cond(seen, observe, lambda position: 0.0, x[0])
            return x, None

        return lawful.scan(step, first_mean, (y, seen, first))[0]

    y = np.array([math.nan if row[0] is None else row[0] for row in case["data"]["y"]])
    seen = ~np.isnan(y)
    args = (jnp.where(seen, y, 0.0), jnp.array(seen), jnp.arange(len(y)) == 0)
    return Case(program, args, np.array(case["exact"]["log_evidence_increments"]), "x", case)


def hidden_markov(data: Path) -> Case:
    case = read(data, "hmm_categorical")
    init, transition, emission = (jnp.array(case["model"][k]) for k in ("init", "transition", "emission"))

    def program(y, first):
        def step(z, now):
            y, first = now
            z = lawful.sample("z", dist.Categorical(jnp.where(first, init, transition[z])))
            lawful.sample("y", dist.Categorical(emission[z]), obs=y)
            return z, None

        return lawful.scan(step, 0, (y, first))[0]

    y = jnp.array(case["data"]["y"])
    return Case(program, (y, jnp.arange(len(y)) == 0), np.array(case["exact"]["log_evidence_increments"]), "z", case)


CASES = {"local level": local_level, "tracking": tracking, "hidden Markov": hidden_markov}


def branching(total):
    """A number of draws that grows while a coin shows heads; what is seen is how many of the draws succeed."""
    n = lawful.sample("start", dist.DiscreteUniform(1, 6))

    def step(carry, _):
        n, going = carry
        heads = lawful.cond(going & (n < 12), lambda: lawful.sample("coin", dist.Bernoulli(1 / 3)), lambda: 0)
        return (n + heads, heads == 1), None

    (n, _), _ = lawful.scan(step, (n, True), None, length=11)
    lawful.sample("total", dist.Binomial(n, jnp.where(n % 2 == 0, 1 / 4, 2 / 3)), obs=total)
    lawful.deterministic("n", n)


def regression(given):
    """Normal regression whose coefficients and variance have their conjugate prior."""

    def model(x, y):
        variance = lawful.sample("variance", dist.InverseGamma(given["a0"], given["b0"]))
        covariance = variance * jnp.array(given["V0"])
        beta = lawful.sample("beta", dist.MultivariateNormal(jnp.array(given["m0"]), covariance))
        lawful.sample("y", dist.Normal(x @ beta, jnp.sqrt(variance)), obs=y)

    return model
