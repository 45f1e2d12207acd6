"""Infer on discrete and mixed programs: exact where that is cheap, else ok and in agreement with the truth.

False alarms: keys are fixed. Means of draws lie within 5 Monte Carlo errors, by the effective size of weights or by 40
batches of chains (2e-5 each at most); what only four runs tell, within 13 errors (1e-3 each, Student with 3 degrees).
"""

import numpy as np
import pytest

from lawful import inference
from lawful.inference.algorithms.choice.cases import CasesPlan
from lawful.inference.findings.evidence import kish_ess

from . import infer_programs, infer_truths


def answer(name, truth=None):
    program, args = infer_programs.ALL[name]
    plan = inference.infer(program).plan(*args)
    return plan, plan(0), getattr(infer_truths, truth or name)()


def ones(marginal):
    """Give the probability of 1."""
    return np.asarray(marginal)[..., 1]


EXACT = {
    "sprinkler": ("cloudy", "sprinkler", "rain"),
    "noisy_or": ("has",),
    "ising": ("up",),
    "spike_and_slab": ("used",),
}


@pytest.mark.parametrize("name", EXACT)
def test_binary_programs_are_exact(name):
    plan, result, (evidence, truth) = answer(name)
    assert plan.exact and result.ok
    assert result.log_evidence_pooled == pytest.approx(evidence, abs=1e-10)
    for site in EXACT[name]:
        np.testing.assert_allclose(ones(result.marginals[site]), truth[site], atol=1e-10)


@pytest.mark.parametrize("name", ["known_mixture", "hidden_markov"])
def test_labels_of_known_laws_are_exact(name):
    plan, result, (evidence, truth) = answer(name)
    assert plan.exact and result.ok
    assert result.log_evidence_pooled == pytest.approx(evidence, abs=1e-10)
    for site, shares in truth.items():
        np.testing.assert_allclose(result.marginals[site], shares, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "truth", "site"), [("ising_by_site", "ising", "up"), ("noisy_or_by_name", "noisy_or", "has")]
)
def test_programs_that_name_every_site_are_exact(name, truth, site):
    plan, result, (evidence, known) = answer(name, truth)
    assert plan.exact and result.ok
    assert result.log_evidence_pooled == pytest.approx(evidence, abs=1e-10)
    found = [ones(result.marginals[own]) for own in sorted(result.marginals)]
    np.testing.assert_allclose(found, known[site].ravel(), atol=1e-10)


def test_a_recursion_is_exact_but_for_paths_beyond_a_bound():
    plan, result, (evidence, truth) = answer("visits")
    assert plan.exact and result.ok
    assert result.log_evidence_pooled == pytest.approx(evidence, abs=1e-9)
    for number in (3, 4, 5):
        left = result.marginals["again." * number + "stays"][0]
        assert left == pytest.approx(truth["return"][number], abs=1e-9)


def agrees(result, draws, truth):
    """Compare the mean of draws (chain, draw, ...) with the truth; shares of rare values tell nothing."""
    draws, truth = np.asarray(draws), np.asarray(truth)
    number = draws.shape[0] * draws.shape[1]
    shares, spread = draws.dtype == bool, draws.std(axis=(0, 1))
    if shares:  # as the truth has it: none may be seen
        spread = np.sqrt(truth * (1 - truth))
    draws, limit = draws.astype(float), 5.0
    mean, runs = draws.mean(axis=(0, 1)), draws.mean(axis=1)
    if result.guide is not None:
        size = kish_ess(result.weighted.log_weight).sum()
        error = spread * np.sqrt(1 / size + 1 / number)
    elif result.weighted is not None:
        error, limit = runs.std(axis=0, ddof=1) / np.sqrt(len(runs)), 13.0
    else:
        batches = draws.reshape(4 * 10, -1, *draws.shape[2:]).mean(axis=1)
        error = batches.std(axis=0, ddof=1) / np.sqrt(len(batches))
    told = number * spread**2 > 5 if shares else np.ones(truth.shape, bool)
    assert told.any()
    assert np.all((np.abs(mean - truth) <= limit * error)[told]), (mean, truth, error)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mixture_of_means", "unknown_hidden_markov", "changepoint", "lda", "how_many", "how_many_in_a_box"]
)
def test_mixed_programs_agree_with_the_truth(name):
    plan, result, (evidence, truth) = answer(name, "how_many" if name == "how_many_in_a_box" else None)
    assert (isinstance(plan, CasesPlan) or not plan.exact) and result.ok, result.run["tried"]
    if result.log_evidence is not None:
        assert abs(result.log_evidence_pooled - evidence) < 13 * result.log_evidence_error
    draws = result.posterior
    shown = {
        "mixture_of_means": lambda: {"mu": draws["mu"], "z": draws["z"] == 1},
        "unknown_hidden_markov": lambda: {
            **{n: draws[n] for n in ("change", "low", "gap")},
            "last": draws["z"][..., -1],
        },
        "changepoint": lambda: {**draws, "when": draws["when"][..., None] == np.arange(1, 20)},
        "lda": lambda: {
            "theta": draws["theta"][..., 0],
            "phi": draws["phi"],
            "together": draws["z"] == draws["z"][..., :1],
            "apart": draws["theta"][..., 0, 0, None] * draws["theta"][..., 1:3, 0],
        },
    }.get(name, lambda: {"extra": draws["extra"][..., None] == np.arange(3)})()
    for site, own in shown.items():
        agrees(result, own, truth[site])
