"""The example on churn learns from counts alone, and shows what it learned."""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def example(root, monkeypatch, tmp_path):
    """Give the names of the example, in a folder of its own."""
    monkeypatch.syspath_prepend(str(root / "examples"))
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(**runpy.run_path(str(root / "examples" / "churn.py")))


@pytest.fixture
def customers(example):
    """Give known and new ones, in a random order."""
    everyone = example.load()
    order = np.random.default_rng(1).permutation(len(everyone.left))
    return everyone.take(order[:240]), everyone.take(order[240:400])


def moved(known, size):
    """Name others of each batch as those who left, as many as before."""
    rows = np.arange(len(known.left)).reshape(-1, size)[:, ::-1].reshape(-1)
    return known._replace(left=known.left[rows])


def test_what_is_known_of_customers_does_not_say_who_left(example):
    everyone = example.load()
    assert everyone.table.shape == (7043, 40) and everyone.left.sum() == 1869
    assert not any("churn" in name for name in everyone.table.columns)
    assert np.isfinite(everyone.table.to_numpy()).all()


def test_learners_from_counts_do_not_see_who_left_and_those_from_labels_do(example, customers):
    known, new = customers
    scaling = lambda X: X.astype(np.float32)
    told, again = (example.by_size(each, new, [8], scaling, 0) for each in (known, moved(known, 8)))
    assert told["bag process"] == again["bag process"] and told["bag ridge"] == again["bag ridge"]
    assert told["one label a batch"] != again["one label a batch"]


@pytest.mark.slow
def test_the_whole_example_beats_a_coin_and_writes_pictures_and_scores(example, tmp_path, capsys):
    found = example.main(["--customers", "800", "--size", "8", "--sizes", "8", "32"])
    told = capsys.readouterr().out
    assert found["LabelProportionClassifier"] > 0.7 and found["ridge, all labels"] > 0.75
    assert "80 bags are worth about 80 labels" in told and "Of the 100 new customers" in told
    assert (tmp_path / "out" / "churn.png").stat().st_size > 50_000
    lines = (tmp_path / "out" / "churn.csv").read_text().splitlines()
    assert lines[0] == "customer,leaves" and len(lines) == 161
    chances = [float(line.split(",")[1]) for line in lines[1:]]
    assert chances == sorted(chances, reverse=True)
