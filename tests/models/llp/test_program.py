"""The program has the density of the model, so whatever runs on programs gives the same labels."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import ObservationError
from lawful.inference import kernels
from lawful.inference.graphs import infer, to_factor_graph
from lawful.inference.graphs.loopy.counted_odds import CountedOdds
from lawful.inference.graphs.loopy.forms import exchange_for
from lawful.models.llp import (
    Bags,
    Coupling,
    LabelProportionClassifier,
    LabelProportionSelfTraining,
    Normal,
    labelled,
    labelling,
    llp_program,
)
from tests.models.llp.truth import posterior

NEAR = Coupling(np.array([[0, 3], [1, 4], [2, 3]]), 0.3, 0.4, np.nan)
MODELS = {
    "exact": (Bags.from_ids([0, 0, 0, 1, 1, -1], [1, 1]), NEAR),
    "noisy": (Bags.from_ids([0, 0, 0, 1, 1, -1], [1.2, 0.7], noise=Normal(0.5)), None),
    "missing": (Bags.from_ids([0, 0, 1, 1, 1], [np.nan, 2]), NEAR),
    "overlapping": (Bags.from_membership([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]], [2, 1]), NEAR),
    "classes": (Bags.from_ids([0, 0, 0, 1, 1], [[1, 1, 1], [0, 1, 1]]), None),
}


def logits(bags):
    shape = (bags.n_rows,) if bags.counts.ndim == 1 else (bags.n_rows, bags.n_classes)
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", MODELS)
def test_l10_elimination_of_the_program_is_the_sum_of_all_labellings(name):
    bags, near = MODELS[name]
    z = logits(bags)
    log_z, marginals = posterior(z, bags, *(() if near is None else (near.edges, near.log_table)))
    found = infer(to_factor_graph(partial(llp_program, bags=bags, coupling=near), jnp.asarray(z)), "exact")
    beliefs = np.asarray(found.beliefs["y"])
    np.testing.assert_allclose(beliefs[:, 1] if z.ndim == 1 else beliefs, marginals, atol=1e-10)
    assert float(found.log_z) == pytest.approx(log_z, rel=1e-10)


@pytest.mark.slow
def test_l1_the_reference_bags_as_a_program_and_summed_out(data):
    file = json.loads((data / "exact" / "llp_bags.json").read_text())
    chosen = [k for k, bag in enumerate(file["data"]["bags"]) if len(bag["p"]) <= 12]
    given, truth = ([file[a][b][k] for k in chosen] for a, b in (("data", "bags"), ("exact", "bags")))
    p = np.concatenate([bag["p"] for bag in given])
    bags = Bags.from_ids(np.repeat(np.arange(len(given)), [len(b["p"]) for b in given]), [b["count"] for b in given])
    z, model = jnp.log(p / (1 - p)), partial(llp_program, bags=bags)
    expected = np.concatenate([bag["marginals"] for bag in truth])
    np.testing.assert_allclose(inference.bp(model).beliefs(z).marginals["y"][:, 1], expected, atol=1e-10)

    def with_another(z):
        lawful.sample("another", dist.Normal(0.0, 1.0))  # so that something is left when all labels are summed
        model(z)

    summed = inference.importance(with_another, particles=2, enumerate=inference.marginalise())(jax.random.key(0), z)
    total = sum(bag["log_prob_count"] for bag in truth)
    assert float(np.ravel(summed.log_evidence)[0]) == pytest.approx(total, rel=1e-10)


@pytest.mark.slow
def test_l1_block_gibbs_has_the_same_means():
    bags = MODELS["exact"][0]
    z = logits(bags)
    _, marginals = posterior(z, bags, NEAR.edges, NEAR.log_table)
    model = partial(llp_program, bags=bags, coupling=NEAR)
    draws = 4000
    run = inference.mcmc(model, kernels.block_gibbs(), chains=1, warmup=10, draws=draws)
    means = np.asarray(run(jax.random.key(1), jnp.asarray(z)).posterior["y"], float).mean(axis=(0, 1))
    # All labels are one block, so draws are independent.
    assert np.all(np.abs(means - marginals) <= 4.5 * np.sqrt(marginals * (1 - marginals) / draws) + 1e-12)


@pytest.mark.slow
def test_an_unknown_scale_of_the_noise_is_drawn_with_the_labels_summed_out():
    """Weights of draws of the scale from its prior are the likelihoods of the reports, all labels added up."""
    bags, z = MODELS["noisy"][0], logits(MODELS["noisy"][0])
    model = partial(llp_program, bags=bags, scale=dist.LogNormal(0.0, 0.5))
    found = inference.importance(model, particles=4, enumerate=inference.marginalise())(
        jax.random.key(0), jnp.asarray(z)
    )
    scales = np.asarray(found.weighted.values["scale"])[0]
    weights = np.asarray(found.weighted.log_weight)[0] + np.asarray(found.log_evidence)[0]
    truth = [posterior(z, replace(bags, noise=Normal(float(scale))))[0] for scale in scales]
    np.testing.assert_allclose(weights, truth, rtol=1e-9)
    with pytest.raises(ObservationError, match=r"noise is None.*Fix"):
        llp_program(z, replace(bags, noise=None, counts=np.array([1, 1])), scale=dist.LogNormal(0.0, 0.5))


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_of_labels_is_that_of_the_program(name):
    """It is read without the check of the reading, so scores are compared here; they lack the constant of no count."""
    bags, near = MODELS[name]
    z, rng = logits(bags), np.random.default_rng(1)
    graph, model = labelling.label_graph(z, bags, near), lawful.trace(partial(llp_program, bags=bags, coupling=near), z)
    for _ in range(6):
        y = rng.integers(0, bags.n_classes, bags.n_rows)
        ours, theirs = float(graph.log_score({"y": y})), float(model.log_density({"y": y}, z))
        assert ours == theirs or ours == pytest.approx(theirs, rel=1e-12)
    assert len(graph.structure.counted) > 0
    if name == "exact":  # scores in factors of one variable leave the messages the fastest ones
        assert isinstance(exchange_for(graph.structure, graph.potentials, 1.0), CountedOdds)


@pytest.mark.rest_slow
@pytest.mark.parametrize("changed", ["prior", "coupling"])
def test_the_classifier_fits_the_program_as_it_stands(changed, monkeypatch):
    """With another prior of labels, or another coupling, in the program the fit is that of the other joint."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 80)
    X, ids = rng.normal(size=(80, 2)) + y[:, None], rng.permutation(80) // 4
    pull, seen, read = rng.normal(size=80), [], labelling.label_graph

    def watched(z, bags, coupling):
        seen.append((np.asarray(z), bags, coupling))
        return read(z, bags, coupling)

    def other(z, bags, coupling):
        if changed == "coupling":
            return llp_program(z, bags, replace(coupling, strength=coupling.strength / 3))
        labels = llp_program(z, bags, coupling)
        lawful.factor("pull", jnp.sum(jnp.where(labels == 1, pull, 0.0)))
        return labels

    model = LabelProportionClassifier(coupling=0.9, n_components=20, random_state=0)
    usual = model.fit(X, y, ids).posterior_
    with monkeypatch.context() as patch:
        patch.setattr(labelling, "llp_program", other)
        patch.setattr(labelling, "label_graph", watched)
        found = model.fit(X, y, ids).posterior_
    z, bags, coupling = seen[-1]
    z = z + pull if changed == "prior" else z
    coupling = replace(coupling, strength=coupling.strength * (1 if changed == "prior" else 1 / 3))
    np.testing.assert_allclose(found, labelled(z, bags, coupling).posterior, atol=1e-7)
    assert np.max(np.abs(found - usual)) > 0.02


