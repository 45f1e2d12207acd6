"""The reference data as columns, prepared as every reference fit had them."""

import csv

import numpy as np
import pytest


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
