"""The estimator: a Gaussian mixture of experts fitted to data from several starts.

Law: the fit that is kept has the largest likelihood of all starts; how many starts reached it is told.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful.errors import LawfulError, ObservationError

from .annealing import annealed_fit
from .density import Mixture
from .fitting import Fit, Settings, exact_fit, fit_from
from .gates import Gate
from .information import fisher
from .parameters import Parameters
from .starts import random_start
from .voronoi import Alignment, align

__all__ = ["GaussianMoE"]

SAME = 0.01  # difference of log likelihoods of fits that count as one


class GaussianMoE:
    """A Gaussian mixture of experts whose parameters are learned by maximum likelihood.

    Args:
        n_experts: number of experts.
        gate: "softmax", "topk", "temperature" or "activated"; see `Gate`.
        top_k: number of experts with a weight, for "topk".
        activation: of "activated": "logistic", "tanh" or "gelu".
        selection: of "topk": "full" or "slope".
        tau: "pinned" at 1, or "free", of the gate "temperature". The likelihood reads beta / tau alone, so a free one
            is what the start makes it. The gate "activated" has a temperature that data tell, always free.

    Attributes:
        mixture_: the fitted `Mixture`.
        log_likelihood_: of the data.
        fit_: the `Fit` that was kept.
        optima_: log likelihoods of all starts, largest first.
        reached_: how many starts came within 0.01 of the largest.

    >>> x = np.linspace(0.0, 1.0, 60)
    >>> y = np.where(x < 0.3, 20 * x - 5, 15 - 20 * x) + 0.3 * np.sin(400 * x)
    >>> model = GaussianMoE(2, "topk", top_k=1).fit(x[:, None], y)
    >>> model.mixture_.parameters.a[:, 0].round().tolist()
    [-20.0, 20.0]
    """

    def __init__(
        self,
        n_experts: int,
        gate: str = "softmax",
        *,
        top_k: int | None = None,
        activation: str = "logistic",
        selection: str = "full",
        tau: str = "pinned",
    ) -> None:
        if n_experts < 1:
            raise LawfulError(f"GaussianMoE: n_experts={n_experts}. Fix: give 1 or more.")
        if tau not in ("pinned", "free"):
            raise LawfulError(f"GaussianMoE: tau={tau!r}. Fix: give 'pinned' or 'free'.")
        self.n_experts = n_experts
        self.gate = Gate(gate, top_k, selection, activation)
        if top_k is not None and top_k > n_experts:
            raise LawfulError(f"GaussianMoE: top_k={top_k} of {n_experts} experts. Fix: give at most as many.")
        self.tau = tau

    @property
    def exactly_solved(self) -> bool:
        """Whether the likelihood of one covariate is maximised exactly: two experts, one of them at a time."""
        return self.gate.kind == "topk" and self.gate.top_k == 1 and self.n_experts == 2

    @property
    def n_parameters(self) -> int:
        """Number of free parameters; a temperature of a linear gate, which beta makes up for, is none."""
        k, d = self._fitted.parameters.a.shape
        linear = (k - 1) * (d + 1)
        return k * (d + 2) + (k * d + k if self.gate.kind == "activated" else linear)

    def fit(
        self, X: Any, y: Any, *, starts: int = 10, key: Any = 0, init: Any = None, settings: Settings = Settings()
    ) -> GaussianMoE:
        """Fit from several starts, and keep the best; top-K gates by annealing, or exactly where that can be done.

        Args:
            X: covariates (n, d).
            y: answers (n,).
            starts: number of random starts.
            key: of JAX, or a number, for the starts.
            init: `Parameters` to start from instead.
            settings: how long to look.

        Returns: itself.

        Raises: ObservationError for data that are not finite or do not fit each other.
        """
        X, y = _checked(X, y)
        if self.exactly_solved and X.shape[1] == 1:
            fits = jax.tree.map(lambda v: v[None], jax.jit(exact_fit)(X, y, settings))
        elif init is not None:
            fits = jax.tree.map(lambda v: v[None], _one(self.gate, self.tau == "free", settings, X, y, init))
        else:
            keys = jax.random.split(jax.random.key(key) if isinstance(key, int) else key, starts)
            fits = _many(self.gate, self.tau == "free", self.n_experts, settings, X, y, keys)
        values = np.asarray(fits.log_likelihood)
        best = int(np.argmax(np.where(np.isfinite(values), values, -np.inf)))
        self.fit_: Fit = jax.tree.map(lambda v: v[best], fits)
        self.mixture_ = Mixture(self.gate, self.fit_.parameters)
        self.log_likelihood_ = float(values[best])
        self.optima_ = np.sort(values)[::-1]
        self.reached_ = int(np.sum(values >= values[best] - SAME))
        self._X = X
        return self

    def log_density(self, X: Any, y: Any) -> jax.Array:
        """Give log p(y | x) of each row (n,)."""
        return self._fitted.log_density(X, y)

    def responsibilities(self, X: Any, y: Any) -> jax.Array:
        """Give the probabilities of the experts given x and y (n, k)."""
        return self._fitted.responsibilities(X, y)

    def predict(self, X: Any) -> jax.Array:
        """Give E[y | x] of each row (n,)."""
        return self._fitted.predict(X)

    def sample(self, key: Any, X: Any) -> jax.Array:
        """Draw an answer for each row (n,)."""
        return self._fitted.sample(key, X)

    def fisher(self, X: Any = None) -> jax.Array:
        """Give the information of one observation at the fit, averaged over covariates, by default those of the fit."""
        mixture = self._fitted
        return fisher(mixture, self._X if X is None else X)

    def align_to(self, other: Any, kind: str | None = None) -> Alignment:
        """Say which expert of another mixture each one is nearest to, and shift the gate to where the loss is least."""
        mixture = self._fitted
        theirs = other if isinstance(other, Parameters) else getattr(other, "mixture_", other).parameters
        return align(mixture, other, kind or ("exact" if theirs.n_experts == self.n_experts else "over"))

    @property
    def _fitted(self) -> Mixture:
        if not hasattr(self, "mixture_"):
            raise LawfulError("GaussianMoE: it is not fitted. Fix: call fit(X, y) first.")
        return self.mixture_


@partial(jax.jit, static_argnums=(0, 1))
def _one(gate: Gate, free: bool, settings: Settings, X: jax.Array, y: jax.Array, start: Parameters) -> Fit:
    if gate.kind == "topk" and gate.top_k != start.a.shape[0]:
        return annealed_fit(gate, start, X, y, settings)
    return fit_from(gate, start, X, y, settings, free=free)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _many(gate: Gate, free: bool, k: int, settings: Settings, X: jax.Array, y: jax.Array, keys: jax.Array) -> Fit:
    return lax.map(lambda key: _one(gate, free, settings, X, y, random_start(key, X, y, k)), keys)


def _checked(X: Any, y: Any) -> tuple[jax.Array, jax.Array]:
    X, y = np.asarray(X, float), np.asarray(y, float)
    if X.ndim != 2 or y.shape != X.shape[:1] or len(y) == 0:
        raise ObservationError(
            f"GaussianMoE.fit: X has the shape {X.shape} and y {y.shape}; expected (n, d) and (n,). Fix: X[:, None] "
            "makes a column, y.ravel() a flat array."
        )
    bad = np.flatnonzero(~(np.isfinite(X).all(axis=1) & np.isfinite(y)))
    if len(bad):
        raise ObservationError(f"GaussianMoE.fit: row {bad[0]} is not finite, and {len(bad) - 1} more. Fix: drop them.")
    return jnp.asarray(X), jnp.asarray(y)
