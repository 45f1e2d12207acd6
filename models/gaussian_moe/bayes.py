"""The Bayesian fit: draws of the parameters and the evidence, by tempered sequential Monte Carlo.

Law: the draws are those of `program.mixture_with_priors` given the data, in the units of the data; what is told of
them, predictions and which rows go together, is unchanged when experts change their names. The evidence is that of the
answers as they were given: a change of their units by c divides it by c^n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful import inference, one_key
from lawful.errors import LawfulError
from lawful.inference import Result, pooled_evidence

from ..latent_classes import ClassNumbers, co_membership, kept_draws, relabelled
from ..latent_classes.redrawing import one_class_redrawn
from .density import Mixture
from .estimator import GaussianMoE
from .gates import Gate
from .modes import heights, summed
from .parameters import Parameters, Units, unstandardised
from .program import Priors, mixture_with_priors, parameters_of
from .reading import count, data

__all__ = ["Posterior", "compare_experts", "posterior_of", "started"]

MOST_EXPERTS = 6  # whose modes a search finds
STEP = 0.1  # of leapfrogs at first: in units of the broadest expert, while the others are narrow
LEAPFROGS = 8
STARTS, SEARCH = 16, 1  # starts of the search for modes, and what is folded into the key for them


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of the parameters of a mixture, and its evidence.

    Attributes:
        gate: how weights are made of scores.
        draws: parameters in the units of the data, leaves (draw, ...); experts have no order in them.
        log_evidence_by_run: of the answers in their own units (runs,).
        result: of the inference, in standard units; `result.ok`, `result.to_datatree()`. None for draws from elsewhere.
    """

    gate: Gate
    draws: Parameters
    log_evidence_by_run: np.ndarray
    result: Result | None = None

    @property
    def log_evidence(self) -> float:
        """Log evidence, pooled over runs."""
        return pooled_evidence(self.log_evidence_by_run)[0]

    @property
    def log_evidence_error(self) -> float:
        """Its standard error by the spread of the runs; NaN for one run."""
        return pooled_evidence(self.log_evidence_by_run)[1]

    def predict(self, X: Any) -> np.ndarray:
        """Give E[y | x, data] of each row (n,)."""
        return np.asarray(lax.map(lambda p: Mixture(self.gate, p).predict(X), self.draws)).mean(axis=0)

    def log_density(self, X: Any, y: Any) -> jax.Array:
        """Give log p(y | x, data) of each row (n,): the log of the mean density over draws."""
        found = lax.map(lambda p: Mixture(self.gate, p).log_density(X, y), self.draws)
        return jax.nn.logsumexp(found, axis=0) - jnp.log(len(found))

    def memberships(self, X: Any, y: Any) -> np.ndarray:
        """Give the probabilities of the experts for each row in each draw (draw, n, k)."""
        return np.asarray(lax.map(lambda p: Mixture(self.gate, p).responsibilities(X, y), self.draws))

    def together(self, X: Any, y: Any) -> np.ndarray:
        """Give the probability that two rows have the same expert (n, n), whatever the experts are called."""
        return co_membership(self.thinned(len(y)).memberships(X, y))

    def named(self, X: Any, y: Any) -> Posterior:
        """Give experts names: those under which the memberships of these rows agree best, the largest expert first."""
        kept = self.thinned(len(y))
        order = relabelled(kept.memberships(X, y)).order
        *rest, tau = (np.asarray(v) for v in kept.draws)
        beta1, beta0, a, b, nu = (
            np.take_along_axis(v, order.reshape(*order.shape, *[1] * (v.ndim - 2)), axis=1) for v in rest
        )
        return replace(kept, draws=Parameters(beta1, beta0, a, b, nu, tau))

    def thinned(self, rows: int) -> Posterior:
        """Keep no more draws, evenly spaced, than memberships of this many rows can be held for."""
        draws, k = self.draws.b.shape
        keep = kept_draws(draws, rows, k)
        return replace(self, draws=jax.tree.map(lambda v: v[keep], self.draws))


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
    start: str = "optima",
    program: Callable[..., Any] = mixture_with_priors,
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
        start: of tempering: "optima", a law around the modes that `inference.maximise` finds, with the extra
            `maximise` (see `inference.laplace_mixture`), or "prior", which takes many more particles; more than 6
            experts take it.
        program: the joint: of the same arguments and with the same sites, which may have other laws.

    Raises: LawfulError for a covariate of fewer than two values, and what `reading.data` refuses.

    >>> x = np.linspace(0.0, 1.0, 12)
    >>> found = posterior_of(x[:, None], 2 * x, 1, key=0, particles=100, runs=1)
    >>> found.draws.a.shape
    (100, 1, 1)
    """
    x, answers = data(X, y, count(k, "posterior_of: k"), "posterior_of")
    if start not in ("optima", "prior"):
        raise LawfulError(f"posterior_of: start={start!r}. Fix: give 'optima' or 'prior'.")
    units = Units.of(x, answers, centred=gate.affine)
    if not jnp.all(jnp.ptp(x, axis=0) > 0):
        raise LawfulError(
            "posterior_of: priors take their scales from the spread of answers and covariates, and one of them has "
            "none. Fix: drop constant columns, or give more rows."
        )
    inside = (x - units.x_mean[None]) / units.x_scale[None], (answers - units.y_mean) / units.y_scale
    key, given = one_key(key), (*inside, k, gate, priors.read_by(k, gate))
    if start == "optima" and k <= MOST_EXPERTS:
        modes = _search(program)(jax.random.fold_in(key, SEARCH), *given).optima
        around = inference.laplace_mixture(summed(program), "expert")(modes.values, *given, heights=heights(modes))
        result = _from_modes(program, k, particles, runs)(key, *given, around)
    else:
        result = _from_prior(program, particles, runs)(key, *given)
    flat = {name: jnp.asarray(v).reshape(-1, *v.shape[2:]) for name, v in result.posterior.items()}
    return Posterior(
        gate,
        jax.vmap(lambda drawn: unstandardised(parameters_of(gate, drawn), units))(flat),
        np.asarray(result.log_evidence) - len(answers) * float(jnp.log(units.y_scale)),
        result,
    )


def compare_experts(X: Any, y: Any, experts: Iterable[int], *, gate: Gate = Gate(), **options: Any) -> ClassNumbers:
    """Compare numbers of experts by their evidence, beside the BIC of the best of ten maximum-likelihood fits.

    Args:
        X: covariates (n, d).
        y: answers (n,).
        experts: numbers to compare.
        gate: how weights are made of scores.
        options: those of `posterior_of`.

    Returns: `table`, a frame, and `best`.
    """
    numbers = list(experts)
    if not numbers:
        raise LawfulError("compare_experts: experts is empty. Fix: give numbers of experts, as range(1, 4).")
    evidence, criteria = {}, {}
    for k in numbers:
        evidence[k] = posterior_of(X, y, k, gate=gate, **options).log_evidence_by_run
        model = GaussianMoE(k, gate.kind, top_k=gate.top_k, activation=gate.activation, selection=gate.selection)
        free = model.fit(X, y).n_parameters
        criteria[k] = {"bic": -2 * model.log_likelihood_ + free * float(np.log(len(y)))}
    return ClassNumbers(evidence, criteria)


# One program and one inference for each setting, so that other data and other scales compile nothing.


@lru_cache(maxsize=64)
def started(program: Callable[..., Any]) -> Callable[..., None]:
    """Let experts of a program be drawn from around modes: a program of one argument more, with the same measure."""

    def model(X: Any, y: Any, k: int, gate: Gate, priors: Priors, start: inference.SymmetricMixture) -> None:
        inference.start_from(start)(program)(X, y, k, gate, priors)

    return model


@lru_cache(maxsize=64)
def _search(program: Callable[..., Any]) -> Any:
    return inference.maximise(summed(program), starts=STARTS)


@lru_cache(maxsize=64)
def _from_modes(program: Callable[..., Any], k: int, particles: int, runs: int) -> Any:
    kernel: Any = inference.population_hmc()
    if k > 1:
        flow = inference.population_hmc(STEP, LEAPFROGS, jitter=0.5, exchangeable="expert", adapt=True)
        kernel = inference.kernels.cycle(flow, inference.kernels.redraw("expert", one_class_redrawn))
    return inference.tempered_smc(
        summed(started(program)), particles=particles, runs=runs, kernel=kernel, ladder=inference.by_ess(0.7),
        nonfinite="dead",  # tails of a start reach where a density overflows
    )  # fmt: skip


@lru_cache(maxsize=64)
def _from_prior(program: Callable[..., Any], particles: int, runs: int) -> Any:
    walk = inference.population_walk()  # a gate of the best few has edges that no gradient sees
    return inference.tempered_smc(summed(program), particles=particles, runs=runs, kernel=walk)
