"""Laws of comparisons: equal data only, probabilities by Bayes' rule with their errors, and no row is dropped."""

import math

import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError

import lawful
from lawful import inference, sample
from lawful.errors import LawfulError
from lawful.inference.findings.evidence import pooled_evidence
from lawful.inference.results.collect import from_chains, from_population
from lawful.inference.results.compare import model_probabilities

Y = np.array([0.3, -0.2, 1.1, 0.4])
RNG = np.random.default_rng(11)


def evidence(log_evidence, y=Y, **fields):
    """A result with a given evidence."""
    runs = len(log_evidence)
    x = RNG.normal(size=(runs, 400))
    fields = {"draws": {"x": x}, "observed": {"y": y} if y is not None else None, **fields}
    return from_population({"x": x}, np.zeros((runs, 400)), log_evidence, **fields)


LOG_Z = {"a": np.log([0.9, 1.1]), "b": np.log([3.2, 2.8]), "c": np.log([0.5, 0.5])}


def test_probabilities_follow_bayes_rule_with_the_prior_weights_that_were_stated():
    table = inference.compare({name: evidence(z) for name, z in LOG_Z.items()}, prior={"a": 2.0, "b": 1.0, "c": 1.0})
    assert table.index.tolist() == ["b", "a", "c"]
    mass = {"a": 2 * 1.0, "b": 3.0, "c": 0.5}
    for name in mass:
        assert abs(table.probability[name] - mass[name] / 5.5) < 1e-12
    assert table.prior.to_dict() == {"b": 0.25, "a": 0.5, "c": 0.25}
    np.testing.assert_allclose(table.log_evidence["b"], np.log(3.0), rtol=1e-12)


def test_errors_are_carried_to_differences_and_probabilities():
    table = inference.compare({name: evidence(z) for name, z in LOG_Z.items()})
    s = {name: pooled_evidence(z)[1] for name, z in LOG_Z.items()}
    np.testing.assert_allclose(table.log_evidence_se[["a", "b", "c"]], list(s.values()), atol=1e-12)
    assert table.difference["b"] == table.difference_se["b"] == 0.0
    np.testing.assert_allclose(table.difference_se["a"], math.hypot(s["a"], s["b"]), rtol=1e-12)


def test_small_errors_of_probabilities_are_those_of_the_delta_method():
    z, s = np.array([1.0, 3.0, 0.5]), 1e-4 * np.array([1.0, 2.0, 0.0])
    p = z / z.sum()
    slopes = np.diag(p) - np.outer(p, p)
    found, error = model_probabilities(np.log(z), s, np.ones(3))
    np.testing.assert_allclose(found, p, rtol=1e-12)
    np.testing.assert_allclose(error, np.sqrt(slopes**2 @ s**2), rtol=1e-6)


def test_models_whose_runs_disagree_are_told_apart_by_nobody():
    """The better model by the best of four runs has probability 1, and its error says that this means nothing."""
    wrong, right = (-1260.0, -1274.0, -1343.0, -1529.0), (-1340.0, -1341.0, -1400.0, -1380.0)
    table = inference.compare({"wrong": evidence(wrong), "right": evidence(right)})
    assert table.probability["wrong"] == 1.0 and (table.probability_se > 0.5).all()
    assert not table.ok.any() and all("runs disagree, so its probability is not known" in r for r in table.remarks)


def test_an_impossible_model_has_probability_zero_and_a_common_factor_changes_nothing():
    log_z, error = np.array([-1e4, -1e4 + 1.0, -np.inf]), np.array([0.1, 0.2, np.nan])
    p, its_error = model_probabilities(log_z, error, np.ones(3) / 3)
    q, other_error = model_probabilities(log_z + 2e4, error, np.ones(3) / 3)
    assert p[2] == its_error[2] == 0.0 and np.isfinite(its_error).all()
    np.testing.assert_allclose(q, p, rtol=1e-10)
    np.testing.assert_allclose(other_error, its_error, rtol=1e-10)
    assert np.isnan(model_probabilities(np.full(2, -np.inf), np.ones(2), np.ones(2) / 2)[0]).all()


