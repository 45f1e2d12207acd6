"""The losses of the nets: what each is least at, unbiased for, or the gradient of."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.studies.label_proportions.baselines.dllp import proportion_loss
from benchmarks.studies.label_proportions.baselines.easy_llp import debiased_loss
from benchmarks.studies.label_proportions.baselines.soft_labels import soft_label_loss
from lawful.inference.graphs import counts
from lawful.models.llp.training.losses import posterior_loss
from lawful.models.llp.training.network_program import Batch

pytestmark = pytest.mark.slow  # these are other methods, which the library does not hold

LOSSES = [proportion_loss, debiased_loss, posterior_loss, soft_label_loss]


def batch(z, ones, sizes, rate=0.3):
    """Bags as rows: z (bags, W), of which the first `sizes` members are real."""
    width = z.shape[1]
    real = jnp.arange(width)[None] < jnp.asarray(sizes)[:, None]
    table = jnp.where(jnp.arange(width + 1)[None] == jnp.asarray(ones)[:, None], 0.0, -jnp.inf)
    return Batch(z, real, jnp.asarray(ones, z.dtype), jnp.asarray(sizes, z.dtype), table, jnp.asarray(rate, z.dtype))


def mean(terms):
    return jnp.sum(terms.total) / jnp.sum(terms.weight)


@pytest.mark.kills("40e", "40f")
@pytest.mark.slow
def test_the_gradient_of_em_is_that_of_the_log_likelihood_of_the_counts():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)) * 2)
    ones, sizes = [2, 0, 3], [4, 3, 4]

    def log_likelihood(z):
        at = batch(z, ones, sizes)
        return jnp.sum(counts.log_evidence(jnp.where(at.real, z, -jnp.inf), at.log_weights)) / sum(sizes)

    found = jax.grad(lambda z: mean(posterior_loss(batch(z, ones, sizes))))(z)
    np.testing.assert_allclose(found, -jax.grad(log_likelihood)(z), rtol=1e-10, atol=1e-12)


def test_the_debiased_label_is_on_average_the_label():
    """All labels of three other members, drawn with the base rate, beside each label of the first."""
    rate, size = 0.3, 4
    slope = jax.jit(jax.grad(lambda z, ones: debiased_loss(batch(z, [ones], [size], rate)).total[0]))
    for label in (0, 1):
        total = 0.0
        for others in itertools.product((0, 1), repeat=size - 1):
            chance = np.prod([rate if y else 1 - rate for y in others])
            # The slope of the cross-entropy at z = 0 is sigma(0) - t.
            total += chance * (0.5 - float(slope(jnp.zeros((1, size)), label + sum(others))[0, 0]))
        np.testing.assert_allclose(total, label, atol=1e-12)


def test_the_loss_of_dllp_is_least_where_the_mean_probability_is_the_proportion():
    slope = jax.grad(lambda z: mean(proportion_loss(batch(z, [1], [4]))))(jnp.full((1, 4), -jnp.log(3.0)))
    np.testing.assert_allclose(slope, 0, atol=1e-12)
    assert float(mean(proportion_loss(batch(jnp.zeros((1, 4)), [1], [4])))) > 0.5623351446188083 + 0.05


@pytest.mark.parametrize("loss", LOSSES)
def test_filling_a_bag_up_changes_neither_its_loss_nor_its_gradient(loss):
    z = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3)))
    wide = jnp.concatenate([z, jnp.full((2, 4), 7.0)], axis=1)
    value, slope = jax.value_and_grad(lambda z: mean(loss(batch(z, [1, 2], [3, 3]))))(z)
    filled, padded = jax.value_and_grad(lambda z: mean(loss(batch(z, [1, 2], [3, 3]))))(wide)
    np.testing.assert_allclose(filled, value, rtol=1e-12)
    np.testing.assert_allclose(padded, jnp.pad(slope, ((0, 0), (0, 4))), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_bag_of_one_is_a_labelled_row(loss):
    z = jnp.array([[0.7], [-1.2]])
    found = mean(loss(batch(z, [1, 0], [1, 1])))
    np.testing.assert_allclose(found, (jnp.log1p(jnp.exp(-0.7)) + jnp.log1p(jnp.exp(-1.2))) / 2, rtol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_certain_nets_have_finite_losses_and_gradients(loss):
    z = jnp.array([[200.0, 200.0, 200.0], [-200.0, -200.0, -200.0]], jnp.float32)
    at = batch(z, [0, 3], [3, 3], 0.3)
    at = at._replace(log_weights=at.log_weights.astype(jnp.float32))
    value, slope = jax.value_and_grad(lambda z: mean(loss(at._replace(z=z))))(z)
    assert np.isfinite(value) and np.isfinite(slope).all()
