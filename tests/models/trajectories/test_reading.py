"""Wide and long frames give the same arrays, and what cannot be used is refused with its place."""

import numpy as np
import pytest

from lawful.errors import LawfulError, ObservationError
from lawful.models.trajectories import read_long, read_wide

WIDE = {
    "Y1": [1.0, 2.0, 3.0], "Y2": [1.5, np.nan, 3.5], "T1": [0.0, 0.1, 0.2], "T2": [1.0, 9.9, 1.2],
    "sex": [0.0, 1.0, 1.0], "income": [3.0, 1.0, 2.0], "twice": [6.0, 2.0, 4.0], "same": [1.0, 1.0, 1.0],
    "town": ["a", "b", "c"],
}  # fmt: skip


def wide(cluster=(), growth=(), **changes):
    return read_wide(WIDE | changes, "Y", "T", [1, 2], cluster, growth)


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
        (lambda: wide(["town"]), "'town'.*Fix: code categories"),
        (lambda: wide(["same"]), "'same' is 1 for all"),
        (lambda: wide(growth=["income", "twice"]), "'income', 'twice' are collinear"),
        (lambda: wide(["sex"], sex=[0.0, np.nan, 1.0]), "cluster_TIC 'sex' is missing for 1 persons"),
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
