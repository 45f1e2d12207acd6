"""A journal: a work that was stopped goes on and gives the arrays of one that was not, and does nothing twice."""

import shutil

import numpy as np
import pytest

from lawful import inference
from lawful.errors import CheckpointMismatch
from lawful.inference.checkpoints import journal
from lawful.inference.checkpoints.checkpoint_folder import CheckpointWarning

STEPS = 10


class Stopped(KeyboardInterrupt):
    """Ctrl-C."""


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Write at every step, however short."""
    for name in ("EVERY", "SHARE", "PORTION"):
        monkeypatch.setattr(journal, name, 0)


def settled(start, rate, made):
    """Iterate a map whose rounding errors would be seen if a step were made twice or left out."""
    step = inference.LongStep.of("settled", (start, rate))
    at, x = step.taken_up((0, start))
    for until in step.portions(at, STEPS):
        for _ in range(at, until):
            if len(made) == made.most:
                raise Stopped
            made.append(0)
            x = rate * x * (1 - x)
        at = until
        step.keep((at, x))
    return x


class Made(list):
    """Steps that were made, up to a number at which the work is stopped."""

    most = -1


def work(folder, made, seed=0, rate=3.9, start=None):
    """Two long steps, the second of which begins at the end of the first."""
    start = np.linspace(0.1, 0.8, 5) if start is None else start
    with inference.Journal(folder, "maps", {"start": start}, {"rate": rate}, seed=seed) as kept:
        return settled(settled(start, rate, made), rate - 0.1, made), kept


@pytest.mark.parametrize("stop", [0, 1, 7, STEPS, 2 * STEPS - 1])
def test_a_work_that_was_stopped_goes_on_bit_by_bit_and_makes_no_step_twice(stop, tmp_path):
    whole = work(None, Made())[0]
    first, rest = Made(), Made()
    first.most = stop
    with pytest.raises(Stopped):
        work(tmp_path, first)
    found, _ = work(tmp_path, rest)
    assert found.tobytes() == whole.tobytes()
    assert len(first) + len(rest) == 2 * STEPS
    assert work(tmp_path, again := Made())[0].tobytes() == whole.tobytes() and not again


def test_a_damaged_file_is_passed_over_and_told(tmp_path):
    whole, _ = work(tmp_path, Made())
    newest = journal.generations(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    found, kept = work(tmp_path, Made())
    assert found.tobytes() == whole.tobytes()
    assert any("passed over" in note and newest.name in note for note in kept.notes)


def test_a_seed_that_was_drawn_is_that_of_the_work_that_goes_on(tmp_path):
    assert work(tmp_path, Made(), seed=7)[1].seed == 7
    assert work(tmp_path, Made(), seed=8)[1].seed == 7


def test_the_folder_of_another_work_is_refused_by_what_differs(tmp_path):
    work(tmp_path, Made())
    for name, given in (("data start", {"start": np.full(5, 0.3)}), ("settings rate", {"rate": 3.8})):
        with pytest.raises(CheckpointMismatch, match=f"{tmp_path}.*{name}"):
            work(tmp_path, Made(), **given)
    with pytest.raises(CheckpointMismatch, match="algorithm"):
        inference.Journal(tmp_path, "other maps", {"start": np.linspace(0.1, 0.8, 5)}, {"rate": 3.9})


def test_a_step_with_other_inputs_is_another_step(tmp_path):
    with inference.Journal(tmp_path, "maps", {}, {}) as kept:
        for rate in (3.9, 3.8, 3.9):
            settled(np.array([0.2]), rate, Made())
        assert len(kept.steps) == 2
    assert inference.LongStep.of("settled", ()).journal is None  # closed


def test_a_disk_that_fails_is_told_once_and_the_work_goes_on(tmp_path):
    shutil.copy(__file__, tmp_path / "run")
    with pytest.warns(CheckpointWarning, match="maps: it goes on without further checkpoints") as caught:
        found, kept = work(tmp_path / "run", Made())
    assert len(caught) == len(kept.notes) == 1
    assert found.tobytes() == work(None, Made())[0].tobytes()
