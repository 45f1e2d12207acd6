"""Results: the verdict names each fault and its limit, the dead are refused, and draws stand in one random order."""

import math

import numpy as np
import pytest

from lawful.errors import DeadPopulationError, LawfulError
from lawful.inference.findings.findings import Finding, Limits, Status
from lawful.inference.results.collect import from_chains, from_population
from tests.inference.results.small_results import PARTICLES, RUNS, STAGES, chains, population


def codes(result):
    return {finding.code for finding in result.reasons}


# The verdict


def test_good_runs_are_ok():
    for result in (population(), chains()):
        assert result.ok, result.warnings
        assert result.status == Status(0)
        assert repr(result).startswith("Result: ok")


def test_one_run_warns_that_it_has_no_error_bar_and_is_no_failure():
    x = np.random.default_rng(0).normal(size=(1, 100))
    result = from_population({"x": x}, np.zeros((1, 100)), [-1.0], draws={"x": x})
    assert result.ok
    assert "one run: no error bar" in result.warnings[0]
    assert math.isnan(result.log_evidence_error)


@pytest.mark.parametrize(
    ("result", "code", "bit"),
    [
        (population(log_evidence=(-3.0, -5.0, -1.0, 0.0)), "EVIDENCE_SPREAD", Status.NOT_CONVERGED),
        (population(log_evidence=(-3.0, -4.0, -2.5, -2.5)), "EVIDENCE_SPREAD", Status.NOT_CONVERGED),
        (population(limits=Limits(ess_fraction=1.0)), "LOW_ESS", Status.LOW_ESS),
        (population(roots=np.zeros((RUNS, PARTICLES), int)), "ONE_ANCESTOR", Status.LOW_ESS),
        (population(interrupted=True, finished=3), "INTERRUPTED", Status.INTERRUPTED),
        (population(shift=1.0), "HIGH_RHAT", Status.HIGH_RHAT),
        (chains(stats={"diverging": np.eye(4, 500, dtype=bool)}), "DIVERGENT", Status.DIVERGENT),
        (chains(stats={"n_nonfinite": np.array([0, 2, 0, 0])}), "NONFINITE_DENSITY", Status.NONFINITE_DENSITY),
        (chains(draws=60), "LOW_ESS", Status.LOW_ESS),
        (chains(draws=2), "HIGH_RHAT", Status.HIGH_RHAT),
        (chains(n=1, found=(Finding("CLIPPED", "a floor was active."),)), "CLIPPED", Status.CLIPPED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_sets_its_bit_and_names_its_limit(result, code, bit):
    assert not result.ok
    assert bit in result.status
    (finding, *_) = [finding for finding in result.reasons if finding.code == code]
    assert any(finding.message in text for text in result.warnings)


def test_separated_chains_are_found_with_the_variable_that_shows_it():
    draws = np.random.default_rng(5).normal(size=(4, 500, 2))
    draws[0, :, 1] += 10
    result = from_chains({"constant": np.ones((4, 500)), "x": draws})
    (finding,) = [finding for finding in result.reasons if finding.code == "HIGH_RHAT"]
    assert finding.message.startswith("r-hat of 'x[1]'")
    assert finding.sites == ("x",)
    assert finding.value > finding.limit == 1.01


def test_a_chain_that_never_moved_is_found_although_it_differs_from_the_others():
    draws = np.random.default_rng(5).normal(size=(4, 500))
    draws[2] = 0.3
    result = from_chains({"x": draws, "constant": np.ones((4, 500))})
    assert "NEVER_MOVED" in codes(result)
    assert "chains 2 never moved" in "".join(result.warnings)


def test_a_value_that_exists_in_one_arm_only_is_not_diagnosed_by_chains():
    rng = np.random.default_rng(5)
    arm = np.where(rng.random((4, 500)) < 0.5, rng.normal(size=(4, 500)), np.nan)
    assert from_chains({"x": rng.normal(size=(4, 500)), "arm": arm}).ok
    stuck = from_chains({"x": np.zeros((2, 9)), "arm": np.full((2, 9), np.nan)})
    assert "NEVER_MOVED" in codes(stuck)


def test_the_ancestry_of_the_particles_is_counted():
    roots = np.repeat(np.arange(PARTICLES // 2), 2)[None, :].repeat(RUNS, 0)
    stats = population(roots=roots).stats
    assert stats["n_roots"].tolist() == [PARTICLES // 2] * RUNS
    np.testing.assert_allclose(stats["root_share"], 2 / PARTICLES)


def test_an_unknown_code_is_an_error():
    with pytest.raises(LawfulError, match="TOO_SLOW"):
        Finding("TOO_SLOW", "...")


def test_the_text_form_has_at_most_twelve_lines_and_the_verdict_first():
    worst = population(dead_at=(0, 2, 3, -1), interrupted=True, limits=Limits(ess_fraction=1.0))
    lines = repr(worst).splitlines()
    assert lines[0].startswith("Result: NOT OK: DEAD, INTERRUPTED, LOW_ESS")
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 120


# Dead populations


def test_samples_of_a_dead_population_are_refused_and_its_evidence_is_readable():
    result = population(dead_at=(-1, 5, -1, -1))
    assert result.log_evidence[1] == -np.inf
    assert Status.DEAD in result.status
    for refused in (lambda: result.posterior, lambda: result.weighted, result.to_datatree, result.summary):
        with pytest.raises(DeadPopulationError, match="run 1 at stage 5") as caught:
            refused()
        assert caught.value.dead_at == {1: 5}


def test_the_stage_of_death_defaults_to_the_last_one():
    result = from_population(
        {"x": np.ones((1, 2))},
        np.full((1, 2), -np.inf),
        [-np.inf],
        draws={"x": np.ones((1, 2))},
        stats={"ess": np.ones((1, STAGES))},
    )
    assert result.reasons[0].value == STAGES - 1
    assert result.log_evidence_pooled == -np.inf
    with pytest.raises(DeadPopulationError):
        result.surviving()


def test_the_surviving_runs_keep_their_bits_and_the_evidence_of_all_runs():
    whole, partly = population(), population(dead_at=(-1, 5, -1, -1))
    rest = partly.surviving()
    for name, draws in whole.posterior.items():
        np.testing.assert_array_equal(rest.posterior[name], draws[[0, 2, 3]])
    assert rest.log_evidence_pooled == partly.log_evidence_pooled
    assert not rest.ok
    tree = rest.to_datatree()
    assert tree["posterior"].chain.values.tolist() == [0, 2, 3]
    assert tree["weighted_posterior"].chain.values.tolist() == [0, 2, 3]
    assert tree["sample_stats_smc"].log_evidence.shape == (4,)


# Construction


def test_draws_are_put_in_one_random_order_for_all_variables():
    x = np.arange(RUNS * 50.0).reshape(RUNS, 50)
    draws = {"x": x, "twice": 2 * x}
    result = from_population({}, np.zeros((RUNS, 50)), np.zeros(RUNS), draws=draws)
    np.testing.assert_array_equal(np.sort(result.posterior["x"], axis=1), x)
    np.testing.assert_array_equal(result.posterior["twice"], 2 * result.posterior["x"])
    assert np.any(result.posterior["x"] != x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: from_chains({"x": np.zeros((2, 5)), "z": np.zeros((2, 4))}),
        lambda: from_population({"z": np.zeros((2, 4))}, np.zeros((2, 5)), np.zeros(2), draws={}),
        lambda: from_population({}, np.zeros((2, 5)), np.zeros(2), draws={"x": np.zeros((2, 5)), "z": np.zeros(2)}),
    ],
)
def test_leading_axes_that_differ_are_an_error_naming_the_variable(make):
    with pytest.raises(LawfulError, match="'z'"):
        make()
