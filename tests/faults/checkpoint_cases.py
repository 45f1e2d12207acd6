"""Checkpoints that are whole, and files that somebody made in their form."""

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from lawful.inference.checkpoints import checkpoint_file
from lawful.inference.checkpoints.checkpoint_file import (
    START,
    VERSION,
    _checksum,
    _content_checksum,
    _header_text,
    write,
)

HEADER = {"step": 7, "name": "a run"}
ARRAYS = {"x": np.arange(24, dtype=np.float64), "n": np.array(3), "empty": np.zeros((0, 2), np.float32)}
HEADER_MEMBER = checkpoint_file.HEADER

Member = tuple[str, bytes] | tuple[str, bytes, int]


def written(header: Any = HEADER, arrays: Any = ARRAYS) -> bytes:
    """The bytes of a checkpoint."""
    file = io.BytesIO()
    write(file, header, arrays)
    return file.getvalue()


def made(listed: list[Any], members: Sequence[Member], *, header: bytes | None = None, seal: bool = True) -> bytes:
    """A file with the members given, whose checksums hold: what somebody could make who knows the format."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(HEADER_MEMBER), _header_text({}, listed) if header is None else header)
        for name, data, *method in members:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method[0] if method else zipfile.ZIP_STORED
            archive.writestr(entry, data)
        archive.comment = b"sha256:" + b"0" * 64
    if seal:
        code = _checksum(file)
        file.seek(-64, 2)
        file.write(code)
    return file.getvalue()


def header_of(content: bytes, version: int = VERSION) -> bytes:
    """A header with any text for its content."""
    return START % (version, _content_checksum(version, content)) + content


def listed(name: str, array: np.ndarray, **other: Any) -> dict[str, Any]:
    """What a header says of an array, with some of it changed."""
    import hashlib

    told = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "bytes": array.nbytes,
            "sha256": hashlib.sha256(array.tobytes()).hexdigest()}  # fmt: skip
    return told | other


def npy(array: np.ndarray) -> bytes:
    """The array as an npy file, begun as checkpoints begin theirs."""
    return checkpoint_file._npy_start(array) + array.tobytes()


def content_of(data: bytes) -> dict[str, Any]:
    """What stands in the header of a checkpoint."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.loads(archive.read(HEADER_MEMBER))["content"]
