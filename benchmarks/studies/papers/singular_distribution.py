"""`python -m benchmarks.studies.papers.singular_distribution`: data on a curve, fitted after noise is added.

Lines: the distance between the fitted curve without noise and the true one, by the noise that is added, from random
starts and from the truth; how it falls with the number of data; and the likelihood of data without noise.
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np

from lawful import inference
from lawful.models.papers.singular_distribution import closed_curve, perturbed, points_of, sliced_wasserstein

from .bars import judge

SEEDS = range(100, 105)
NOISES = (0.03, 0.1, 0.2, 0.4, 0.8, 1.6)
TERMS, NODES = 8, 200
# A trefoil knot: cosines, then sines, of one to three turns.
KNOT = np.zeros((2, TERMS, 3))
KNOT[0, :2, 1] = 1.0, -2.0
KNOT[1, :2, 0], KNOT[1, 2, 2] = (1.0, 2.0), -1.0

FROM_ANYWHERE = inference.maximise(closed_curve, starts=4, enumerate=["t"])
FROM_THE_TRUTH = inference.maximise(closed_curve, starts=1, enumerate=["t"], init={"coefficient": jnp.asarray(KNOT)})


def data(seed: int, n: int) -> np.ndarray:
    """Draw points of the knot, without noise."""
    places = np.random.default_rng(seed).integers(100_000, size=n)
    return np.asarray(points_of(KNOT, 100_000))[places]


def distance(plan: inference.Plan, seed: int, x: np.ndarray, noise: float) -> float:
    """Fit perturbed data; give how far the curve is from the true one."""
    seen = perturbed(jax.random.key(seed), x, noise)
    fit = plan(jax.random.key(seed), seen, noise, TERMS, NODES)
    return sliced_wasserstein(points_of(fit.optima[0].values["coefficient"], 2_000), points_of(KNOT, 2_000))


def main() -> int:
    """Print all lines; return the number of bars that are missed."""
    jax.config.update("jax_enable_x64", True)
    found = {}
    for name, plan in (("random starts", FROM_ANYWHERE), ("started at the truth", FROM_THE_TRUTH)):
        found[name] = np.array([[distance(plan, seed, data(seed, 300), noise) for noise in NOISES] for seed in SEEDS])
        for noise, column in zip(NOISES, found[name].T, strict=True):
            print(f"       {name}, noise {noise}: distances {np.round(column, 3).tolist()}", flush=True)
    best = found["random starts"].argmin(1)
    inner = int(np.sum((best > 0) & (best < len(NOISES) - 1)))
    missed = judge("sets of 5 whose distance is smallest at a noise between the ends", "5", f"{inner}", inner == 5)
    for n in (500, 2_000):
        print(f"       {n} data, noise 0.4: {distance(FROM_ANYWHERE, 100, data(100, n), 0.4):.3f}", flush=True)
    logs = [
        float(
            np.mean(
                inference.log_marginals(
                    closed_curve, data(100, 100), noise, TERMS, 20_000, plate="datum", enumerate=["t"]
                )({"coefficient": jnp.asarray(KNOT)})
            )
        )
        for noise in (0.04, 0.02, 0.01)
    ]
    gains = np.diff(logs) / np.log(2)
    missed += judge(
        "gain of log likelihood for a halving of the noise, in log 2",
        "2",
        f"{gains.round(3)}",
        abs(gains - 2).max() < 0.01,
    )
    return missed


if __name__ == "__main__":
    sys.exit(main())
