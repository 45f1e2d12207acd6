"""Linear numbers in files and logs in graphs: what comes back exactly, and how near the rest does."""

import decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lawful.errors import LawfulError
from lawful.inference.graphs.formats.linear import (
    LARGEST,
    SMALLEST,
    entries_of,
    is_zero,
    log_of_word,
    logs_of,
    words_of,
)

NORMAL = st.floats(SMALLEST, LARGEST)
IN_RANGE = st.floats(-708.0, 709.0)


def one(x):
    return np.array([x], np.float64)


@given(NORMAL)
@example(1.0)
@example(np.nextafter(1.0, 0.0))
@example(SMALLEST)
@example(LARGEST)
def test_an_entry_that_was_read_is_written_again(x):
    kept = entries_of(logs_of(one(x)), one(x))
    assert kept.tolist() == [x]
    assert float(words_of(kept, logs_of(one(x)))[0]) == x


@given(st.floats(5e-324, 2.3e-308))
@example(1.1125369292536007e-308)
def test_numbers_below_the_normal_range_are_kept_with_the_logs_of_their_decimals(x):
    logs = logs_of(one(x))
    assert x >= SMALLEST or logs[0] == log_of_word(str(decimal.Decimal(x)))
    assert entries_of(logs, one(x)).tolist() == [x]


@given(NORMAL)
def test_without_it_another_number_with_its_log_is_written(x):
    logs = logs_of(one(x))
    assert logs_of(entries_of(logs)).tolist() == logs.tolist()


def test_the_entry_is_needed_as_many_numbers_share_a_log():
    x = np.exp(-20.0) * (1 + np.arange(64) * np.finfo(float).eps)
    assert len(set(x.tolist())) > 16 * len(set(logs_of(x).tolist())) / 2
    assert (entries_of(logs_of(x), x) == x).all()
    assert not (entries_of(logs_of(x)) == x).all()


@given(IN_RANGE.filter(lambda t: abs(t) >= 1))
@example(1.0)
@example(-1.0)
def test_logs_of_size_one_and_more_come_back_bit_for_bit(t):
    assert logs_of(entries_of(one(t))).tolist() == [t]


@pytest.mark.parametrize("towards", [None, 0.0, np.inf])
def test_logs_of_size_one_to_two_come_back_bit_for_bit(towards, monkeypatch):
    """Where float64 has hardly more numbers than logs: also when the exponential of a machine errs by one step."""
    t = np.random.default_rng(20261).uniform(1.0, 2.0, 200_000)
    exponential = np.exp
    if towards is not None:
        monkeypatch.setattr(np, "exp", lambda logs: np.nextafter(exponential(logs), towards))
        assert not (logs_of(np.exp(t)) == t).all()  # so the search is needed
    for signed in (t, -t):
        assert (logs_of(entries_of(signed)) == signed).all()


@given(st.floats(-1.0, 1.0))
def test_smaller_logs_come_back_within_two_to_the_minus_53(t):
    assert abs(logs_of(entries_of(one(t)))[0] - t) <= 2.0**-53


@given(st.floats(-1.0, 1.0))
def test_no_neighbour_has_a_nearer_log(t):
    x = entries_of(one(t))
    for other in (np.nextafter(x, 0.0), np.nextafter(x, np.inf)):
        assert abs(logs_of(x)[0] - t) <= abs(logs_of(other)[0] - t)


@given(st.floats(-3000.0, 3000.0).filter(lambda t: not -708.0 < t < 709.0))
@example(-708.5)
@example(709.79)
@example(-745.2)
def test_logs_beyond_float64_come_back_through_decimals(t):
    found = entries_of(one(t))
    (word,) = words_of(found, one(t))
    back = log_of_word(word) if np.isnan(found[0]) else logs_of(one(float(word)))[0]
    assert back == t
    assert len(decimal.Decimal(word).as_tuple().digits) <= 17


@given(st.floats(-100.0, 100.0, width=32).filter(lambda t: abs(t) > 1e-6 or t == 0))
def test_single_precision_comes_back_bit_for_bit(t):
    logs = np.array([t], np.float32)
    assert logs_of(entries_of(logs)).astype(np.float32).tolist() == logs.tolist()


def test_zero_and_minus_infinity_stand_for_each_other_and_nothing_else_does():
    assert logs_of(one(0.0)).tolist() == [-np.inf]
    assert entries_of(one(-np.inf)).tolist() == [0.0]
    tiny = np.array([-1e4, -745.2, -800.0])
    assert all(not is_zero(word) for word in words_of(entries_of(tiny), tiny))


def test_an_entry_whose_log_has_changed_is_forgotten():
    known = np.array([0.5, 0.25])
    assert entries_of(np.log(np.array([0.5, 0.75])), known).tolist() == [0.5, 0.75]


def test_known_entries_may_be_known_in_part():
    known = np.array([np.nan, 0.25])
    assert entries_of(np.log(np.array([0.5, 0.25])), known).tolist() == [0.5, 0.25]


@pytest.mark.parametrize("log", [1e300, -1e300])
def test_a_log_beyond_decimals_is_refused(log):
    with pytest.raises(LawfulError, match="beyond all numbers"):
        words_of(entries_of(one(log)), one(log))


@pytest.mark.parametrize(("word", "zero"), [("0", True), ("-0.000", True), ("0e7", True), ("1e-999", False)])
def test_zero_is_told_from_what_is_too_small(word, zero):
    assert is_zero(word) is zero
