"""Studies of rates: data from a truth at growing sizes, fits that start near it, and how their errors fall.

Law: a replication is a function of the key, n and its number alone, whatever else is run. Errors are told by medians:
powers of errors have heavy tails, and a mean would tell of failed fits alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful.errors import LawfulError

from .density import Mixture
from .estimator import GaussianMoE
from .fitting import Fit, Settings, exact_fit, fit_from
from .hellinger import answers_grid, hellinger, unit_nodes
from .starts import near_truth, perturbed_gate
from .voronoi import align, cell_errors, scaled_like, voronoi_loss

__all__ = ["Rates", "measured", "rate_study", "slope_of"]

SIZES = (100, 316, 1000, 3162, 10_000, 31_623, 100_000)


@dataclass(frozen=True, eq=False)
class Rates:
    """What a study found.

    Attributes:
        frame: a pandas frame with one row for each n and replication, and one column for each error.
    """

    frame: Any

    def medians(self) -> Any:
        """Give the medians of all errors, by n."""
        return self.frame.drop(columns="replication").groupby("n").median()

    def slope(self, column: str, least: int = 0) -> float:
        """Give the slope of log median error in log n, over sizes from `least` on."""
        return slope_of(self.frame, column, least)

    def plot(self, columns: Sequence[str] = ("loss", "hellinger"), ax: Any = None) -> Any:
        """Show medians and quartiles of errors against n, both on log scales, with slopes.

        Args:
            columns: which errors.
            ax: axes of matplotlib; new ones by default.

        Returns: the axes.
        """
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise LawfulError("Rates.plot needs matplotlib. Fix: pip install 'lawful[demo]'.") from error
            _, ax = pyplot.subplots(layout="constrained")
        for column in columns:
            quartiles = self.frame.groupby("n")[column].quantile([0.25, 0.5, 0.75]).unstack()
            low, middle, high = (quartiles[q].to_numpy() for q in (0.25, 0.5, 0.75))
            n = quartiles.index.to_numpy()
            label = f"{column}: {self.slope(column):+.2f}"
            ax.errorbar(n, middle, [middle - low, high - middle], fmt="o-", capsize=3, label=label)
        ax.set(xscale="log", yscale="log", xlabel="n", ylabel="median error, quartiles")
        ax.legend(title="slope")
        return ax


def slope_of(frame: Any, column: str, least: int = 0) -> float:
    """Give the least squares slope of log median error in log n; NaN for fewer than two sizes.

    >>> import pandas
    >>> round(slope_of(pandas.DataFrame({"n": [1, 1, 100, 100], "e": [1.0, 1.0, 0.1, 0.1]}), "e"), 6)
    -0.5
    """
    median = frame[frame["n"] >= least].groupby("n")[column].median()
    if len(median) < 2:
        return float("nan")
    n = np.log(median.index.to_numpy(float))
    with np.errstate(divide="ignore", invalid="ignore"):  # an error that is exactly 0 has no slope
        return float(np.cov(n, np.log(median.to_numpy()), ddof=0)[0, 1] / n.var())


def rate_study(
    key: Any,
    truth: Mixture,
    model: GaussianMoE,
    sizes: Sequence[int] = SIZES,
    replications: int = 40,
    *,
    order: Sequence[int] | None = None,
    starts: int = 1,
    spread: float | None = None,
    settings: Settings = Settings(),
) -> Rates:
    """Fit a model to data from the truth, x uniform on [0, 1], and measure how far off it is.

    Args:
        key: of JAX, or a number; n and the number of the replication are folded in.
        truth: of one covariate.
        model: what is fitted.
        sizes: numbers of rows.
        replications: of each size.
        order: the true expert near which each fitted one starts; by default as they are, and the last ones split first.
        starts: of each fit, the best of which is kept.
        spread: standard deviation of relative noise in the gate of a start, instead of starts near the truth.
        settings: how long to look.

    Returns: all errors; "loss" is the Voronoi loss, D1 for as many experts as the truth has and D2 for more.

    >>> from .gates import Gate
    >>> from .parameters import Parameters
    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> found = rate_study(0, Mixture(Gate("topk", top_k=1), told), GaussianMoE(2, "topk", top_k=1), [50, 500], 5)
    >>> found.frame.shape[0], found.slope("unit_loss") < 0
    (10, True)
    """
    import pandas

    frames = [
        measured(key, truth, model, n, replications, order=order, starts=starts, spread=spread, settings=settings)
        for n in sizes
    ]
    return Rates(pandas.DataFrame([row for rows in frames for row in rows]))


def measured(
    key: Any,
    truth: Mixture,
    model: GaussianMoE,
    n: int,
    replications: int,
    *,
    order: Sequence[int] | None = None,
    starts: int = 1,
    spread: float | None = None,
    settings: Settings = Settings(),
) -> list[dict[str, int | float]]:
    """Give the errors of all replications of one size; arguments are those of `rate_study`."""
    key = jax.random.key(key) if isinstance(key, int) else key
    true, extra = truth.parameters.n_experts, model.n_experts - truth.parameters.n_experts
    order = [*range(true), *range(true - 1, true - 1 - extra, -1)] if order is None else list(order)
    grid = jnp.asarray(answers_grid(truth, unit_nodes()[0]))

    def replicate(number: jax.Array) -> tuple[Fit, jax.Array]:
        places, answers, noise = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, n), number), 3)
        x = jax.random.uniform(places, (n, 1))
        y = truth.sample(answers, x)
        if model.exactly_solved:
            fit = exact_fit(x, y, settings)
        else:

            def begun(each: jax.Array) -> Fit:
                start = perturbed_gate(each, truth.parameters, spread) if spread else None
                start = near_truth(each, truth.parameters, order, n) if start is None else start
                return fit_from(model.gate, start, x, y, settings, free=model.tau == "free")

            fits = lax.map(begun, jax.random.split(noise, starts))
            fit = jax.tree.map(lambda v: v[jnp.argmax(fits.log_likelihood)], fits)
        return fit, hellinger(Mixture(model.gate, fit.parameters), truth, grid=grid)

    fits, distances = jax.jit(partial(lax.map, replicate))(jnp.arange(replications))
    fits, distances = jax.tree.map(np.asarray, (fits, distances))
    rows: list[dict[str, int | float]] = []
    for number in range(replications):
        errors = _errors(jax.tree.map(lambda v, number=number: v[number], fits), truth, model)
        errors["hellinger"] = distances[number]
        rows.append({"n": n, "replication": number, **{name: float(value) for name, value in errors.items()}})
    return rows


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
