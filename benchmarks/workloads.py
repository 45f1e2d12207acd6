"""What is timed: data, seeds and exact answers of every workload, in NumPy alone so that each environment imports it.

Law: the check values of the data and the exact log evidences are fixed numbers, tested in tests/benchmarks/.

W1 is the bootstrap particle filter on a stationary autoregression x_0 ~ N(m, q^2 / (1 - a^2)),
x_t = m + a (x_{t-1} - m) + q e_t, observed at every step, the first one included:
LG (linear Gaussian) y_t = x_t + r n_t, and SV (stochastic volatility) y_t = exp(x_t / 2) n_t.

W2 is Bayesian logistic regression: y_i ~ Bernoulli(logit x_i b), b ~ N(0, I) in 20 dimensions, 1000 observations.

W3a is that posterior again, for random-walk chains. W3b is a mixture with its labels: m_k ~ N(-3, 0, 3; 1),
z_i ~ Categorical(0.3, 0.3, 0.4), y_i ~ N(m_{z_i}, 1), 100 observations.

W5b is a hidden Markov model of 100 states, 10,000 observations y_t ~ N(m_{z_t}, 1), means spread over [-10, 10].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

LOG_TWO_PI = float(np.log(2 * np.pi))
STEPS = 1000


@dataclass(frozen=True)
class StateSpace:
    """Constants of one autoregression with its observation."""

    observation: str  # "gaussian": y ~ N(x, noise); "volatility": y ~ N(0, exp(x / 2))
    mean: float
    persistence: float
    scale: float
    noise: float = 1.0

    @property
    def stationary_scale(self) -> float:
        """Standard deviation of x_0, and of every x_t."""
        return self.scale / float(np.sqrt(1 - self.persistence**2))

    def log_likelihood(self, x: np.ndarray, y: float) -> np.ndarray:
        """Log density of one observation at the states x."""
        log_scale = x / 2 if self.observation == "volatility" else np.full_like(x, np.log(self.noise))
        centre = 0.0 if self.observation == "volatility" else x
        return -0.5 * ((y - centre) * np.exp(-log_scale)) ** 2 - log_scale - 0.5 * LOG_TWO_PI


MODELS = {
    "LG": StateSpace(observation="gaussian", mean=0.0, persistence=0.9, scale=1.0, noise=1.0),
    "SV": StateSpace(observation="volatility", mean=-1.0, persistence=0.95, scale=0.25),
}


@cache
def observations(model: str, steps: int = STEPS) -> np.ndarray:
    """The observations of W1: `default_rng(0)`, x_0, then at each t the move (t > 0) and the observation noise.

    >>> observations("LG")[:2].round(6).tolist()
    [0.15634, 1.004923]
    """
    constants = MODELS[model]
    rng = np.random.default_rng(0)
    x = constants.mean + constants.stationary_scale * rng.standard_normal()
    observed = np.empty(steps)
    for t in range(steps):
        if t > 0:
            x = constants.mean + constants.persistence * (x - constants.mean) + constants.scale * rng.standard_normal()
        noise = rng.standard_normal()
        observed[t] = np.exp(x / 2) * noise if model == "SV" else x + constants.noise * noise
    observed.setflags(write=False)
    return observed


def kalman_filter(constants: StateSpace, observed: np.ndarray) -> tuple[float, float]:
    """Exact log evidence and the mean of the last state given all observations, for the Gaussian observation."""
    mean, variance = constants.mean, constants.stationary_scale**2
    log_evidence = 0.0
    for t, y in enumerate(observed):
        if t > 0:
            mean = constants.mean + constants.persistence * (mean - constants.mean)
            variance = constants.persistence**2 * variance + constants.scale**2
        total = variance + constants.noise**2
        log_evidence += -0.5 * (LOG_TWO_PI + np.log(total) + (y - mean) ** 2 / total)
        gain = variance / total
        mean, variance = mean + gain * (y - mean), (1 - gain) * variance
    return float(log_evidence), float(mean)


def point_mass_filter(
    constants: StateSpace, observed: np.ndarray, points: int = 1500, width: float = 9.0
) -> tuple[float, float]:
    """The same by sums over a regular grid of `width` stationary standard deviations on each side of the mean.

    The integrands are smooth and vanish at both ends, so the sums converge faster than any power of the spacing.
    """
    x = constants.mean + constants.stationary_scale * np.linspace(-width, width, points)
    spacing = x[1] - x[0]

    def normal(z: np.ndarray, scale: float) -> np.ndarray:
        return np.exp(-0.5 * (z / scale) ** 2 - 0.5 * LOG_TWO_PI) / scale

    centres = constants.mean + constants.persistence * (x - constants.mean)
    kernel = normal(x[:, None] - centres[None, :], constants.scale) * spacing
    mass = normal(x - constants.mean, constants.stationary_scale) * spacing
    log_evidence = 0.0
    for t, y in enumerate(observed):
        if t > 0:
            mass = kernel @ mass
        mass = mass * np.exp(constants.log_likelihood(x, y))
        total = mass.sum()
        log_evidence += np.log(total)
        mass /= total
    return float(log_evidence), float(mass @ x)


PREDICTORS, ROWS = 20, 1000


@cache
def regression() -> tuple[np.ndarray, np.ndarray]:
    """Covariates and labels of W2: `default_rng(1)`, correlated normals behind a column of ones.

    >>> covariates, labels = regression()
    >>> covariates.shape, int(labels.sum())
    ((1000, 20), 521)
    """
    rng = np.random.default_rng(1)
    place = np.arange(PREDICTORS - 1)
    correlation = 0.5 ** np.abs(place[:, None] - place[None, :])
    drawn = rng.standard_normal((ROWS, PREDICTORS - 1)) @ np.linalg.cholesky(correlation).T
    covariates = np.column_stack([np.ones(ROWS), drawn])
    true = 0.7 * rng.standard_normal(PREDICTORS)
    labels = (rng.random(ROWS) < 1 / (1 + np.exp(-covariates @ true))).astype(np.int32)
    for array in (covariates, labels):
        array.setflags(write=False)
    return covariates, labels


# Posterior of W2, by importance sampling; `regression_evidence` computes them again.
REGRESSION_LOG_EVIDENCE = -349.600
REGRESSION_MEAN = (
    0.1312, 0.9117, -0.8577, -0.0465, 1.0142, -0.5816, -1.6551, 0.1646, -1.4664, 0.1232,
    -0.5394, 0.2614, -0.8954, -1.2151, 1.2310, 1.0898, 0.5351, -0.1699, -0.0686, -1.1806,
)  # fmt: skip
REGRESSION_SCALE = (
    0.1027, 0.1293, 0.1448, 0.1341, 0.1443, 0.1389, 0.1575, 0.1275, 0.1531, 0.1347,
    0.1361, 0.1314, 0.1475, 0.1471, 0.1540, 0.1377, 0.1425, 0.1359, 0.1254, 0.1367,
)  # fmt: skip


@cache
def regression_laplace() -> tuple[np.ndarray, np.ndarray]:
    """Mode of the posterior of W2, and the covariance of the normal with the curvature there."""
    x, y = regression()
    mode = np.zeros(PREDICTORS)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ mode))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.eye(PREDICTORS)
        mode = mode + np.linalg.solve(curvature, x.T @ (y - p) - mode)
    return mode, np.linalg.inv(curvature)


def regression_starts(chains: int) -> np.ndarray:
    """Starts of W3a (chain, coefficient): draws of that normal by `default_rng(0)`."""
    mode, covariance = regression_laplace()
    noise = np.random.default_rng(0).standard_normal((chains, PREDICTORS))
    return mode + noise @ np.linalg.cholesky(covariance).T


def regression_walk() -> np.ndarray:
    """Root L of the covariance of the steps of W3a: L L^T = 2.38^2/d times the covariance of that normal."""
    return 2.38 / math.sqrt(PREDICTORS) * np.linalg.cholesky(regression_laplace()[1])


def regression_evidence(draws: int = 200_000, seed: int = 123) -> tuple[float, np.ndarray, np.ndarray]:
    """Log evidence, posterior means and standard deviations of W2, by importance sampling.

    The proposal is a Student t of 7 degrees of freedom at the mode, with the curvature there.
    """
    x, y = regression()
    mode, covariance = regression_laplace()
    d, freedom, root = PREDICTORS, 7.0, np.linalg.cholesky(covariance)
    rng = np.random.default_rng(seed)
    log_weights, points = [], []
    for start in range(0, draws, 10_000):
        count = min(10_000, draws - start)
        z = rng.standard_normal((count, d)) / np.sqrt(rng.chisquare(freedom, count) / freedom)[:, None]
        b = mode + z @ root.T
        eta = b @ x.T
        likelihood = eta @ y - np.logaddexp(0.0, eta).sum(axis=1)
        prior = -0.5 * (b * b).sum(axis=1) - 0.5 * d * LOG_TWO_PI
        proposal = -0.5 * (freedom + d) * np.log1p((z * z).sum(axis=1) / freedom)
        log_weights.append(likelihood + prior - proposal)
        points.append(b)
    constant = math.lgamma((freedom + d) / 2) - math.lgamma(freedom / 2) - 0.5 * d * math.log(freedom * math.pi)
    constant -= float(np.log(np.diagonal(root)).sum())
    log_weight, b = np.concatenate(log_weights), np.concatenate(points)
    top = log_weight.max()
    weight = np.exp(log_weight - top)
    share = weight / weight.sum()
    mean = share @ b
    return float(top + np.log(weight.mean()) - constant), mean, np.sqrt(share @ (b - mean) ** 2)


LABELLED = 100
MIXTURE_WEIGHT, MIXTURE_PRIOR = (0.3, 0.3, 0.4), (-3.0, 0.0, 3.0)
MIXTURE_START = (-2.2, 0.3, 2.5)

# Posterior of the means of W3b, the labels summed out; `mixture_moments` computes them again.
MIXTURE_MEAN, MIXTURE_SCALE = (-2.19262, 0.32991, 2.42497), (0.23637, 0.33538, 0.26039)


@cache
def mixture() -> np.ndarray:
    """The observations of W3b: `default_rng(2)`, labels, then normals around -2.2, 0.3 and 2.6.

    >>> mixture()[:2].round(6).tolist()
    [-2.877886, -3.02116]
    """
    rng = np.random.default_rng(2)
    labels = rng.choice(3, LABELLED, p=MIXTURE_WEIGHT)
    observed = rng.normal(np.array([-2.2, 0.3, 2.6])[labels], 1.0)
    observed.setflags(write=False)
    return observed


def mixture_starts(chains: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of W3b: the means (chain, component), all alike, and uniform labels (chain, observation)."""
    labels = np.random.default_rng(1).integers(0, 3, (chains, LABELLED))
    return np.tile(MIXTURE_START, (chains, 1)), labels.astype(np.int32)


