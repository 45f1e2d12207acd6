"""Peers of the search for maxima: SciPy's L-BFGS on a density by hand, and what statsmodels and scikit-learn fit.

Law: each gives the log density that it reached, on the scale of the program.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from .programs import Case

STARTS = 16


def by_scipy(case: Case, seed: int = 0) -> Callable[[], float]:
    """Give the search of SciPy from 16 normal starts, of a value and gradient that JAX compiles."""
    args = tuple(map(jnp.asarray, case.args))
    slope = jax.jit(jax.value_and_grad(lambda v: -case.hand(v, *args)))

    def run() -> float:
        rng, best = np.random.default_rng(seed), -np.inf
        for _ in range(STARTS):
            start = rng.normal(size=case.size)
            found = optimize.minimize(lambda v: tuple(map(np.asarray, slope(v))), start, jac=True, method="L-BFGS-B")
            best = max(best, -float(found.fun)) if np.isfinite(found.fun) else best
        return best

    return run


def by_library(name: str, case: Case) -> Callable[[], float] | None:
    """Give the fit of statsmodels or scikit-learn, where one of them has the model."""
    fits: dict[str, Callable[..., float]] = {
        "logistic": _logit, "poisson": _poisson, "gamma": _gamma, "two centres": _centres(2),
        "three centres": _centres(3), "local level": _level, "one factor": _factor,
    }  # fmt: skip
    fit = fits.get(name)
    return None if fit is None else lambda: fit(*case.args)


def _logit(x: Any, y: Any) -> float:
    import statsmodels.api as sm

    return float(sm.Logit(y, x).fit(disp=0).llf)


def _poisson(x: Any, y: Any) -> float:
    import statsmodels.api as sm

    return float(sm.GLM(y, x, family=sm.families.Poisson()).fit().llf)


def _gamma(x: Any, y: Any) -> float:
    """Slopes by statsmodels, and the best shape given them."""
    import statsmodels.api as sm
    from scipy import stats

    fit = sm.GLM(y, x, family=sm.families.Gamma(link=sm.families.links.Log())).fit()
    mean = fit.fittedvalues

    def loss(log_shape: float) -> float:
        shape = np.exp(log_shape)
        return -float(stats.gamma(shape, scale=mean / shape).logpdf(y).sum())

    return -float(optimize.minimize_scalar(loss, bounds=(-5, 5), options={"xatol": 1e-10}).fun)


def _centres(k: int) -> Callable[..., float]:
    def fit(y: Any) -> float:
        from sklearn.mixture import GaussianMixture

        model = GaussianMixture(
            k, covariance_type="tied", n_init=STARTS, tol=1e-10, max_iter=5000, reg_covar=0.0, random_state=0
        )
        return float(model.fit(y).score(y) * len(y))

    return fit


def _level(y: Any) -> float:
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    model = UnobservedComponents(y, "local level")
    model.ssm.initialize_known(np.zeros(1), np.array([[100.0]]))
    model.ssm.loglikelihood_burn = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(model.fit(disp=0, maxiter=500, pgtol=1e-10, factr=10.0).llf)


def _factor(y: Any) -> float:
    from sklearn.decomposition import FactorAnalysis

    return float(FactorAnalysis(1, tol=1e-10, max_iter=10_000).fit(y).score(y) * len(y))
