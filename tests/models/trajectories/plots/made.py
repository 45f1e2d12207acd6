"""A fit at the true parameters, made without a search, so that pictures cost no compilation of climbs."""

import jax
import jax.numpy as jnp
import numpy as np

from lawful.models.trajectories import Bounds, Model, Parameters, TrajectoryFit, pack, panel, read_wide
from lawful.models.trajectories.fitting.objective import Problem, describe_all
from lawful.models.trajectories.fitting.search import Search
from lawful.models.trajectories.model.scaling import in_standard_units, scaling_of, standardised
from lawful.models.trajectories.model.simulate import draw

MODEL = Model("BLS", 2, 1, 0)
TRUTH = Parameters(
    gate=np.array([[0.0, 0.0], [0.3, 0.8]]),
    mean=np.array([[5.0, 2.0, 1.0], [9.0, 1.0, 0.5]]),
    shape=np.array([[2.3], [3.1]]),
    slope=np.zeros((2, 3, 0)),
    chol=np.stack([0.6 * np.eye(3), 0.5 * np.eye(3)]),
    noise=np.array([0.3, 0.4]),
    x_mean=np.zeros((2, 0)),
    x_chol=np.zeros((2, 0, 0)),
)


def fit_at(parameters, t, seed=1):
    """Draw persons measured at times (n, J), and call the parameters a fit that four starts and polish found."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(len(t), 1))
    y = draw(jax.random.key(seed), parameters, MODEL, t, x).y
    waves = range(1, t.shape[1] + 1)
    data = {f"Y{j}": y[:, j - 1] for j in waves} | {f"T{j}": t[:, j - 1] for j in waves} | {"income": x[:, 0]}
    read = read_wide(data, "Y", "T", waves, ["income"])
    seen = panel(read.y, read.t, read.gate, read.growth)
    scaling = scaling_of(seen, MODEL)
    low, high = np.quantile(read.t, [0.02, 0.98]) / scaling.t_scale
    bounds = Bounds(jnp.asarray(low), jnp.asarray(high))
    problem = Problem(standardised(seen, scaling), bounds, jnp.asarray(0.0))
    own = in_standard_units(jax.tree.map(jnp.asarray, parameters), MODEL, scaling)
    free = np.tile(np.asarray(pack(own, MODEL, bounds)), (5, 1))
    told = describe_all(jnp.asarray(free), problem, MODEL)
    value = np.asarray(told.by_person).sum(axis=1) - np.array([0.0, 0.0, 3.0, -20.0, 0.0])
    search = Search(
        free, value, np.asarray(told.shares), np.array([0, 1, 2, 3, -1]), np.ones(5, bool),
        np.array([False, False, False, True, False]), np.asarray(told.by_person),
    )  # fmt: skip
    return TrajectoryFit(MODEL, read, problem, scaling, search, False, (0, 1))