def mixture_moments(points: int = 90, ordered: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of the means of W3b, by sums over a grid of +-4 around (-2.3, 0.2, 2.6).

    The integrand is smooth and vanishes at the ends, so the sums converge faster than any power of the spacing. With
    `ordered` they are those given that the means are in order: 0.7 % of the posterior has two of them exchanged.
    """
    grids = [centre + np.linspace(-4, 4, points) for centre in (-2.3, 0.2, 2.6)]
    prior = [np.exp(-0.5 * (grid - m) ** 2) for grid, m in zip(grids, MIXTURE_PRIOR)]
    first, second, third = (
        w * np.exp(-0.5 * (mixture() - grid[:, None]) ** 2) for w, grid in zip(MIXTURE_WEIGHT, grids)
    )
    rest = second[:, None] + third
    log_mass = np.array([np.log(one + rest).sum(axis=2) for one in first])
    mass = np.exp(log_mass - log_mass.max()) * np.einsum("i,j,k->ijk", *prior)
    if ordered:
        low, middle, high = np.meshgrid(*grids, indexing="ij")
        mass = mass * ((low < middle) & (middle < high))
    sides = [mass.sum(axis=tuple(b for b in range(3) if b != a)) / mass.sum() for a in range(3)]
    mean = np.array([side @ grid for side, grid in zip(sides, grids)])
    return mean, np.array([side @ (grid - m) ** 2 for side, grid, m in zip(sides, grids, mean)]) ** 0.5


# ---- W4: eight schools, non-centred: mu ~ N(0, 5), tau ~ HalfCauchy(5), t_j ~ N(0, 1), y_j ~ N(mu + tau t_j, scale_j)


def schools() -> tuple[np.ndarray, np.ndarray]:
    """Observations and scales of W4.

    >>> schools()[0].sum()
    np.float64(70.0)
    """
    return np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def schools_moments(points: int = 801) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of mu, log tau and t, by sums over a grid of mu and log tau.

    Given these, t_j is normal. The integrand is smooth and vanishes at the ends; log tau has the lower tail of tau.
    """
    y, s = schools()
    mu, log_tau = np.linspace(-30, 40, points)[:, None], np.linspace(-14, 7, 2 * points)[None]
    tau = np.exp(log_tau)
    log_mass = -0.5 * (mu / 5) ** 2 - np.log1p((tau / 5) ** 2) + log_tau
    for observed, scale in zip(y, s):
        variance = scale**2 + tau**2
        log_mass = log_mass - 0.5 * np.log(variance) - 0.5 * (observed - mu) ** 2 / variance
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    pairs = [(np.sum(mass * x), np.sum(mass * x**2)) for x in (mu, log_tau)]
    for observed, scale in zip(y, s):
        variance = 1 / (1 + (tau / scale) ** 2)
        mean = variance * tau * (observed - mu) / scale**2
        pairs.append((np.sum(mass * mean), np.sum(mass * (variance + mean**2))))
    first, second = np.array(pairs).T
    return first, np.sqrt(second - first**2)


SCHOOLS_MEAN, SCHOOLS_SCALE = (tuple(float(x) for x in part) for part in schools_moments())

MOMENTS = {"logistic": (REGRESSION_MEAN, REGRESSION_SCALE), "mixture": (MIXTURE_MEAN, MIXTURE_SCALE)}
MOMENTS["schools"] = SCHOOLS_MEAN, SCHOOLS_SCALE


def posterior_means(model: str) -> dict[str, float]:
    """Exact posterior means by the name of the output."""
    return {f"mean_{i}": mean for i, mean in enumerate(MOMENTS[model][0])}


@cache
def exact_answers(model: str) -> dict[str, float]:
    """Exact answers by the name of the output: the log evidence, and means of the posterior."""
    if model == "logistic":
        return {"log_evidence": REGRESSION_LOG_EVIDENCE, **posterior_means(model)}
    if model == "hidden":
        return {"log_likelihood": HIDDEN_LOG_LIKELIHOOD, "marginal_error": 0.0}
    constants = MODELS[model]
    exact = kalman_filter if constants.observation == "gaussian" else point_mass_filter
    log_evidence, filtered_mean = exact(constants, observations(model))
    return {"log_evidence": log_evidence, "filtered_mean": filtered_mean}


def posterior_scales(model: str) -> dict[str, float]:
    """Posterior standard deviations of the outputs whose errors are told in them."""
    return {f"mean_{i}": scale for i, scale in enumerate(MOMENTS[model][1])} if model in MOMENTS else {}


# ---- W7: n latent and n observed scalar sites, x_0 ~ N(0, 1), x_i ~ N(x_{i-1} / 2, 1), y_i ~ N(x_i, 1), at x_i = 0.1

CHAIN_VALUE = 0.1


def chain_data(latents: int) -> np.ndarray:
    """The observations of W7.

    >>> chain_data(3).tolist()
    [-1.0, 0.0, 1.0]
    """
    return np.linspace(-1.0, 1.0, latents)


@cache
def chain_answers(latents: int) -> dict[str, float]:
    """Log density of the chain at x_i = 0.1, and the sum of its gradient there.

    >>> round(chain_answers(10)["log_density"], 6)
    -20.482058
    """
    x, y = np.full(latents, CHAIN_VALUE), chain_data(latents)
    steps = x - 0.5 * np.concatenate([[0.0], x[:-1]])
    log_density = -0.5 * float(steps @ steps + (y - x) @ (y - x)) - latents * LOG_TWO_PI
    gradient = (y - x) - steps + 0.5 * np.concatenate([steps[1:], [0.0]])
    return {"log_density": log_density, "gradient_sum": float(gradient.sum())}


# ---- W5b: hidden states with rows of the transition matrix ~ Dirichlet(0.3), start ~ Dirichlet(1), unit noise

HIDDEN_STATES, HIDDEN_STEPS = 100, 10_000
HIDDEN_LOG_LIKELIHOOD = -30895.0207089554


@dataclass(frozen=True)
class Hidden:
    """Start (K,), transition matrix (K, K), means of the states (K,), observations (T,)."""

    start: np.ndarray
    transition: np.ndarray
    means: np.ndarray
    observed: np.ndarray

    def node_scores(self) -> np.ndarray:
        """Log densities of the observations in each state (T, K)."""
        return -0.5 * (self.observed[:, None] - self.means) ** 2 - 0.5 * LOG_TWO_PI


@cache
def hidden() -> Hidden:
    """Model and data of W5b: `default_rng(4)`, the matrix, the start, the path by `choice`, then the noise.

    >>> hidden().observed[:1].round(6).tolist()
    [-10.059886]
    """
    rng = np.random.default_rng(4)
    transition = rng.dirichlet(np.full(HIDDEN_STATES, 0.3), size=HIDDEN_STATES)
    start = rng.dirichlet(np.ones(HIDDEN_STATES))
    means = np.linspace(-10.0, 10.0, HIDDEN_STATES)
    path = np.empty(HIDDEN_STEPS, dtype=int)
    path[0] = rng.choice(HIDDEN_STATES, p=start)
    for t in range(1, HIDDEN_STEPS):
        path[t] = rng.choice(HIDDEN_STATES, p=transition[path[t - 1]])
    return Hidden(start, transition, means, means[path] + rng.standard_normal(HIDDEN_STEPS))


@cache
def hidden_answers() -> tuple[float, np.ndarray]:
    """Log likelihood and marginals (T, K) of W5b, by the rescaled forward-backward recursion in float64."""
    model = hidden()
    scores = model.node_scores()
    top = scores.max(axis=1)
    weight = np.exp(scores - top[:, None])
    forward, backward, logs = np.empty_like(weight), np.ones_like(weight), []
    for t, row in enumerate(weight):
        raw = row * (model.start if t == 0 else forward[t - 1] @ model.transition)
        logs.append(math.log(raw.sum()))
        forward[t] = raw / raw.sum()
    for t in range(len(weight) - 1, 0, -1):
        raw = model.transition @ (weight[t] * backward[t])
        backward[t - 1] = raw / raw.max()
    joint = forward * backward
    return math.fsum([*logs, *top]), joint / joint.sum(axis=1, keepdims=True)


# ---- W5a: Potts grids, unary scores ~ N(0, 1) in single precision, neighbours drawn to be equal

COUPLING = 0.5


@cache
def potts_scores(side: int, states: int) -> np.ndarray:
    """Unary scores of W5a (L, L, K): `default_rng(3)`, in single precision.

    >>> potts_scores(64, 2)[0, 0].round(6).tolist()
    [2.0409190654754639, -2.555665016174316]
    """
    return np.random.default_rng(3).normal(size=(side, side, states)).astype(np.float32)


@cache
def potts_marginals(side: int, states: int, sweeps: int) -> np.ndarray:
    """Marginals (L, L, K) after some sweeps of all messages with damping 1/2, in double precision."""
    own = potts_scores(side, states).astype(float)
    down, right = np.zeros((side - 1, side, states)), np.zeros((side, side - 1, states))
    messages = [down, down.copy(), right, right.copy()]  # to the next row, to the one before, likewise for columns

    def gathered() -> np.ndarray:
        total = own.copy()
        for part, message in zip((total[1:], total[:-1], total[:, 1:], total[:, :-1]), messages, strict=True):
            part += message
        return total

    for _ in range(sweeps):
        total = gathered()
        sources = (total[:-1], total[1:], total[:, :-1], total[:, 1:])
        new = []
        for source, back in zip(sources, (messages[1], messages[0], messages[3], messages[2]), strict=True):
            weight = np.exp(source - back)
            out = np.log(weight.sum(axis=-1, keepdims=True) + (math.exp(COUPLING) - 1) * weight)
            new.append(out - out.max(axis=-1, keepdims=True))
        messages = [0.5 * (a + b) for a, b in zip(new, messages, strict=True)]
    weight = np.exp(gathered() - gathered().max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)
