"""Peers: the no-U-turn samplers of NumPyro and BlackJAX on a lawful program, as references.

Law: none of ours: both get the exact log density of the program in coordinates without bounds, and what they make of it
is theirs. Their draws are those of the values, under the names of the sites.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form.arguments.calls import positional
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import dims_of
from lawful.inference.contract import Contract
from lawful.inference.plans.chains.chain_result import deterministics, named_values
from lawful.inference.plans.plan import refuse_traced, seed_of, told_of
from lawful.inference.results.collect import from_chains
from lawful.inference.results.result import Result
from lawful.inspection.lint.observed_data import checked_data
from lawful.interop.density import Density, density
from lawful.passes.record import record

TOLD = ("acceptance_rate", "n_steps", "diverging", "energy")
THEIRS = Contract("bound", target="the posterior", remarks="a sampler of another library, unchecked here")


@dataclass(frozen=True, eq=False)
class PeerPlan:
    """A sampler of another library: call it with a key and the model's arguments."""

    name: str
    model: Any
    run: Callable[[Density, jax.Array, Mapping[str, Any]], tuple[Mapping[str, Any], Mapping[str, Any]]]
    settings: dict[str, Any]
    contract: Contract = THEIRS

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run warm-up and draws.

        Raises:
            NoFiniteStartError: no start of finite log density and gradient was found.
            UnsupportedProgramError: a site is discrete, or exists in one arm of a branch only.
        """
        args = positional(self.model, args, named)
        refuse_traced((key, args), "inference.mcmc(model, kernels.nuts()).sampler(*arguments), which jit and vmap take")
        found = density(self.model, *args)
        positions, stats = self.run(found, one_key(key), self.settings)
        constrained = jax.jit(jax.vmap(jax.vmap(found.constrain)))(positions)
        posterior = {name: np.asarray(x) for name, x in constrained.items()}
        recorded = record(found.form, ("deterministic",))
        values = recorded.choices
        if values:
            run = deterministics(recorded.form, recorded.own)
            posterior |= named_values(run, values, found.inputs, [posterior[name] for name in found.names])
        return from_chains(
            posterior,
            stats={name: np.asarray(x) for name, x in stats.items()},
            observed=checked_data(found.form, found.inputs),
            model=self.model,
            args=args,
            form=found.form,
            dims=dims_of((*found.choices, *values)),
            sampler=self.name,
            run=told_of(self.settings, seed_of(key)),
        )

    def __repr__(self) -> str:
        """Show the sampler."""
        return f"{self.name}()"


def numpyro_nuts(
    model: Any, *, chains: int = 4, warmup: int = 1000, draws: int = 1000, target_acceptance: float = 0.8
) -> PeerPlan:
    """Run NumPyro's NUTS, with its own warm-up, on a lawful program.

    Args:
        model: a program.
        chains: number of chains, side by side.
        warmup: steps of the warm-up.
        draws: draws of each chain.
        target_acceptance: for the step size.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    Reference: Phan, Pradhan and Jankowiak (2019), Composable effects for flexible and accelerated probabilistic
    programming in NumPyro.

    >>> import numpyro.distributions as dist, lawful
    >>> result = numpyro_nuts(lambda: lawful.sample("x", dist.Gamma(2.0, 1.0)), chains=2, warmup=20, draws=10)(0)
    >>> result.posterior["x"].shape
    (2, 10)
    """
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "target_acceptance": target_acceptance}
    return PeerPlan("numpyro_nuts", model, _numpyro, settings)


def blackjax_nuts(
    model: Any, *, chains: int = 4, warmup: int = 1000, draws: int = 1000, target_acceptance: float = 0.8
) -> PeerPlan:
    """Run BlackJAX's NUTS, with its window adaptation, on a lawful program.

    Args:
        model: a program.
        chains: number of chains, side by side.
        warmup: steps of the warm-up.
        draws: draws of each chain.
        target_acceptance: for the step size.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    Raises: LawfulError, when run, where BlackJAX is not installed.

    Reference: Cabezas, Corenflos, Lao and Louf (2024), BlackJAX: composable Bayesian inference in JAX.

    >>> blackjax_nuts(lambda: None)
    blackjax_nuts()
    """
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "target_acceptance": target_acceptance}
    return PeerPlan("blackjax_nuts", model, _blackjax, settings)


def _starts(found: Density, key: jax.Array, chains: int) -> dict[str, jax.Array]:
    rows = [found.initial(jax.random.fold_in(key, chain)) for chain in range(chains)]
    return {name: jnp.stack([row[name] for row in rows]) for name in rows[0]}


def _numpyro(found: Density, key: jax.Array, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    from numpyro.infer import MCMC, NUTS

    kernel = NUTS(potential_fn=lambda x: -found.logp(x), target_accept_prob=settings["target_acceptance"])
    sampler = MCMC(
        kernel, num_warmup=settings["warmup"], num_samples=settings["draws"], num_chains=settings["chains"],
        chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    starts = _starts(found, jax.random.fold_in(key, 0), settings["chains"])
    starts = starts if settings["chains"] > 1 else {name: x[0] for name, x in starts.items()}
    sampler.run(
        jax.random.fold_in(key, 1), init_params=starts, extra_fields=("accept_prob", "num_steps", "diverging", "energy")
    )
    told = sampler.get_extra_fields(group_by_chain=True)
    names = {"acceptance_rate": "accept_prob", "n_steps": "num_steps", "diverging": "diverging", "energy": "energy"}
    return sampler.get_samples(group_by_chain=True), {ours: told[theirs] for ours, theirs in names.items()}


def _blackjax(found: Density, key: jax.Array, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    try:
        blackjax = importlib.import_module("blackjax")
    except ImportError as error:
        raise LawfulError("blackjax_nuts: BlackJAX is not installed. Fix: pip install blackjax.") from error

    def chain(key: jax.Array, start: Any) -> tuple[Any, Any]:
        warm = blackjax.window_adaptation(
            blackjax.nuts, found.logp, target_acceptance_rate=settings["target_acceptance"]
        )
        (state, tuned), _ = warm.run(jax.random.fold_in(key, 0), start, num_steps=settings["warmup"])
        step = blackjax.nuts(found.logp, **tuned).step

        def draw(state: Any, key: jax.Array) -> tuple[Any, Any]:
            state, info = step(key, state)
            told = info.acceptance_rate, info.num_integration_steps, info.is_divergent, info.energy
            return state, (state.position, dict(zip(TOLD, told, strict=True)))

        return jax.lax.scan(draw, state, jax.random.split(jax.random.fold_in(key, 1), settings["draws"]))[1]

    starts = _starts(found, jax.random.fold_in(key, 0), settings["chains"])
    keys = jax.random.split(jax.random.fold_in(key, 1), settings["chains"])
    positions, told = jax.jit(jax.vmap(chain))(keys, starts)
    return positions, told
