"""Reference data: known numbers of rows, columns and ones, the traps of each file, and errors that say what to do."""

import gzip

import numpy as np
import pytest

from benchmarks.studies.label_proportions.data import fingerprint, load_llp
from lawful.errors import LawfulError

KNOWN = {
    "adult": (48_842, 107, 11_687),
    "bank_full": (45_211, 51, 5_289),
    "bank_additional_full": (41_188, 63, 4_640),
    "marketing": (45_211, 16, 5_289),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", KNOWN)
def test_rows_columns_and_ones_are_those_of_the_files(data, name):
    found = load_llp(name, folder=data / "llp")
    rows, columns, ones = KNOWN[name]
    assert found.X.shape == (rows, columns) and found.X.dtype == np.float32 and len(set(found.features)) == columns
    assert int(found.y.sum()) == ones and np.isfinite(found.X).all()
    binary = [f for f in range(columns) if "=" in found.features[f]]
    numbers = np.delete(found.X, binary, axis=1).astype(float)
    assert np.isin(found.X[:, binary], (0, 1)).all()
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-4)
    sd = numbers.std(axis=0)
    assert (np.isclose(sd, 1, atol=1e-3) | (sd == 0)).all()


@pytest.mark.slow
def test_rows_keep_their_order_and_left_out_columns_stay_out(data):
    bank = load_llp("bank_full", folder=data / "llp")
    tenths = [part.mean() for part in np.array_split(bank.y, 10)]
    assert tenths[0] < 0.05 and tenths[-1] > 0.4  # by date
    without = load_llp("bank_full", folder=data / "llp", drop=["duration"])
    assert set(bank.features) - set(without.features) == {"duration"}
    adult = load_llp("adult", folder=data / "llp").features
    assert not any(name.startswith(("fnlwgt", "split")) for name in adult) and "workclass=?" in adult


def write(folder, text):
    with gzip.open(folder / "bank_additional_full.csv.gz", "wt") as stream:
        stream.write(text)


def test_numbers_are_logs_with_their_sign_and_never_is_minus_one(tmp_path):
    write(tmp_path, "pdays,kind,same,y\n999,b,5,yes\n3,a,5,no\n0,b,5,no\n")
    found = load_llp("bank_additional_full", folder=tmp_path)
    logs = np.array([-np.log(2), np.log(4), 0])
    np.testing.assert_allclose(found.X[:, 0], (logs - logs.mean()) / logs.std(), rtol=1e-6)
    assert found.features == ("pdays", "kind=a", "kind=b", "same")
    assert found.X[:, 1:].tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]] and found.y.tolist() == [1, 0, 0]


def test_another_file_has_another_fingerprint(tmp_path):
    write(tmp_path, "x,y\n1,yes\n")
    first = fingerprint("bank_additional_full", folder=tmp_path)
    write(tmp_path, "x,y\n2,yes\n")
    assert first != fingerprint("bank_additional_full", folder=tmp_path)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(LawfulError, match="name='titanic', expected one of adult, bank_full"):
        load_llp("titanic")
    with pytest.raises(LawfulError, match="no data file adult.csv.gz"):
        load_llp("adult", folder=tmp_path)
    monkeypatch.setenv("LAWFUL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(LawfulError, match="LAWFUL_DATA"):
        load_llp("adult")
    write(tmp_path, "x,y\n1,yes\n")
    with pytest.raises(LawfulError, match=r"drop=\['z'\] are not columns.*among x\."):
        load_llp("bank_additional_full", folder=tmp_path, drop=["z"])
