"""The protocol of label proportions: paired cells, no label in what methods see, numbers known by hand, tables."""

import numpy as np
import pytest

from benchmarks.label_proportions import bars, catalogue, csv_file, metrics, protocol, records, run, scale, tables
from benchmarks.studies.label_proportions.data import Dataset, load_llp
from lawful.errors import LawfulError
from lawful.models.llp.bags.feature_bags import made_by_features
from lawful.models.llp.training.fitted import Fitted

CELL = protocol.Cell("digits", 8, 3)


@pytest.fixture
def cell():
    return CELL


def test_a_cell_has_a_tenth_for_testing_and_bags_of_the_rest(cell):
    parts = protocol.split(cell)
    assert len(parts.test.y) == 179 and len(parts.validation.y) == 0
    assert parts.bags.n_bags == 1618 // 8 and (parts.bags.sizes == 8).all()
    assert parts.bags.counts.tolist() == parts.train.y.reshape(-1, 8).sum(axis=1).tolist()
    held = protocol.split(cell, validation=True)
    assert len(held.validation.y) == 161 and np.array_equal(held.test.X, parts.test.X)


def test_sizes_share_their_test_rows_and_seeds_do_not(cell):
    assert np.array_equal(protocol.split(cell).test.X, protocol.split(cell._replace(size=32)).test.X)
    assert not np.array_equal(protocol.split(cell).test.X, protocol.split(cell._replace(seed=4)).test.X)


def test_rows_that_are_equal_in_columns_make_a_bag():
    features = ("city=a", "city=b", "city size", "age")
    X = np.array([[1, 0, 5, 0.3], [0, 1, 5, 0.3], [1, 0, 7, 0.4], [0, 1, 5, 0.4]])
    data = Dataset(X, np.zeros(4), features)
    assert protocol.alike(data, ["city"]).tolist() == [1, 0, 1, 0]
    assert protocol.alike(data, ["city", "age"]).tolist() == [2, 0, 3, 1]
    with pytest.raises(LawfulError, match="columns='town'.*choose among city, city size, age"):
        protocol.alike(data, ["town"])
    parts = protocol.split(CELL._replace(size=0, columns="pixel_3_3 x pixel_5_2"))
    assert parts.bags.memberships.min() == 1 and parts.bags.counts.sum() == parts.train.y.sum()
    found = made_by_features(parts.train.X, parts.bags)
    assert {"pixel_3_3", "pixel_5_2"} <= {load_llp("digits").features[column] for column in found.equal}
    assert made_by_features(parts.test.X, parts.test_bags).parting is None


OURS = [pytest.param(name, marks=pytest.mark.slow) for name in catalogue.OURS]


@pytest.mark.rest_slow
@pytest.mark.kills("40g", name="BagRidge")
@pytest.mark.parametrize("name", [*catalogue.BASELINES, *OURS])
def test_a_contestant_never_reads_a_label(name):
    parts = protocol.split(CELL)
    blind = parts._replace(train=parts.train._replace(y=None), test=None, validation=None)
    fitted = catalogue.METHODS[name](blind, 0)
    assert np.isfinite(fitted.decision_function(parts.test.X)).all()


def test_what_reads_labels_cannot_be_fitted_without(cell):
    parts = protocol.split(cell)
    for name in ("supervised", "sup n/B"):
        with pytest.raises(TypeError):
            catalogue.METHODS[name](parts._replace(train=parts.train._replace(y=None)), 0)


def test_metrics_are_those_counted_by_hand():
    y, z = np.array([0, 1, 1, 0]), np.array([-1.0, 0.5, -1.0, 0.0])
    assert metrics.auc(y, z) == np.mean([1, 1, 0.5, 0])
    np.testing.assert_allclose(metrics.log_loss(y, z), np.mean(np.log1p(np.exp(np.array([-1, -0.5, 1, 0])))))
    chance = 1 / (1 + np.exp(-z))
    low, high = abs(0.5 - chance[[0, 2]].mean()), abs(0.5 - chance[[1, 3]].mean())
    np.testing.assert_allclose(metrics.calibration_error(y, z, bins=2), (low + high) / 2)


def row(method, seed, auc, selection="last"):
    told = {field: "" for field in records.FIELDS}
    return told | {
        "data": "adult",
        "size": "8",
        "seed": str(seed),
        "method": method,
        "selection": selection,
        "auc": str(auc),
    }


def test_the_best_baseline_is_that_of_the_highest_mean_and_differences_are_paired():
    rows = [row("DLLP", s, 0.8 + 0.1 * s) for s in range(3)] + [row("BagRidge", s, 0.7) for s in range(3)]
    rows += [row("new", s, 0.82 + 0.1 * s) for s in range(3)]
    assert tables.best_baseline(rows, "adult", 8) == "DLLP"
    np.testing.assert_allclose(tables.difference(rows, "adult", 8, "new", "DLLP"), (0.02, 0.02, 0.02))
    assert "+0.0200" in tables.comparison(rows, "adult") and "0.9000" in tables.table(rows, "adult", "last")


def test_a_method_is_compared_with_each_other_and_its_verdicts_are_counted():
    rows = [row("lawful", s, 0.9) | {"verdict": "exact" if s else "converged"} for s in range(3)]
    rows += [row("EM", s, 0.8) for s in range(3)]
    assert tables.against(rows, "adult", "lawful").splitlines()[2:] == ["| EM | +0.1000 (+0.1000, +0.1000) |"]
    assert tables.verdicts(rows, "adult").splitlines()[2:] == ["| lawful | exact 2, converged 1 |"]


