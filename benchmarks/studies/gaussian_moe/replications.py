"""Replications of a study: data from a truth, a fit that starts near it or anywhere, and how far off it is.

Law: a replication is a function of the key, n and its number alone. One program is compiled for a study and a size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful.errors import LawfulError
from lawful.form.arguments.random_keys import one_key
from lawful.models.gaussian_moe.density import Mixture
from lawful.models.gaussian_moe.estimator import SAME, GaussianMoE
from lawful.models.gaussian_moe.fitting import Fit, Settings, exact_fit, fit_from
from lawful.models.gaussian_moe.hellinger import answers_grid, hellinger, root_densities, unit_nodes
from lawful.models.gaussian_moe.parameters import Parameters
from lawful.models.gaussian_moe.reading import count
from lawful.models.gaussian_moe.starts import random_start
from lawful.models.gaussian_moe.voronoi import align, voronoi_loss

from .near_truth import cell_errors, near_truth, perturbed_gate, scaled_like

__all__ = ["measured"]


def measured(
    key: Any,
    truth: Mixture,
    model: GaussianMoE,
    n: int,
    numbers: Iterable[int],
    *,
    order: Sequence[int] | None = None,
    starts: int = 1,
    spread: float | None = None,
    anywhere: bool = False,
    settings: Settings = Settings(),
) -> Iterator[dict[str, int | float]]:
    """Give the errors of replications of one size, as they are done; the other arguments are those of `rate_study`."""
    key = one_key(key)
    true, extra = truth.parameters.n_experts, model.n_experts - truth.parameters.n_experts
    if truth.parameters.a.shape[1] != 1 or extra < 0:
        raise LawfulError(
            f"rate_study: a truth of {true} experts and {truth.parameters.a.shape[1]} covariates for a model of "
            f"{model.n_experts}. Fix: give a truth of one covariate, and a model of as many experts or more."
        )
    count(n, "rate_study: n")
    order = [*range(true), *range(true - 1, true - 1 - extra, -1)] if order is None else list(order)
    if len(order) != model.n_experts or set(order) != set(range(true)):
        raise LawfulError(
            f"rate_study: order={order} for {model.n_experts} fitted experts and {true} true ones. Fix: give each "
            "fitted expert a true one, and each true one a fitted expert."
        )
    nodes = unit_nodes()[0]
    grid = jnp.asarray(answers_grid(truth, nodes))
    roots = jax.jit(lambda: root_densities(truth, nodes, grid))()

    @jax.jit
    def replicate(number: jax.Array, roots: jax.Array) -> tuple[Fit, jax.Array, jax.Array]:
        places, answers, noise = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, n), number), 3)
        x = jax.random.uniform(places, (n, 1))
        y = truth.sample(answers, x)

        def begun(each: jax.Array) -> Parameters:
            if spread:
                return perturbed_gate(each, truth.parameters, spread)
            return near_truth(each, truth.parameters, order, n)

        keys = jax.random.split(noise, starts)
        if model.exactly_solved:
            fits = jax.tree.map(lambda v: v[None], exact_fit(x, y, settings))
        else:
            begin = jax.vmap(begun)(keys)
            if anywhere:
                lost = jax.vmap(lambda each: random_start(each, x, y, model.n_experts, model.gate))(keys)
                begin = jax.tree.map(lambda far, near: jnp.concatenate([far, near[:1]]), lost, begin)
            fits = lax.map(lambda p: fit_from(model.gate, p, x, y, settings, free=model.tau == "free"), begin)
        values = jnp.where(jnp.isnan(fits.log_likelihood), -jnp.inf, fits.log_likelihood)
        fit = jax.tree.map(lambda v: v[jnp.argmax(values)], fits)
        reached = jnp.mean(values[:starts] >= jnp.max(values) - SAME)
        return fit, hellinger(Mixture(model.gate, fit.parameters), truth, grid=grid, roots=roots), reached

    for number in numbers:
        fit, distance, reached = jax.tree.map(np.asarray, replicate(jnp.asarray(number), roots))
        errors = _errors(fit, truth, model) | {"hellinger": distance, "reached": reached}
        yield {"n": n, "replication": number, **{name: float(value) for name, value in errors.items()}}


def _errors(fit: Fit, truth: Mixture, model: GaussianMoE) -> dict[str, float]:
    """Give all errors of one fit."""
    told = fit.parameters
    if model.exactly_solved:
        told = scaled_like(told, truth.parameters)
    mixture = Mixture(model.gate, told)
    kind = "exact" if model.n_experts == truth.parameters.n_experts else "over"
    aligned = align(mixture, truth, kind)
    found = {"loss": aligned.loss, "unit_loss": voronoi_loss(mixture, truth, kind, "unit")}
    for name, values in cell_errors(aligned, truth).items():
        found |= {f"{name}_{j + 1}": value for j, value in enumerate(values)}
    if kind == "exact" and model.n_experts == 2:
        boundaries = [-(p.beta0[0] - p.beta0[1]) / (p.beta1[0, 0] - p.beta1[1, 0]) for p in (told, truth.parameters)]
        found["boundary"] = abs(float(boundaries[0] - boundaries[1]))
    if model.gate.kind in ("temperature", "activated") and kind == "exact":
        raw = _nearer_twin(told, truth, model)
        pairs = [(raw.beta1[:, 0], truth.parameters.beta1[:, 0]), (raw.beta0, truth.parameters.beta0)]
        one, zero = (float(np.abs((v - v[-1] if model.gate.linear else v) - np.asarray(t)).sum()) for v, t in pairs)
        found |= {"raw_beta1": one, "raw_beta0": zero, "raw_tau": abs(float(raw.tau - truth.parameters.tau))}
    return found | {
        "log_likelihood": fit.log_likelihood, "iterations": fit.iterations, "steps": fit.steps, "slope": fit.slope,
        "converged": fit.converged, "bound_active": fit.bound_active, "floor_active": fit.floor_active,
    }  # fmt: skip


def _nearer_twin(told: Any, truth: Mixture, model: GaussianMoE) -> Any:
    """Of the two gates with the same weights that two experts have with an odd activation, take the nearer one."""
    if model.gate.kind != "activated" or model.gate.activation == "gelu":
        return told
    twin = told._replace(beta1=-told.beta1[::-1])
    return min((told, twin), key=lambda p: float(np.abs(p.beta1 - np.asarray(truth.parameters.beta1)).sum()))
