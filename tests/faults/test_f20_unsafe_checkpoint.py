"""Row 20: a checkpoint from elsewhere runs nothing, opens nothing and takes no memory that its file does not have.

The files here are made by somebody who knows the format: all checksums hold. That no module imports pickle or its like
is a rule of the code, in tests/test_style.py.
"""

import io
import json
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lawful.errors import CheckpointError, CheckpointMismatch, CorruptCheckpoint, UnsafeCheckpoint
from lawful.inference.checkpoints.checkpoint_file import read
from lawful.inference.checkpoints.checkpoint_folder import load, save
from tests.faults.checkpoint_cases import HEADER_MEMBER, header_of, listed, made, npy, written

X = np.arange(4.0)
LARGE = 64 << 20  # bytes that a bomb would take


def peak_of(data):
    """The memory that reading takes, and the error."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            read(io.BytesIO(data))
        return tracemalloc.get_traced_memory()[1], caught.value
    finally:
        tracemalloc.stop()


def refused(data, match):
    peak, error = peak_of(data)
    assert isinstance(error, UnsafeCheckpoint), error
    assert match in str(error)
    assert peak < len(data) * 4 + (8 << 20)
    return error


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_f20_the_files_here_are_as_the_library_makes_them():
    header, arrays = read(io.BytesIO(made([listed("x", X)], [("x.npy", npy(X))])))
    assert header == {}
    np.testing.assert_array_equal(arrays["x"], X)


@pytest.mark.fault(20)
def test_f20_a_pickled_member_is_never_loaded(tmp_path):
    mark = tmp_path / "harm"
    file = io.BytesIO()
    np.save(file, np.array([Harm(mark)], object), allow_pickle=True)
    held = file.getvalue()
    pickled = held[held.index(b"\n") + 1 :]
    pickle.loads(pickled)
    assert mark.exists()  # it would do harm
    mark.unlink()
    for told in (listed("x", np.frombuffer(pickled, np.uint8)), listed("x", X, dtype="object"),
                 listed("x", X, dtype="O"), listed("x", X, dtype="|O8")):  # fmt: skip
        error = refused(made([told], [("x.npy", held)]), "array 'x'")
        assert error.array == "x"
    assert not mark.exists()


def test_f20_a_zip_bomb_is_not_unpacked():
    zeros = np.zeros(LARGE // 8)
    bomb = made([listed("x", zeros)], [("x.npy", npy(zeros), zipfile.ZIP_DEFLATED)])
    assert len(bomb) < LARGE // 100
    refused(bomb, "declares")
    small = np.zeros(100)
    refused(made([listed("x", small)], [("x.npy", npy(small) + bytes(50), zipfile.ZIP_DEFLATED),
                                        ("pad", bytes(700))]), "members")  # fmt: skip
    filled = made([listed("x", X)], [("x.npy", npy(X) * 2, zipfile.ZIP_DEFLATED)])
    refused(filled, "compressed")


def test_f20_a_compressed_header_is_not_unpacked():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(HEADER_MEMBER)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, bytes(LARGE))
    peak, error = peak_of(file.getvalue())
    assert "compressed" in str(error) and peak < 8 << 20


def test_f20_a_header_over_its_limit_is_not_read():
    refused(made([], [], header=header_of(b" " * (2 << 20) + b"{}}")), "limit is 1048576")


@pytest.mark.parametrize("name", ["../evil.npy", "/etc/evil.npy", "a/b.npy", "..\\evil.npy", "C:evil.npy"])
def test_f20_a_name_that_leaves_the_folder_opens_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(made([listed(name.removesuffix(".npy"), X)], [(name, npy(X))]), "members")
    assert list(tmp_path.iterdir()) == []


def test_f20_a_name_with_slashes_is_kept_within_the_file(tmp_path):
    save(tmp_path, {}, {"../evil": X})
    assert [path.name for path in tmp_path.iterdir()] == ["generation-00000001.npz"]
    np.testing.assert_array_equal(load(tmp_path).arrays["../evil"], X)


@pytest.mark.parametrize("shape", [[1 << 40, 1 << 40], [1 << 62], [1 << 27], [1 << 90]])
def test_f20_a_huge_shape_is_not_allocated(shape):
    size = int(np.prod(np.array(shape, object))) * 8
    refused(made([listed("x", X, shape=shape, bytes=size)], [("x.npy", npy(X))]), "declares")
    refused(made([listed("x", X, shape=shape)], [("x.npy", npy(X))]), "cannot have 32 bytes")


@pytest.mark.parametrize(
    "shape", [[-1], [-4, -1], [4.0], [True, 4], ["4"], [None], 4, {"0": 4}, [1] * 65, [[4]]], ids=str
)
def test_f20_a_shape_that_is_none_is_refused(shape):
    refused(made([listed("x", X, shape=shape)], [("x.npy", npy(X))]), "shape")


def test_f20_no_elements_of_a_huge_shape_are_refused():
    empty = np.zeros(0)
    refused(made([listed("x", empty, shape=[0, 1 << 62])], [("x.npy", npy(empty))]), "array 'x'")


def test_f20_a_member_that_is_there_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = made([listed("x", X)], [("x.npy", npy(X)), ("x.npy", npy(X + 1))])
    refused(twice, "twice")
    with pytest.warns(UserWarning, match="Duplicate"):
        both = made([listed("x", X), listed("x", X)], [("x.npy", npy(X)), ("x.npy", npy(X))])
    refused(both, "one name")


def test_f20_members_that_are_not_listed_and_lists_without_members_are_refused():
    refused(made([listed("x", X)], [("x.npy", npy(X)), ("y.npy", npy(X))]), "such as 'y.npy'")
    refused(made([listed("x", X), listed("y", X)], [("x.npy", npy(X)), ("x2.npy", npy(X))]), "such as 'x2.npy'")
    refused(made([listed("y", X), listed("x", X)], [("x.npy", npy(X)), ("y.npy", npy(X))]), "in another order")
    refused(made([listed("x", X)], [("x.npy", npy(X)), ("code.py", bytes(1 << 16))]), "much more")


def test_f20_another_array_than_the_header_declares_is_refused():
    refused(made([listed("x", X)], [("x.npy", npy(X.astype(np.int64)))]), "another array")
    refused(made([listed("x", X)], [("x.npy", npy(X) + b"more")]), "takes")
    file = made([listed("x", X, sha256="0" * 64)], [("x.npy", npy(X))])
    with pytest.raises(CorruptCheckpoint, match="'x' does not fit its checksum"):
        read(io.BytesIO(file))


@pytest.mark.parametrize(
    "content",
    [
        b'{"header":' + b"[" * 100_000 + b"]" * 100_000 + b',"arrays":[]}',
        b'{"header":{"a":' * 20_000 + b"1" + b"}" * 40_000,
        b"[]",
        b'{"header":{}}',
        b'{"header":[],"arrays":[]}',
        b'{"header":{},"arrays":{}}',
        b'{"header":{},"arrays":[1]}',
        b'{"header":{},"arrays":[{"name":"x"}]}',
        b'{"header":{},"arrays":[],"more":1}',
        b'{"header":' + b"9" * 10_000 + b',"arrays":[]}',
        b"\xff\xfe",
        b"",
    ],
    ids=["deep list", "deep object", "list", "no arrays", "header", "arrays", "number", "name", "more", "long number",
         "bytes", "empty"],
)  # fmt: skip
def test_f20_a_header_of_another_form_is_refused(content):
    refused(made([], [], header=header_of(content + b"}")), "")


def test_f20_fields_of_an_array_of_other_kinds_are_refused():
    for changed in ({"name": 3}, {"sha256": None}, {"bytes": 32.0}, {"bytes": True}, {"dtype": ["f8"]},
                    {"dtype": "float128"}, {"dtype": "(1000000000,)f8"}):  # fmt: skip
        refused(made([listed("x", X) | changed], [("x.npy", npy(X))]), "array")


def test_f20_checksums_that_do_not_hold_are_damage():
    with pytest.raises(CorruptCheckpoint):
        read(io.BytesIO(made([listed("x", X)], [("x.npy", npy(X)), ("y.npy", npy(X))], seal=False)))


def test_f20_another_version_of_the_format_is_told():
    content = b'{"header":{},"arrays":[]}}'
    with pytest.raises(CheckpointMismatch, match="written in version 2 .* reads version 1"):
        read(io.BytesIO(made([], [], header=header_of(content, version=2))))


def test_f20_an_unsafe_generation_is_passed_over_and_told(tmp_path):
    save(tmp_path, {"step": 1}, {"x": X})
    save(tmp_path, {"step": 2}, {"x": X}).write_bytes(made([listed("x", X)], [("../x.npy", npy(X))]))
    found = load(tmp_path)
    assert found.header == {"step": 1}
    assert "never done" in found.skipped[0]


@pytest.mark.slow
def test_f20_reading_opens_no_other_file(tmp_path):
    """What the process opens while it reads, seen by an audit hook, which cannot be taken off again."""
    file = tmp_path / "made.npz"
    file.write_bytes(made([listed("/etc/hostname", X)], [("%2Fetc%2Fhostname.npy", npy(X))]))
    program = (
        "import sys, json; from lawful.inference.checkpoints.checkpoint_file import read; opened = []\n"
        "file = open(sys.argv[1], 'rb')\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "read(file); print(json.dumps(opened))"
    )
    run = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    assert [path for path in json.loads(run.stdout) if not path.endswith((".py", ".pyc"))] == []


def test_f20_whole_files_are_read():
    assert read(io.BytesIO(written()))[0]["step"] == 7
