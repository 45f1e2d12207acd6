"""Fit: the parameters of a guide go uphill on an objective by noisy gradients, and rest where windows gain no more.

Law: the gradient of "elbo" is unbiased: draws are functions of parameters and noise (pathwise), and parameters inside
log q, whose derivative has mean zero, are held still. That of "importance" is unbiased for the bound of as many draws
as it takes. That of "forward" is that of E_p[log q] by self-normalised weights, consistent in the number of draws. What
is kept is the mean of the parameters over a whole window, whose noise is less than that of its last step.

Reference: Kingma and Welling (2014) for pathwise gradients; Roeder, Wu and Duvenaud (2017) for the held parameters;
Burda, Grosse and Salakhutdinov (2016) for the importance weighted bound; Bornschein and Bengio (2015) for the forward
one; Dhaka et al. (2020), Robust, accurate stochastic optimization for variational inference, for means of iterates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError

from ...kernels.base.frame import Frame
from .families import Family

type Objective = Literal["elbo", "importance", "forward"]

WINDOW = 100  # steps whose mean is compared with that of the window before
RATE = 0.02  # of Adam, in units of the law at which the fit began
STALLED = 2  # windows without gain after which a fit rests


class Fit(NamedTuple):
    """A fit on its way.

    Attributes:
        parameters: where it is.
        learnt: what the optimiser knows.
        mean: of the parameters over the window so far.
        kept: that of the best finished window; at first where the fit began.
        total: sum of the objective over the window so far.
        square: sum of its squares.
        best: mean of the objective over the best window.
        stalled: windows without gain.
        steps: so far.
        rests: whether it is done.
    """

    parameters: Any
    learnt: Any
    mean: Any
    kept: Any
    total: jax.Array
    square: jax.Array
    best: jax.Array
    stalled: jax.Array
    steps: jax.Array
    rests: jax.Array


@dataclass(frozen=True, eq=False)
class Uphill:
    """How parameters of a family go uphill on an objective."""

    frame: Frame
    family: Family
    objective: Objective
    draws: int

    def begin(self, parameters: Any) -> Fit:
        """Begin at some parameters."""
        zero = jnp.zeros(())
        none = jnp.zeros((), jnp.int32)
        still = jax.tree.map(jnp.zeros_like, parameters)
        return Fit(
            parameters, _adam().init(parameters), still, parameters, zero, zero, zero - jnp.inf, none, none, none > 0
        )

    def go(self, key: jax.Array, inputs: Sequence[Any], fit: Fit, steps: jax.Array) -> Fit:
        """Take some steps, fewer where the fit comes to rest."""
        last = fit.steps + steps

        def more(now: Fit) -> jax.Array:
            return ~now.rests & (now.steps < last)

        return jax.lax.while_loop(more, partial(self._step, key, tuple(inputs)), fit)

    def _step(self, key: jax.Array, inputs: tuple[Any, ...], now: Fit) -> Fit:
        ascend = jax.value_and_grad(self.estimate)
        value, gradient = ascend(now.parameters, inputs, jax.random.fold_in(key, now.steps))
        finite = jnp.isfinite(value) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
        down, learnt = _adam().update(jax.tree.map(jnp.negative, gradient), now.learnt, now.parameters)
        moved = jax.tree.map(lambda p, d: jnp.where(finite, p + d, p), now.parameters, down)
        learnt = jax.tree.map(lambda new, old: jnp.where(finite, new, old), learnt, now.learnt)
        on = now._replace(
            parameters=moved,
            learnt=learnt,
            mean=jax.tree.map(lambda m, p: m + p / WINDOW, now.mean, moved),
            total=now.total + value,
            square=now.square + value**2,
            steps=now.steps + 1,
        )
        return jax.tree.map(partial(jnp.where, on.steps % WINDOW == 0), self._looked(on), on)

    def _looked(self, now: Fit) -> Fit:
        """Compare a window with the best one, and begin the next."""
        mean = now.total / WINDOW
        noise = jnp.sqrt(jnp.maximum(now.square / WINDOW - mean**2, 0.0) / WINDOW)
        gains = mean > now.best + noise
        stalled = jnp.where(gains, 0, now.stalled + 1)
        better = jnp.isfinite(mean) & (mean > now.best)
        zero = jnp.zeros_like(now.total)
        return now._replace(
            mean=jax.tree.map(jnp.zeros_like, now.mean),
            kept=jax.tree.map(partial(jnp.where, better), now.mean, now.kept),
            total=zero,
            square=zero,
            best=jnp.where(better, mean, now.best),
            stalled=stalled,
            rests=stalled >= STALLED,
        )

    def estimate(self, parameters: Any, inputs: Sequence[Any], key: jax.Array) -> jax.Array:
        """Estimate the objective, so that the gradient of the estimate estimates its gradient."""
        law, still = self.family.law(parameters), self.family.law(jax.lax.stop_gradient(parameters))
        drawn = law.sample(key, (self.draws,))
        if self.objective == "forward":
            drawn = jax.lax.stop_gradient(drawn)
        log_p = jax.vmap(lambda vector: self.frame.log_density(inputs, vector))(drawn)
        log_ratio = log_p - still.log_prob(drawn)
        if self.objective == "elbo":
            return jnp.mean(log_ratio)
        if self.objective == "importance":
            return jax.nn.logsumexp(log_p - law.log_prob(drawn)) - jnp.log(float(self.draws))
        weight = jax.nn.softmax(jax.lax.stop_gradient(log_ratio))
        return jnp.sum(weight * law.log_prob(drawn))


def _adam() -> Any:
    try:
        import optax
    except ImportError as error:
        raise LawfulError(
            "guide: the optimiser is that of optax, which is not installed. Fix: pip install 'lawful[maximise]'.",
            module="optax",
        ) from error
    return optax.adam(RATE)
