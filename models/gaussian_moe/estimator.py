"""The estimator: a Gaussian mixture of experts fitted to data from several starts.

Law: the fit that is kept has the largest likelihood of all starts; how many starts reached it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful import inference, one_key
from lawful.errors import LawfulError, NoFiniteStartError, ObservationError
from lawful.inference import Finding, map_parts, parts_for_cores

from .alignment import Alignment
from .annealing import annealed_fit
from .density import Mixture
from .fitting import Fit, Settings, exact_fit, fit_from
from .gates import Gate
from .information import fisher
from .modes import fits_of
from .parameters import Parameters
from .program import free_mixture, free_values
from .reading import count, data
from .starts import random_start
from .voronoi import align, mixture_of

__all__ = ["GaussianMoE", "fits_from_anywhere"]

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
        log_likelihood_: of the data; of a fit by `program`, its log density, priors and all.
        fit_: the `Fit` that was kept.
        optima_: log likelihoods of all starts, largest first.
        reached_: how many starts came within 0.01 of the largest.
        reasons_: what the fit says against itself, findings `CLIPPED` of experts whose variance is as small as it may
            be (`value` and `limit` are the variance and its floor) and of a gate that is as steep as it may be; or, of
            a fit by `program`, the findings of `inference.maximise`.

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
        self.n_experts = count(n_experts, "GaussianMoE: n_experts")
        if tau not in ("pinned", "free"):
            raise LawfulError(f"GaussianMoE: tau={tau!r}. Fix: give 'pinned' or 'free'.")
        if tau == "free" and gate not in ("temperature", "activated"):
            raise LawfulError(f"GaussianMoE: tau='free' with gate={gate!r}. Fix: give gate='temperature' with it.")
        self.gate = Gate(gate, top_k, selection, activation)
        if top_k is not None and top_k > n_experts:
            raise LawfulError(f"GaussianMoE: top_k={top_k} of {n_experts} experts. Fix: give at most as many.")
        self.tau = tau

    @property
    def exactly_solved(self) -> bool:
        """Whether the likelihood of one covariate is maximised exactly: two experts, one of them at a time."""
        return self.gate == Gate("topk", top_k=1) and self.n_experts == 2

    @property
    def n_parameters(self) -> int:
        """Number of free parameters; a temperature of a linear gate, which beta makes up for, is none.

        One expert has no gate. Of a top-1 gate, whose scale is not identified, the scale is counted all the same.
        """
        k, d = self._fitted.parameters.a.shape
        gate = k * d + k if self.gate.kind == "activated" and k > 1 else (k - 1) * (d + 1)
        return k * (d + 2) + gate

    def fit(
        self, X: Any, y: Any, *, starts: int = 10, key: Any = 0, init: Any = None, settings: Settings = Settings(),
        map: Any = None, program: Callable[..., Any] | None = None,
    ) -> GaussianMoE:  # fmt: skip
        """Fit from several starts, and keep the best; top-K gates by annealing, or exactly where that can be done.

        Args:
            X: covariates (n, d).
            y: answers (n,).
            starts: number of random starts.
            key: of JAX, or a number, for the starts.
            init: `Parameters` to start from instead, of as many experts.
            settings: how long to look.
            map: an executor that fits from the random starts, with the same fit: anything with the `map` of
                `concurrent.futures`, or "processes" for a pool of processes.
            program: the joint, in standard units: of the arguments of `free_mixture`, (X, y, k, gate), and with the
                same sites, which may have other laws. The fit is its mode by `inference.maximise` (the extra
                `maximise`), compiled at each call; None: the maximum of `free_mixture`, by EM and Newton's method.

        Returns: itself.

        Raises:
            ObservationError: data are not finite, do not fit each other, or are too few; see `reading.data`.
            LawfulError: a setting is out of its range, or cannot be had with `program`.
            NoFiniteStartError: no start has a finite likelihood.
        """
        names = _names(X)
        X, y = data(X, y, self.n_experts, "GaussianMoE.fit")
        starts = count(starts, "GaussianMoE.fit: starts")
        if not isinstance(settings, Settings):
            raise LawfulError(f"GaussianMoE.fit: settings={settings!r}. Fix: give Settings(...).")
        settings.check()
        keys, said = jax.random.split(one_key(key), starts), None
        if init is not None:
            self._check_start(init, X.shape[1])
        if program is not None:
            self._check_with_program(map, settings)
            one = partial(random_start, x=X, y=y, k=self.n_experts, gate=self.gate)
            begin = jax.vmap(one)(keys) if init is None else jax.tree.map(lambda v: jnp.asarray(v)[None], init)
            fits, said = fits_of(program, self.gate, self.tau == "free", self.n_experts, X, y, begin)
        elif self.exactly_solved and X.shape[1] == 1:
            _separable(X[:, 0])
            fits = jax.tree.map(lambda v: v[None], jax.jit(exact_fit)(X, y, settings))
        elif init is not None:
            fits = jax.tree.map(lambda v: v[None], _one(self.gate, self.tau == "free", settings, X, y, init))
        else:
            fits = _fits_by(map, self.gate, self.tau == "free", self.n_experts, settings, X, y, keys)
        values = np.asarray(fits.log_likelihood)
        values = np.where(np.isfinite(values), values, -np.inf)
        best = int(np.argmax(values))
        if values[best] == -np.inf:
            raise NoFiniteStartError(
                f"GaussianMoE.fit: none of {len(values)} starts has a finite likelihood. Fix: bring covariates and "
                "answers to units in which they are about 1, or raise the floor of variances in settings."
            )
        self.fit_: Fit = jax.tree.map(lambda v: v[best], fits)
        self.mixture_ = Mixture(self.gate, self.fit_.parameters)
        self.log_likelihood_ = float(values[best])
        self.optima_ = np.sort(values)[::-1]
        self.reached_ = int(np.sum(values >= values[best] - SAME))
        limits = _limits_reached(self.fit_, settings, float(np.var(np.asarray(y))))
        self.reasons_ = tuple(limits) if said is None else said
        self._X, self._names, self._program = X, names, program
        return self

    def log_density(self, X: Any, y: Any) -> jax.Array:
        """Give log p(y | x) of each row (n,)."""
        return self._fitted.log_density(self._same_columns(X), y)

    def responsibilities(self, X: Any, y: Any) -> jax.Array:
        """Give the probabilities of the experts given x and y (n, k)."""
        return self._fitted.responsibilities(self._same_columns(X), y)

    def predict(self, X: Any) -> jax.Array:
        """Give E[y | x] of each row (n,)."""
        return self._fitted.predict(self._same_columns(X))

    def sample(self, key: Any, X: Any) -> jax.Array:
        """Draw an answer for each row (n,)."""
        return self._fitted.sample(key, self._same_columns(X))

    def fisher(self, X: Any = None) -> jax.Array:
        """Give the information of one observation at the fit, averaged over covariates, by default those of the fit."""
        mixture = self._fitted
        return fisher(mixture, self._X if X is None else self._same_columns(X))

    def errors(self, X: Any, y: Any) -> inference.Errors:
        """Give standard errors of the parameters at the fit: those of a right program, and those that hold in any case.

        Args:
            X: covariates of the fit (n, d).
            y: answers of the fit (n,).

        Returns: errors by name, as a `table`, in the coordinates of `program.free_mixture`; see
            `inference.robust_errors`.

        Raises: LawfulError for a top-K gate, which jumps, and where the likelihood does not fall in some direction, as
            along the scale of a linear gate with a temperature, or at a limit of the fit.
        """
        p = self._fitted.parameters
        if self.gate.kind == "topk":
            raise LawfulError("GaussianMoE.errors: a top-K gate jumps, and has none. Fix: fit another gate.")
        if getattr(self, "_program", None) is not None:
            raise LawfulError(
                "GaussianMoE.errors: they are those of free_mixture, and the fit is the mode of another program. Fix: "
                "inference.robust_errors(inference.log_marginals(program, ...), ..., prior=True)."
            )
        x, y = data(self._same_columns(X), y, self.n_experts, "GaussianMoE.errors")
        found = inference.log_marginals(free_mixture, x, y, self.n_experts, self.gate, enumerate="all")
        return inference.robust_errors(found, free_values(self.gate, p))

    def align_to(self, other: Any, kind: str | None = None) -> Alignment:
        """Say which expert of another mixture each one is nearest to, and shift the gate to where the loss is least.

        `matched` of the answer has the experts in the order of the others.
        """
        mixture = self._fitted
        theirs = mixture_of(other).parameters
        return align(mixture, other, kind or ("exact" if theirs.n_experts == self.n_experts else "over"))

    def _check_start(self, init: Any, d: int) -> None:
        if not isinstance(init, Parameters):
            raise LawfulError(f"GaussianMoE.fit: init is a {type(init).__name__}. Fix: give Parameters.of(...).")
        if init.a.shape != (self.n_experts, d):
            raise LawfulError(
                f"GaussianMoE.fit: init has {init.a.shape[0]} experts of {init.a.shape[1]} covariates, expected "
                f"{self.n_experts} of {d}. Fix: give a start for this model and these data."
            )

    def _check_with_program(self, map: Any, settings: Settings) -> None:
        if self.gate.kind == "topk":
            raise LawfulError(
                "GaussianMoE.fit: program= with a top-K gate, which jumps, so that no gradient finds a mode. Fix: fit "
                "another gate, or draw from the program by posterior_of(..., program=, start='prior')."
            )
        if map is not None or settings != Settings():
            raise LawfulError(
                "GaussianMoE.fit: map= and settings= are of EM and Newton's method, and a program is climbed from all "
                "starts at once. Fix: leave them out; a prior of nu keeps variances above 0, one of beta1 a gate flat."
            )

    def _same_columns(self, X: Any) -> Any:
        """Refuse a frame with other columns than the fit had, or in another order."""
        names, fitted = _names(X), getattr(self, "_names", [])
        if names and fitted and names != fitted:
            raise ObservationError(f"X has the columns {names}, the fit had {fitted}. Fix: give these, in this order.")
        return X

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
def fits_from_anywhere(
    gate: Gate, free: bool, k: int, settings: Settings, X: jax.Array, y: jax.Array, keys: jax.Array
) -> Fit:
    """Fit from a random start for each key."""
    return lax.map(lambda key: _one(gate, free, settings, X, y, random_start(key, X, y, k, gate)), keys)


def _fits_by(
    executor: Any, gate: Gate, free: bool, k: int, settings: Settings, X: jax.Array, y: jax.Array, keys: jax.Array
) -> Fit:
    """Fit from the starts here, or by an executor."""
    if executor is None:
        return fits_from_anywhere(gate, free, k, settings, X, y, keys)
    words = np.asarray(jax.random.key_data(keys))
    same = gate, free, k, settings, np.asarray(X), np.asarray(y), str(jax.random.key_impl(keys))
    # A compiled loop of one round is another program, whose rounding may differ.
    parts = [(*same, words[rows]) for rows in parts_for_cores(len(words), least=2)]
    found = map_parts(executor, _fits_elsewhere, parts)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def _fits_elsewhere(
    gate: Gate, free: bool, k: int, settings: Settings, X: Any, y: Any, generator: str, words: Any
) -> Fit:
    """Fit from some of the starts, in another process."""
    keys = jax.random.wrap_key_data(jnp.asarray(words), impl=generator)
    return jax.tree.map(np.asarray, fits_from_anywhere(gate, free, k, settings, jnp.asarray(X), jnp.asarray(y), keys))


def _limits_reached(fit: Fit, settings: Settings, variance: float) -> Iterator[Finding]:
    """Tell which limits keep the fit from a likelihood without bound."""
    floor = float(settings.floor) * variance
    for expert, nu in enumerate(np.asarray(fit.parameters.nu)):
        if nu <= floor * (1 + 1e-3):
            yield Finding(
                "CLIPPED",
                f"expert {expert}: its variance {nu:.3g} is as small as it may be (floor {floor:.3g}), as where its "
                "line meets all of its rows or it has none: the likelihood would grow without bound. Fix: fewer "
                "experts, a larger Settings(floor=...), or the Bayesian fit (posterior_of).",
                sites=(f"nu[{expert}]",),
                value=float(nu),
                limit=floor,
            )
    if fit.bound_active:
        yield Finding(
            "CLIPPED",
            f"the gate is as steep as it may be (norm {float(settings.bound):.3g} in standard units): the likelihood "
            "still grows with it, as where experts part the covariates without overlap. Fix: gate='topk' with top_k=1, "
            "or a larger Settings(bound=...).",
            sites=("beta1",),
            value=float(settings.bound),
            limit=float(settings.bound),
        )


def _names(X: Any) -> list[Any]:
    """Give the names of a frame's columns, none for an array."""
    return list(getattr(X, "columns", []))


def _separable(x: jax.Array, least: int = 3) -> None:
    """Refuse a covariate that no boundary cuts into two sides of three rows, for a line and a variance each."""
    values = np.sort(np.asarray(x))
    cuts = np.flatnonzero(np.diff(values) > 0) + 1
    if not ((cuts >= least) & (cuts <= len(values) - least)).any():
        raise ObservationError(
            f"GaussianMoE.fit: no boundary has {least} of these {len(values)} rows on either side. Fix: give more "
            "rows, or a covariate with more values; GaussianMoE(1) fits one line."
        )