def test_bars_are_met_and_missed_by_the_records():
    rows = [row("EM", s, 0.8 + 0.1 * s) for s in range(3)] + [row("lawful", s, 0.798 + 0.1 * s) for s in range(3)]
    rows += [row("lawful, all labels", s, 0.8 + 0.1 * s) for s in range(3)]
    found = {bar.name: bar for bar in bars.bars(rows, "adult")}
    assert found.keys() == {"A1", "A4"} and found["A1"].met and found["A4"].met
    np.testing.assert_allclose(found["A4"].number[0], 1 - np.mean([0.002 / 0.3, 0.002 / 0.4, 0.002 / 0.5]))
    large = [r | {"size": "512"} for r in rows]
    assert [bar.met for bar in bars.bars(large, "adult")] == [False]
    unsure = [r | {"auc": "0.96"} if r["method"] == "lawful" else r for r in large]  # +.16, +.06 and -.04
    assert [bar.met for bar in bars.bars(unsure, "adult")] == [False]
    sure = [row("lawful", s, 0.9 + 0.09 * s) | {"size": "512"} for s in range(3)]  # +.10, +.09 and +.08
    assert [bar.met for bar in bars.bars(large[:3] + sure, "adult")] == [True]
    assert "MISSED" in bars.told(large) and "MISSED" not in bars.told(rows)


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(records, "commit", lambda: "abc")
    few = ["paired", "--data", "digits", "--sizes", "8", "--out", str(tmp_path), "--methods", "BagRidge", "sup n/B"]
    run.main([*few, "--seeds", "0"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    run.main([*few, "--seeds", "0", "1"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    told = csv_file.read(tmp_path / "paired.csv", records.FIELDS)
    assert [(r["seed"], r["method"]) for r in told] == [(s, m) for s in "01" for m in ("BagRidge", "sup n/B")]
    assert all(0.5 < float(r["auc"]) < 1 for r in told) and (tmp_path / "paired.md").read_text().startswith("# Label")


@pytest.mark.slow
def test_bags_made_by_features_have_tables_by_their_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "commit", lambda: "abc")
    few = ["--data", "digits", "--out", str(tmp_path), "--methods", "BagRidge", "--seeds", "0"]
    run.main(["features", *few, "--columns", "pixel_3_3"])
    run.main(["features", *few, "--columns", "pixel_3_3", "pixel_5_2"])
    run.main(["features", *few, "--columns", "pixel_3_3"])
    told = csv_file.read(tmp_path / "features.csv", records.FIELDS)
    assert [r["columns"] for r in told] == ["pixel_3_3", "pixel_3_3 x pixel_5_2"]
    assert tables.table(told, "digits", "last").startswith("| method | pixel_3_3 | pixel_3_3 x pixel_5_2 |")
    with pytest.raises(SystemExit):
        run.main(["paired", *few, "--columns", "pixel_3_3"])


@pytest.mark.slow
def test_the_published_rule_takes_the_epoch_that_validation_labels_like_best(cell, monkeypatch):
    monkeypatch.setattr(records, "commit", lambda: "abc")
    parts = protocol.split(cell, validation=True)

    class Net:
        losses = np.zeros(3)

        def logits(self, X, epoch=-1):
            y = parts.validation.y if X is parts.validation.X else parts.test.y if X is parts.test.X else parts.train.y
            return (1.0 if epoch == 1 else -1.0) * y.astype(np.float32)

    net = Net()
    last, chosen = records.records(cell, parts, "net", lambda *_: Fitted(net.logits, net.logits, {"network": net}))
    assert (last["selection"], last["auc"]) == ("last", 0) and (chosen["epoch"], chosen["auc"]) == (2, 1)


@pytest.mark.slow
def test_neighbours_at_scale_are_given_once_and_found_where_widths_differ():
    edges = scale.near_pairs(500)
    assert np.all(edges[:, 0] < edges[:, 1]) and len(np.unique(edges, axis=0)) == len(edges)
    assert np.bincount(edges.reshape(-1)).min() >= scale.K
    pytest.importorskip("faiss")
    missed = [one for one in scale.neighbours("clusters", 3000) if one.bar == 0.1]
    assert len(missed) == 1 and missed[0].met


def test_measurements_at_scale_are_kept_once_for_each_case(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "commit", lambda: "abc")
    file = tmp_path / "scale.csv"
    for case, value in (("one", 1.5), ("two", 2.0), ("one", 0.5)):
        told = [scale.Measured("took", value, 1.0), scale.Measured("  peak memory", 9.0, None, "MiB")]
        scale.store(file, f"part:{case}", 100, told)
    rows = csv_file.read(file, scale.FIELDS)
    assert [(r["case"], r["what"], r["value"], r["bar"], r["met"]) for r in rows] == [
        ("part:two", "took", "2", "1", "False"), ("part:two", "peak memory", "9", "", ""),
        ("part:one", "took", "0.5", "1", "True"), ("part:one", "peak memory", "9", "", ""),
    ]  # fmt: skip
    assert rows[0]["commit"] == "abc" and "numpy" in rows[0]["versions"] and rows[0]["rows"] == "100"
