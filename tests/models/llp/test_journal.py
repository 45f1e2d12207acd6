"""A fit that was stopped goes on from its folder and gives the arrays of one that was not, bit by bit."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lawful.errors import CheckpointError, CheckpointMismatch, LawfulError
from lawful.inference.checkpoints import journal
from lawful.inference.checkpoints.checkpoint_folder import CheckpointWarning, generations, load
from lawful.models.llp.training import network
from tests.models.llp.journal_cases import LEARNERS, answers, fitted, rows


@pytest.fixture
def often(monkeypatch):
    """Write at every step, and after every epoch, however short."""
    monkeypatch.setattr(journal, "EVERY", 0.0)
    monkeypatch.setattr(journal, "SHARE", 0)
    monkeypatch.setattr(journal, "PORTION", 0.0)


@pytest.fixture(scope="module")
def whole():
    """The fits that were not stopped and kept nothing."""
    return {base: answers(fitted(base=base)) for base in LEARNERS}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    return all(found[name].tobytes() == np.asarray(wanted[name]).tobytes() for name in found)


def kept(folder, monkeypatch):
    """Copy each generation as it is written."""
    copies, plain = [], journal.save

    def save(*args):
        path = plain(*args)
        copies.append(folder.parent / f"copy {len(copies)}")
        copies[-1].mkdir()
        shutil.copy(path, copies[-1])
        return path

    monkeypatch.setattr(journal, "save", save)
    return copies


@pytest.mark.slow
@pytest.mark.parametrize("base", LEARNERS)
def test_a_fit_goes_on_from_every_generation_bit_by_bit(base, whole, often, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        copies = kept(tmp_path / "run", patch)
        assert same(answers(fitted(tmp_path / "run", base)), whole[base])
    assert len(copies) > (20 if base == "net" else 4)
    for folder in copies[:: max(1, len(copies) // 3)]:
        assert same(answers(fitted(folder, base)), whole[base]), folder


class Stopped(KeyboardInterrupt):
    """Ctrl-C."""


@pytest.mark.slow
def test_an_interrupted_fit_keeps_what_was_done_and_does_not_do_it_again(whole, tmp_path, monkeypatch):
    plain, runs = network.advanced, []

    def counted(training, until, *args, **options):
        runs.append((int(training.done), int(until)))
        if len(runs) == stop:
            raise Stopped
        return plain(training, until, *args, **options)

    monkeypatch.setattr(network, "advanced", counted)
    monkeypatch.setattr(journal, "PORTION", 0.0)  # one epoch at a time
    stop = None
    answers(fitted(tmp_path / "whole"))
    epochs = sum(until - done for done, until in runs)
    again = len(runs)
    assert same(answers(fitted(tmp_path / "whole")), whole["net"])
    assert len(runs) == again  # every net was there
    runs, stop = [], 4
    with pytest.raises(Stopped):
        fitted(tmp_path / "run")
    first = sum(until - done for done, until in runs[:-1])
    assert first > 0
    runs, stop = [], None
    assert same(answers(fitted(tmp_path / "run")), whole["net"])
    assert sum(until - done for done, until in runs) == epochs - first


@pytest.mark.slow
def test_a_fit_without_a_seed_goes_on_with_its_own(often, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        copies = kept(tmp_path / "run", patch)
        first = answers(fitted(tmp_path / "run", "process", random_state=None))
    assert same(answers(fitted(copies[1], "process", random_state=None)), first)


@pytest.mark.slow
def test_another_fit_is_refused_by_what_differs(tmp_path):
    folder = tmp_path / "run"
    fitted(folder, "process")
    X, bags, y = rows()
    changed = X.copy()
    changed[0, 0] += 1e-9
    one = np.flatnonzero(y == 0)[0]
    other = np.where(np.arange(len(y)) == one, 1, y)
    moved = bags.copy()
    moved[[0, np.flatnonzero(bags != bags[0])[0]]] = moved[[np.flatnonzero(bags != bags[0])[0], 0]]
    for data, name in (((changed, bags, y), "data X"), ((X, bags, other), "data counts"),
                       ((X, moved, y), "data bags")):  # fmt: skip
        with pytest.raises(CheckpointMismatch, match=name) as caught:
            fitted(folder, "process", data)
        assert str(folder) in str(caught.value)
    for setting, value in (("rounds", 1), ("cross_fit", 3), ("random_state", 1), ("n_neighbors", 3)):
        with pytest.raises(CheckpointMismatch) as caught:
            fitted(folder, "process", **{setting: value})
        assert [each.split(" (")[0] for each in caught.value.differing] == [f"settings {setting}"]
    with pytest.raises(CheckpointMismatch, match="settings estimator"):
        fitted(folder, "net")
    fitted(folder, "process", verbose=0)


@pytest.mark.slow
def test_a_disk_that_fails_is_told_once_and_the_fit_goes_on(whole, often, tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.warns(CheckpointWarning, match="goes on without further checkpoints") as caught:
        model = fitted(tmp_path / "run", "process")
    assert len(caught) == 1
    assert same(answers(model), whole["process"])
    assert sum("could not be written" in note for note in model.notes_) == 1


@pytest.mark.slow
def test_a_damaged_generation_is_passed_over_and_told(whole, often, tmp_path):
    fitted(tmp_path, "process")
    newest, before = generations(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    model = fitted(tmp_path, "process")
    assert same(answers(model), whole["process"])
    assert any("passed over" in note and newest.name in note for note in model.notes_)
    for path in generations(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="it has 0 bytes"):
        fitted(tmp_path, "process")


def test_a_folder_that_is_none_is_refused():
    with pytest.raises(LawfulError, match="checkpoint=3. Fix: give None, or the path of a folder"):
        fitted(3, "process")


def run(base, call, *folders):
    command = [sys.executable, "-m", "tests.models.llp.journal_cases", base, str(call), *map(str, folders)]
    cached = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folders[0].parent / "compiled"),
              "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=cached)


@pytest.mark.slow
@pytest.mark.parametrize("base", LEARNERS)
def test_a_fit_killed_at_20_random_points_goes_on_bit_by_bit(base, tmp_path):
    """Points are calls of the system for the writes of checkpoints: half written files, and the moves among them."""
    whole = run(base, 0, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    calls = np.random.default_rng(11).choice(np.arange(1, int(whole.stdout) + 1), 20, replace=False)
    folders = [tmp_path / f"run {call}" for call in calls]
    for call, folder in zip(calls, folders, strict=True):
        assert run(base, call, folder).returncode == -9
        if generations(folder):
            assert load(folder).skipped == ()
    assert not list(tmp_path.glob("run*.npz"))
    assert sum(bool(generations(folder)) for folder in folders) >= 15  # there was something to go on from
    resumed = run(base, 0, *folders)
    assert resumed.returncode == 0, resumed.stderr
    wanted = dict(np.load(tmp_path / "whole.npz"))
    for folder in folders:
        assert same(dict(np.load(f"{folder}.npz")), wanted), folder
