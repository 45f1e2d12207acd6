"""The twelve posteriors as PyMC models, as its users write them; nutpie compiles them by numba.

Law: each has the density of its `model.md`; names are those of the reference. Labels and states are summed out by hand,
an ordered positive pair is the lower one and a gap, and the equation of prey and predators is solved by the Runge-Kutta
method with 16 equal steps a year, as in the program that it stands beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.distributions.transforms import ordered

STEPS = 16  # a year
type Data = Mapping[str, Any]


def autoregression(data: Data) -> None:
    """Autoregression given its first values."""
    y, order = data["y"], data["K"]
    alpha, sigma = pm.Normal("alpha", 0.0, 10.0), pm.HalfCauchy("sigma", 2.5)
    beta = pm.Normal("beta", 0.0, 10.0, shape=order)
    past = np.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], axis=1)
    pm.Normal("y", alpha + pt.dot(past, beta), sigma, observed=y[order:])


def garch11(data: Data) -> None:
    """GARCH(1, 1); the triangle is a uniform law on what alpha1 leaves, times its length."""
    y = data["y"]
    mu, alpha0, alpha1 = pm.Flat("mu"), pm.HalfFlat("alpha0"), pm.Uniform("alpha1", 0.0, 1.0)
    beta1 = pm.Uniform("beta1", 0.0, 1.0 - alpha1)
    pm.Potential("triangle", pt.log1p(-alpha1))
    first = pt.as_tensor_variable(np.float64(data["sigma1"] ** 2))
    later = pytensor.scan(
        lambda last, variance, mu, alpha0, alpha1, beta1: alpha0 + alpha1 * (last - mu) ** 2 + beta1 * variance,
        sequences=[pt.as_tensor_variable(y[:-1])], outputs_info=[first], non_sequences=[mu, alpha0, alpha1, beta1],
        return_updates=False,
    )  # fmt: skip
    pm.Normal("y", mu, pt.sqrt(pt.concatenate([first[None], later])), observed=y)


def hmm_example(data: Data) -> None:
    """Two hidden states, summed out by the forward algorithm."""
    moves = [pm.Dirichlet(name, np.ones(2)) for name in ("theta1", "theta2")]
    low, gap = pm.TruncatedNormal("low", 3.0, 1.0, lower=0.0), pm.HalfFlat("gap")
    mu = pm.Deterministic("mu", pt.stack([low, low + gap]))
    pm.Potential("high", pm.logp(pm.Normal.dist(10.0, 1.0), mu[1]))
    emitted = -0.5 * pt.square(pt.as_tensor_variable(data["y"])[:, None] - mu)
    forward = pytensor.scan(
        lambda now, last, move: pt.logsumexp(last[:, None] + move, axis=0) + now,
        sequences=[emitted[1:]], outputs_info=[emitted[0]], non_sequences=[pt.log(pt.stack(moves))],
        return_updates=False,
    )  # fmt: skip
    pm.Potential("y", pt.logsumexp(forward[-1]))


def lotka_volterra(data: Data) -> None:
    """Hares and lynxes."""
    theta = pm.TruncatedNormal("theta", [1.0, 0.05, 1.0, 0.05], [0.5, 0.05, 0.5, 0.05], lower=0.0, shape=4)
    sigma = pm.LogNormal("sigma", -1.0, 1.0, shape=2)
    start = pm.LogNormal("z_init", np.log(10.0), 1.0, shape=2)
    pm.LogNormal("y_init", pt.log(start), sigma, observed=data["y_init"])
    years = np.diff(data["ts"], prepend=0.0)

    def slope(logs: Any, theta: Any) -> Any:
        return pt.stack([theta[0] - theta[1] * pt.exp(logs[1]), -theta[2] + theta[3] * pt.exp(logs[0])])

    def step(h: Any, logs: Any, theta: Any) -> Any:
        k1 = slope(logs, theta)
        k2 = slope(logs + h / 2 * k1, theta)
        k3 = slope(logs + h / 2 * k2, theta)
        k4 = slope(logs + h * k3, theta)
        return logs + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    path = pytensor.scan(
        step,
        sequences=[pt.as_tensor_variable(np.repeat(years / STEPS, STEPS))], outputs_info=[pt.log(start)],
        non_sequences=[theta], return_updates=False,
    )  # fmt: skip
    pm.LogNormal("y", path[STEPS - 1 :: STEPS], sigma, observed=data["y"])


def eight_schools(data: Data) -> None:
    """Eight schools, non-centred."""
    mu, tau = pm.Normal("mu", 0.0, 5.0), pm.HalfCauchy("tau", 5.0)
    theta = pm.Deterministic("theta", mu + tau * pm.Normal("z", 0.0, 1.0, shape=8))
    pm.Normal("y", theta, data["sigma"], observed=data["y"])


def gp_pois_regr(data: Data) -> None:
    """Counts whose log rate is a Gaussian process."""
    x = data["x"]
    rho, alpha = pm.Gamma("rho", 25.0, 4.0), pm.HalfNormal("alpha", 2.0)
    square = (x[:, None] - x[None, :]) ** 2
    covariance = alpha**2 * pt.exp(-0.5 * square / rho**2) + 1e-10 * np.eye(len(x))
    z = pm.Normal("z", 0.0, 1.0, shape=len(x))
    f = pm.Deterministic("f", pt.dot(pt.linalg.cholesky(covariance), z))
    pm.Poisson("k", pt.exp(f), observed=data["k"])


def low_dim_gauss_mix(data: Data) -> None:
    """Two normal components in order of their means."""
    mu = pm.Normal("mu", 0.0, 2.0, shape=2, transform=ordered, initval=[-1.0, 1.0])
    sigma, theta = pm.HalfNormal("sigma", 2.0, shape=2), pm.Beta("theta", 5.0, 5.0)
    pm.NormalMixture("y", w=pt.stack([theta, 1.0 - theta]), mu=mu, sigma=sigma, observed=data["y"])


def blr(data: Data) -> None:
    """Regression on strongly correlated columns."""
    beta = pm.Normal("beta", 0.0, 10.0, shape=data["X"].shape[1])
    pm.Normal("y", pt.dot(data["X"], beta), pm.HalfNormal("sigma", 10.0), observed=data["y"])


def _flat(x: np.ndarray, y: np.ndarray, sigma: Any = None) -> None:
    beta = pm.Flat("beta", shape=x.shape[1])
    pm.Normal("y", pt.dot(x, beta), pm.HalfFlat("sigma") if sigma is None else sigma, observed=y)


def logearn_interaction(data: Data) -> None:
    """Log earnings by height and sex."""
    height, male = data["height"], data["male"]
    _flat(np.stack([np.ones(len(height)), height, male, height * male], axis=1), np.log(data["earn"]))


def kidscore_interaction(data: Data) -> None:
    """Scores of children by school and intelligence of their mothers."""
    hs, iq = data["mom_hs"], data["mom_iq"]
    x = np.stack([np.ones(len(hs)), hs, iq, hs * iq], axis=1)
    _flat(x, data["kid_score"], pm.HalfCauchy("sigma", 2.5))


def logmesquite_logvash(data: Data) -> None:
    """Log weight of bushes by volume, area and shape of the canopy, and height."""
    area, shape = np.log(data["diam1"] * data["diam2"]), np.log(data["diam1"] / data["diam2"])
    volume, height = area + np.log(data["canopy_height"]), np.log(data["total_height"])
    x = np.stack([np.ones(len(area)), volume, area, shape, height, data["group"]], axis=1)
    _flat(x, np.log(data["weight"]))


def nes(data: Data) -> None:
    """Party identification of voters."""
    ages = [(data["age_discrete"] == a).astype(float) for a in (2, 3, 4)]
    named = [data[name] for name in ("educ1", "gender", "income")]
    ones = np.ones(len(data["income"]))
    _flat(np.stack([ones, data["real_ideo"], data["race_adj"], *ages, *named], axis=1), data["partyid7"])


MODELS: Mapping[str, Callable[[Data], None]] = {
    "arK-arK": autoregression,
    "earnings-logearn_interaction": logearn_interaction,
    "eight_schools-eight_schools_noncentered": eight_schools,
    "garch-garch11": garch11,
    "gp_pois_regr-gp_pois_regr": gp_pois_regr,
    "hmm_example-hmm_example": hmm_example,
    "hudson_lynx_hare-lotka_volterra": lotka_volterra,
    "kidiq-kidscore_interaction": kidscore_interaction,
    "low_dim_gauss_mix-low_dim_gauss_mix": low_dim_gauss_mix,
    "mesquite-logmesquite_logvash": logmesquite_logvash,
    "nes1980-nes": nes,
    "sblrc-blr": blr,
}
