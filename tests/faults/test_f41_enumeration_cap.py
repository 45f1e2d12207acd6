"""Row 41: an enumeration larger than its cap is an error with the count needed and the cap, never a partial sum."""

import time

import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, PathLimitError
from lawful.models import dynamic

THREE = np.array([0.2, 0.3, 0.5])


def three_to_the_twenty():
    return sum(lawful.sample(f"x{i}", dist.Categorical(THREE)) for i in range(20))


def in_a_plate():
    with lawful.plate("i", 20):
        lawful.sample("x", dist.Categorical(THREE))


def of_python(n=20):
    """The same in Python control flow, which cannot be traced."""
    total = 0
    for i in range(n):
        total += int(lawful.sample(f"x{i}", dist.Categorical(THREE)))
    return total


def without_end():
    n = 0
    while lawful.sample(f"more{n}", dynamic.coin(0.25)) == 1:
        n += 1
    return n


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("program", "mode"),
    [
        *((program, mode) for program in (three_to_the_twenty, in_a_plate) for mode in ("staged", "auto", "eager")),
        *((of_python, mode) for mode in ("auto", "eager")),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_f41_three_to_the_twenty_paths_are_refused_with_count_and_cap(program, mode):
    start = time.perf_counter()
    with pytest.raises(PathLimitError) as caught:
        inference.enumerate(program, mode=mode, max_paths=200)()
    assert time.perf_counter() - start < 60
    error = caught.value
    assert error.cap == 200
    assert error.needed == pytest.approx(3**20, rel=0.01)
    assert "200" in str(error)


def test_f41_the_default_cap_holds_too():
    with pytest.raises(PathLimitError, match=str(3**20)):
        inference.enumerate(three_to_the_twenty, mode="staged")()


def test_f41_at_the_cap_the_enumeration_is_whole():
    exact = inference.enumerate(of_python, mode="eager", max_paths=27)(3)
    assert exact.paths == 27
    assert exact.log_unexplored == -np.inf
    assert exact.probabilities.sum() == pytest.approx(1, abs=1e-12)
    with pytest.raises(PathLimitError):
        inference.enumerate(of_python, mode="eager", max_paths=26)(3)


@pytest.mark.parametrize("program", [without_end, dynamic.geometric], ids=lambda p: p.__name__)
def test_f41_a_program_without_a_bound_is_refused_and_pointed_to_what_works(program):
    args = (0.5,) if program is dynamic.geometric else ()
    with pytest.raises(PathLimitError, match="unexplored=1e-6") as caught:
        inference.enumerate(program, max_paths=100)(*args)
    assert caught.value.needed is None or caught.value.needed > 100
    assert "mode='eager'" in str(caught.value)


def test_f41_a_partial_sum_is_given_only_where_it_is_asked_for_and_says_what_is_missing():
    exact = inference.enumerate(without_end, unexplored=1e-3)()
    missing = 1 - np.exp(exact.log_evidence)
    assert 0 < missing <= 1e-3
    assert np.exp(exact.log_unexplored) == pytest.approx(missing, rel=1e-9)
    assert "unexplored mass" in repr(exact)
    with pytest.raises(PathLimitError) as caught:
        inference.enumerate(without_end, unexplored=1e-12, max_paths=10)()
    assert caught.value.log_unexplored > np.log(1e-12)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_f41_the_remainder_is_a_share(share):
    with pytest.raises(LawfulError, match="unexplored"):
        inference.enumerate(without_end, unexplored=share)


def test_f41_a_staged_enumeration_leaves_nothing_out():
    with pytest.raises(LawfulError, match="mode='eager'"):
        inference.enumerate(three_to_the_twenty, mode="staged", unexplored=0.1)
