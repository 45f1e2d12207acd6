"""Command line: a program named by file and name, and its arguments read from a file of data.

Law: arguments are those that the same values give in Python: numbers stay numbers, so an integer can be a size, and
lists and columns become arrays. Every name in the file is one of the program's, and every one that it needs is there.
"""

from __future__ import annotations

import ast
import csv
import difflib
import functools
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import LawfulError
from .form.arguments.calls import call, positional


def load_program(place: str) -> Callable[..., Any]:
    """Import a program by `FILE.py:name` or `package.module:name`; the name may have dots.

    Raises: LawfulError saying which part of the place does not exist.
    """
    home, colon, name = place.rpartition(":")
    if not colon or not home or not name:
        raise LawfulError(f"'{place}': expected FILE.py:name or module:name, as models/coin.py:model.", place=place)
    if home.endswith(".py"):
        module = _from_file(Path(home))
    else:
        sys.path.insert(0, "")
        module = _executed(home, lambda: importlib.import_module(home))
    try:
        program = functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        close = difflib.get_close_matches(name, [n for n in vars(module) if not n.startswith("_")])
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise LawfulError(f"'{home}' has no name '{name}'.{hint}", place=place) from None
    if not callable(program):
        raise LawfulError(f"'{place}' is no function but {type(program).__name__}.", place=place)
    return program


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise LawfulError(f"'{path}': there is no such file.", place=str(path))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # as if the file were run
    sys.modules.setdefault(path.stem, module)
    _executed(str(path), functools.partial(spec.loader.exec_module, module))
    return module


def _executed(name: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:
        raise LawfulError(f"'{name}' cannot be imported: {type(error).__name__}: {error}", place=name) from error


def read_arguments(program: Callable[..., Any], path: str | Path | None) -> tuple[Any, ...]:
    """Read the arguments of a program from a file: JSON, an object by name or a list in order; or CSV, a column each.

    Raises: LawfulError for a file that cannot be read, and for names that the program does not take or that it lacks.

    >>> read_arguments(lambda: None, None)
    ()
    """
    data: Any = {} if path is None else _read(Path(path))
    try:
        args = positional(program, (), data) if isinstance(data, dict) else tuple(data)
        call(functools.wraps(program)(lambda *args, **named: None), args)  # which refuses what the program would
    except LawfulError as error:
        where = "no data: give a file with --data" if path is None else str(path)
        raise LawfulError(f"{where}: {error}", **error.fields) from error
    return args


def _read(path: Path) -> dict[str, Any] | list[Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LawfulError(f"{path}: {getattr(error, 'strerror', None) or 'it is no text'}.", path=str(path)) from error
    return _columns(text, path) if path.suffix.lower() == ".csv" else _from_json(text, path)


def _from_json(text: str, path: Path) -> dict[str, Any] | list[Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise LawfulError(
            f"{path} is no JSON: {error}. Fix: mend it there, or name a table of columns .csv.", path=str(path)
        ) from error
    if isinstance(data, list):
        return [as_argument(value) for value in data]
    if not isinstance(data, dict):
        raise LawfulError(f"{path}: expected an object of arguments by name, or a list of them.", path=str(path))
    return {name: as_argument(value, name) for name, value in data.items()}


def _columns(text: str, path: Path) -> dict[str, Any]:
    """Read a table with a line of names: each column an array of integers, or of floats."""
    header, *rows = list(csv.reader(text.splitlines())) or [[]]
    names = [name.strip() for name in header]
    if not names or len(set(names)) < len(names) or "" in names:
        raise LawfulError(
            f"{path}: expected a first line with a name for each column, each once, got {','.join(header)!r}.",
            path=str(path),
        )
    cells = []
    for line, row in enumerate(rows, start=2):
        if row and len(row) != len(names):
            raise LawfulError(
                f"{path}, line {line}: expected {len(names)} cells, got {len(row)}.", path=str(path), line=line
            )
        if row:
            cells.append([_number(cell.strip(), path, line, name) for cell, name in zip(row, names, strict=True)])
    return {name: np.asarray([row[k] for row in cells]) for k, name in enumerate(names)}


def _number(cell: str, path: Path, line: int, name: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    raise LawfulError(
        f"{path}, line {line}, column '{name}': expected a number, got {cell!r}. Fix: code classes as 0, 1, ...; write "
        "nan for a missing number and give the program a column of 0 and 1 for obs_mask.",
        path=str(path), line=line, column=name,
    )  # fmt: skip


def as_argument(value: Any, name: str = "") -> Any:
    """Turn lists into arrays, also inside objects; errors tell the name.

    >>> as_argument({"y": [1.0, 2.0], "n": 3})
    {'y': array([1., 2.]), 'n': 3}
    """
    if isinstance(value, dict):
        return {key: as_argument(inner, f"{name}.{key}" if name else key) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    what = f"the list '{name}'" if name else "a list"
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise LawfulError(f"{what} of data has rows of different lengths: {error}.") from error
    if array.dtype.kind not in "biuf":
        raise LawfulError(
            f"{what} of data holds texts, nulls or objects; expected numbers or truth values. Fix: give missing values "
            "as a number and a list of truth values beside them, for obs_mask."
        )
    return array


def read_setting(text: str, makers: Mapping[str, Any]) -> tuple[str, Any]:
    """Read a setting of a method, `name=value`: a value as Python writes it, a call of a maker with such, or a text.

    Args:
        text: the setting.
        makers: functions that may be called, by name.

    >>> [read_setting(text, {"range": range}) for text in ("sites=['x']", "ladder=range(3)", "keep=last")]
    [('sites', ['x']), ('ladder', range(0, 3)), ('keep', 'last')]
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise LawfulError(f"'{text}': expected a setting as NAME=VALUE, as resample_below=0.8.", given=text)
    try:
        tree = ast.parse(value, mode="eval").body
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in makers:
            words = {word.arg: ast.literal_eval(word.value) for word in tree.keywords if word.arg}
            return name, makers[tree.func.id](*map(ast.literal_eval, tree.args), **words)
        return name, ast.literal_eval(tree)
    except (SyntaxError, ValueError):
        return name, value