@pytest.mark.slow
def test_training_oneself_fits_the_program_as_it_stands(monkeypatch):
    """Counts say nothing of rows here, so with another prior in the program the fit is what that prior tells."""
    rng = np.random.default_rng(3)
    X, ids = rng.normal(size=(60, 2)), np.arange(60) // 6
    pull = 3.0 * X[:, 0]

    def other(z, bags, coupling):
        labels = llp_program(z, bags, coupling)
        lawful.factor("pull", jnp.sum(jnp.where(labels == 1, pull, 0.0)))
        return labels

    model = LabelProportionSelfTraining("ridge", rounds=1, cross_fit=0, coupling=0.5, n_neighbors=2, random_state=0)
    usual = model.fit_bags(X, ids, np.full(10, 3)).decision_function(X)
    with monkeypatch.context() as patch:
        patch.setattr(labelling, "llp_program", other)
        found = model.fit_bags(X, ids, np.full(10, 3)).decision_function(X)
    assert np.ptp(usual) < 0.01 and np.corrcoef(found, pull)[0, 1] > 0.95


@pytest.mark.slow
def test_block_gibbs_which_no_estimator_uses_has_the_labels_of_the_classifier():
    """On the program of a fit, neighbours included: draws are within five errors of elimination, messages within .05.

    Errors are those of 16 chains; with 15 degrees of freedom and 24 rows the false alarm rate is below 5e-3.
    """
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 24)
    X, ids = rng.normal(size=(24, 2)) + y[:, None], rng.permutation(24) // 4
    counts = np.bincount(ids, y)
    model = LabelProportionClassifier(coupling=0.5, n_components=20, random_state=0).fit(X, y, ids)
    program = partial(llp_program, bags=Bags.from_ids(ids, counts), coupling=model._couple_rows(X))
    run = inference.mcmc(program, kernels.block_gibbs(), chains=16, warmup=50, draws=300, init={"y": y})
    draws = np.asarray(run(jax.random.key(2), jnp.asarray(model.decision_function(X))).posterior["y"], float)
    z, means = jnp.asarray(model.decision_function(X)), draws.mean(axis=1)
    truth = np.asarray(infer(to_factor_graph(program, z), "exact").beliefs["y"])[:, 1]
    assert np.all(np.abs(means.mean(axis=0) - truth) <= 5 * means.std(axis=0, ddof=1) / 4 + 1e-3)
    assert np.max(np.abs(model.transduce(X, ids, counts) - truth)) < 0.05 < np.ptp(truth)
