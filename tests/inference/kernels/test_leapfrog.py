"""The leapfrog: reversible, of volume one, of second order, and the same by fused steps as one by one."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.inference import check
from lawful.inference.kernels.base.frame import frame_of
from lawful.inference.kernels.gradient import trajectories
from lawful.inference.kernels.gradient.trajectories import Phase, energy, flipped, flow

pytestmark = pytest.mark.tier0b


def bounded():
    """Supports of several kinds, one bound that another choice sets, and a loop of sites."""
    rate = lawful.sample("rate", dist.Gamma(2.0, 1.0))
    below = lawful.sample("below", dist.Uniform(0.0, rate))
    weights = lawful.sample("weights", dist.Dirichlet(np.array([1.0, 2.0, 3.0])))
    lawful.scan(lambda x, _: (lawful.sample("x", dist.Normal(0.9 * x, rate)), None), 0.0, length=3)
    lawful.sample("y", dist.Normal(below + weights[0], 1.0), obs=0.3)


FRAME = frame_of(lawful.trace(bounded), "test")
D = FRAME.size
ROOTS = [np.full(D, 0.7), np.linalg.cholesky(0.5 * np.eye(D) + 0.3)]


@jax.jit
def target(x):
    return FRAME.value_and_grad((), x)


def start(seed):
    rng = np.random.default_rng(seed)
    position, momentum = jnp.asarray(rng.normal(size=D)), jnp.asarray(rng.normal(size=D))
    return Phase(position, momentum, *target(position))


@pytest.mark.rest_slow
@pytest.mark.parametrize("root", ROOTS, ids=["diagonal", "dense"])
@pytest.mark.parametrize("seed", [0, 1])
def test_steps_with_the_momentum_negated_lead_back(root, seed):
    here = start(seed)
    there = flipped(flow(target, root, jnp.array(0.05), here, 20)[0])
    back = flipped(flow(target, root, jnp.array(0.05), there, 20)[0])
    for a, b in zip(back, here, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("root", ROOTS, ids=["diagonal", "dense"])
def test_a_step_keeps_volume(root):
    def one(both):
        return jnp.concatenate(
            trajectories.leapfrog(target, root, jnp.array(0.1), Phase(both[:D], both[D:], *target(both[:D])))[:2]
        )

    here = start(2)
    jacobian = jax.jit(jax.jacfwd(one))(jnp.concatenate(here[:2]))
    assert abs(np.linalg.det(jacobian) - 1) < 1e-10


@pytest.mark.rest_slow
@pytest.mark.parametrize("root", ROOTS, ids=["diagonal", "dense"])
def test_half_the_step_leaves_a_quarter_of_the_energy_error(root):
    errors = np.zeros(2)
    for seed in range(4):
        here = start(seed)
        for i, n in enumerate((20, 40)):
            errors[i] += abs(float(energy(flow(target, root, jnp.array(0.4 / n), here, n)[0]) - energy(here)))
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.2)


def test_fused_steps_are_the_steps_one_by_one():
    here, root = start(3), ROOTS[1]
    there = here
    for _ in range(5):
        there = trajectories.leapfrog(target, root, jnp.array(0.1), there)
    for a, b in zip(flow(target, root, jnp.array(0.1), here, 5)[0], there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_the_flow_of_a_normal_goes_round():
    """Exact: an oscillator of unit frequency, whatever the scales; second order in the step."""
    covariance = np.array([[4.0, 1.2], [1.2, 0.9]])
    precision, root = jnp.asarray(np.linalg.inv(covariance)), jnp.asarray(np.linalg.cholesky(covariance))

    def normal(x):
        return -0.5 * x @ precision @ x, -precision @ x

    position, momentum = jnp.array([1.0, -0.5]), jnp.array([0.3, 0.8])
    n = 2000
    end, _ = flow(normal, root, jnp.array(1.0 / n), Phase(position, momentum, *normal(position)), n)
    white = jnp.linalg.solve(root, position)
    expected = root @ (white * np.cos(1.0) + momentum * np.sin(1.0))
    np.testing.assert_allclose(end.position, expected, atol=1e-6)


@pytest.mark.slow
def test_the_check_of_the_integrator_passes_and_finds_a_step_without_its_last_half_kick(monkeypatch):
    assert check.integrator(bounded, points=2).passed
    kept = trajectories.flow

    def lame(target, root, step, phase, steps):
        end, least = kept(target, root, step, phase, steps)
        return end._replace(momentum=end.momentum - trajectories.kicked(root, end.gradient, 0.5 * step)), least

    monkeypatch.setattr(importlib.import_module("lawful.inference.kernels.gradient.hmc"), "flow", lame)
    report = check.integrator(bounded, points=2)
    assert report.status == "failed" and report.worst[0] == "involution"
