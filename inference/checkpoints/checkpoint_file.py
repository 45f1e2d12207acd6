"""A checkpoint file: one uncompressed npz, whose first member is a JSON header that tells all of the others.

    header.json   {"magic":"lawful checkpoint","version":1,"sha256":"...","content":{"header":{...},"arrays":[...]}}
    NAME.npy      one for each array, in the order of the list; NAME is the array's with %XX for all but letters, digits
    comment       "sha256:" and the checksum of all bytes before it

Law: `read` gives what `write` was given, bit for bit; a file that differs from it in any byte is refused. Nothing in a
file is run, no name in it is opened, and nothing is allocated before its size was found to be within that of the file.
A file whose checksum fails is damaged; one whose checksum holds and which asks for what is never done was made so, and
is unsafe. The text before "content" is the same in every version, so that another version can be told from damage.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import ml_dtypes
import numpy as np

from lawful.errors import CheckpointError, CheckpointMismatch, CorruptCheckpoint, UnsafeCheckpoint

__all__ = ["VERSION", "read", "write"]

VERSION = 1
HEADER = "header.json"
LONGEST = 1 << 20  # bytes of a header
BLOCK = 1 << 20  # bytes that are looked at together
START = b'{"magic":"lawful checkpoint","version":%d,"sha256":"%s","content":'
PREFIX = re.compile(rb'\{"magic":"lawful checkpoint","version":(\d{1,9}),"sha256":"([0-9a-f]{64})","content":')
SEAL = b"sha256:"
LOCAL = struct.Struct("<4s5H3I2H")  # the record before a member of a zip file

NATIVE = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
          "float64", "complex64", "complex128")  # fmt: skip
VIEWED = ("bfloat16", "int2", "int4", "uint2", "uint4", "float4_e2m1fn", "float8_e3m4", "float8_e4m3",
          "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
          "float8_e8m0fnu")  # fmt: skip
TYPES = {name: np.dtype(name) for name in NATIVE} | {
    name: np.dtype(getattr(ml_dtypes, name)) for name in VIEWED if hasattr(ml_dtypes, name)
}


def write(file: Any, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a checkpoint, a header that JSON can hold and arrays by name, into an empty file that can be read, too.

    Raises: CheckpointError for what the format cannot hold.
    """
    stored = {name: _stored(name, array) for name, array in arrays.items()}
    listed = [_described(name, np.asarray(arrays[name]), data) for name, data in stored.items()]
    text = _header_text(header, listed)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER), text)
        for name, data in stored.items():
            entry = zipfile.ZipInfo(_member(name))
            with archive.open(entry, "w", force_zip64=data.nbytes > 1 << 30) as member:
                member.write(_npy_start(data))
                member.write(_bytes_of(data))
        archive.comment = SEAL + b"0" * 64
    seal = _checksum(file)
    file.seek(-64, 2)
    file.write(seal)


def read(file: Any, path: Any = "checkpoint") -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a checkpoint: its header and its arrays; `path` is what it is called in errors.

    Raises: CorruptCheckpoint for a file that is damaged or of another program; UnsafeCheckpoint for one that was made
        to ask for what is never done; CheckpointMismatch for another version of the format.
    """
    return _Reader(file, path).read()


# Writing


def _stored(name: str, array: Any) -> np.ndarray:
    """Give an array as files have it: in the order of rows, little-endian, and as integers where npz lacks its type."""
    array = np.asarray(array)
    if TYPES.get(array.dtype.name) != array.dtype.newbyteorder("="):
        raise CheckpointError(
            f"array '{name}' has the type {array.dtype}, which a checkpoint cannot hold. Fix: give numbers or truth "
            "values; typed keys and Python numbers go through flatten.",
            array=name,
        )
    data: np.ndarray = np.array(array, TYPES[array.dtype.name], order="C", copy=None)
    return data if array.dtype.name in NATIVE else data.view(f"u{data.itemsize}")


def _described(name: str, array: np.ndarray, data: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(_bytes_of(data)).hexdigest()
    shape = list(map(int, array.shape))
    return {"name": name, "dtype": array.dtype.name, "shape": shape, "bytes": int(data.nbytes), "sha256": digest}


def _header_text(header: Mapping[str, Any], listed: list[dict[str, Any]]) -> bytes:
    try:
        content = json.dumps({"header": header, "arrays": listed}, separators=(",", ":")).encode() + b"}"
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of a checkpoint is no JSON: {error}.") from error
    text = START % (VERSION, _content_checksum(VERSION, content)) + content
    if len(text) > LONGEST:
        raise CheckpointError(
            f"the header of a checkpoint has {len(text)} bytes, and the limit is {LONGEST}. Fix: put numbers into "
            "arrays, and small arrays together.",
            size=len(text),
        )
    return text


def _content_checksum(version: int, content: bytes) -> bytes:
    return hashlib.sha256(b"%d " % version + content).hexdigest().encode()


def _member(name: str) -> str:
    """Name the member of an array: without slashes, so that it is a plain name wherever it is unpacked.

    >>> _member("['a'].b/c")
    '%5B%27a%27%5D.b%2Fc.npy'
    """
    try:
        return quote(name, safe="") + ".npy"
    except UnicodeEncodeError as error:
        raise CheckpointError(f"array {name!r}: its name cannot be written as UTF-8.", array=name) from error


def _npy_start(data: np.ndarray) -> bytes:
    """Give what stands before the numbers of an npy file, byte for byte the same in every version of NumPy."""
    descr = data.dtype.newbyteorder("<").str
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(map(int, data.shape))}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _bytes_of(data: np.ndarray) -> memoryview:
    return memoryview(data.reshape(-1).view(np.uint8))


def _checksum(file: Any) -> bytes:
    """Give the checksum of all bytes but the last 64, which hold it."""
    left = file.seek(0, 2) - 64
    file.seek(0)
    code = hashlib.sha256()
    while left > 0 and (block := file.read(min(BLOCK, left))):
        code.update(block)
        left -= len(block)
    return code.hexdigest().encode()


# Reading


@dataclass(frozen=True)
class _Entry:
    """What the header tells of an array."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    nbytes: int
    sha256: str


