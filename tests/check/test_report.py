import json
import math
import subprocess
import sys

import pytest

from lawful.errors import LawfulError, ValidationFailure
from lawful.inference.check import Report

FAILED = Report(
    status="failed",
    law="pi K = pi",
    level="exact",
    tv=0.07,
    paths=36,
    instances=4,
    coverage={"accept": frozenset({True, False})},
    worst=("row 2", 0.07),
    key=(0, 7),
    repro="invariant(kernel, model, key=jax.random.key(7))",
)


def test_a_report_is_true_exactly_when_it_passed():
    for status in ("passed", "failed", "inconclusive", "refused"):
        report = Report(status=status, law="law", level="exact")
        assert bool(report) is report.passed is (status == "passed")


def test_an_exact_check_detects_every_effect():
    assert Report(status="passed", law="law", level="exact").detects(0.0)


@pytest.mark.parametrize("status", ["inconclusive", "refused"])
def test_a_check_that_did_not_run_in_full_detects_nothing(status):
    assert not Report(status=status, law="law", level="exact").detects(math.inf)


def test_an_effect_below_the_detectable_one_is_not_detected():
    report = Report(status="passed", law="law", level="statistical", min_detectable_effect=0.05, power=0.99)
    assert report.detects(0.05)
    assert not report.detects(0.049)


@pytest.mark.parametrize("status", ["passed", "failed"])
def test_a_check_without_chance_says_what_it_looked_at_in_place_of_rates(status):
    enumerated = repr(Report(status=status, law="law", level="exact"))
    assert "exact: every value enumerated" in enumerated
    identities = repr(Report(status=status, law="law", level="identities"))
    assert "identities: compared up to rounding at the points that were tried" in identities
    for text in (enumerated, identities):
        assert "false alarm" not in text and "detects" not in text and "probability" not in text


def test_a_statistical_check_says_its_false_alarm_rate_and_its_power():
    shown = repr(
        Report(
            status="passed", law="law", level="statistical", bound="finite-sample", alpha_spent=2e-9,
            min_detectable_effect=0.05, power=0.99,
        )
    )  # fmt: skip
    assert "false alarm <= 2e-09 (finite-sample); detects 0.05 with probability 0.99" in shown


def test_a_failure_tells_its_key_its_worst_statistic_and_how_to_repeat_it():
    with pytest.raises(ValidationFailure) as failure:
        FAILED.raise_if_failed()
    for part in ("pi K = pi", "failed", "row 2", "0.07", "[0, 7]", FAILED.repro):
        assert part in str(failure.value)
    assert failure.value.worst == ("row 2", 0.07)


def test_a_passed_report_is_returned_by_raise_if_failed():
    report = Report(status="passed", law="law", level="exact")
    assert report.raise_if_failed() is report


def test_json_holds_every_field_and_is_strict():
    report = Report(
        status="refused", law="law", level="statistical", min_detectable_effect=math.inf, coverage={"b": {True, False}}
    )
    read = json.loads(report.to_json())
    assert set(read) == set(Report.__dataclass_fields__)
    assert read["min_detectable_effect"] == "inf"
    assert read["coverage"] == {"b": [False, True]}
    assert json.loads(FAILED.to_json())["worst"] == ["row 2", 0.07]


@pytest.mark.slow
def test_the_repr_is_the_same_in_every_process():
    code = (
        "from lawful.inference.check import Report\n"
        "print(repr(Report(status='passed', law='law', level='exact', paths=2, instances=1, "
        "coverage={'b': frozenset(['x', 'y', 'z']), 'a': frozenset([True, False])})))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "b: ['x', 'y', 'z']" in outputs.pop()


@pytest.mark.parametrize("field", [{"status": "ok"}, {"bound": "sure"}])
def test_unknown_words_are_refused(field):
    with pytest.raises(LawfulError, match="expected"):
        Report(**{"status": "passed", "law": "law", "level": "exact"} | field)
