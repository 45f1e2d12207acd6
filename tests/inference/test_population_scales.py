"""Scales of a population: names of exchangeable elements, drawn anew in each particle, change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.kernels.base.frame import frame_of
from lawful.inference.kernels.particles.scales import Exchangeable, PopulationScales, exchangeable_parts


def mixture(y, classes=2):
    """Means in a plate, weights that sum to zero, labels summed out."""
    gate = lawful.sample("gate", dist.ZeroSumNormal(1.0, (classes,)))
    with lawful.plate("class", classes):
        mu = lawful.sample("mu", dist.Normal(jnp.zeros(2), 2.0).to_event(1))
    each = jax.nn.log_softmax(gate)[:, None] - 0.5 * (y[None] - mu[:, :1]) ** 2 / 0.5
    lawful.factor("y", jax.nn.logsumexp(each, axis=0))


def test_scales_do_not_know_names_and_are_one_for_all_elements():
    rng = np.random.default_rng(0)
    part = Exchangeable(1, (3, 2), 0, 0)
    zero = Exchangeable(7, (2,), None, 1)
    apart = np.array([-9.0, 0.0, 9.0])[None, :, None] + rng.normal(size=(400, 3, 2)) * [0.1, 1.0]
    gate = np.array([-5.0, 0.0, 5.0]) + rng.normal(size=(400, 3))
    gate -= gate.mean(axis=1, keepdims=True)
    log_weight, scales = rng.normal(size=400), jax.jit(PopulationScales((part, zero)))
    found = []
    for shuffled in (False, True):
        order = np.stack([rng.permutation(3) if shuffled else np.arange(3) for _ in range(400)])
        named = np.take_along_axis(apart, order[:, :, None], axis=1)
        contrast = np.take_along_axis(gate, order, axis=1) @ np.linalg.svd(np.ones((1, 3)))[2][1:].T
        points = np.concatenate([rng.normal(size=(400, 1)) * 0, named.reshape(400, 6), contrast], axis=1)
        values = np.take_along_axis(gate, order, axis=1)
        found.append(np.asarray(scales(log_weight, points, values)))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    assert found[0][0] == 1.0  # where all agree
    within = found[0][1:7].reshape(3, 2)
    np.testing.assert_allclose(within, within[:1].repeat(3, axis=0))
    assert within[0] == pytest.approx([0.1, 1.0], rel=0.3)  # of one mode, not of all
    assert found[0][7] == found[0][8] == pytest.approx(1.0, rel=0.3)


def test_scales_are_weighted_standard_deviations_and_dead_particles_do_not_count():
    rng = np.random.default_rng(0)
    points, weight = rng.normal(size=(50, 3)) * [1.0, 7.0, 2.0], rng.random(50)
    weight[3], points[3] = 0.0, np.inf
    found = PopulationScales()(jnp.log(jnp.asarray(weight)), jnp.asarray(points))
    alive = weight > 0
    share = weight[alive] / weight.sum()
    mean = share @ points[alive]
    np.testing.assert_allclose(found, np.sqrt(share @ (points[alive] - mean) ** 2), rtol=1e-10)


def test_parts_are_found_by_the_plate_and_an_unknown_plate_is_refused():
    frame = frame_of(lawful.trace(mixture, jnp.zeros(3)), "hmc")
    assert exchangeable_parts(frame, "class", "hmc") == (Exchangeable(0, (1,), None, 0), Exchangeable(1, (2, 2), 0, 1))
    with pytest.raises(LawfulError, match="exchangeable='row'.*class"):
        exchangeable_parts(frame, "row", "hmc")


@pytest.mark.slow
@pytest.mark.tier2
def test_a_posterior_with_two_namings_has_its_exact_evidence():
    """Weights 1/2, means N(0, 4), noise 1/2: the evidence is a sum over 2^8 labelings, and both namings are visited."""
    y = np.array([2.744216, -1.943822, -1.123269, -2.43547, 0.728849, -2.402578, 0.940885, 1.273272])

    def model(y):
        with lawful.plate("class", 2):
            mu = lawful.sample("mu", dist.Normal(0.0, 2.0))
        each = dist.Normal(mu[:, None], 0.5**0.5).log_prob(y[None])
        lawful.factor("y", jax.nn.logsumexp(each, axis=0) - jnp.log(2.0))

    kernel = inference.population_hmc(0.5, 4, jitter=0.5, exchangeable="class")
    plan = inference.tempered_smc(model, particles=512, kernel=kernel, chains=64, runs=20)
    result = plan(0, y)
    ratio = np.exp(np.asarray(result.log_evidence) + 17.225443406132584)
    assert abs(ratio.mean() - 1) < 6 * ratio.std(ddof=1) / np.sqrt(20) and ratio.std() < 0.3
    mu = result.posterior["mu"]
    assert abs((mu[..., 0] > mu[..., 1]).mean() - 0.5) < 0.1
    assert np.nanmin(result.stats["acceptance_rate"]) > 0.5  # with scales over both namings: 0.3
