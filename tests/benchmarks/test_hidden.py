"""W5b: the published data and answer, contestants that give it, and a report that tells their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.contestants.hidden import HiddenRun
from benchmarks.contestants.w5b import floor, ours
from benchmarks.harness import records, report
from benchmarks.harness.catalogue import WORKLOADS
from benchmarks.harness.rounds import Measurement

pytestmark = pytest.mark.usefixtures("single_precision")


def test_the_data_of_w5b_have_their_check_values():
    model = workloads.hidden()
    assert model.start[0] == pytest.approx(0.0248114952, abs=5e-11)
    assert model.transition[0, 0] == pytest.approx(0.0493469780, abs=5e-11)
    assert model.observed[0] == pytest.approx(-10.0598855522, abs=5e-11)
    assert model.observed.shape == (10_000,) and model.node_scores().shape == (10_000, 100)


def test_the_exact_log_likelihood_of_w5b_is_the_published_number():
    log_likelihood, marginals = workloads.hidden_answers()
    assert log_likelihood == pytest.approx(workloads.exact_answers("hidden")["log_likelihood"], abs=5e-11, rel=0)
    np.testing.assert_allclose(marginals.sum(1), 1, rtol=1e-13)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("contestant", [ours, floor], ids=["ours", "floor"])
def test_contestants_give_the_answer(contestant):
    model = workloads.hidden()
    data = model.start, model.transition, model.node_scores()
    run = HiddenRun(contestant.smooth, tuple(jnp.asarray(x, jnp.float32) for x in data))
    told = run.told(run(0))
    assert told["log_likelihood"] == pytest.approx(workloads.HIDDEN_LOG_LIKELIHOOD, abs=1e-3, rel=0)
    assert told["marginal_error"] < 1e-6


def test_floor_and_ours_agree_at_another_size():
    rng = np.random.default_rng(0)
    start, transition = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    data = tuple(jnp.asarray(x, jnp.float32) for x in (start, transition, rng.normal(size=(20, 3))))
    one, other = jax.jit(ours.smooth)(*data), jax.jit(floor.smooth)(*data)
    assert float(one["log_likelihood"]) == pytest.approx(float(other["log_likelihood"]), rel=1e-6)
    np.testing.assert_allclose(one["marginals"], other["marginals"], atol=1e-6)


def measured(name, error):
    value = workloads.HIDDEN_LOG_LIKELIHOOD + error
    outputs = {"log_likelihood": value, "marginal_error": 1e-7}
    run = {"cpu_s": 0.02, "wall_s": 0.02, "outputs": outputs, "stages": {}, "peak_mb": 150.0}
    description = {"versions": {}, "dtype": "float32", "bare_mb": 100.0, "work_units": None}
    return Measurement(name, description=description, first=run, runs=[run] * 20)


def test_the_report_tells_errors_and_refuses_wrong_values():
    (variant,) = WORKLOADS["W5b"].variants
    found = {"ours": measured("ours", 8e-4), "dynamax": measured("dynamax", -0.012), "floor": measured("floor", 0.2)}
    entries = {e["contestant"]: e for e in records.records(WORKLOADS["W5b"], variant, found, cores=1)}
    assert report.row(entries["ours"])[5:7] == ["8.0e-04", "1.0e-07"]
    assert report.row(entries["dynamax"])[5] == "1.2e-02" and entries["dynamax"]["bar"] == 1.3
    assert report.row(entries["floor"])[1] == "no time: wrong value"
    text = report.variant_section(list(entries.values()))
    assert "Bar of our error, log likelihood: at most 0.001: 0.0008, met." in text
    found["ours"] = measured("ours", 2e-3)
    text = report.variant_section(records.records(WORKLOADS["W5b"], variant, found, cores=1))
    assert "at most 0.001: 0.002, **missed**." in text
