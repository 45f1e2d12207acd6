"""What a site draws from, as a static description and parameters."""

import os
import subprocess
import sys

import pytest

TEXT_OF_A_SUM = """
import numpyro.distributions as dist, lawful
from lawful.inference import marginalise
def model(y):
    z = lawful.sample("z", dist.Bernoulli(0.3))
    lawful.sample("y", dist.StudentT(3.0, 1.0 * z, 2.0), obs=y)
print(marginalise(["z"])(lawful.trace(model, 0.5)).show())
"""


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("other", ["1", "2", "3"])
def test_parameters_have_one_order_in_all_processes(other):
    """NumPyro flattens a distribution in the order of a set of names, which differs by the seed of Python's hashes."""
    texts = {
        subprocess.run(
            [sys.executable, "-c", TEXT_OF_A_SUM], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("0", other)
    }  # fmt: skip
    assert len(texts) == 1 and "log p(y)" in texts.pop()
