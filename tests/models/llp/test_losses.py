"""The fit of a net in a round: labels and counts in one loss, bags left out in one program."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.studies.label_proportions.published import labels_and_aggregates
from lawful.models.llp import Bags, count_log_likelihood
from lawful.models.llp.training.losses import labels_and_counts, told
from lawful.models.llp.training.network import Recipe, fit_network
from lawful.models.llp.training.network_program import Batch

TINY = Recipe(hidden=(3,), rows=8, epochs=2, learning_rate=0.1)


def batch(z, bags, numbers):
    rows = jnp.asarray(bags.padded())
    f = jnp.float64
    return Batch(
        z[rows], jnp.ones(rows.shape, bool), jnp.asarray(bags.counts, f), jnp.asarray(bags.sizes, f),
        jnp.asarray(bags.log_weights()), jnp.asarray(0.5), jnp.asarray(numbers, f)[rows],
    )  # fmt: skip


@pytest.mark.slow
def test_the_loss_has_the_gradient_of_cross_entropy_and_of_the_likelihood_of_the_counts():
    rng = np.random.default_rng(0)
    z, q = jnp.asarray(rng.normal(size=6)), jnp.asarray(rng.random(6))
    bags = Bags.from_ids([0, 1, 0, 1, 0, 1], counts=[1, 3])
    weight = 0.7

    def loss(z):
        return jnp.sum(labels_and_counts(batch(z, bags, told(np.asarray(q), 6, weight))).total)

    def truth(z):
        entropy = -jnp.sum(q * jax.nn.log_sigmoid(z) + (1 - q) * jax.nn.log_sigmoid(-z))
        return entropy - weight * jnp.sum(count_log_likelihood(z, bags))

    np.testing.assert_allclose(jax.grad(loss)(z), jax.grad(truth)(z), atol=2e-7)  # numbers of rows are float32


def test_what_a_bag_left_out_counted_changes_nothing():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(24, 2)).astype(np.float32)
    bags = Bags.from_ids(np.arange(24) // 4, counts=[0, 1, 2, 3, 4, 0])
    used = np.array([True, True, False, True, True, False])
    lies = replace(bags, counts=np.where(used, bags.counts, 4))
    fits = [
        fit_network(X, each, labels_and_counts, recipe=TINY, told=told(None, 24, 1.0), used=used).logits(X)
        for each in (bags, lies)
    ]
    assert np.array_equal(*fits)
    everything = fit_network(X, lies, labels_and_counts, recipe=TINY, told=told(None, 24, 1.0)).logits(X)
    assert not np.allclose(fits[0], everything)


def test_the_published_loss_of_bags_is_told_from_the_mean_of_their_members():
    rng = np.random.default_rng(2)
    X, q = rng.normal(size=(9, 2)).astype(np.float32), rng.random(9).astype(np.float32)
    bags = Bags.from_ids([0, 0, 0, 1, 1, 1, 1, 1, -1], counts=[1, 4])
    recipe = replace(TINY, learning_rate=0.0, weight_decay=0.0, bag_head=4, rows=16)
    numbers = told(q, 9, 0.3)
    fitted = fit_network(X, bags, labels_and_aggregates, recipe=recipe, told=numbers)
    z, hidden = fitted.logits(X), fitted.hidden(X)
    (inner, shift), (outer, bias) = jax.tree.map(lambda leaf: leaf[0], fitted.heads)
    entropies = np.logaddexp(0, z) - q * z
    total = entropies[:8].sum()
    for bag, size in ((0, 3), (1, 5)):
        mean = np.maximum(hidden[bags.members_of(bag)].mean(axis=0), 0)
        told_bag = float((1 / (1 + np.exp(-(mean @ inner + shift))) @ outer + bias)[0])
        total += 0.3 * size * (np.logaddexp(0, told_bag) - bags.counts[bag] / size * told_bag)
    np.testing.assert_allclose(fitted.losses, total / 8, rtol=1e-5)
    learned = fit_network(X, bags, labels_and_aggregates, recipe=replace(recipe, learning_rate=0.05), told=numbers)
    assert learned.losses[-1] < fitted.losses[0]
    assert not np.array_equal(learned.heads[0][0][-1], fitted.heads[0][0][-1])
