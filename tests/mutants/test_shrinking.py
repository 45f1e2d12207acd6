"""A failure on a random program shows the smallest program that Hypothesis finds, and both measures where they differ.

Law: what is shown fails by itself: its text runs, has at most three sites, and the planted fault moves its measure.
"""

import ast
import re
import sys
from dataclasses import replace

import hypothesis
import numpy as np
import pytest

import lawful
from lawful.errors import ValidationFailure
from lawful.inference import check
from lawful.inference.check import check_row, preserves, strategies
from lawful.inference.check.rows import eager
from lawful.inference.eager import trace_mh
from tests.mutants import populations
from tests.mutants.patching import patched
from tests.mutants.registry import MUTANTS
from tests.tiers import rest_slow

pytestmark = pytest.mark.mutants
PATCHES = {mutant.id: mutant.patch for mutant in MUTANTS}
# A fault, and the row of the law that meets it on random programs.
PLANTED = {
    "25b": "resample systematic",
    "13": "gibbs, sites that depend on each other",
    "17": "smc systematic",
    "49": "mh single site",
}


@pytest.fixture(scope="module", params=rest_slow(PLANTED))
def failure(request):
    """The message of a row that fails, and the context in which it does."""
    with PATCHES[request.param]() as reached:
        report = check_row(PLANTED[request.param], programs=12, structures=0)
        assert reached.count
    with pytest.raises(ValidationFailure) as caught:
        report.raise_if_failed()
    return request.param, report, str(caught.value)


def program_of(message):
    """The function that the message shows, and its tables."""
    text = re.search(r"(?ms)^(?:  )?def program\(tables\):\n.*?^tables = [^\n]*", message)[0]
    return text.strip()


@pytest.mark.slow
def test_the_smallest_program_has_three_sites_at_most(failure):
    _, _, message = failure
    (told,) = re.findall(r"smallest failing program, of (\d) sites?:", message)
    names = [ast.unparse(node.func) for node in ast.walk(ast.parse(program_of(message))) if isinstance(node, ast.Call)]
    assert names.count("sample") == int(told) <= 3


def test_what_is_shown_runs_and_is_a_program_on_which_the_law_fails(failure):
    """Its measure is what the message says it should be."""
    _, _, message = failure
    scope = {}
    exec(check.programs.programs.HEADER + program_of(message), scope)
    truth = check.enumerate_measure(scope["program"], scope["tables"])
    shown = re.findall(r"^ *(.*): ([\d.e-]+) instead of ([\d.e-]+)$", message, flags=re.MULTILINE)
    assert shown
    whole = float(truth.total()) if "pi K" in message else 1.0
    show = check.exact.measure.show_outcome
    weights = {re.sub(r"(, )?returns .*", "", show(o)): w / whole for o, w in truth.traces()}
    for outcome, ours, theirs in shown:
        assert weights[re.sub(r"(, )?returns .*", "", outcome)] == pytest.approx(float(theirs), rel=1e-9)
        assert float(ours) != pytest.approx(float(theirs), rel=1e-9)


def test_hypothesis_gives_the_program_again(failure):
    _, _, message = failure
    version, blob, limits = re.search(
        r"@reproduce_failure\('(.*?)', (b'.*?')\) of lawful\.inference\.check\.strategies\.(finite_programs\(.*\))",
        message,
    ).groups()
    met = []

    @hypothesis.reproduce_failure(version, ast.literal_eval(blob))
    @hypothesis.given(eval(limits, vars(strategies)))
    def again(program):
        met.append(program)
        raise AssertionError

    with pytest.raises(AssertionError):
        again()
    assert repr(met[-1]).removeprefix(check.programs.programs.HEADER) == program_of(message)


def test_the_line_that_repeats_the_check_repeats_the_message(failure):
    name, report, message = failure
    assert f"repeat with: {report.repro}" in message
    if name == "25b":  # the others take longer
        with PATCHES[name]():
            again = eval(report.repro, {"lawful": lawful})
        assert (again.status, again.remarks, again.worst) == (report.status, report.remarks, report.worst)


def test_a_transformer_of_ones_own_is_shown_the_smallest_program_too():
    def heavier(form):
        block = lawful.form.builder.Block()
        outputs = block.splice(form, form.inputs)
        block.factor(("~more",), block.constant(np.log(2.0)))
        return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)

    report = preserves(heavier, instances=2, enumerator="reference")
    assert "smallest failing program, of 1 site:" in report.remarks
    assert "x1 = 0, returns (0,): 1 instead of 0.5" in report.remarks
    assert "smallest" not in preserves(heavier, instances=2, enumerator="reference", shrink=False).remarks


def test_without_hypothesis_the_program_that_failed_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with populations.reset_to_n():
        report = check_row("resample systematic", programs=2, structures=0)
    assert report.remarks.startswith("failing program, of ")
    assert "def program(tables):" in report.remarks and "instead of" in report.remarks
    assert "pip install 'lawful[check]'" in report.remarks


def forgets_counts(original):
    return lambda here, there: original(here, there) - np.log(len(here.free) / len(there.free))


def forgets_evidence(original):
    return lambda *args: replace(original(*args), log_evidence=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "owner", "name", "make"),
    [
        ("eager mh single site", trace_mh, "log_ratio", forgets_counts),
        pytest.param("eager importance", eager, "filtered", forgets_evidence, marks=pytest.mark.slow),
    ],
    ids=["kernel", "population"],
)
def test_eager_rows_show_the_smallest_program_too(row, owner, name, make):
    with patched(owner, name, make) as reached:
        report = check_row(row, programs=24)
    assert reached.count and report.status == "failed"
    assert int(re.search(r"smallest failing program, of (\d) site", report.remarks)[1]) <= 3
    assert "instead of" in report.remarks
