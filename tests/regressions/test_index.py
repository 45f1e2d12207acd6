"""Known failures, of this library or of others: each has tests that `make test` runs, here or beside their subject.

A test says itself which failure it would find: `@pytest.mark.regression("15.1a")`.

Law: no known failure loses its tests, or has one that becomes slow as a whole, without this file saying so.
"""

from importlib import import_module

import pytest

from tests.marked import marked

# By the sections of the validation document.
KNOWN = {
    "15.1a": "an identity change moves no weight",
    "15.1b": "a change of s from 1 to 2 is unbiased",
    "15.2a": "weights of an update over a branch, there and back, one address or two",
    "15.2b": "tier 0 on a finite copy of the branch",
    "15.2c": "the posterior of the selector of the branch",
    "15.3a": "nested plates of (3, 4) give 12 draws",
    "15.3b": "lanes are independent (D5)",
    "15.4a": "the tail of a million rare items",
    "15.4b": "the implied probability of every item",
    "15.4c": "no module calls the default sampler",
    "15.5": "one NaN weight, all of them, or no weight, in every resampler",
    "15.6a": "equal weights give the identity, up to ten million",
    "15.6b": "systematic counts are within one",
    "15.6c": "the mean count of a group",
    "15.7a": "a state that flips at exponential times",
    "15.7b": "adaptive resampling with the incoming weights",
    "15.7c": "the solver of adaptive tempering",
    "15.7d": "temperature 0 with a zero likelihood",
    "15.7e": "a chain that is started at zero density",
    "15.7f": "the sum of two draws",
    "15.7g": "an observation of shape (3, 1)",
    "15.7h": "different sites per branch; sites in jit, while and checkpoint",
}


def is_run(module, test):
    """Whether `make test` runs some case of a test."""
    return all(map(leaves_some, [*marks(module), *marks(getattr(module, test))]))


def marks(owner):
    found = getattr(owner, "pytestmark", [])
    return found if isinstance(found, list) else [found]


def leaves_some(mark):
    """Whether some case of a test is left that is not slow."""
    if mark.name != "parametrize":
        return mark.name != "slow"
    return any("slow" not in [mark.name for mark in getattr(case, "marks", ())] for case in mark.args[1])


def test_every_known_failure_has_tests_and_every_marker_names_one():
    named = {failure for test in marked("regression") for failure in test.named}
    without = {failure: KNOWN[failure] for failure in KNOWN.keys() - named}
    assert not without and not named - KNOWN.keys(), (without, named - KNOWN.keys())


def test_the_tests_of_known_failures_are_run():
    assert [str(test) for test in marked("regression") if not is_run(test.module, test.test)] == []


def test_every_test_of_this_folder_that_is_run_belongs_to_a_known_failure(root):
    known = {(test.module, test.test) for test in marked("regression")}
    files = (root / "tests" / "regressions").glob("test_r*.py")
    modules = [import_module(f"tests.regressions.{file.stem}") for file in files]
    here = {(module, name) for module in modules for name in vars(module) if name.startswith("test_")}
    assert here and [name for module, name in here - known if is_run(module, name)] == []


def test_a_test_that_is_always_slow_does_not_count():
    slow, quick = pytest.mark.slow.mark, pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow)]).mark
    assert not leaves_some(slow) and leaves_some(quick)
    assert not leaves_some(pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow)]).mark)