class _Reader:
    """One reading of one file, in the order of the checks."""

    def __init__(self, file: Any, path: Any) -> None:
        self.file, self.path = file, str(path)
        self.size = file.seek(0, 2)
        tail = self._at(max(0, self.size - 64), 64)
        self.sealed = self.size > 64 and tail == _checksum(file)

    def read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        text, end = self._header_text()
        header, entries = self._content(text)
        self._sizes(entries, end)
        try:
            with zipfile.ZipFile(self.file) as archive:
                members = self._members(archive, entries, end)
                arrays = {
                    entry.name: self._array(archive, member, entry)
                    for member, entry in zip(members, entries, strict=True)
                }
        except CheckpointError:
            raise
        except Exception as error:  # whatever zipfile says of records that make no sense
            self._refuse(f"its directory of members cannot be read ({error})", error)
        if not self.sealed:
            self._damaged("bytes between its arrays do not fit the checksum of the file")
        return header, arrays

    def _header_text(self) -> tuple[bytes, int]:
        """Read the header and check its length, magic, checksum and version; give its content and where it ends."""
        if self.size < LOCAL.size + len(HEADER):
            self._damaged(f"it has {self.size} bytes, fewer than any checkpoint")
        record = LOCAL.unpack(self._at(0, LOCAL.size))
        mark, method, length, named, extra = record[0], record[3], record[7], record[9], record[10]
        start = LOCAL.size + len(HEADER)
        if mark != b"PK\x03\x04" or named != len(HEADER) or self._at(LOCAL.size, named) != HEADER.encode() or extra:
            self._damaged(f"it does not begin with the member {HEADER}, so it is a file of another program")
        if method != zipfile.ZIP_STORED:
            self._refuse("its header is compressed, and could be of any size")
        if length > LONGEST:
            self._refuse(f"its header has {length} bytes, and the limit is {LONGEST}")
        text = self._at(start, length)
        found = PREFIX.match(text)
        if found is None or len(text) < length:
            self._damaged(f"its header does not begin with {START[:28].decode()}, or is cut off")
        version, content = int(found[1]), text[found.end() :]
        if _content_checksum(version, content) != found[2]:
            self._damaged("its header does not fit its checksum")
        if version != VERSION:
            raise CheckpointMismatch(
                f"{self.path} is written in version {version} of the format, and this library reads version {VERSION}. "
                "Fix: read it with the version of the library that wrote it.",
                path=self.path, differing=("format version",),
            )  # fmt: skip
        return content[:-1], start + length

    def _content(self, text: bytes) -> tuple[dict[str, Any], list[_Entry]]:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._refuse(f"its header is no JSON that can be read ({error})", error)
        if not isinstance(content, dict) or sorted(content) != ["arrays", "header"]:
            self._refuse("its header lacks its list of arrays")
        if not isinstance(content["header"], dict) or not isinstance(content["arrays"], list):
            self._refuse("its header or its list of arrays is of another kind")
        entries = [self._entry(fields) for fields in content["arrays"]]
        names = [entry.name for entry in entries]
        if len(set(names)) != len(names):
            self._refuse("two of its arrays have one name")
        return content["header"], entries

    def _entry(self, fields: Any) -> _Entry:
        if not isinstance(fields, dict) or sorted(fields) != ["bytes", "dtype", "name", "sha256", "shape"]:
            self._refuse("an array is not described by name, dtype, shape, bytes and sha256")
        name, shape, size, code = (fields[key] for key in ("name", "shape", "bytes", "sha256"))
        if not isinstance(name, str) or not isinstance(code, str) or type(size) is not int:
            self._refuse("name, bytes or checksum of an array are of another kind")
        dtype = TYPES.get(fields["dtype"]) if isinstance(fields["dtype"], str) else None
        if dtype is None:
            self._refuse(f"array '{name}' has the type {fields['dtype']!r}, which is not one of numbers", array=name)
        if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in shape) or len(shape) > 64:
            self._refuse(f"array '{name}' has the shape {str(shape)[:80]}", array=name)
        if size != math.prod(shape) * dtype.itemsize:
            self._refuse(f"array '{name}' of shape {str(shape)[:80]} and type {dtype} cannot have {size} bytes",
                         array=name)  # fmt: skip
        return _Entry(name, dtype, tuple(shape), size, code)

    def _sizes(self, entries: list[_Entry], end: int) -> None:
        """Compare the sizes that the header declares with that of the file: neither more, nor much room beside them."""
        room = self.size - end - sum(entry.nbytes for entry in entries)
        most = 1024 + sum(512 + 8 * len(entry.shape) * 4 + 2 * len(_member(entry.name)) for entry in entries)
        if not 0 <= room <= most:
            self._refuse(
                f"its header declares {self.size - room} bytes, and the file has {self.size}"
                + ("" if room < 0 else ", much more than they take")
            )

    def _members(self, archive: zipfile.ZipFile, entries: list[_Entry], end: int) -> list[zipfile.ZipInfo]:
        found = archive.infolist()
        wanted = [HEADER, *(_member(entry.name) for entry in entries)]
        if [member.filename for member in found] != wanted:
            odd = next((m.filename for m in found if m.filename not in wanted), None)
            told = "twice, or in another order" if odd is None else f"such as {odd[:80]!r}"
            self._refuse(f"its members are not those that its header lists: {told}")
        if found[0].header_offset != 0 or found[0].file_size != end - LOCAL.size - len(HEADER):
            self._refuse("its directory has another header than its start")
        for member in found:
            if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                self._refuse(f"its member {member.filename} is compressed, and could be of any size")
        return found[1:]

    def _array(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, entry: _Entry) -> np.ndarray:
        native = entry.dtype.name in NATIVE
        stored = entry.dtype if native else np.dtype(f"u{entry.dtype.itemsize}")
        try:
            array = np.empty(entry.shape, stored)
        except ValueError as error:
            self._refuse(f"array '{entry.name}' has the shape {entry.shape}", error, array=entry.name)
        start, data = _npy_start(array), _bytes_of(array)
        if member.file_size != len(start) + entry.nbytes:
            self._refuse(f"array '{entry.name}' takes {member.file_size} bytes, and its header declares "
                         f"{len(start) + entry.nbytes}", array=entry.name)  # fmt: skip
        stream: Any
        with archive.open(member) as stream:
            try:
                begun, count = stream.read(len(start)), 0
                if begun != start:
                    what = "a pickled object" if b"|O" in begun else "another array than the header declares"
                    self._refuse(f"the member of array '{entry.name}' begins like {what}", array=entry.name)
                while count < len(data) and (n := stream.readinto(data[count : count + BLOCK])):
                    count += n
            except zipfile.BadZipFile:
                count = -1
        if count != entry.nbytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            self._damaged(f"array '{entry.name}' does not fit its checksum", array=entry.name)
        return array if native else array.view(entry.dtype)

    def _at(self, place: int, count: int) -> bytes:
        self.file.seek(place)
        return self.file.read(count)

    def _damaged(self, what: str, **fields: Any) -> NoReturn:
        raise CorruptCheckpoint(f"{self.path} is damaged or no checkpoint: {what}.", path=self.path, **fields)

    def _refuse(self, what: str, error: Exception | None = None, **fields: Any) -> NoReturn:
        """Refuse what is never done: of a file whose checksum fails it is damage, of another it was meant."""
        if not self.sealed:
            self._damaged(what, **fields)
        raise UnsafeCheckpoint(
            f"{self.path} was made to ask for what is never done, and nothing of it was loaded: {what}. Fix: use "
            "checkpoints that this library wrote.",
            path=self.path, **fields,
        ) from error  # fmt: skip