def test_results_of_other_data_are_refused_and_other_names_and_types_are_not():
    one, other = evidence(LOG_Z["a"]), evidence(LOG_Z["b"], y=Y + 1)
    with pytest.raises(LawfulError, match=r"'one' and 'other' have other observed data \(y \(4,\) and y \(4,\)\)"):
        inference.compare({"one": one, "other": other})
    assert len(inference.compare({"one": one, "other": other}, same_data=True)) == 2
    with pytest.raises(LawfulError, match="other observed data"):
        inference.compare({"one": one, "other": evidence(LOG_Z["b"], y=None)})
    counts = np.array([1, 2, 3])
    named = from_chains({"x": RNG.normal(size=(1, 9))}, observed={"k": counts.astype(np.int32)})
    assert len(inference.compare({"one": evidence(LOG_Z["a"], y=counts.astype(float)), "two": named})) == 2


def test_a_model_without_evidence_keeps_its_row_with_a_remark():
    dead = evidence([-np.inf, -np.inf], dead_at=(0, 0))
    chains = from_chains({"x": RNG.normal(size=(4, 500))}, observed={"y": Y})
    single = evidence([-1.0])
    table = inference.compare({"chains": chains, "dead": dead, "single": single, "a": evidence(LOG_Z["a"])})
    assert set(table.index) == {"chains", "dead", "single", "a"}
    assert math.isnan(table.log_evidence["chains"]) and "mcmc does not estimate it" in table.remarks["chains"]
    assert math.isnan(table.probability["chains"])
    assert not table.ok["dead"] and "not ok: DEAD" in table.remarks["dead"] and table.probability["dead"] == 0
    assert "no error of the evidence: one run" in table.remarks["single"]
    assert math.isnan(table.difference_se["single"])
    assert "among the models with evidence" in table.remarks["a"]
    assert abs(np.nansum(table.probability) - 1) < 1e-12


def test_data_that_cannot_be_checked_are_told_of():
    table = inference.compare({name: evidence(z, y=None) for name, z in LOG_Z.items()})
    assert all("equal data could not be checked" in text for text in table.remarks)


@pytest.mark.parametrize("prior", [{"a": 1.0}, {"a": 1.0, "b": -1.0}], ids=["missing", "negative"])
def test_weights_that_do_not_fit_the_models_are_refused(prior):
    with pytest.raises(LawfulError, match="one positive weight for each of a, b"):
        inference.compare({name: evidence(LOG_Z[name]) for name in "ab"}, prior=prior)
    with pytest.raises((LawfulError, TypeCheckError), match="waic"):
        inference.compare({"a": evidence(LOG_Z["a"])}, by="waic")


def scored(scale, outlier=False):
    """Chains that know their program, drawn from its exact posterior."""

    def model(y):
        mu = sample("mu", dist.Normal(0.0, scale))
        with lawful.plate("row", 4):
            sample("y", dist.Normal(mu, 1.0), obs=y)

    y = Y + np.array([0.0, 0.0, 0.0, 30.0]) * outlier
    precision = 4 + scale**-2
    mu = y.sum() / precision + RNG.normal(size=(4, 500)) / math.sqrt(precision)
    return from_chains({"mu": mu}, observed={"y": y}, form=lawful.trace(model, y), model=model, args=(y,))


def test_leave_one_out_ranks_by_prediction_and_counts_the_data_that_it_cannot_leave_out():
    models = {"narrow": scored(0.05), "wide": scored(1.0)}
    table = inference.compare(models, by=("loo", "evidence"))
    assert table.index[0] == table.elpd.idxmax() and table.elpd_difference.iloc[0] == 0
    for name, result in models.items():
        assert abs(table.elpd[name] - result.loo(pointwise=True).elpd) < 1e-12
    assert abs(table.weight.sum() - 1) < 1e-6 and (table.n_high_k == 0).all()
    far = inference.compare({"far": scored(1.0, outlier=True), "wide": scored(1.0)}, by="loo", same_data=True)
    assert far.n_high_k["far"] > 0 and "Pareto k above" in far.remarks["far"] and far.remarks["wide"] == ""


def test_a_result_that_cannot_be_scored_keeps_its_row():
    table = inference.compare({"wide": scored(1.0), "bare": evidence(LOG_Z["a"])}, by="loo")
    assert math.isnan(table.elpd["bare"]) and "no loo" in table.remarks["bare"] and table.weight["wide"] == 1
