"""A fit from one start: EM far from the maximum, Newton's method near it, in units in which data have variance 1.

| gate | how |
| --- | --- |
| "softmax", and "temperature" with tau pinned | EM, then Newton on the log likelihood |
| "topk" | EM with the active set of the current gate, which moves experts and hardly the selection; see `annealing` |
| "temperature" with tau free, "activated" | Newton on the log likelihood, in log tau |

Law: the log likelihood is never below that of the start, as far as the start obeys the limits.

Why EM: from ten random starts of three experts on 400 rows of two, it and Newton's method reach a log likelihood of
403.80 in 0.09 s; L-BFGS on the same likelihood (`inference.maximise`) reaches 399.72 in 0.32 s, that of two experts:
the third one runs off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lawful.errors import LawfulError

from .ascent import ascend
from .curvature import coordinates, derivatives, parameters_at
from .em import Experts, Limits, bounded, climb
from .gates import Gate
from .parameters import Parameters, Units, standardised, unstandardised
from .reading import count
from .rows import BLOCK, Rows, rows_of
from .top_one import fit_top_one

__all__ = ["Fit", "Settings", "allowed_by", "exact_fit", "finished", "fit_from", "prepared"]


class Settings(NamedTuple):
    """How long to look, and what keeps fits finite; all in units in which data have variance 1.

    Attributes:
        floor: least variance of an expert.
        bound: largest norm of a row of beta1.
        em_gain: least gain of log likelihood of an iteration of EM that is worth another.
        em_most: largest number of iterations of EM.
        slope: length of the gradient of the mean log density at which Newton's method stops; at least 100 roundings
            of the precision in use, below which no gradient is known.
        newton_most: largest number of its steps; 0 for EM alone.
    """

    floor: Any = 1e-6
    bound: Any = 1e3
    em_gain: Any = 1e-6
    em_most: Any = 2000
    slope: Any = 1e-6
    newton_most: Any = 500

    def check(self) -> None:
        """Refuse settings that are out of their range; they may be numbers alone.

        >>> Settings(floor=0.01).check()
        """
        if not (0 < float(self.floor) < 1 and float(self.bound) > 0):
            raise LawfulError(
                f"Settings: floor={self.floor}, bound={self.bound}. Fix: give a floor between 0 and 1, a share of "
                "the variance of the answers, and a positive bound."
            )
        for name, value in (("em_gain", self.em_gain), ("slope", self.slope)):
            if not float(value) >= 0:
                raise LawfulError(f"Settings: {name}={value}. Fix: give 0 or more.")
        for name, value in (("em_most", self.em_most), ("newton_most", self.newton_most)):
            count(value, f"Settings: {name}", 0)


class Fit(NamedTuple):
    """A fit from one start.

    Attributes:
        parameters: in the units of the data.
        log_likelihood: of all rows, ().
        iterations: of EM.
        steps: of Newton's method.
        slope: length of the gradient of the mean log density in the end, in coordinates of standardised data; NaN for
            top-K gates, which have none, and of a fit by a program of one's own.
        converged: whether the gradient is shorter than asked for, at no saddle; of top-K gates, whether EM has stopped.
        bound_active: whether a row of beta1 is as long as it may be: then the likelihood still grows with it.
        floor_active: whether a variance is as small as it may be.
    """

    parameters: Parameters
    log_likelihood: Any
    iterations: Any
    steps: Any
    slope: Any
    converged: Any
    bound_active: Any
    floor_active: Any


def exact_fit(x: Float[Array, "n 1"], y: Float[Array, " n"], settings: Settings = Settings()) -> Fit:
    """Fit two experts with a top-1 gate of one covariate; see `fit_top_one`, which needs no start.

    >>> x = jnp.arange(8.0)
    >>> bool(exact_fit(x[:, None], jnp.where(x < 3.5, x, 10.0 - x)).floor_active)
    True
    """
    parameters, value = fit_top_one(x[:, 0], y, settings.floor)
    none, yes = jnp.zeros((), int), jnp.ones((), bool)
    tight = jnp.min(parameters.nu) <= settings.floor * jnp.var(y) * (1 + 1e-3)
    return Fit(parameters, value, none, none, jnp.full((), jnp.nan, x.dtype), yes, ~yes, tight)


def fit_from(
    gate: Gate,
    start: Parameters,
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    settings: Settings = Settings(),
    *,
    free: bool = False,
    block: int = BLOCK,
) -> Fit:
    """Fit a mixture of experts from one start; a function of arrays, for jit, vmap and maps over replications.

    Args:
        gate: how weights are made of scores.
        start: parameters to begin with.
        x: covariates (n, d).
        y: answers (n,).
        settings: how long to look.
        free: whether the temperature of the gate "temperature" is learned, which the data cannot tell from a scale.
        block: rows that are looked at at once.

    >>> x = jnp.linspace(0.0, 1.0, 60)
    >>> y = jnp.where(x < 0.3, 20 * x - 5, 15 - 20 * x) + 0.3 * jnp.sin(400 * x)
    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> found = fit_from(Gate(), told, x[:, None], y)
    >>> bool(found.converged), found.parameters.a[:, 0].round().tolist()
    (True, [-20.0, 20.0])
    """
    k, d = start.a.shape
    if gate.top_k == k:
        gate = Gate()  # every expert is selected
    inside, units, rows = prepared(gate, start, x, y, settings, block)
    by_newton = gate.kind == "activated" or (gate.kind == "temperature" and free)
    reduced = gate if by_newton or gate.kind == "topk" else Gate()  # a pinned temperature is divided out
    iterations, value = jnp.zeros((), int), jnp.zeros((), x.dtype)
    steps, slope, converged = jnp.zeros((), int), jnp.full((), jnp.nan, x.dtype), jnp.zeros((), bool)
    if not by_newton:
        limits = Limits(settings.floor, settings.bound)
        top = gate if gate.kind == "topk" else None
        begin = Experts.of(inside)
        begin = begin._replace(gate=bounded(begin.gate, settings.bound))
        state = climb(begin, rows, limits, settings.em_gain, settings.em_most, top)
        inside, value, iterations = state.experts.parameters(), state.sums.log_likelihood, state.iterations
        converged = state.gain < settings.em_gain
    if gate.kind != "topk":
        allowed = allowed_by(gate, settings.bound, k, d)
        evaluate = derivatives(reduced, rows, settings.floor, k)
        theta = allowed(coordinates(reduced, inside, settings.floor))
        tol = jnp.maximum(settings.slope, 100 * jnp.finfo(x.dtype).eps)
        end = ascend(evaluate, theta, tol=tol, most=settings.newton_most, allowed=allowed)
        inside = parameters_at(reduced, end.theta, settings.floor, k, d)
        value, steps, converged = end.local.value * len(y), end.iterations, end.converged
        slope = jnp.sqrt(jnp.sum(end.local.slope**2))
    return finished(inside, units, settings, value, len(y), iterations, steps, slope, converged)


def prepared(
    gate: Gate, start: Parameters, x: jax.Array, y: jax.Array, settings: Settings, block: int = BLOCK
) -> tuple[Parameters, Units, Rows]:
    """Give the start and the data in units in which data have variance 1, and the units."""
    units = Units.of(x, y, centred=gate.affine)
    inside = standardised(jax.tree.map(lambda v: jnp.asarray(v, x.dtype), start), units)
    rows = rows_of((x - units.x_mean[None]) / units.x_scale[None], (y - units.y_mean) / units.y_scale, block=block)
    return inside._replace(nu=jnp.maximum(inside.nu, 2 * settings.floor)), units, rows


def finished(
    inside: Parameters,
    units: Units,
    settings: Settings,
    value: Any,
    n: int,
    iterations: Any,
    steps: Any,
    slope: Any,
    converged: Any,
) -> Fit:
    """Tell of a fit that has ended, in the units of the data, and which limits it has reached."""
    norm = jnp.sqrt(jnp.max(jnp.sum(inside.beta1**2, axis=1)))
    return Fit(
        unstandardised(inside, units),
        value - n * jnp.log(units.y_scale),
        iterations,
        steps,
        slope,
        converged,
        norm >= settings.bound * (1 - 1e-6),
        jnp.min(inside.nu) <= settings.floor * (1 + 1e-3),
    )


def allowed_by(gate: Gate, bound: Any, k: int, d: int) -> Callable[[jax.Array], jax.Array]:
    """Make the map of coordinates that shortens rows of the gate whose slopes are longer than the bound."""
    free = gate.kind == "activated"
    width, size = (d, k * d) if free else (d + 1, (k - 1) * (d + 1))

    def allowed(theta: jax.Array) -> jax.Array:
        part = theta[:size].reshape(-1, width)
        whole = jnp.pad(part, [(0, 0), (0, 1)]) if free else part
        short = bounded(whole, bound)[:, :width]
        return jnp.concatenate([short.reshape(-1), theta[size:]])

    return allowed
