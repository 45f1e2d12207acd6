"""Top-K gates learned by annealing: a soft choice of the experts that are selected, whose temperature is lowered.

The likelihood of a top-K gate jumps where the selection of a row changes, and has no gradient that says where to. At a
temperature t every subset S of K experts is chosen with probability

    P(S | x)  ~  exp( sum_{i in S} rho_i(x) / t ),

where rho are the scores that rank the experts, divided by their spread, and then an expert of S by the softmax over
S. The log likelihood of this mixture is smooth, and is climbed by Newton's method; from where that ends, EM with the
active set assigns rows by the selection itself (classification), and the best of all temperatures is kept.

Law: the weights are those of a mixture at every temperature, and tend to the gate's own as t goes to 0, wherever no two
experts tie for the last place. A fit is never below that of EM with the active set from the same start.

References: Celeux and Govaert (1992), A classification EM algorithm for clustering and two stochastic versions; Ueda
and Nakano (1998), Deterministic annealing EM algorithm.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from lawful.errors import LawfulError

from .ascent import ascend
from .curvature import automatic, coordinates, parameters_at
from .density import log_normals
from .em import Experts, Limits, bounded, climb
from .fitting import Fit, Settings, allowed_by, finished, prepared
from .gates import Gate
from .parameters import Parameters
from .rows import BLOCK

__all__ = ["annealed_fit", "soft_log_weights"]

TEMPERATURES = np.geomspace(1.0, 0.005, 10)
MOST_SUBSETS = 256
STEPS, SLOPE = 10, 1e-4  # of Newton's method at each temperature, which only the next one reads


def soft_log_weights(
    gate: Gate, parameters: Parameters, x: Float[Array, "d n"], temperature: Any
) -> Float[Array, "k n"]:
    """Give the logs of the weights at a temperature.

    >>> told = Parameters.of([1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0] * 3, [0.0] * 3, [1.0] * 3)
    >>> soft = soft_log_weights(Gate("topk", top_k=2), told, jnp.array([[1.0]]), 0.01)
    >>> jnp.exp(soft)[:, 0].round(3).tolist()
    [0.731, 0.269, 0.0]
    """
    k = parameters.n_experts
    member = np.array([[i in s for i in range(k)] for s in itertools.combinations(range(k), gate.top_k or k)])
    slope = parameters.beta1 @ x
    score = slope + parameters.beta0[:, None]
    ranked = slope if gate.selection == "slope" else score
    spread = _spread(parameters, gate.selection)
    chosen = jax.nn.log_softmax(jnp.asarray(member, x.dtype) @ ranked / (spread * temperature), axis=0)
    within = jnp.where(member[:, :, None], score[None], -jnp.inf)
    within = within - jax.nn.logsumexp(within, axis=1, keepdims=True)
    return jax.nn.logsumexp(chosen[:, None] + within, axis=0)


def annealed_fit(
    gate: Gate,
    start: Parameters,
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    settings: Settings = Settings(),
    *,
    block: int = BLOCK,
) -> Fit:
    """Fit a mixture with a top-K gate from one start; arguments are those of `fit_from`.

    >>> x = jnp.linspace(0.0, 1.0, 40)
    >>> y = jnp.where(x < 0.4, 1.0, 5.0) + 0.1 * jnp.sin(40 * x)
    >>> start = Parameters.of([0.1, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 4.0], [4.0, 4.0])
    >>> found = annealed_fit(Gate("topk", top_k=1), start, x[:, None], y).parameters
    >>> bool(abs(-found.beta0[0] / found.beta1[0, 0] - 0.4) < 0.03)
    True
    """
    k, d = start.a.shape
    if math.comb(k, gate.top_k or k) > MOST_SUBSETS:
        raise LawfulError(
            f"annealed_fit: {math.comb(k, gate.top_k or k)} ways to choose {gate.top_k} of {k} experts are more than "
            f"{MOST_SUBSETS}, and each row is looked at with all of them. Fix: give fewer experts, or another top_k."
        )
    inside, units, rows = prepared(gate, start, x, y, settings, block)
    limits = Limits(settings.floor, settings.bound)
    allowed = allowed_by(gate, settings.bound, k, d)

    def hard(experts: Experts) -> tuple[Experts, Any, Any, Any]:
        experts = experts._replace(gate=bounded(experts.gate, settings.bound))
        state = climb(experts, rows, limits, settings.em_gain, settings.em_most, gate)
        return state.experts, state.sums.log_likelihood, state.iterations, state.gain < settings.em_gain

    def stage(carry: Any, temperature: Any) -> tuple[Any, None]:
        theta, best, iterations, steps = carry

        def terms(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
            at = parameters_at(Gate(), theta, settings.floor, k, d)
            return soft_log_weights(gate, at, x, temperature) + log_normals(at, x, y)

        end = ascend(automatic(rows, terms), theta, tol=SLOPE, most=STEPS, allowed=allowed)
        tried = hard(Experts.of(parameters_at(Gate(), end.theta, settings.floor, k, d)))
        better = tried[1] > best[1]
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), tried, best)
        return (end.theta, best, iterations + tried[2], steps + end.iterations), None

    first = hard(Experts.of(inside))
    theta = allowed(coordinates(Gate(), inside, settings.floor))
    begin = (theta, first, first[2], jnp.zeros_like(first[2]))
    ladder = jnp.asarray(TEMPERATURES, x.dtype)
    (_, (experts, value, _, converged), iterations, steps), _ = lax.scan(stage, begin, ladder)
    no_slope = jnp.full((), jnp.nan, x.dtype)
    return finished(experts.parameters(), units, settings, value, len(y), iterations, steps, no_slope, converged)


def _spread(parameters: Parameters, selection: str) -> Any:
    """Give about the root mean square of the ranked scores about their mean, where covariates have variance 1."""
    rows = parameters.beta1
    if selection == "full":
        rows = jnp.concatenate([rows, parameters.beta0[:, None]], axis=1)
    centred = rows - jnp.mean(rows, axis=0, keepdims=True)
    return jnp.sqrt(jnp.sum(centred**2) / len(rows) + jnp.finfo(rows.dtype).eps)
