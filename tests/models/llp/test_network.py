"""The net: a pure function of rows, bags, recipe and seed that sees every bag once an epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.studies.label_proportions.baselines.dllp import proportion_loss
from lawful.errors import ObservationError
from lawful.models.llp import Bags
from lawful.models.llp.training.network import Recipe, fit_network
from lawful.models.llp.training.network_program import Batch, Terms

SMALL = Recipe(hidden=(4, 3), rows=8, epochs=3)
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(30, 3)).astype(np.float32)
Y = (X[:, 0] + RANDOM.normal(size=30) > 0).astype(int)
UNEQUAL = Bags.from_labels(Y, np.repeat(np.arange(6), [1, 2, 3, 5, 8, 11]))
TRACES = []


def squared(batch: Batch) -> Terms:
    """A loss that differs from bag to bag, and tells when it is traced."""
    TRACES.append(batch.z.shape)
    mean = jnp.sum(jnp.where(batch.real, jax.nn.sigmoid(batch.z), 0), axis=1)
    return Terms((mean - batch.counts) ** 2, jnp.ones_like(batch.counts))


def test_equal_seeds_give_equal_fits_and_a_second_fit_is_not_compiled():
    first = fit_network(X, UNEQUAL, squared, recipe=SMALL, seed=3)
    traced = len(TRACES)
    same = fit_network(X, UNEQUAL, squared, recipe=SMALL, seed=3)
    other = fit_network(X, UNEQUAL, squared, recipe=SMALL, seed=4)
    assert len(TRACES) == traced
    assert np.array_equal(first.logits(X), same.logits(X)) and not np.array_equal(first.logits(X), other.logits(X))


def test_every_epoch_sees_every_bag_once():
    """With a rate of zero the mean loss of an epoch of full batches is that of all bags, bag by bag."""
    bags = Bags.from_labels(Y[:24], np.arange(24) // 2)
    still = Recipe(hidden=(4,), rows=8, learning_rate=0.0, weight_decay=0.0, epochs=4)
    net = fit_network(X[:24], bags, squared, recipe=still)
    chance = 1 / (1 + np.exp(-net.logits(X[:24]).astype(float)))
    alone = (chance.reshape(12, 2).sum(axis=1) - bags.counts) ** 2
    np.testing.assert_allclose(net.losses, np.full(4, alone.mean()), rtol=1e-5)


def test_bags_of_any_size_have_the_loss_that_they_have_alone():
    still = Recipe(hidden=(4,), rows=1, learning_rate=0.0, weight_decay=0.0, epochs=2)
    net = fit_network(X, UNEQUAL, squared, recipe=still)
    chance = 1 / (1 + np.exp(-net.logits(X).astype(float)))
    alone = [(chance[UNEQUAL.members_of(b)].sum() - UNEQUAL.counts[b]) ** 2 for b in range(6)]
    np.testing.assert_allclose(net.losses, np.full(2, np.mean(alone)), rtol=1e-5)


def test_the_net_starts_near_the_base_rate():
    still = Recipe(learning_rate=0.0, epochs=1)
    chance = 1 / (1 + np.exp(-fit_network(X, UNEQUAL, proportion_loss, recipe=still).logits(X)))
    np.testing.assert_allclose(chance, UNEQUAL.base_rate, atol=0.1)


@pytest.mark.parametrize("labels", [np.zeros(30, int), np.ones(30, int)], ids=["zeros", "ones"])
def test_labels_of_one_kind_leave_everything_finite(labels):
    bags = Bags.from_labels(labels, np.arange(30) // 5)
    z = fit_network(X, bags, proportion_loss, recipe=SMALL).logits(X)
    assert np.isfinite(z).all() and (np.sign(z) == 2 * labels - 1).all()


def test_the_history_holds_every_epoch_and_the_embedding_the_last_hidden_layer():
    net = fit_network(X, UNEQUAL, squared, recipe=SMALL)
    assert len(net.losses) == 3 and net.hidden(X).shape == (30, 3)
    assert np.array_equal(net.logits(X), net.logits(X, epoch=2)) and not np.array_equal(
        net.logits(X), net.logits(X, epoch=0)
    )
    weights, bias = net.parameters[-1]
    np.testing.assert_allclose(net.hidden(X) @ weights[:, 0] + bias, net.logits(X), rtol=1e-4, atol=1e-6)


def test_rows_that_are_not_those_of_the_bags_are_refused():
    with pytest.raises(ObservationError, match=r"X of shape \(29, 3\) and bags of 30 rows"):
        fit_network(X[1:], UNEQUAL, squared)
