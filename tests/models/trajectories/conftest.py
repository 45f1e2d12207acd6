"""The reference data as columns, prepared as every reference fit had them."""

import csv

import numpy as np
import pytest

from lawful.models.trajectories import TrajectoryMixture


def columns(file):
    """Read the columns that hold numbers."""
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    found = {}
    for name in rows[0]:
        try:
            found[name] = np.array([float(row[name]) for row in rows])
        except ValueError:
            continue
    return found


@pytest.fixture(scope="session")
def demo(data):
    """The demonstration file: two classes of falling curves, 500 persons, 10 waves."""
    return columns(data / "trajectories" / "sim_moe_bls_demo_k2_n500.csv")


@pytest.fixture(scope="session")
def school(data):
    """The ECLS-K sample: mathematics at nine waves, months since a child's first."""
    read = columns(data / "trajectories" / "eclsk2011_rms_n500.csv")
    first = read["T1"].copy()
    read |= {f"T{j}": read[f"T{j}"] - first for j in range(1, 10)}
    for name in ("INCOME", "EDU", "Approach_to_Learning", "Attention_focus"):
        read[name] = (read[name] - read[name].mean()) / read[name].std(ddof=1)
    return read


@pytest.fixture(scope="session")
def one_class():
    """A spline of one class, fitted to 60 persons at five waves; the late slope hardly differs between persons."""
    rng = np.random.default_rng(5)
    n, t = 60, np.arange(5.0) + np.r_[0, 0.2, -0.1, 0.15, 0]
    level, early, late = 10 + 2 * rng.normal(size=n), -2 + 0.5 * rng.normal(size=n), 0.5 * np.ones(n)
    u = t[None] - 2.2
    y = level[:, None] + early[:, None] * np.minimum(u, 0) + late[:, None] * np.maximum(u, 0)
    y = y + 0.4 * rng.normal(size=y.shape)
    data = {f"Y{j + 1}": y[:, j] for j in range(5)} | {f"T{j + 1}": np.full(n, t[j]) for j in range(5)}
    return TrajectoryMixture(1, n_starts=4).fit(data, y_var="Y", t_var="T", records=range(1, 6))


@pytest.fixture(scope="session")
def two_lines():
    """Two classes of lines with a covariate in the gate: the frame, and fits with it and without it."""
    rng = np.random.default_rng(3)
    n, t = 80, np.arange(4.0)
    x = rng.normal(size=n)
    label = rng.uniform(size=n) < 1 / (1 + np.exp(-1.5 * x))
    slope = np.where(label, 1.0, -1.0)[:, None] + 0.4 * rng.normal(size=(n, 1))
    y = np.where(label, 3.0, 0.0)[:, None] + slope * t + rng.normal(size=(n, 1))
    y = y + 0.5 * rng.normal(size=y.shape)
    data = {"x": x} | {f"Y{j + 1}": y[:, j] for j in range(4)} | {f"T{j + 1}": np.full(n, t[j]) for j in range(4)}
    model = TrajectoryMixture(2, "LIN", n_starts=4)
    gated = model.fit(data, y_var="Y", t_var="T", records=range(1, 5), gate="x")
    return data, gated, model.fit(data, y_var="Y", t_var="T", records=range(1, 5))
