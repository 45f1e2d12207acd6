"""W5c: the published answer, contestants that give it, and a report that reads the bar of the first call."""

import json

import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.contestants import alarm
from benchmarks.contestants.w5c import ours_once
from benchmarks.harness import records, report
from benchmarks.harness.catalogue import WORKLOADS
from benchmarks.harness.rounds import Measurement

pytestmark = pytest.mark.usefixtures("single_precision", "data")


def test_the_exact_answer_of_w5c_has_its_check_values():
    log_evidence, marginals = workloads.alarm_answers()
    assert log_evidence == pytest.approx(workloads.exact_answers("alarm")["log_likelihood"], abs=5e-13, rel=0)
    assert len(marginals) == 34 and marginals["HISTORY"][0] == pytest.approx(0.12914186, abs=5e-9)
    assert sum(p[0] for p in marginals.values()) == pytest.approx(9.2079352439, abs=5e-11)


def test_contractions_give_the_answers_of_the_reference_data():
    for query in json.loads(workloads.alarm_file("exact.json").read_text())["queries"]:
        log_evidence, marginals = workloads.alarm_marginals(query["evidence"])
        assert log_evidence == pytest.approx(query["log_evidence"], abs=1e-12)
        assert set(marginals) == set(query["marginals"])
        for name, p in query["marginals"].items():
            np.testing.assert_allclose(marginals[name], p, atol=1e-10)


def test_ours_gives_the_answer():
    """By NumPy; compiled queries of this network are those of the tests of elimination, and each run is checked."""
    (variant,) = WORKLOADS["W5c"].variants
    run = ours_once.build(variant.settings)
    told = run.told(run(0))
    for name, answer in variant.exact().items():
        assert told[name] == pytest.approx(answer, abs=variant.tolerances[name], rel=0)


def test_a_wrong_marginal_is_seen():
    run = ours_once.build({})
    log_z, marginals = run(0)
    off = {name: np.array(p)[::-1] if name == "HISTORY" else p for name, p in marginals.items()}
    assert run.told((log_z, off))["marginal_error"] == pytest.approx(1 - 2 * 0.12914186, abs=1e-6)


def test_later_runs_ask_many_queries_and_say_so():
    asked = []
    run = alarm.AlarmRun(lambda: asked.append(0), 7)
    run(0)
    assert len(asked) == 1
    run(1)
    assert len(asked) == 1 + run.work_units == 8


def measured(name, first, cpu, value=None, queries=100):
    outputs = {"marginal_error": 1e-7} | ({} if value is None else {"log_likelihood": value})
    run = {"cpu_s": cpu, "wall_s": cpu, "outputs": outputs, "stages": {}, "peak_mb": 150.0}
    description = {"versions": {}, "dtype": "float32", "bare_mb": 100.0, "work_units": queries}
    return Measurement(name, description=description, first=run | {"cpu_s": first}, runs=[run] * 20)


def test_the_report_compares_equal_work_and_first_calls():
    (variant,) = WORKLOADS["W5c"].variants
    value = workloads.ALARM_LOG_EVIDENCE
    found = {
        "ours": measured("ours", 7.0, 0.06, value),
        "ours_once": measured("ours_once", 0.03, 0.016, value, queries=4),
        "pgmpy": measured("pgmpy", 0.07, 0.25, queries=4),
    }
    entries = records.records(WORKLOADS["W5c"], variant, found, cores=2)
    text = report.variant_section(entries)
    assert entries[2]["ratio_to_ours"]["min"] == pytest.approx(0.25 / 4 / 0.06 * 100)
    assert "Bar of the first call: pgmpy / ours_once = 2.33, at least 1.00 wanted: met." in text
    assert report.row(entries[2])[5:7] == ["–", "1.0e-07"]
    found["ours_once"] = measured("ours_once", 0.08, 0.016, value, queries=4)
    assert "0.88, at least 1.00 wanted: **missed**." in report.variant_section(
        records.records(WORKLOADS["W5c"], variant, found, cores=2)
    )
