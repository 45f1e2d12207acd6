"""The Bayesian fit: draws of the parameters and the evidence, by tempered sequential Monte Carlo.

Law: the draws are those of `priors.mixture_with_priors` given the data, in the units of the data; what is told of them,
predictions and who goes with whom, is unchanged when experts change their names. The evidence is that of the answers as
they were given: a change of their units by c divides it by c^n.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import Result

from .density import Mixture
from .gates import Gate
from .parameters import Parameters, Units, unstandardised
from .priors import Priors, mixture_with_priors

__all__ = ["Posterior", "compare_experts", "posterior_of"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of the parameters of a mixture, and its evidence.

    Attributes:
        gate: how weights are made of scores.
        draws: parameters in the units of the data, leaves (draw, ...); experts have no order in them.
        log_evidence: of the answers in their own units, pooled over runs.
        log_evidence_error: its standard error, from the runs.
        result: of the inference, in standard units; `result.ok`, `result.to_datatree()`.
    """

    gate: Gate
    draws: Parameters
    log_evidence: float
    log_evidence_error: float
    result: Result

    def predict(self, X: Any) -> jax.Array:
        """Give E[y | x, data] of each row (n,)."""
        return _mean(self.gate, self.draws, lambda mixture: mixture.predict(X))

    def log_density(self, X: Any, y: Any) -> jax.Array:
        """Give log p(y | x, data) of each row (n,): the log of the mean density over draws."""
        found = lax.map(lambda p: Mixture(self.gate, p).log_density(X, y), self.draws)
        return jax.nn.logsumexp(found, axis=0) - jnp.log(len(found))

    def together(self, X: Any, y: Any) -> jax.Array:
        """Give the probability that two rows have the same expert (n, n)."""

        def of_draw(mixture: Mixture) -> jax.Array:
            r = mixture.responsibilities(X, y)
            return r @ r.T

        same = _mean(self.gate, self.draws, of_draw)
        return jnp.fill_diagonal(same, 1.0, inplace=False)


def posterior_of(
    X: Any,
    y: Any,
    k: int,
    *,
    key: Any,
    gate: Gate = Gate(),
    priors: Priors = Priors(),
    particles: int = 1000,
    runs: int = 4,
) -> Posterior:
    """Fit k experts by tempered SMC.

    Args:
        X: covariates (n, d).
        y: answers (n,).
        k: number of experts.
        key: of JAX, or a number.
        gate: how weights are made of scores; the temperature of a linear gate is pinned.
        priors: scales, in standard units.
        particles: number of particles of a run.
        runs: number of independent runs, which give the error of the evidence.

    Raises: LawfulError for data of fewer than two values.

    >>> x = np.linspace(0.0, 1.0, 12)
    >>> found = posterior_of(x[:, None], 2 * x, 1, key=0, particles=100, runs=1)
    >>> found.draws.a.shape
    (100, 1, 1)
    """
    x, answers = jnp.asarray(np.asarray(X, float)), jnp.asarray(np.asarray(y, float))
    units = Units.of(x, answers, centred=gate.affine)
    if len(answers) < 2 or not jnp.std(answers) > 0 or not jnp.all(jnp.ptp(x, axis=0) > 0):
        raise LawfulError(
            "posterior_of: priors take their scales from the spread of answers and covariates, and one of them has "
            "none. Fix: drop constant columns, or give more rows."
        )
    inside = (x - units.x_mean[None]) / units.x_scale[None], (answers - units.y_mean) / units.y_scale
    result = _sampler(k, gate, particles, runs)(jax.random.key(key) if isinstance(key, int) else key, *inside, priors)
    return Posterior(
        gate,
        jax.vmap(partial(unstandardised, units=units))(_parameters(result, k, x.shape[1])),
        float(result.log_evidence_pooled - len(answers) * jnp.log(units.y_scale)),
        float(result.log_evidence_error) if result.log_evidence_error is not None else float("nan"),
        result,
    )


def compare_experts(X: Any, y: Any, experts: Iterable[int], **options: Any) -> Any:
    """Give the log evidence of each number of experts, as a pandas frame; options are those of `posterior_of`."""
    import pandas

    fits = {k: posterior_of(X, y, k, **options) for k in experts}
    rows = [{"experts": k, "log_evidence": f.log_evidence, "error": f.log_evidence_error} for k, f in fits.items()]
    frame = pandas.DataFrame(rows)
    weight = np.exp(frame["log_evidence"] - frame["log_evidence"].max())
    return frame.assign(probability=weight / weight.sum())


@lru_cache(maxsize=64)
def _sampler(k: int, gate: Gate, particles: int, runs: int) -> Any:
    """Build one inference for a structure, so that other data and other scales compile nothing."""

    def model(X: Any, y: Any, priors: Priors) -> Any:
        return mixture_with_priors(X, y, k, gate, priors)

    return inference.tempered_smc(model, particles=particles, runs=runs)


def _parameters(result: Result, k: int, d: int) -> Parameters:
    """Lay the draws of all runs out one after the other."""
    flat = {name: jnp.asarray(v).reshape(-1, *v.shape[2:]) for name, v in result.posterior.items()}
    count = len(flat["b"])
    beta1 = flat.get("beta1", jnp.zeros((count, d, k)))
    beta0 = flat.get("beta0", jnp.zeros((count, k)))
    tau = flat.get("tau", jnp.ones(count))
    return Parameters(jnp.swapaxes(beta1, 1, 2), beta0, flat["a"], flat["b"], flat["sigma"] ** 2, tau)


def _mean(gate: Gate, draws: Parameters, function: Any) -> jax.Array:
    """Average over draws, one at a time."""
    shape = jax.eval_shape(lambda p: function(Mixture(gate, p)), jax.tree.map(lambda v: v[0], draws))

    def add(total: jax.Array, p: Parameters) -> tuple[jax.Array, None]:
        return total + function(Mixture(gate, p)), None

    return lax.scan(add, jnp.zeros(shape.shape, shape.dtype), draws)[0] / len(draws.b)
