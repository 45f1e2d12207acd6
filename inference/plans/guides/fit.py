"""Fit: the parameters of a guide go uphill on an objective by noisy gradients, and rest where windows gain no more.

Law: the gradient of "elbo" is unbiased: draws are functions of parameters and noise (pathwise), and parameters inside
log q, whose derivative has mean zero, are held still; so it is on batches of a plate, drawn anew at each step. That of
"importance" is unbiased for the bound of as many draws as it takes. What moves the tables of finite sites stands there.
That of "forward" is that of E_p[log q] by self-normalised weights, consistent in the number of draws. What is kept is
the mean of the parameters over a whole window, whose noise is less than that of its last step.

Reference: Kingma and Welling (2014) for pathwise gradients; Roeder, Wu and Duvenaud (2017) for the held parameters;
Burda, Grosse and Salakhutdinov (2016) for the importance weighted bound; Bornschein and Bengio (2015) for the forward
one; Dhaka et al. (2020), Robust, accurate stochastic optimization for variational inference, for means of iterates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from ...kernels.base.frame import Frame
from ..optimisers import optimiser
from .batches import Batches
from .families import Family
from .tables import Tables, bound_of_others, others, scored

type Objective = Literal["elbo", "importance", "forward"]

WINDOW = 100  # steps whose mean is compared with that of the window before
TABLES, ROWS = 1, 2  # numbers of the keys of the draws from tables, and of the rows of a batch
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
    """How parameters of a family go uphill on an objective.

    With finite sites the frame is of the program given their values, which are its last inputs, and the parameters are
    those of the `law` and the `tables`. With batches the frame is that of a batch, and the inputs are those of the
    whole, of which each step takes some rows.
    """

    frame: Frame
    family: Family
    objective: Objective
    draws: int
    tables: Tables | None = None
    batches: Batches | None = None

    @property
    def _adam(self) -> Any:
        return optimiser("adam", learning_rate=self.family.rate, b2=self.family.memory)

    @property
    def window(self) -> int:
        """Steps of a window: more on batches, whose noise is that much more, so that Adam takes that much longer."""
        return WINDOW if self.batches is None else math.ceil(WINDOW * math.sqrt(self.batches.count / self.batches.size))

    def begin(self, parameters: Any) -> Fit:
        """Begin at some parameters."""
        zero = jnp.zeros(())
        none = jnp.zeros((), jnp.int32)
        still = jax.tree.map(jnp.zeros_like, parameters)
        return Fit(
            parameters, self._adam.init(parameters), still, parameters, zero, zero, zero - jnp.inf, none, none, none > 0
        )

    def go(self, key: jax.Array, inputs: Sequence[Any], fit: Fit, steps: jax.Array) -> Fit:
        """Take some steps, fewer where the fit comes to rest."""
        last = fit.steps + steps

        def more(now: Fit) -> jax.Array:
            return ~now.rests & (now.steps < last)

        return jax.lax.while_loop(more, partial(self._step, key, tuple(inputs)), fit)

    def _step(self, key: jax.Array, inputs: tuple[Any, ...], now: Fit) -> Fit:
        ascend = jax.value_and_grad(self.estimate)
        key = jax.random.fold_in(key, now.steps)
        if self.batches is not None:
            inputs = self.batches.of_rows(inputs, self.batches.rows(jax.random.fold_in(key, ROWS)))
        value, gradient = ascend(now.parameters, inputs, key)
        finite = jnp.isfinite(value) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
        down, learnt = self._adam.update(jax.tree.map(jnp.negative, gradient), now.learnt, now.parameters)
        moved = jax.tree.map(lambda p, d: jnp.where(finite, p + d, p), now.parameters, down)
        learnt = jax.tree.map(lambda new, old: jnp.where(finite, new, old), learnt, now.learnt)
        on = now._replace(
            parameters=moved,
            learnt=learnt,
            mean=jax.tree.map(lambda m, p: m + p / self.window, now.mean, moved),
            total=now.total + value,
            square=now.square + value**2,
            steps=now.steps + 1,
        )
        return jax.tree.map(partial(jnp.where, on.steps % self.window == 0), self._looked(on), on)

    def _looked(self, now: Fit) -> Fit:
        """Compare a window with the best one, and begin the next."""
        mean = now.total / self.window
        noise = jnp.sqrt(jnp.maximum(now.square / self.window - mean**2, 0.0) / self.window)
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
        if self.tables is None:
            return self._of_draws(parameters, key, lambda drawn: self.score(inputs, drawn, ()), None)
        tables, own = parameters["tables"], self.tables
        if own.all is not None and self.objective == "elbo":
            log_mass, values = own.log_mass(tables, own.all), own.values(own.all)

            def mean(drawn: jax.Array) -> jax.Array:
                log_p = jax.vmap(lambda *row: self.score(inputs, drawn, row, shared=True))(*values)
                return jnp.exp(log_mass) @ (log_p - log_mass[:, None])

            return self._of_draws(parameters["law"], key, mean, None)
        numbers = own.draw(jax.random.fold_in(key, TABLES), jax.lax.stop_gradient(tables), self.draws)
        log_mass, values = own.log_mass(tables, numbers), own.values(numbers)
        return self._of_draws(parameters["law"], key, lambda drawn: self.score(inputs, drawn, values), log_mass)

    def score(self, inputs: Sequence[Any], drawn: jax.Array, values: Any, shared: bool = False) -> jax.Array:
        """Score draws of coordinates, each with values of the finite sites, or all with the same."""

        def score(vector: jax.Array, *own: jax.Array) -> jax.Array:
            return self.frame.log_density((*inputs, *own), vector)

        return jax.vmap(score, (0, *[None if shared else 0] * len(values)))(drawn, *values)

    def _of_draws(
        self, parameters: Any, key: jax.Array, score: Callable[[jax.Array], jax.Array], log_mass: jax.Array | None
    ) -> jax.Array:
        """Estimate the objective by draws of coordinates, beside which finite sites were drawn with log masses."""
        law, still = self.family.law(parameters), self.family.law(jax.lax.stop_gradient(parameters))
        drawn = law.sample(key, (self.draws,))
        if self.objective == "forward":
            drawn = jax.lax.stop_gradient(drawn)
        mass: Any = 0.0 if log_mass is None else log_mass
        log_p = score(drawn)
        log_ratio = log_p - still.log_prob(drawn) - jax.lax.stop_gradient(mass)
        if self.objective == "elbo":
            found = jnp.mean(log_ratio)
            return found if log_mass is None else found + jnp.mean(scored(log_ratio - others(log_ratio), log_mass))
        if self.objective == "importance":
            log_weight = log_p - law.log_prob(drawn) - mass
            found = jax.nn.logsumexp(log_weight) - jnp.log(float(self.draws))
            return found if log_mass is None else found + jnp.sum(scored(found - bound_of_others(log_weight), log_mass))
        weight = jax.nn.softmax(jax.lax.stop_gradient(log_ratio))
        return jnp.sum(weight * (law.log_prob(drawn) + mass))
