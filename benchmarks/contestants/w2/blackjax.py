"""BlackJAX on W2: `adaptive_tempered_smc` inside `inner_kernel_tuning`, the covariance of the walk from the particles.

The whole run is one jitted program, a `while_loop` over temperatures. Waste-free moves by its own update strategy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc import random_walk
from blackjax.smc import resampling
from blackjax.smc.waste_free import waste_free_smc

from benchmarks.contestants.staged import Staged
from benchmarks.workloads import LOG_TWO_PI, regression

PACKAGES = ("blackjax", "jax", "jaxlib")
DTYPE = "float32"


def tempered_program(
    particles: int, steps: int | None, chains: int | None, leapfrogs: int | None = None
) -> Callable[..., Any]:
    """The sampler as a function of a key and the data: random-walk moves, or Hamiltonian ones of so many leapfrogs."""
    additive = random_walk.build_additive_step()

    def walk(key: jax.Array, state: Any, log_density: Any, root: jax.Array) -> Any:
        return additive(key, state, log_density, lambda k, x: root @ jax.random.normal(k, x.shape))

    def run(key: jax.Array, covariates: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        d = covariates.shape[1]
        signed = covariates * (1 - 2 * labels)[:, None]

        def log_prior(x: jax.Array) -> jax.Array:
            return -0.5 * jnp.sum(x * x) - 0.5 * LOG_TWO_PI * d

        def log_likelihood(x: jax.Array) -> jax.Array:
            return -jnp.sum(jax.nn.softplus(signed @ x))

        def fitted(_: jax.Array, state: Any, info: Any) -> dict[str, jax.Array]:
            covariance = jnp.cov(state.particles, rowvar=False, ddof=0, aweights=state.weights)
            return {"root": 2.38 / math.sqrt(d) * jnp.linalg.cholesky(covariance)[None]}

        def scaled(_: jax.Array, state: Any, info: Any) -> dict[str, jax.Array]:
            mean = state.weights @ state.particles
            return {"inverse_mass_matrix": (state.weights @ (state.particles - mean) ** 2)[None]}

        moves: dict[str, Any] = {
            "mcmc_step_fn": walk,
            "mcmc_init_fn": random_walk.init,
            "mcmc_parameter_update_fn": fitted,
            "initial_parameter_value": {"root": 2.38 / math.sqrt(d) * jnp.eye(d)[None]},
        }
        if leapfrogs is not None:
            kernel = blackjax.hmc.build_kernel()

            def flow(key: jax.Array, state: Any, log_density: Any, inverse_mass_matrix: jax.Array) -> Any:
                return kernel(key, state, log_density, 0.35, inverse_mass_matrix, leapfrogs)

            moves = {
                "mcmc_step_fn": flow,
                "mcmc_init_fn": blackjax.hmc.init,
                "mcmc_parameter_update_fn": scaled,
                "initial_parameter_value": {"inverse_mass_matrix": jnp.ones((1, d))},
            }
        options = {} if chains is None else {"update_strategy": waste_free_smc(particles, particles // chains)}
        algorithm = blackjax.inner_kernel_tuning(
            smc_algorithm=blackjax.adaptive_tempered_smc,
            logprior_fn=log_prior,
            loglikelihood_fn=log_likelihood,
            resampling_fn=resampling.systematic,
            **moves,
            num_mcmc_steps=steps,
            target_ess=0.5,
            **options,
        )
        start_key, key = jax.random.split(key)
        state = algorithm.init(jax.random.normal(start_key, (particles, d)))

        def going(carry: Any) -> jax.Array:
            return carry[0].sampler_state.tempering_param < 1

        def stage(carry: Any) -> Any:
            state, evidence, count = carry
            state, info = algorithm.step(jax.random.fold_in(key, count), state)
            return state, evidence + info.log_likelihood_increment, count + 1

        state, evidence, count = jax.lax.while_loop(going, stage, (state, jnp.float32(0), jnp.int32(0)))
        mean = state.sampler_state.weights @ state.sampler_state.particles
        means = {f"mean_{i}": mean[i] for i in range(d)}
        return {"log_evidence": evidence, "temperatures": count, **means}

    return run


class Run:
    """`run(i)` with key i and the data of W2."""

    def __init__(self, program: Callable[..., Any]) -> None:
        covariates, labels = regression()
        self._data = jnp.asarray(covariates, DTYPE), jnp.asarray(labels)
        self._function = Staged(program)

    @property
    def stages(self) -> dict[str, float]:
        """CPU seconds of the stages of the first call."""
        return self._function.stages

    def __call__(self, i: int) -> dict[str, jax.Array]:
        """One run with key i."""
        return self._function(jax.random.key(i), *self._data)


def build(settings: dict[str, Any]) -> Run:
    """The contestant for one variant."""
    return Run(tempered_program(settings["particles"], settings["steps"], settings["chains"]))
