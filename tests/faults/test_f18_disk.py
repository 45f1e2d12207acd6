"""Row 18: a disk that is full or a folder that cannot be written leaves the last good checkpoint as it was."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from lawful.errors import CheckpointError
from lawful.inference import RunOptions, resume
from lawful.inference.checkpoints import checkpoint_folder as checkpoints
from lawful.inference.checkpoints.checkpoint_folder import generations, load, save
from lawful.inference.running import saving
from tests.inference.running.test_resume import KEY, PLANS, Y, assert_same

ARRAYS = {"x": np.arange(1 << 14, dtype=np.float64)}  # 128 KiB


@contextmanager
def files_of_at_most(size):
    """A limit of the system for the length of any file, as a quota is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def without_rights():
    """Be nobody, since root may write anywhere."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


def still_there(folder, step):
    found = load(folder)
    return found.header == {"step": step} and found.skipped == () and found.arrays.keys() == ARRAYS.keys()


@pytest.mark.parametrize("size", [0, 100, 5_000, 100_000])
def test_f18_a_quota_hit_in_the_middle_of_a_write_keeps_the_last_checkpoint(size, tmp_path):
    save(tmp_path, {"step": 1}, ARRAYS)
    with files_of_at_most(size), pytest.raises(CheckpointError, match="could not be written") as caught:
        save(tmp_path, {"step": 2}, ARRAYS)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.path == str(tmp_path)
    assert still_there(tmp_path, 1)
    assert len(list(tmp_path.iterdir())) == 1  # nothing half written is left
    save(tmp_path, {"step": 3}, ARRAYS)  # the disk has room again
    assert still_there(tmp_path, 3)


def test_f18_a_folder_that_cannot_be_written_is_told(tmp_path):
    save(tmp_path, {"step": 1}, ARRAYS)
    tmp_path.chmod(0o555)
    try:
        with without_rights(), pytest.raises(CheckpointError, match="could not be written"):
            save(tmp_path, {"step": 2}, ARRAYS)
    finally:
        tmp_path.chmod(0o755)
    assert still_there(tmp_path, 1)


def test_f18_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CheckpointError, match="could not be written"):
        save(tmp_path / "run", {}, ARRAYS)


def test_f18_a_folder_that_was_removed_is_made_again(tmp_path):
    folder = tmp_path / "run"
    save(folder, {"step": 1}, ARRAYS)
    for path in generations(folder):
        path.unlink()
    folder.rmdir()
    save(folder, {"step": 2}, ARRAYS)
    assert still_there(folder, 2)


class Full:
    """A file on a disk that is full after some calls."""

    def __init__(self, file, calls):
        self.file, self.calls = file, calls

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        self.calls -= 1
        if self.calls < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.mark.fault(18)
def test_f18_a_disk_that_is_full_at_any_write_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, {"step": 1}, ARRAYS)
    failed = 0
    for calls in range(1000):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "open", lambda path, mode, n=calls: Full(open(path, mode), n), raising=False)
            try:
                save(tmp_path, {"step": 2}, ARRAYS)
            except CheckpointError as error:
                failed += 1
                assert error.__cause__.errno == errno.ENOSPC
            else:
                break
        assert still_there(tmp_path, 1)
    assert failed > 10
    assert load(tmp_path).header == {"step": 2}


class Killed(BaseException):
    """The process ends here: nothing after it runs."""


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "unlink"])
def test_f18_a_crash_at_any_call_of_the_system_leaves_a_whole_generation(call, tmp_path, monkeypatch):
    save(tmp_path, {"step": 0}, ARRAYS)
    save(tmp_path, {"step": 1}, ARRAYS)

    def killed(*args, **options):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        where = {"write": (checkpoints, "write"), "fsync": (os, "fsync"), "replace": (os, "replace"),
                 "unlink": (checkpoints.Path, "unlink")}  # fmt: skip
        patch.setattr(*where[call], killed)
        save(tmp_path, {"step": 2}, ARRAYS)
    assert load(tmp_path).header == {"step": 2 if call == "unlink" else 1}
    assert load(tmp_path).skipped == ()
    save(tmp_path, {"step": 3}, ARRAYS)  # and the next run goes on from there
    assert len(list(tmp_path.iterdir())) == 2


PLAN = PLANS["chains"][1](RunOptions(chunk=2))


@pytest.fixture(scope="module")
def whole():
    PLAN.run = RunOptions(chunk=2)
    return PLAN(KEY, Y)


def run_told(folder, callbacks=()):
    """Run with checkpoints after every chunk; give the warnings as well."""
    with warnings.catch_warnings(record=True) as told, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(saving, "SHARE", 0)
        PLAN.run = RunOptions(chunk=2, checkpoint=folder, callbacks=callbacks)
        result = PLAN(KEY, Y)
    return result, [str(each.message) for each in told]


@pytest.mark.parametrize("when", ["from the start", "on the way"])
def test_f18_a_run_whose_folder_cannot_be_written_completes_with_one_warning(when, whole, tmp_path):
    """The path leads through a file, which stops root as well; all later checkpoints fail, too."""
    folder = tmp_path / "parent" / "run"

    def blocked(progress=None):
        if progress is None or (progress.phase, progress.step) == ("sampling", 2):
            shutil.rmtree(tmp_path / "parent", ignore_errors=True)
            (tmp_path / "parent").write_text("a file")

    if when == "from the start":
        blocked()
    result, told = run_told(folder, [blocked] if when == "on the way" else ())
    assert len(told) == 1 and str(folder) in told[0]
    assert "could not be written" in told[0] and "goes on in memory" in told[0]
    assert [each.code for each in result.reasons].count("NOT_SAVED") == 1
    assert_same(result, whole)


def test_f18_a_run_whose_folder_is_removed_on_the_way_makes_it_again(whole, tmp_path):
    folder = tmp_path / "run"

    def removed(progress):
        if (progress.phase, progress.step) == ("sampling", 2):
            shutil.rmtree(folder)

    result, told = run_told(folder, [removed])
    assert told == [] and "NOT_SAVED" not in [each.code for each in result.reasons]
    assert_same(result, whole)
    assert_same(resume(folder, PLAN, Y, run=RunOptions(chunk=2)), whole)


ON_A_SMALL_DISK = """
import json, sys, warnings
import numpyro.distributions as dist
from lawful import inference, sample
from lawful.inference import RunOptions, kernels
from lawful.inference.checkpoints.checkpoint_folder import load

def model():
    sample("y", dist.Normal(sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=0.3)

def plan(run):
    return inference.mcmc(model, kernels.random_walk(1.0), chains=4, warmup=0, draws=2000, run=run)

folder = sys.argv[1]
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    result = plan(RunOptions(chunk=100, checkpoint=folder))(0)
print(json.dumps({
    "told": [str(w.message) for w in told if "goes on in memory" in str(w.message)],
    "same": bool((result.posterior["x"] == plan(None)(0).posterior["x"]).all()),
    "found": [f.code for f in result.reasons],
    "kept": int(load(folder).header["done"][1]),
}))
"""


@pytest.mark.slow
def test_f18_a_run_on_a_disk_that_fills_up_completes_with_one_warning(tmp_path):
    """A file system of 64 KiB, in which the first checkpoints have room, and later ones do not."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no right to make a file system here")
    script = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "$3" "$1/run"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, ON_A_SMALL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["told"]) == 1 and "No space left" in found["told"][0]
    assert found["same"] and "NOT_SAVED" in found["found"]
    assert 0 < found["kept"] < 2000  # the last good checkpoint
