"""Models of annotators (Paun et al. 2018) as NumPyro's examples have them: items stand in a plate (N, 1) of their own.

Each is summed in two ways, element by element and through its graph, and both are the sum that is written by hand.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.special import log_softmax, logsumexp

import lawful
from lawful import inference
from lawful.backends.xla import compile
from lawful.inference import kernels

POSITIONS = np.array([0, 1, 1, 0, 2])
LABELS = np.array([[0, 1, 0, 2, 0], [1, 1, 2, 1, 1], [2, 0, 2, 2, 2], [0, 0, 1, 0, 0]])
ITEMS, CLASSES, ANNOTATORS = 4, 3, 3
RNG = np.random.default_rng(20261)


def dawid_skene(positions, annotations):
    """A confusion matrix for each annotator."""
    num_annotators = int(np.max(positions)) + 1
    num_classes = int(np.max(annotations)) + 1
    num_items, num_positions = annotations.shape
    with numpyro.plate("annotator", num_annotators, dim=-2), numpyro.plate("class", num_classes):
        beta = numpyro.sample("beta", dist.Dirichlet(jnp.ones(num_classes)))
    pi = numpyro.sample("pi", dist.Dirichlet(jnp.ones(num_classes)))
    with numpyro.plate("item", num_items, dim=-2):
        c = numpyro.sample("c", dist.Categorical(pi), infer={"enumerate": "parallel"})
        with numpyro.plate("position", num_positions):
            numpyro.sample("y", dist.Categorical(beta[positions, c, :]), obs=annotations)


def native(positions, annotations):
    """The same in our language, with items in the last axis and the labels of an item as one event."""
    with lawful.plate("annotator", ANNOTATORS, dim=-2), lawful.plate("class", CLASSES):
        beta = lawful.sample("beta", dist.Dirichlet(jnp.ones(CLASSES)))
    pi = lawful.sample("pi", dist.Dirichlet(jnp.ones(CLASSES)))
    with lawful.plate("item", ITEMS):
        c = lawful.sample("c", dist.Categorical(pi))
        table = beta[positions[None, :], c[:, None], :]
        lawful.sample("y", dist.Categorical(table).to_event(1), obs=annotations)


def native_in_plates(positions, annotations):
    """The same with NumPyro's plates."""
    with lawful.plate("annotator", ANNOTATORS, dim=-2), lawful.plate("class", CLASSES):
        beta = lawful.sample("beta", dist.Dirichlet(jnp.ones(CLASSES)))
    pi = lawful.sample("pi", dist.Dirichlet(jnp.ones(CLASSES)))
    with lawful.plate("item", ITEMS, dim=-2):
        c = lawful.sample("c", dist.Categorical(pi))
        with lawful.plate("position", len(positions)):
            lawful.sample("y", dist.Categorical(beta[positions, c, :]), obs=annotations)


def mace(positions, annotations):
    """Annotators who spam: a second finite site for each item and annotator."""
    num_annotators = int(np.max(positions)) + 1
    num_classes = int(np.max(annotations)) + 1
    num_items, num_positions = annotations.shape
    with numpyro.plate("annotator", num_annotators):
        epsilon = numpyro.sample("epsilon", dist.Dirichlet(jnp.full(num_classes, 10)))
        theta = numpyro.sample("theta", dist.Beta(0.5, 0.5))
    with numpyro.plate("item", num_items, dim=-2):
        c = numpyro.sample("c", dist.DiscreteUniform(0, num_classes - 1), infer={"enumerate": "parallel"})
        with numpyro.plate("position", num_positions):
            s = numpyro.sample("s", dist.Bernoulli(1 - theta[positions]), infer={"enumerate": "parallel"})
            probs = jnp.where(s[..., None] == 0, jax.nn.one_hot(c, num_classes), epsilon[positions])
            numpyro.sample("y", dist.Categorical(probs), obs=annotations)


def item_difficulty(annotations):
    """No annotators, but items that are hard."""
    num_classes = int(np.max(annotations)) + 1
    num_items, num_positions = annotations.shape
    with numpyro.plate("class", num_classes):
        eta = numpyro.sample("eta", dist.Normal(0, 1).expand([num_classes - 1]).to_event(1))
        chi = numpyro.sample("chi", dist.HalfNormal(1).expand([num_classes - 1]).to_event(1))
    pi = numpyro.sample("pi", dist.Dirichlet(jnp.ones(num_classes)))
    with numpyro.plate("item", num_items, dim=-2):
        c = numpyro.sample("c", dist.Categorical(pi), infer={"enumerate": "parallel"})
        theta = numpyro.sample("theta", dist.Normal(eta[c], chi[c]).to_event(1))
        theta = jnp.pad(theta, [(0, 0)] * (jnp.ndim(theta) - 1) + [(0, 1)])
        with numpyro.plate("position", annotations.shape[-1]):
            numpyro.sample("y", dist.Categorical(logits=theta), obs=annotations)


