"""Every planted fault is found by the check that should find it, and the library as it is raises no alarm there."""

import functools
from collections import Counter

import jax
import pytest

from lawful.inference.check import Report
from lawful.inference.check.statistics.claims import SUITE, claim
from tests.marked import marked
from tests.mutants import patching
from tests.mutants.evidence import INVOLVED, fingerprint, is_fresh
from tests.mutants.registry import MUTANTS, STATISTICAL, clean_checks, run, run_clean, run_seeds

pytestmark = pytest.mark.mutants

# One fault of each kind in `make test`; all of them, and the library as it is, in `make mutants`.
QUICK = {"23", "25b", "27", "29", "45", "54"}


outcome_of = functools.cache(run)
FAULTS = [
    pytest.param(mutant, id=mutant.id, marks=() if mutant.id in QUICK else pytest.mark.slow)
    for mutant in MUTANTS
    if not mutant.equivalent
]


@pytest.mark.rest_slow
@pytest.mark.parametrize("mutant", FAULTS)
def test_a_planted_fault_is_found(mutant, note):
    outcome = outcome_of(mutant)
    note(outcome)
    assert outcome.verdict == "killed", f"{mutant.description}: {outcome}\n{outcome.report.remarks}"


def test_every_fault_can_be_planted(monkeypatch):
    """What it replaces is still where it looks for it; all that are not are listed."""
    monkeypatch.setattr(patching, "forget", lambda: None)  # nothing runs, so there is nothing to forget
    lost = []
    for mutant in MUTANTS:
        try:
            with mutant.patch():
                pass
        except (AssertionError, AttributeError) as error:
            lost.append(f"{mutant.id}: {error}")
    assert lost == []


def test_every_fault_has_one_check_and_every_marker_names_a_fault():
    named = [*(fault for test in marked("kills") for fault in test.named), *(m.id for m in MUTANTS if m.own)]
    assert Counter(named) == Counter(mutant.id for mutant in MUTANTS)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.equivalent], ids=lambda m: m.id)
def test_a_change_that_keeps_every_expectation_raises_no_alarm(mutant, note):
    outcome = outcome_of(mutant)
    note(outcome)
    assert outcome.reached
    assert outcome.report.passed, outcome.report


@pytest.mark.slow  # the rows have tests of their own in tests/tier0
@pytest.mark.parametrize("check", clean_checks(), ids=lambda check: check.name)
def test_the_library_raises_no_alarm_where_faults_are_found(check, note):
    outcome = run_clean(check)
    note(outcome)
    assert outcome.report.passed, outcome.report


@pytest.mark.slow
@pytest.mark.parametrize("check", STATISTICAL, ids=lambda check: check.__name__)
def test_fresh_seeds_raise_no_alarm(check, note):
    """Each check alone may alarm with probability 1e-6 / 512 a seed."""
    outcome = run_seeds(check)
    note(outcome)
    assert not outcome.alarms, outcome


def test_fresh_seeds_are_no_claims_of_the_suite():
    """Else a check with 200 seeds takes the room of 200 checks, and `make mutants` ends for want of room."""

    def claiming(seed: int) -> Report:
        """Tier 1: make a claim of its own for each seed."""
        claim("seed", jax.random.key(seed))
        return Report(status="passed", law="none", level="statistical", p_value=1.0)

    before = SUITE.get().ids
    assert not run_seeds(claiming).alarms
    assert SUITE.get().ids == before


@pytest.mark.slow
def test_the_evidence_in_the_documentation_is_of_this_code():
    assert is_fresh(), "the evidence is stale: run make evidence"


@pytest.mark.parametrize("folder", INVOLVED)
def test_evidence_speaks_for_what_the_code_does_and_not_for_its_words(folder, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / folder / "one.py"

    def of(source):
        file.write_text(source)
        return fingerprint(tmp_path)

    code = 'x = """a"""\n\ndef f(y):\n    """Words."""\n    return y + 1\n'
    silent = [
        "# why\n" + code,
        '"""Opening."""\n' + code,
        code.replace('    """Words."""\n', ""),
        code.replace("Words.", "Other\n    words.").replace("+ 1", "+ 1  # one more"),
    ]
    assert {of(other) for other in silent} == {of(code)}
    for changed in (code.replace("a", "b"), code.replace("+ 1", "+ 2"), code.replace("    return", "return")):
        assert of(changed) != of(code)
    of(code)
    before = fingerprint(tmp_path)
    file.rename(file.with_name("two.py"))
    assert fingerprint(tmp_path) != before


def test_evidence_faults_leave_the_normalised_measure_alone():
    """Why measures are compared unnormalised: this one doubles the evidence and changes nothing else."""
    report = outcome_of(next(m for m in MUTANTS if m.id == "25b")).report
    assert report.evidence_ratio == pytest.approx(2.0, rel=1e-12)
    assert report.tv < 1e-12
