"""Laws of the measuring driver, with workers played by a script: no clock is read here."""

import json

import numpy as np
import pytest

from benchmarks.harness import records, report, statistics
from benchmarks.harness.catalogue import WORKLOADS
from benchmarks.harness.driver import PARTIAL, RESULTS, arguments
from benchmarks.harness.environments import NotAvailableError, requirements
from benchmarks.harness.process import ContestantError
from benchmarks.harness.rounds import measure

VARIANT = WORKLOADS["W1"].variants[0]


class ScriptedWorker:
    """A worker with given CPU seconds whose evidence is right unless told otherwise."""

    def __init__(self, name, log, cpu_s=1.0, bias=0.0, fails_at=None):
        self.name, self.log, self.cpu_s, self.bias, self.fails_at = name, log, cpu_s, bias, fails_at
        self.description = {"versions": {"python": "3.13"}, "dtype": "float32", "bare_mb": 100.0}
        self.closed = False

    def run(self, i):
        if i == self.fails_at:
            raise ContestantError("its process ended")
        self.log.append((self.name, i))
        sign = 0.01 if i % 2 else -0.01
        outputs = {
            "log_evidence": VARIANT.exact()["log_evidence"] + self.bias + sign,
            "filtered_mean": VARIANT.exact()["filtered_mean"] + sign,
        }
        cpu = self.cpu_s * (1 + 0.1 * (i % 3))
        return {"cpu_s": cpu, "wall_s": cpu, "outputs": outputs, "stages": {}, "peak_mb": 150.0}

    def close(self):
        self.closed = True


def played(log, **cast):
    """Measurements of 20 rounds by scripted workers; a string in the cast is a reason not to be available."""

    def start(name):
        if isinstance(cast[name], str):
            raise NotAvailableError(cast[name])
        return ScriptedWorker(name, log, **cast[name])

    return measure(list(cast), start, rounds=20)


def test_rounds_are_interleaved_and_rotated_and_round_i_uses_key_i():
    log = []
    played(log, ours={}, floor={}, blackjax={})
    assert log[:3] == [("ours", 0), ("floor", 0), ("blackjax", 0)]
    rounds = [log[start : start + 3] for start in range(3, len(log), 3)]
    assert len(rounds) == 20
    for i, visits in enumerate(rounds, start=1):
        assert {name for name, _ in visits} == {"ours", "floor", "blackjax"}
        assert {key for _, key in visits} == {i}
    assert {visits[0][0] for visits in rounds} == {"ours", "floor", "blackjax"}


def test_a_contestant_that_fails_is_shown_with_its_reason_and_leaves_the_others_alone():
    found = played([], ours={}, floor={}, blackjax={"fails_at": 5}, particles="no matching distribution")
    entries = records.records(WORKLOADS["W1"], VARIANT, found, cores=2)
    text = report.variant_section(entries)
    assert "failed: its process ended" in text
    assert "not available: no matching distribution" in text
    assert len(found["ours"].runs) == len(found["floor"].runs) == 20


def test_a_row_with_wrong_evidence_shows_no_time():
    found = played([], ours={}, floor={}, blackjax={"bias": 0.5})
    entries = {e["contestant"]: e for e in records.records(WORKLOADS["W1"], VARIANT, found, cores=2)}
    assert not entries["blackjax"]["accuracy"]["log_evidence"]["passed"]
    assert report.row(entries["blackjax"])[1] == "no time: wrong evidence"
    assert entries["ours"]["accuracy"]["log_evidence"]["passed"]


def test_ratios_are_of_minima_and_a_slow_floor_voids_its_bar():
    found = played([], ours={"cpu_s": 1.0}, floor={"cpu_s": 1.0}, blackjax={"cpu_s": 1.9})
    entries = {e["contestant"]: e for e in records.records(WORKLOADS["W1"], VARIANT, found, cores=2)}
    assert entries["blackjax"]["ratio_to_ours"]["min"] == pytest.approx(1.9)
    assert entries["blackjax"]["verdict"] == "win"
    assert entries["floor"]["bar_met"]
    assert not entries["floor"]["floor_check"]["blackjax"]["valid"]
    assert "void" in report.variant_section(list(entries.values()))


def test_a_bar_is_missed_only_if_minima_and_median_both_miss_it():
    assert statistics.meets(2.0, statistics.Ratio(min=2.1, low=1.0, median=1.5, high=3.0))
    assert statistics.meets(2.0, statistics.Ratio(min=1.5, low=1.0, median=2.1, high=3.0))
    assert not statistics.meets(2.0, statistics.Ratio(min=1.9, low=1.0, median=1.9, high=3.0))


def test_the_accuracy_test_has_the_false_alarm_rate_it_states():
    # 4000 series of 21 lognormal ratios with mean one: 0.27 % expected; six binomial standard errors allow 0.76 %.
    rng = np.random.default_rng(20261)
    series = rng.normal(-0.02, 0.2, size=(4000, 21))
    failed = np.mean([not statistics.evidence_accuracy(errors, 0.0)["passed"] for errors in series])
    assert failed < 0.0027 + 6 * (0.0027 / 4000) ** 0.5


def test_only_whole_runs_write_the_results():
    assert arguments(["W1"]).out == RESULTS
    for part in (["--quick"], ["--rounds", "5"], ["--contestants", "ours,floor"], ["--variants", "LG"]):
        assert arguments(["W1", *part]).out == PARTIAL


def test_records_are_json_and_every_environment_pins_its_versions():
    entries = records.records(WORKLOADS["W1"], VARIANT, played([], ours={}, floor={}), cores=2)
    assert json.loads(json.dumps(entries))[0]["contestant"] == "ours"
    for name in set(WORKLOADS["W1"].environments.values()):
        assert requirements(name)
