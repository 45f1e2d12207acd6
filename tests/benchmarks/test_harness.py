"""Laws of the measuring driver, with workers played by a script: no clock is read here."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import worker
from benchmarks.harness import records, report, statistics
from benchmarks.harness.catalogue import WORKLOADS
from benchmarks.harness.driver import PARTIAL, RESULTS, arguments
from benchmarks.harness.environments import NotAvailableError, requirements
from benchmarks.harness.process import ContestantError
from benchmarks.harness.rounds import Measurement, measure

VARIANT = WORKLOADS["W1"].variants[0]


class ScriptedWorker:
    """A worker with given CPU seconds whose numbers are right unless told otherwise."""

    def __init__(self, name, log, cpu_s=1.0, bias=0.0, fails_at=None, work_units=None, variant=VARIANT):
        self.name, self.log, self.cpu_s, self.bias, self.fails_at = name, log, cpu_s, bias, fails_at
        self.description = {"versions": {"python": "3.13"}, "dtype": "float32", "bare_mb": 100.0}
        self.description["work_units"] = work_units
        self.variant, self.closed = variant, False

    def run(self, i):
        if i == self.fails_at:
            raise ContestantError("its process ended")
        self.log.append((self.name, i))
        sign = 0.01 if i % 2 else -0.01
        first, *others = self.variant.exact().items()
        outputs = {first[0]: first[1] + self.bias + sign, **{name: exact + sign for name, exact in others}}
        outputs |= {"ess": 500.0, "temperatures": 17.0}
        cpu = self.cpu_s * (1 + 0.1 * (i % 3))
        return {"cpu_s": cpu, "wall_s": cpu, "outputs": outputs, "stages": {}, "peak_mb": 150.0}

    def close(self):
        self.closed = True


def played(log, variant=VARIANT, **cast):
    """Measurements of 20 rounds by scripted workers; a string in the cast is a reason not to be available."""

    def start(name):
        if isinstance(cast[name], str):
            raise NotAvailableError(cast[name])
        return ScriptedWorker(name, log, variant=variant, **cast[name])

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


WALK, LABELS = WORKLOADS["W3a"].variants[0], WORKLOADS["W3b"].variants[0]


def entries_of(workload, variant, **cast):
    found = records.records(WORKLOADS[workload], variant, played([], variant, **cast), cores=2)
    return {entry["contestant"]: entry for entry in found}


def test_ratios_are_for_equal_work():
    """The peer takes 40 times as long and does four times the work."""
    measured = replace(LABELS, by_size=False)
    peer = {"cpu_s": 40.0, "work_units": 4 * LABELS.work_units}
    entries = entries_of("W3b", measured, ours={}, floor={"cpu_s": 0.5}, numpyro=peer)
    assert entries["numpyro"]["ratio_to_ours"]["min"] == pytest.approx(10.0)
    assert entries["numpyro"]["bar_met"]
    assert entries["numpyro"]["work_per_cpu_s"] == pytest.approx(4 * LABELS.work_units / 40.0)
    assert entries["floor"]["floor_check"]["numpyro"]["min"] == pytest.approx(20.0)


TEMPERED = WORKLOADS["W2hmc"].variants[0]


def test_verdicts_of_populations_are_read_on_squared_errors_times_cost():
    """A peer that is ten times as fast with ten times the error of log Z costs ten times as much, by means a tenth."""
    fast, exact = {"cpu_s": 0.1, "bias": 0.1}, {"cpu_s": 10.0}
    entries = entries_of("W2hmc", TEMPERED, ours={}, blackjax=fast, blackjax_waste_free=exact)
    ratio = entries["blackjax"]["error_cost_to_ours"]["log_evidence"]["value"]
    assert ratio == pytest.approx(0.1 * (0.1**2 + 0.01**2) / 0.01**2, rel=0.1)
    assert entries["blackjax"]["error_cost_to_ours"]["means"]["value"] == pytest.approx(0.1)
    assert entries["blackjax"]["verdict"] == "short"  # the worse of the two
    ratio = entries["blackjax_waste_free"]["error_cost_to_ours"]["log_evidence"]
    assert ratio["value"] == pytest.approx(10.0) and entries["blackjax_waste_free"]["decided"]
    near = entries_of("W2hmc", TEMPERED, ours={}, blackjax={"cpu_s": 1.2})["blackjax"]
    assert not near["decided"] and report.row(near)[-1] == "open (too few runs)"


def test_runs_after_the_rounds_tell_errors_and_no_times():
    log = []
    found = measure(["ours"], lambda name: ScriptedWorker(name, log), rounds=20, error_runs=50)["ours"]
    assert len(found.runs) == 20 and len(found.outputs("log_evidence")) == 50
    assert log == [("ours", i) for i in range(50)]


def test_a_further_line_of_ours_has_bars_of_its_own():
    entries = entries_of("W3a", WALK, ours={"cpu_s": 0.4}, ours_plain={"cpu_s": 1.1}, blackjax={"cpu_s": 1.0})
    assert entries["blackjax"]["bar_met"] and entries["blackjax"]["bar"] == 1.8
    assert entries["ours_plain"]["bar"] is None and "line_bars" not in entries["ours"]
    (bar,) = entries["ours_plain"]["line_bars"]
    assert bar["ratio_to_ours"]["min"] == pytest.approx(1 / 1.1) and bar["bar"] == 0.95
    assert not bar["bar_met"] and bar["decided"]
    assert "Bar of ours_plain: blackjax / ours_plain = 0.91" in report.variant_section(list(entries.values()))


def test_chains_with_wrong_means_show_no_time():
    entries = entries_of("W3a", WALK, ours={}, blackjax={"bias": 0.1})
    assert report.row(entries["ours"])[1] != "no time: wrong means"
    assert report.row(entries["ours"])[6] == "500 (500)"
    assert report.row(entries["blackjax"])[1] == "no time: wrong means"
    assert "(" not in report.row(entries["blackjax"])[6]


def test_the_test_of_means_has_the_false_alarm_rate_it_states():
    """4000 rows of 20 coordinates and 21 runs; six binomial standard errors. A bias as large as is allowed counts."""
    errors = np.random.default_rng(20264).normal(size=(4000, 20, 21))
    failed = np.mean([not statistics.means_accuracy(rows, 0.0)["passed"] for rows in errors])
    assert failed < 0.0027 + 6 * (0.0027 / 4000) ** 0.5
    assert statistics.means_accuracy(np.full((3, 21), 0.1) + 1e-9 * errors[0, :3], 0.11)["passed"]
    assert not statistics.means_accuracy(np.full((3, 21), 0.1) + 1e-9 * errors[0, :3], 0.09)["passed"]


class MovingWorker(ScriptedWorker):
    """A worker of a variant without exact answers."""

    def run(self, i):
        return {"cpu_s": 0.005, "wall_s": 0.005, "outputs": {"log_density": -1.0}, "stages": {}, "peak_mb": 150.0}


def test_published_times_stand_beside_ours_and_no_exact_answer_is_no_failure():
    variant = next(v for v in WORKLOADS["MB"].variants if v.name == "HMM 800 MH100")
    found = measure(["ours"], lambda name: MovingWorker(name, [], variant=variant), rounds=20)
    entries = records.records(WORKLOADS["MB"], variant, found, cores=2)
    text = report.variant_section(entries)
    assert report.row(entries[0])[1] == "5.0 (5.0)" and report.row(entries[0])[5] == report.BLANK
    assert "0.685 s (pull request 132; 6.85e+03 us, 137 times ours)" in text


def test_the_bar_of_mb_is_a_third_of_the_published_time_of_a_step():
    (variant,) = (v for v in WORKLOADS["MB"].variants if v.limit_s is not None)
    assert variant.name == "HMM 800 SMC100" and variant.limit_s == pytest.approx(0.0488)
    found = {"ours": {"cpu_s": 0.1}}
    assert "**missed**" in report.variant_section(list(entries_of("MB", variant, **found).values()))


def test_what_is_told_of_draws_is_worked_out_off_the_clock(monkeypatch):
    class Clock:
        now = 0.0

        def process_time(self):
            return self.now

        perf_counter = process_time

    class Run:
        def __call__(self, i):
            clock.now += 1.0
            return i

        def told(self, draws):
            clock.now += 10.0
            return {"mean_0": draws}

    clock = Clock()
    monkeypatch.setattr(worker, "time", clock)
    record = worker.measured(Run(), 3)
    assert record["outputs"] == {"mean_0": 3.0}
    assert (record["cpu_s"], record["wall_s"]) == pytest.approx((1.0, 1.0), abs=1e-9)
    assert worker.measured(lambda i: {"x": i}, 2)["outputs"] == {"x": 2.0}


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
    for name in {name for workload in WORKLOADS.values() for name in workload.environments.values()}:
        assert requirements(name)


def test_work_may_be_counted_in_effective_draws():
    """Equal times, twice the effective draws: half the cost for a usual run's work."""
    runs = [{"cpu_s": 1.0, "outputs": {"ess": size}} for size in (900.0, 1000.0, 5000.0)]
    assert Measurement("ours", by_size=True, runs=runs).costs("cpu_s", 2000.0) == [2.0, 2.0, 2.0]
    assert Measurement("ours", runs=runs).costs("cpu_s", 2000.0) == [1.0, 1.0, 1.0]
