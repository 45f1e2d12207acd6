"""Tables, pictures and files of the Nile example: what examples/nile.py shows, without the inference."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray
from output import place, saved, say

UNIT = 100.0  # the programs see the flow in units of 100


class Change(NamedTuple):
    """The posterior of the first year of the new level, found in three ways."""

    years: np.ndarray
    exact: np.ndarray
    chains: np.ndarray
    smc: np.ndarray
    smc_error: np.ndarray

    @classmethod
    def of(cls, years: np.ndarray, enumerated: dict[int, float], mcmc: Any, smc: Any) -> Change:
        """Collect the posterior from an enumeration, from chains, and from particles.

        Args:
            years: the years of the data; the first cannot be the year of the change.
            enumerated: probability of each choice; choice 0 is the second year.
            mcmc: the result of chains with "change", whose 0 is the second year.
            smc: the result of independent runs with it.
        """
        exact = np.array([enumerated.get(choice, 0.0) for choice in range(len(years) - 1)])
        chains, runs = (
            np.array([np.bincount(row, minlength=len(years) - 1) / len(row) for row in np.asarray(found["change"])])
            for found in (mcmc.posterior, smc.posterior)
        )
        error = runs.std(axis=0, ddof=1) / math.sqrt(len(runs))
        return cls(years[1:], exact, chains.mean(axis=0), runs.mean(axis=0), error)


def print_evidence(smc: dict[str, Any], exact: dict[str, float]) -> None:
    """Print the table of evidences."""
    print(f"  {'log evidence':<14}{'sequential Monte Carlo':>24}{'exact':>10}{'z':>6}{'Bayes factor to one level':>28}")
    for name, result in smc.items():
        pooled, error = result.log_evidence_pooled, result.log_evidence_error
        best = exact.get(name, pooled)
        known, z = (f"{best:.3f}", f"{(pooled - best) / error:+.1f}") if name in exact else ("-", "-")
        ratio = math.exp(best - exact["one level"])
        print(f"  {name:<14}{pooled:>15.3f} +- {error:.3f}{known:>10}{z:>6}{ratio:>28.2f}")
    print()


def print_variances(mcmc: dict[str, Any]) -> None:
    """Print posterior medians of the variances beside the maximum of the likelihood."""
    print(f"  {'variances':<34}{'noise':>9}{'step':>9}")
    for name, result in mcmc.items():
        noise, step = (UNIT * np.median(np.asarray(result.posterior[scale])) for scale in ("noise_sd", "step_sd"))
        print(f"  {name + ', posterior median':<34}{noise**2:>9.0f}{step**2:>9.0f}")
    print(f"  {'one level, maximum likelihood':<34}{15099:>9}{1469:>9}   (Durbin and Koopman 2012, section 2.10)")


def print_verdict(change: Change, log_ratio: float) -> None:
    """Say what follows."""
    best = int(np.argmax(change.exact))
    more, less, side = ("with", "without", "for") if log_ratio > 0 else ("without", "with", "against")
    say(
        f"""
        The data are {math.exp(abs(log_ratio)):.1f} times as probable {more} a change as {less} one: some evidence
        {side} a change, beside a level that may wander anyway. If there was one, the first year of the new level was
        most probably {change.years[best]}, with probability {change.exact[best]:.3f} by enumeration,
        {change.chains[best]:.3f} by Markov chains and {change.smc[best]:.3f} +- {change.smc_error[best]:.3f} by
        sequential Monte Carlo. (The first dam at Aswan was built from 1899 to 1902.)"""
    )


def write(
    years: np.ndarray, flow: Any, levels: dict[str, Any], smc: dict[str, Any], mcmc: dict[str, Any], change: Change
) -> list[Path]:
    """Write the pictures and the results."""
    return [
        draw_levels(years, flow, levels),
        draw_change(change),
        draw_ranks(mcmc["one change"]),
        write_trees(years, smc, mcmc),
    ]


def draw_levels(years: np.ndarray, flow: Any, levels: dict[str, Any]) -> Path:
    """Draw the flow with each program's band of the level, from draws (draws, years)."""
    figure, axes = plt.subplots(len(levels), 1, figsize=(9, 8), sharex=True, sharey=True, layout="constrained")
    for axis, (name, draws) in zip(axes, levels.items(), strict=True):
        low, middle, high = UNIT * np.quantile(np.asarray(draws), [0.055, 0.5, 0.945], axis=0)
        axis.plot(years, UNIT * np.asarray(flow), ".", color="0.4", markersize=4)
        axis.fill_between(years, low, high, alpha=0.3, linewidth=0)
        axis.plot(years, middle)
        axis.set_title(f"{name}: median and 89 % band of the level", loc="left", fontsize="medium")
        axis.set_ylabel("flow, $10^8$ m$^3$")
    return saved(figure, "levels.png")


def draw_change(change: Change) -> Path:
    """Draw the posterior of the year of the change."""
    figure, axis = plt.subplots(figsize=(9, 3.5), layout="constrained")
    axis.bar(change.years, change.exact, color="0.8", label="enumeration")
    axis.plot(change.years, change.chains, "_", markersize=14, label="Markov chains")
    axis.errorbar(change.years, change.smc, change.smc_error, fmt=".", label="sequential Monte Carlo, ± standard error")
    axis.set_xlim(1889.5, 1909.5)
    axis.set_xticks(range(1890, 1910, 2))
    axis.set_ylabel("probability")
    axis.set_xlabel("first year of the new level")
    axis.legend()
    return saved(figure, "change_year.png")


def draw_ranks(result: Any) -> Path:
    """Draw, chain by chain, how the ranks of its draws among all draws differ from even ones."""
    collection = az.plot_rank(
        result.to_datatree(),
        var_names=["noise_sd", "step_sd"],
        backend="matplotlib",
        figure_kwargs={"figsize": (9, 3.5)},
        visuals={"xlabel": {"text": "rank among all draws, as a share"}},
    )
    figure = collection.viz["figure"].item()
    figure.suptitle(
        "one change: ranks of each chain's draws, cumulative share less the even one; p is that of even ranks"
    )
    figure.set_layout_engine("constrained")
    return saved(figure, "ranks.png")


def write_trees(years: np.ndarray, smc: dict[str, Any], mcmc: dict[str, Any]) -> Path:
    """Write every result into one netCDF file, a branch each; a population by 1000 of its shuffled draws."""
    names: dict[str, Any] = {"dims": {"level": ["year"], "flow": ["year"]}, "coords": {"year": years}}
    trees = {f"mcmc_{name.replace(' ', '_')}": result.to_datatree(**names) for name, result in mcmc.items()}
    for name, result in smc.items():
        whole = result.to_datatree(**names)
        del whole["weighted_posterior"]
        trees[f"smc_{name.replace(' ', '_')}"] = whole.isel(draw=slice(1000), missing_dims="ignore")
    path = place("nile.nc")
    xarray.DataTree(children=trees).to_netcdf(path, engine="netcdf4")
    return path
