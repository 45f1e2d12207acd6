"""Results of a population and of chains, made of random numbers, on which the laws of results are tested."""

import numpy as np

from lawful.inference.results.collect import from_chains, from_population

RUNS, PARTICLES, STAGES = 4, 200, 7
DIMS = {"x": ("time",), "y": ("time",)}
COORDS = {"time": [1871, 1872, 1873]}


def population(dead_at=(-1,) * RUNS, log_evidence=(-3.0, -3.1, -2.9, -3.05), shift=0.0, **fields):
    rng = np.random.default_rng(7)
    values = {"theta": rng.normal(size=(RUNS, PARTICLES)), "x": rng.normal(size=(RUNS, PARTICLES, 3))}
    values["theta"][0] += shift
    dead = np.asarray(dead_at) >= 0
    log_weight = np.where(dead[:, None], -np.inf, 0.1 * rng.normal(size=(RUNS, PARTICLES)))
    return from_population(
        values,
        log_weight,
        np.where(dead, -np.inf, log_evidence),
        draws={name: array.copy() for name, array in values.items()},
        stats={"ess": np.full((RUNS, STAGES), 150.0), "n_unique": np.full((RUNS, STAGES), 120)},
        dead_at=dead_at,
        observed={"y": np.array([0.1, 0.2, 0.3])},
        constants={"scale": np.array(2.0)},
        **{"dims": DIMS, "coords": COORDS, "run": {"particles": PARTICLES, "jit": True, "versions": {}}, **fields},
    )


def chains(n=4, draws=500, **fields):
    rng = np.random.default_rng(3)
    posterior = {"theta": rng.normal(size=(n, draws)), "x": rng.normal(size=(n, draws, 3))}
    stats = {
        "acceptance_rate": rng.random((n, draws)),
        "accepted": rng.random((n, draws)) < 0.5,
        "step_size": np.ones(n),
    }
    return from_chains(posterior, stats=fields.pop("stats", stats), **{"dims": DIMS, "coords": COORDS, **fields})
