"""Row 19: a damaged checkpoint is told for one, wherever the damage is, and the generation before it is taken."""

import io
import json
import zipfile

import numpy as np
import pytest

from lawful.errors import CorruptCheckpoint
from lawful.inference import RunOptions, resume
from lawful.inference.checkpoints.checkpoint_file import read
from lawful.inference.checkpoints.checkpoint_folder import generations, load, save
from lawful.inference.running import saving
from tests.faults.checkpoint_cases import ARRAYS, HEADER, written
from tests.inference.running.test_resume import KEY, PLANS, Y, assert_same


def refused(data):
    """Whether a file is refused as damaged; anything else but being read as it was written is an error."""
    try:
        header, arrays = read(io.BytesIO(data))
    except CorruptCheckpoint as error:
        return str(error)
    assert (header, list(arrays)) == (HEADER, list(ARRAYS))
    return None


@pytest.mark.fault(19)
def test_f19_one_byte_flipped_anywhere_is_found():
    whole = written()
    assert refused(whole) is None
    for place in range(len(whole)):
        for change in (0xFF, 0x08):
            flipped = bytearray(whole)
            flipped[place] ^= change
            assert refused(bytes(flipped)), (place, change)


def test_f19_a_file_that_is_cut_off_anywhere_is_found():
    whole = written()
    for size in range(len(whole)):
        assert refused(whole[:size]), size
    large = written(HEADER, ARRAYS | {"x": np.arange(4096.0)})
    assert len(large) > 32 << 10
    for size in range(0, len(large), 1024):
        assert refused(large[:size]), size


def test_f19_the_error_says_what_is_wrong():
    whole = written()
    assert "it has 0 bytes" in refused(b"")
    assert "file of another program" in refused(b"\x89PNG" + whole)
    assert "bytes, and the file has" in refused(whole[: whole.index(ARRAYS["x"].tobytes()) + 20])
    place = whole.index(ARRAYS["x"].tobytes()) + 50
    assert "array 'x' does not fit its checksum" in refused(whole[:place] + b"\xff" + whole[place + 1 :])
    place = whole.index(b'"step":7')
    assert "header does not fit its checksum" in refused(whole[:place] + b'"step":8' + whole[place + 8 :])
    assert "header does not begin with" in refused(whole.replace(b"lawful checkpoint", b"awful checkpoints", 1))


def other_programs():
    npz, text = io.BytesIO(), io.BytesIO()
    np.savez(npz, x=np.arange(3))
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("header.json", json.dumps({"version": 1}))
    return [npz.getvalue(), text.getvalue(), b"{}", b"x" * 5000, bytes(5000), b"PK\x03\x04" + bytes(5000)]


@pytest.mark.parametrize("data", other_programs(), ids=["npz", "zip", "json", "text", "zeros", "signature"])
def test_f19_a_file_of_another_program_is_told_for_one(data):
    assert refused(data)


def test_f19_the_generation_before_is_taken_and_told(tmp_path):
    old = save(tmp_path, {"step": 1}, ARRAYS)
    new = save(tmp_path, {"step": 2}, ARRAYS)
    new.write_bytes(new.read_bytes()[:-1])
    found = load(tmp_path)
    assert (found.header, found.path) == ({"step": 1}, old)
    assert len(found.skipped) == 1
    assert str(new) in found.skipped[0] and "damaged" in found.skipped[0]
    old.write_bytes(b"")
    with pytest.raises(CorruptCheckpoint, match="The one before: .*it has 0 bytes") as caught:
        load(tmp_path)
    assert caught.value.path == str(new)
    save(tmp_path, {"step": 3}, ARRAYS)  # a new one is no harder to write
    assert load(tmp_path).header == {"step": 3}


@pytest.mark.rest_slow
@pytest.mark.parametrize("damage", ["a byte", "half of it", "all of it"])
def test_f19_a_run_goes_on_from_the_generation_before_and_says_so(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "SHARE", 0)
    plan = PLANS["chains"][1](RunOptions(chunk=2))
    whole = plan(KEY, Y)
    stop = [lambda progress: (progress.phase, progress.step) == ("sampling", 4)]
    plan.run = RunOptions(chunk=2, checkpoint=tmp_path, callbacks=stop)
    plan(KEY, Y)
    newest, before = generations(tmp_path)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    newest.write_bytes({"a byte": data, "half of it": data[: len(data) // 2], "all of it": b""}[damage])
    assert load(tmp_path).path == before
    result = resume(tmp_path, plan, Y, run=RunOptions(chunk=2))
    (finding,) = [each for each in result.reasons if each.code == "OLDER_CHECKPOINT"]
    assert str(newest) in finding.message and "passed over" in finding.message
    assert_same(result, whole)
