"""Wide and long frames give the same arrays, and what cannot be used is refused with its place."""

import numpy as np
import pytest

from lawful.errors import LawfulError, ObservationError
from lawful.models.trajectories import read_long, read_wide
from lawful.models.trajectories.reading.read_frames import read_again

WIDE = {
    "Y1": [1.0, 2.0, 3.0], "Y2": [1.5, np.nan, 3.5], "T1": [0.0, 0.1, 0.2], "T2": [1.0, 9.9, 1.2],
    "sex": [0.0, 1.0, 1.0], "income": [3.0, 1.0, 2.0], "twice": [6.0, 2.0, 4.0], "same": [1.0, 1.0, 1.0],
    "town": ["a", "b", "c"],
}  # fmt: skip


def wide(cluster=(), growth=(), center_time=None, **changes):
    return read_wide(WIDE | changes, "Y", "T", [1, 2], cluster, growth, center_time=center_time)


def test_wide_and_long_are_one_in_every_kind_of_frame():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    long = {
        "id": [2, 0, 1, 2, 0], "y": [3.0, 1.0, 2.0, 3.5, 1.5], "t": [0.2, 0.0, 0.1, 1.2, 1.0],
        "sex": [1.0, 0.0, 1.0, 1.0, 0.0],
    }  # fmt: skip
    expected = wide(["sex"])
    for frame in (long, pandas.DataFrame(long), polars.DataFrame(long)):
        found = read_long(frame, "id", "y", "t", ["sex"])
        np.testing.assert_array_equal(found.y, expected.y)
        np.testing.assert_array_equal(found.t, expected.t)
        np.testing.assert_array_equal(found.gate, expected.gate)
    for frame in (pandas.DataFrame(WIDE), polars.DataFrame(WIDE)):
        np.testing.assert_array_equal(read_wide(frame, "Y", "T", [1, 2]).y, expected.y)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: read_wide(WIDE, "Y", "T", [1, 7]), "no column 'Y7', 'T7'"),
        (lambda: wide(["Income "]), r"no column 'Income ' \(is 'income' meant\?\)"),
        (lambda: wide(["town"]), "'town'.*Fix: code categories"),
        (lambda: wide(["same"]), "'same' is 1 for all"),
        (lambda: wide(growth=["income", "twice"]), "'income', 'twice' are collinear"),
        (lambda: wide(["sex"], sex=[0.0, np.nan, 1.0]), "gate covariate 'sex' is missing for 1 persons"),
        (lambda: wide(T2=[1.0, 1.0, np.nan]), "person 2 has an outcome 3.5 at record 2"),
        (lambda: wide(Y1=[1.0, np.inf, 2.0]), "'Y1' is infinite in row 1"),
        (lambda: wide(Y1=[np.nan] * 3, Y2=[np.nan] * 3), "no outcome was seen"),
        (
            lambda: read_long({"i": [0, 0], "y": [1, 2], "t": [0, 1], "x": [1, 2]}, "i", "y", "t", ["x"]),
            "changes within",
        ),
        (lambda: wide(Y1=[2.0] * 3, Y2=[2.0] * 3), "all outcomes of 'Y' are 2"),
        (lambda: wide(Y1=[1e200, 2e200, 0.0]), "too far for squares"),
        (lambda: wide(Y1=[1e-200] * 3, Y2=[2e-200] * 3), "too far for squares"),
        (lambda: wide(["sex"], sex=[0.0, 1.0]), "columns differ in length"),
        (lambda: read_wide([1, 2], "Y", "T", [1, 2]), "a list is no frame"),
        (lambda: wide(["sex"], sex=["0", "1", "1"]), "'sex' holds <U1 values, as '0'; expected numbers"),
        (lambda: wide(["sex"], sex=np.array(["0", 1, None], object)), "'sex' holds object values"),
        (lambda: wide(Y1=np.zeros((3, 1))), r"'Y1' has shape \(3, 1\)"),
        (lambda: wide(T1=0.0), r"'T1' has shape \(\)"),
        (lambda: wide(center_time="first"), "center_time='first', expected None or 'own_first'"),
        (
            lambda: read_long({"i": np.array(["a", 2], object), "y": [1, 2], "t": [0, 1]}, "i", "y", "t"),
            "mixes int and str",
        ),
        (lambda: read_wide(WIDE, "Y", "T", [1]), "nobody has more than one outcome"),
        (lambda: read_wide(WIDE, "Y", "T", []), "at least one wave"),
        (lambda: read_wide(WIDE, "Y", "T", [1, 2, 1]), "each once"),
        (lambda: read_wide(WIDE, "Y", "T", 2), "records=2, expected numbers"),
        (lambda: read_wide({name: [] for name in WIDE}, "Y", "T", [1, 2]), "no rows"),
        (lambda: wide(T1=np.array(["2020-01-01"] * 3, "datetime64[D]")), "'T1' holds datetime64"),
        (lambda: read_long({"i": ["a", None], "y": [1, 2], "t": [0, 1]}, "i", "y", "t"), "no person in row 1"),
        (lambda: read_long({"i": [0.0, np.nan], "y": [1, 2], "t": [0, 1]}, "i", "y", "t"), "no person in row 1"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place_and_a_remedy(call, named):
    with pytest.raises((LawfulError, ObservationError), match=named) as error:
        call()
    assert "Fix:" in str(error.value)


def test_persons_without_outcomes_are_told_once_with_their_number():
    with pytest.warns(UserWarning, match="1 of 3 persons"):
        wide(Y1=[1.0, np.nan, 2.0])


def test_two_measurements_of_one_person_at_one_time_are_two():
    found = read_long({"i": [0, 0, 0], "y": [1.0, 1.5, 2.0], "t": [0.0, 0.0, 1.0]}, "i", "y", "t")
    assert found.y.tolist() == [[1.0, 1.5, 2.0]] and found.t.tolist() == [[0.0, 0.0, 1.0]]


def test_times_are_taken_from_a_persons_first_though_no_outcome_was_seen_then():
    """Months since the first visit are that, whatever was measured at it; in long data and for further persons too."""
    gaps = {"Y1": [np.nan, 2.0, 3.0], "Y2": [1.5, 2.5, 3.5], "T1": [10.0, 20.0, 30.0], "T2": [11.0, 22.0, 33.0]}
    read = read_wide(gaps, "Y", "T", [1, 2], center_time="own_first")
    expected = [[np.nan, 1.0], [0.0, 2.0], [0.0, 3.0]]
    np.testing.assert_array_equal(read.t, expected)
    np.testing.assert_array_equal(read_again(gaps, read).t, expected)
    rows = {"i": [0, 0, 1, 1, 2, 2], "y": [np.nan, 1.5, 2.0, 2.5, 3.0, 3.5], "t": [10.0, 11.0, 20.0, 22.0, 30.0, 33.0]}
    np.testing.assert_array_equal(read_long(rows, "i", "y", "t", center_time="own_first").t, expected)


def test_categories_are_no_numbers_though_they_look_so_and_may_name_persons():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    rows = {"i": ["a", "a", "b"], "y": [1.0, 2.0, 3.0], "t": [0.0, 1.0, 0.0], "x": ["1", "1", "2"]}
    made = pandas.DataFrame(rows | {"x": [1, 1, 2]}).astype({"i": "category", "x": "category"})
    other = polars.DataFrame(rows).cast({"i": polars.Categorical, "x": polars.Categorical})
    for frame in (made, other):
        assert read_long(frame, "i", "y", "t").persons.tolist() == ["a", "b"]
        with pytest.raises(LawfulError, match="'x' holds categories; expected numbers. Fix: code"):
            read_long(frame, "i", "y", "t", ["x"])
    with pytest.raises(LawfulError, match="Fix: give each column a name of its own"):
        read_wide(pandas.DataFrame([[1.0, 2.0]], columns=["Y1", "Y1"]), "Y", "T", [1])
