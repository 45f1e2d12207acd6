"""Row 26: messages that do not settle are told so, with residual and count, and nothing passes them as final."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful import inference
from lawful.errors import NotConvergedError
from lawful.inference import Status
from lawful.inference.graphs import FactorGraph, infer, propagated

SWEEPS = 60


def frustrated_grid(side=20, seed=1, dtype=np.float64):
    """A grid of couplings uniform in [-3, 3], with fields."""
    rng = np.random.default_rng(seed)
    graph, signs = FactorGraph(), 2 * np.eye(2) - 1
    z = graph.variables("z", (side, side), 2, rng.normal(size=(side, side, 2)).astype(dtype))
    for name, ends in (("down", [z[:-1], z[1:]]), ("right", [z[:, :-1], z[:, 1:]])):
        pull = rng.uniform(-3, 3, size=(side * (side - 1), 1, 1)) * signs
        graph.factors(name, ends, pull.astype(dtype))
    return graph


def odd_ring():
    """Three states that each want to be unlike the one before: a message that goes around comes back turned over."""
    graph = FactorGraph()
    z = graph.variables("z", (3,), 2, np.array([0.0, 1.0]))
    graph.factors("unlike", [z, z[[1, 2, 0]]], -30.0 * np.eye(2))
    return graph


CASES = {
    "grid": (frustrated_grid, {}),
    "grid, a tenth at a time": (frustrated_grid, {"schedule": "residual", "damping": 0.0}),
    "ring": (odd_ring, {"damping": 0.0}),
}


@pytest.mark.rest_slow
@pytest.mark.fault(26)
@pytest.mark.parametrize("case", CASES)
def test_f26_a_run_that_did_not_settle_says_so(case):
    make, settings = CASES[case]
    found = propagated(make(), max_iters=SWEEPS, **settings)
    assert not found.converged and not found.ok and found.status == Status.NOT_CONVERGED
    assert found.verdict in ("oscillating", "slow") and found.certificate == "none"
    assert int(found.info["iterations"]) == SWEEPS and float(found.info["residual"]) > 1e-3
    (finding,) = found.reasons
    assert finding.code == "NOT_CONVERGED" and finding.value == float(found.info["residual"])
    assert f"in {SWEEPS} sweeps" in finding.message and "max_iters=" in finding.message
    assert found.verdict in repr(found)


def test_f26_a_message_that_turns_over_oscillates_and_damping_settles_it():
    wild, tame = (propagated(odd_ring(), damping=d, max_iters=500) for d in (0.0, 0.5))
    assert wild.verdict == "oscillating" and int(wild.info["iterations"]) == 500
    assert tame.ok and tame.reasons == () and float(tame.info["damping"]) == 0.5


def test_f26_the_damping_that_a_run_came_to_is_reported():
    found = propagated(frustrated_grid(), max_iters=SWEEPS)
    assert float(found.info["damping"]) > 0
    assert f"with damping {float(found.info['damping']):.3g}" in found.warnings[0]


def test_f26_no_tolerance_calls_moving_messages_converged():
    assert not propagated(frustrated_grid(), max_iters=SWEEPS, tol=50.0).converged


@pytest.mark.slow
def test_f26_who_asks_for_a_fixed_point_gets_an_error():
    graph, wild = odd_ring(), {"max_iters": SWEEPS, "damping": 0.0}
    words = r"did not converge .*after 60 sweeps.*strict=True.*Fix: raise max_iters="
    with pytest.raises(NotConvergedError, match=words):
        infer(graph, "loopy", strict=True, **wild)

    def log_z(scale):
        own = graph.potentials
        tables = tuple(scale * table for table in own.tables)
        return propagated(graph.replace(own._replace(tables=tables)), **wild).log_z

    with pytest.raises(NotConvergedError, match="a derivative is taken"):
        jax.grad(log_z)(1.0)
    assert np.isnan(jax.jit(jax.grad(log_z))(1.0))  # compiled it cannot raise: no number is given instead


def test_f26_a_plan_on_a_graph_tells_the_same():
    found = inference.bp(frustrated_grid(), method="loopy", max_iters=SWEEPS).beliefs()
    assert not found.ok and [finding.code for finding in found.reasons] == ["NOT_CONVERGED"]
    assert inference.bp(frustrated_grid(4), method="exact").beliefs().ok


def test_f26_of_graphs_side_by_side_each_has_its_own_verdict():
    graph = frustrated_grid(4)
    own = graph.potentials

    def run(scale):
        tables = tuple(scale * table for table in own.tables)
        return propagated(graph.replace(own._replace(tables=tables)), max_iters=SWEEPS, certify=False)

    found = jax.vmap(run)(jnp.array([0.01, 3.0]))
    assert found.verdict[0] == "converged" and found.verdict[1] in ("oscillating", "slow")
    (finding,) = found.reasons
    assert finding.message.startswith("graph 1:") and found.status == Status.NOT_CONVERGED
    alone = jax.vmap(run)(jnp.array([0.01, 0.02]))
    np.testing.assert_array_equal(found.beliefs["z"][0], alone.beliefs["z"][0])


def test_f26_single_precision_tells_the_same(single_precision):
    found = propagated(frustrated_grid(dtype=np.float32), max_iters=SWEEPS)
    assert found.log_z.dtype == jnp.float32 and found.status == Status.NOT_CONVERGED
