"""Populations: prey and predators whose numbers follow a differential equation.

Law: the program has the density of its equations, up to the error of the solver, which its arguments bound. A
trajectory that the solver cannot finish has density zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError

__all__ = ["lotka_volterra", "predation"]


def predation(
    rates: Any,
    start: Any,
    times: Any,
    *,
    steps: int | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    max_steps: int = 1000,
) -> jax.Array:
    """Solve du/dt = (a - b v) u, dv/dt = (-c + d u) v (Lotka 1925, Volterra 1926); return log numbers.

    The equations are solved for log u and log v, which keeps both numbers positive.

    Args:
        rates: (4,), a, b, c and d, all positive: growth of the prey, loss to predators, loss of the predators, growth
            by prey; per unit of time, b and d also per animal.
        start: (2,), u and v at time 0, positive.
        times: (T,), when they are wanted, ascending, above 0.
        steps: how many equal steps between two times the classical Runge-Kutta method (of order four) takes; None for a
            solver that chooses its steps. Where the times are even, gradients by equal steps are many times faster.
        rtol: relative tolerance of a step of that solver, in log numbers.
        atol: absolute tolerance of a step.
        max_steps: the most steps; what they do not reach is infinite.

    Returns: (T, 2), log u and log v.

    Raises: LawfulError for less than one step, and where diffrax, which chooses steps, is not installed.

    >>> rest = predation(jnp.array([0.5, 0.1, 0.5, 0.1]), jnp.array([5.0, 5.0]), jnp.array([1.0, 2.0]))
    >>> [round(float(x), 6) for x in jnp.exp(rest[-1])]
    [5.0, 5.0]
    """
    if steps is not None and steps < 1:
        raise LawfulError(f"predation: steps: expected a number of 1 or more, or None, got {steps!r}.")
    if steps is not None:
        return _by_equal_steps(_slope, jnp.asarray(rates), jnp.log(start), jnp.asarray(times), steps)
    try:
        import diffrax
    except ImportError as error:
        raise LawfulError(
            "predation: the solver of differential equations comes from diffrax, which is not installed. "
            "Fix: pip install 'lawful[ode]'."
        ) from error

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, logs, rates: _slope(logs, rates)),
        diffrax.Tsit5(),
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=jnp.log(start),
        args=jnp.asarray(rates),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=max_steps,
        throw=False,
    )
    return jnp.asarray(solution.ys)


def _slope(logs: jax.Array, rates: jax.Array) -> jax.Array:
    a, b, c, d = rates
    return jnp.stack([a - b * jnp.exp(logs[1]), -c + d * jnp.exp(logs[0])])


def _by_equal_steps(
    slope: Callable[[jax.Array, jax.Array], jax.Array], rates: jax.Array, start: jax.Array, times: jax.Array, steps: int
) -> jax.Array:
    """Solve an equation from time 0 by the classical Runge-Kutta method; (T, d)."""

    def interval(x: jax.Array, span: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = span / steps

        def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            k1 = slope(x, rates)
            k2 = slope(x + h / 2 * k1, rates)
            k3 = slope(x + h / 2 * k2, rates)
            k4 = slope(x + h * k3, rates)
            return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        reached, _ = jax.lax.scan(step, x, None, length=steps)
        return reached, reached

    path = jax.lax.scan(interval, start, jnp.diff(times, prepend=0.0))[1]
    return jnp.where(jnp.isfinite(path), path, jnp.inf)


def lotka_volterra(times: Any, first: Any = None, later: Any = None, **solver: Any) -> jax.Array:
    """Counts of prey and predators with log-normal noise (posteriordb: hudson_lynx_hare-lotka_volterra).

    Args:
        times: (T,), when the later counts were made, ascending, above 0.
        first: (2,), counts of prey and predators at time 0; None to draw them.
        later: (T, 2), counts at `times`; None to draw them.
        solver: how the equations are solved, as for `predation`.

    Returns: (T, 2), the later counts.

    Reference: Carpenter (2018), Predator-prey population dynamics: the Lotka-Volterra model in Stan.

    >>> from lawful import handlers
    >>> counts = handlers.seed(lotka_volterra, jax.random.key(3))(jnp.arange(1.0, 6.0))
    >>> counts.shape, bool((counts > 0).all())
    ((5, 2), True)
    """
    centre, spread = jnp.array([1.0, 0.05, 1.0, 0.05]), jnp.array([0.5, 0.05, 0.5, 0.05])
    rates = lawful.sample("theta", dist.TruncatedNormal(centre, spread, low=0.0).to_event(1))
    sigma = lawful.sample("sigma", dist.LogNormal(-1.0, 1.0).expand([2]).to_event(1))
    start = lawful.sample("z_init", dist.LogNormal(jnp.log(10.0), 1.0).expand([2]).to_event(1))
    lawful.sample("y_init", dist.LogNormal(jnp.log(start), sigma).to_event(1), obs=first)
    logs = predation(rates, start, times, **solver)
    counts: jax.Array = lawful.sample("y", dist.LogNormal(logs, sigma).to_event(2), obs=later)
    return counts
