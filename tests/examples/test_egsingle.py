"""The example on school growth reads all pupils, writes tables and pictures, and its criteria are those of its fits."""

import runpy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def example(root, monkeypatch, tmp_path):
    """Give the names of the example, in a folder of its own."""
    monkeypatch.syspath_prepend(str(root / "examples"))
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(**runpy.run_path(str(root / "examples" / "egsingle.py")))


def test_all_pupils_are_read_and_a_subset_holds_whole_pupils(example):
    table = example.load()
    assert len(table) == 7230 and table["childid"].nunique() == 1721 and table["schoolid"].nunique() == 60
    assert set(table["female"]) == {0.0, 1.0}
    few = example.load(30)
    assert few["childid"].nunique() == 30
    whole = table[table["childid"].isin(few["childid"])]
    pd.testing.assert_frame_equal(few, whole)


def test_covariates_of_the_gate_are_constant_within_a_pupil(example):
    table = example.load()
    assert (table.groupby("childid")[example.GATE].nunique() == 1).all(axis=None)


@pytest.mark.slow
def test_the_whole_example_writes_tables_and_pictures(example, tmp_path, capsys):
    found = example.main(["--pupils", "150", "--subset", "60", "--starts", "4", "--classes", "2", "--particles", "64"])
    told = capsys.readouterr().out
    assert "150 pupils" in told and "On 60 pupils the evidence prefers" in told and "class 2 against class 1" in told
    gate = " ".join(told.partition("4. Who is in which class?")[2].split())
    assert "nan" not in gate
    for reason in found["gated"].standard_errors.refused:
        assert reason[1:] in gate
    criteria = found["criteria"]
    assert criteria["parameters"].tolist() == [6, 13, 10, 21]
    expected = criteria["-2LL"] + criteria["parameters"] * np.log(150)
    np.testing.assert_allclose(criteria["BIC"], expected, atol=0.02)
    folder = tmp_path / "out" / "egsingle"
    for name in ("classes", "growth", "gate", "check"):
        assert (folder / f"{name}.png").stat().st_size > 20_000
    pupils = pd.read_csv(folder / "pupils.csv")
    assert len(pupils) == 150
    np.testing.assert_allclose(pupils.filter(like="class_").sum(axis=1), 1.0, atol=2e-4)
    assert "best value reached by" in (folder / "summary.txt").read_text()
