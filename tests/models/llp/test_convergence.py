"""How messages settle, sweep by sweep: the residuals are those of one run."""

import numpy as np
import pytest

from lawful.errors import ObservationError
from lawful.models.llp import Bags, coupled, labelled
from lawful.models.llp.convergence import message_residuals


@pytest.mark.slow
def test_residuals_of_single_sweeps_are_those_of_runs_of_as_many():
    rng = np.random.default_rng(0)
    bags = Bags.from_ids(np.arange(12) // 4, [1, 2, 3])
    near = coupled(rng.permuted(np.tile(np.arange(12), (10, 1)), axis=1)[:, :2], 12, bags.base_rate)
    z = rng.normal(size=12)
    found = message_residuals(z, bags, near, sweeps=5)
    np.testing.assert_allclose(found[-1], labelled(z, bags, near, max_iters=5, tol=0.0).residual, rtol=1e-6)
    assert len(found) == 5 and found[-1] < found[0]
    assert np.array_equal(message_residuals(z, bags, near, sweeps=5, tol=float(found[2])), found[:3])
    with pytest.raises(ObservationError, match="sweeps=0.*Fix"):
        message_residuals(z, bags, near, sweeps=0)
