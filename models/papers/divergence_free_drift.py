"""A drift without divergence: Langevin dynamics with a current beside the score, which keeps the target.

Represents diffusions dx = (score(x) + r(x)) dt + sqrt(2) dW with score = grad log pi. They keep pi if and only if the
current pi r has no divergence, which is div r + r . score = 0. That r be the gradient of something is not needed, and
that r itself have no divergence is not enough. Such a choice is the gauge freedom of learned scores; used on purpose, a
current mixes faster than the score alone.

Law: with a skew matrix A, r = A score has defect 0 for every smooth density. The Euler step of the diffusion keeps pi
up to the square of its length. `lifted`, which turns the current round where a move is rejected, keeps pi exactly.

References: Horvat and Pfister (2024), On gauge freedom, conservativity and intrinsic dimensionality estimation in
diffusion models, arXiv 2402.03845; Lelievre, Nier and Pavliotis (2013), Optimal non-reversible linear drift for the
convergence to equilibrium of a diffusion, arXiv 1212.0876; Turitsyn, Chertkov and Vucelja (2011), Irreversible Monte
Carlo algorithms for efficient sampling, arXiv 0809.0916.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from lawful.inference import kernels

__all__ = ["both_ways", "current", "defect", "euler", "langevin", "lifted"]

type Field = Callable[[jax.Array], jax.Array]


def current(log_density: Field, skew: Any) -> Field:
    """Make the allowed drift of a skew matrix, r(x) = A grad log pi(x).

    Args:
        log_density: from a point (d,) to log pi there, up to a constant.
        skew: (d, d), a matrix A with A' = -A. Another matrix gives a drift that moves pi.

    Returns: the field, from points (d,) to vectors (d,).

    >>> current(lambda x: -0.5 * x @ x, jnp.array([[0.0, 1.0], [-1.0, 0.0]]))(jnp.array([2.0, 3.0])).tolist()
    [-3.0, 2.0]
    """
    return lambda x: jnp.asarray(skew) @ jax.grad(log_density)(x)


def defect(log_density: Field, field: Field, points: Any) -> jax.Array:
    """Give div r + r . grad log pi at points: how fast a drift fills or empties each place, 0 where it is allowed.

    Args:
        log_density: from a point (d,) to log pi there.
        field: the drift, from points (d,) to vectors (d,).
        points: (n, d).

    Returns: (n,).

    >>> turn = lambda x: jnp.array([-x[1], x[0]])  # no divergence, which suits a round density alone
    >>> points = jnp.array([[1.0, 1.0], [2.0, -1.0]])
    >>> defect(lambda x: -0.5 * x @ x, turn, points).tolist(), defect(lambda x: -x[0] ** 2, turn, points).tolist()
    ([0.0, 0.0], [2.0, -4.0])
    """

    def at(x: jax.Array) -> jax.Array:
        return jnp.trace(jax.jacfwd(field)(x)) + field(x) @ jax.grad(log_density)(x)

    return jax.vmap(at)(jnp.asarray(points))


def langevin(log_density: Field, field: Field, start: Any, step: Any, length: int) -> jax.Array:
    """Follow the dynamics for some Euler steps, x' ~ N(x + step (score(x) + r(x)), 2 step).

    Args:
        log_density: from a point (d,) to log pi there.
        field: the drift r beside the score.
        start: (d,), where the path begins.
        step: time of a step.
        length: number of steps.

    Returns: (length, d), the path.

    >>> density = lambda x: -0.5 * x @ x
    >>> program = lambda start: langevin(density, current(density, jnp.zeros((2, 2))), start, 0.1, 3)
    >>> lawful.trace(program, jnp.zeros(2)).outputs[0].shape
    (3, 2)
    """

    def move(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        mean = x + step * (jax.grad(log_density)(x) + field(x))
        x = lawful.sample("x", dist.Normal(mean, jnp.sqrt(2.0 * step)).to_event(1))
        return x, x

    path: jax.Array = lawful.scan(move, jnp.asarray(start), None, length=length)[1]
    return path


def euler(field: Callable[[Field], Field], step: float, site: str = "x") -> Any:
    """Make the Euler step a kernel, without a correction: what a drift does to the target is seen by a check of it.

    Args:
        field: from the log density of the program to the drift beside its score.
        step: time of a step.
        site: the site that moves, (d,), the only one of its program, without bounds.

    Returns: a kernel, which keeps its target up to the square of the step if the drift is allowed.

    >>> euler(lambda log_density: current(log_density, jnp.zeros((2, 2))), 0.01)
    foreign(langevin_step)
    """

    def langevin_step(log_density: Callable[[Mapping[str, jax.Array]], jax.Array]) -> Any:
        def density(x: jax.Array) -> jax.Array:
            return log_density({site: x})

        def moved(key: jax.Array, position: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            x = position[site]
            mean = x + step * (jax.grad(density)(x) + field(density)(x))
            return {site: dist.Normal(mean, jnp.sqrt(2.0 * step)).sample(key)}

        return moved

    return kernels.foreign(langevin_step)


def both_ways(program: Callable[..., Any]) -> Callable[..., Any]:
    """Add the direction of the current to a program, one way or the other with equal chances.

    Args:
        program: with a continuous site that `lifted` is to move.

    Returns: the program with a site "direction", 0 or 1, which nothing reads.

    >>> model = both_ways(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))
    >>> [site.address[0] for site in lawful.trace(model).sites()]
    ['direction', 'x']
    """

    def directed(*args: Any, **named: Any) -> Any:
        lawful.sample("direction", dist.Bernoulli(0.5))
        return program(*args, **named)

    return directed


def lifted(log_density: Field, field: Field, step: float, site: str = "x") -> Any:
    """Correct the Euler step by a coin that keeps the current: rejected moves turn it round.

    From (x, d) the move proposes x' by the drift score + d r and looks back from x' by score - d r, which is the same
    diffusion in reversed time. With (x', -d) this is an involution that keeps volume; after it the direction is turned
    once more, so that d lasts as long as moves are taken.

    Args:
        log_density: from a point (d,) to the log density of the program there.
        field: the drift r; one that is not allowed is rejected more often, and the target is kept all the same.
        step: time of a step.
        site: the site that moves, (d,).

    Returns: a kernel for `both_ways(program)`.

    >>> kernel = lifted(lambda x: -0.5 * x @ x, lambda x: 0.0 * x, 0.1)
    >>> model = both_ways(lambda: lawful.sample("x", dist.Normal(jnp.zeros(2), 1.0).to_event(1)))
    >>> print(kernel.plan(lawful.trace(model))[0])
    1. direction: moved by involutive(forth, auxiliary=noise), which draws noise
    """

    def mean(x: jax.Array, direction: jax.Array) -> jax.Array:
        return x + step * (jax.grad(log_density)(x) + (2.0 * direction - 1.0) * field(x))

    def noise(here: Mapping[str, jax.Array]) -> None:
        lawful.sample("noise", dist.Normal(jnp.zeros_like(here[site]), 1.0).to_event(1))

    def forth(here: Mapping[str, jax.Array], drawn: Mapping[str, jax.Array]) -> tuple[dict[str, Any], dict[str, Any]]:
        x, turned, scale = here[site], 1 - here["direction"], jnp.sqrt(2.0 * step)
        there = mean(x, here["direction"]) + scale * drawn["noise"]
        return {site: there, "direction": turned}, {"noise": (x - mean(there, turned)) / scale}

    def turn(here: Mapping[str, jax.Array], _: Mapping[str, jax.Array]) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"direction": 1 - here["direction"]}, {}

    # (x, noise) -> (x, x') has the Jacobian scale^d, and (x, x') -> (x', noise') its inverse
    move = kernels.involutive(forth, noise, log_jacobian=lambda here, drawn: jnp.zeros(()))
    return kernels.cycle(move, kernels.involutive(turn))