def summed(program, values, *args):
    """The log density of a program without `c` and `s`, in two ways."""
    form = lawful.trace(program, *args)
    return [
        float(inference.enumeration(form).marginal.log_density(values, *args)),
        float(inference.marginalise(method="graph")(form).log_density(values, *args)),
    ]


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "program",
    [lawful.from_numpyro(dawid_skene), native, native_in_plates],
    ids=["NumPyro's", "items in the last axis", "NumPyro's plates"],
)
def test_dawid_and_skene_is_the_sum_by_hand_in_both_ways(program):
    pi, beta = RNG.dirichlet(np.ones(3)), RNG.dirichlet(np.ones(3), (3, 3))
    each = np.log(beta[POSITIONS[None, :], :, LABELS]).sum(axis=1) + np.log(pi)
    prior = float(dist.Dirichlet(jnp.ones(3)).log_prob(pi) + dist.Dirichlet(jnp.ones(3)).log_prob(beta).sum())
    by_hand = logsumexp(each, axis=1).sum() + prior
    assert summed(program, {"pi": pi, "beta": beta}, POSITIONS, LABELS) == pytest.approx([by_hand] * 2, rel=1e-12)


def test_spammers_are_the_sum_by_hand_in_both_ways():
    epsilon, theta = RNG.dirichlet(np.ones(3), 3), RNG.uniform(size=3)
    total = 0.0
    for labels in LABELS:
        means = [
            theta[a] * (np.arange(3) == y) + (1 - theta[a]) * epsilon[a, y]
            for a, y in zip(POSITIONS, labels, strict=True)
        ]
        total += np.log(np.prod(means, axis=0).mean())
    prior = dist.Dirichlet(jnp.full(3, 10)).log_prob(epsilon).sum() + dist.Beta(0.5, 0.5).log_prob(theta).sum()
    found = summed(lawful.from_numpyro(mace), {"epsilon": epsilon, "theta": theta}, POSITIONS, LABELS)
    assert found == pytest.approx([total + float(prior)] * 2, rel=1e-12)


def test_a_site_that_stays_in_a_plate_of_items_has_the_mixture():
    pi, eta, chi = RNG.dirichlet(np.ones(3)), RNG.normal(size=(3, 2)), RNG.uniform(0.5, 1.5, (3, 2))
    theta = RNG.normal(size=(4, 1, 2))
    each = np.log(pi) + np.asarray(dist.Normal(eta, chi).to_event(1).log_prob(theta))
    logits = log_softmax(np.pad(theta, [(0, 0), (0, 0), (0, 1)]), axis=-1)[:, 0]
    by_hand = logsumexp(each, axis=1).sum() + np.take_along_axis(logits, LABELS, axis=1).sum()
    by_hand += float(dist.Dirichlet(jnp.ones(3)).log_prob(pi))
    by_hand += float(dist.Normal(0, 1).log_prob(eta).sum() + dist.HalfNormal(1).log_prob(chi).sum())
    program, values = lawful.from_numpyro(item_difficulty), {"pi": pi, "eta": eta, "chi": chi, "theta": theta}
    marginal = inference.enumeration(lawful.trace(program, LABELS), ["c"]).marginal
    assert float(marginal.log_density(values, LABELS)) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "sites", [["c"], inference.marginalise(method="graph")], ids=["element by element", "through the graph"]
)
def test_classes_are_drawn_back_in_their_plate(sites):
    """Where annotators never err, every class is certain, and comes back in the shape of its site."""

    def certain(labels):
        with lawful.plate("item", ITEMS, dim=-2):
            c = lawful.sample("c", dist.Categorical(jnp.ones(3) / 3))
            with lawful.plate("position", 2):
                lawful.sample("y", dist.Categorical(jnp.eye(3)[c] + 0.0), obs=labels)

    labels = jnp.array([[0, 0], [2, 2], [1, 1], [2, 2]])
    summed = inference.enumeration(lawful.trace(certain, labels), sites)
    draws = inference.recover(summed, {}, jax.random.key(0), labels)
    assert draws["c"].shape == (1, 1, 4, 1) and (draws["c"].ravel() == labels[:, 0]).all()


@pytest.mark.slow
def test_nuts_runs_on_the_model_as_it_is_written():
    plan = inference.mcmc(
        lawful.from_numpyro(dawid_skene), kernels.nuts(0.1, max_depth=2), chains=1, warmup=1, draws=2, enumerate=["c"]
    )
    result = plan(0, POSITIONS, annotations=LABELS)
    assert result.posterior["c"].shape == (1, 2, 4, 1) and result.posterior["beta"].shape == (1, 2, 3, 3, 3)


def test_axes_of_one_element_are_no_elements():
    """Sites of shape (1,), (1, 2) and (2, 1, 1) against each other, by the list of all their values."""
    mean = jnp.array([0.3, -0.7])

    def program(y):
        a = lawful.sample("a", dist.Bernoulli(0.3).expand([1]).to_event(1))
        b = lawful.sample("b", dist.Bernoulli(jnp.array([[0.2, 0.6]])).to_event(2))
        with lawful.plate("k", 2, dim=-3):
            c = lawful.sample("c", dist.Bernoulli(0.45 + 0.0 * jnp.zeros((2, 1, 1))))
        with lawful.plate("j", 2):
            lawful.sample("y", dist.Normal(mean * a + b[0] + c.sum(), 1.0), obs=y)

    y = jnp.array([0.5, 1.5])
    exact = float(inference.enumerate(program)(y).log_evidence)
    form = inference.marginalise()(lawful.trace(program, y))
    assert float(compile(form)(jax.random.key(0), y)[1]) == pytest.approx(exact, rel=1e-12)
