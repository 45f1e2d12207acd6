"""Modes of a program of experts, in standard units: `inference.maximise`, with the labels summed out.

The posterior starts from them, and a fit by a program of one's own is the best of them. Why standard units: with a
covariate from 2000 to 2001 as it is, five of six searches for two experts stop on their way; in standard units none.

Law: a maximum is kept before a place where the density has none, as where the variance of an expert falls to 0; a fit
is a mode of its program, in the units of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful import inference
from lawful.inference import Finding

from .fitting import Fit
from .gates import Gate
from .parameters import Parameters, Units, rescaled, standardised, unstandardised
from .program import free_parameters, free_values

__all__ = ["fits_of", "heights", "summed"]


@lru_cache(maxsize=64)
def summed(program: Callable[..., Any]) -> Any:
    """Sum the labels of a program out."""
    return inference.marginalise()(program)


def heights(modes: Any) -> np.ndarray:
    """Give the log densities of modes, -inf where the density has no maximum and another mode is one."""
    proper = np.array([mode.proper for mode in modes])
    return np.where(proper | ~proper.any(), modes.log_density, -np.inf)


def fits_of(
    program: Callable[..., Any], gate: Gate, free: bool, k: int, X: jax.Array, y: jax.Array, starts: Parameters
) -> tuple[Fit, tuple[Finding, ...]]:
    """Fit a program from some starts.

    Args:
        program: the joint, of the arguments of `program.free_mixture` and with its sites, which may have other laws.
        gate: how weights are made of scores, none of which jumps.
        free: whether the program reads the temperature of the gate "temperature"; it is divided out, else.
        k: number of experts.
        X: covariates (n, d).
        y: answers (n,).
        starts: parameters, leaves (starts, ...), in the units of the data.

    Returns: the fits from all starts, leaves (starts, ...), whose log likelihood is the log density of the program, and
        what the search says against the best.
    """
    divided = gate.kind == "temperature" and not free
    read, units = Gate() if divided else gate, Units.of(X, y, centred=gate.affine)

    def entered(start: Parameters) -> dict[str, jax.Array]:
        start = jax.tree.map(lambda v: jnp.asarray(v, X.dtype), start)
        return free_values(read, standardised(rescaled(start, 1 / start.tau) if divided else start, units))

    inside = (X - units.x_mean[None]) / units.x_scale[None], (y - units.y_mean) / units.y_scale
    begin, count = jax.vmap(entered)(starts), len(starts.b)
    result: Any = inference.maximise(summed(_bound(program, k, read)), starts=count, init=begin)(0, *inside)
    modes = result.optima
    own = modes.search_optimum
    drawn = {name: jnp.asarray(modes.values[name][own]) for name in begin}
    parameters = jax.vmap(lambda v: unstandardised(free_parameters(read, v), units))(drawn)
    value = np.where(own < 0, -np.inf, heights(modes)[own]) - len(y) * float(jnp.log(units.y_scale))
    none, proper = np.zeros(count, bool), np.array([mode.proper for mode in modes])
    slope = np.full(count, np.nan)
    fits = Fit(parameters, value, 0 * own, modes.search_steps, slope, proper[own] & (own >= 0), none, none)
    return fits, tuple(result.reasons)


@lru_cache(maxsize=64)
def _bound(program: Callable[..., Any], k: int, gate: Gate) -> Callable[[Any, Any], Any]:
    return lambda X, y: program(X, y, k, gate)
