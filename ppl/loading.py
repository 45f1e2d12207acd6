"""Loading: a program named on the command line, and its arguments from a file of data.

Law: arguments are those that the same values give in Python: numbers stay numbers, so an integer can be a size, and
lists become arrays.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import LawfulError


def load_program(place: str) -> Callable[..., Any]:
    """Import a program by `FILE.py:name` or `package.module:name`; the name may have dots.

    Raises: LawfulError saying which part of the place does not exist.
    """
    home, colon, name = place.rpartition(":")
    if not colon or not home or not name:
        raise LawfulError(f"'{place}': expected FILE.py:name or module:name, as models/coin.py:model.", place=place)
    module = _from_file(Path(home)) if home.endswith(".py") else _from_name(home)
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


def _from_name(name: str) -> Any:
    sys.path.insert(0, "")
    return _executed(name, lambda: importlib.import_module(name))


def _executed(name: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:
        raise LawfulError(f"'{name}' cannot be imported: {type(error).__name__}: {error}", place=name) from error


def read_arguments(program: Callable[..., Any], path: str | Path | None) -> tuple[Any, ...]:
    """Read the arguments of a program from a JSON file: an object by name, or a list in order.

    Raises: LawfulError for a file that is no JSON, and for names that the program does not take or that are missing.

    >>> read_arguments(lambda: None, None)
    ()
    """
    data: Any = {} if path is None else _read(Path(path))
    if not isinstance(data, dict | list):
        raise LawfulError(f"{path}: expected an object of arguments by name, or a list of them.", path=str(path))
    signature = inspect.signature(program)
    try:
        if isinstance(data, list):
            bound = signature.bind(*map(as_argument, data))
        else:
            bound = signature.bind(**{name: as_argument(value) for name, value in data.items()})
    except TypeError as error:
        given = ", ".join(data) if isinstance(data, dict) else f"{len(data)} values"
        raise LawfulError(
            f"the program takes {signature}, and the data give {given or 'nothing'}: {error}. Fix: name the arguments "
            "in the file that --data gives.",
            given=given,
        ) from error
    bound.apply_defaults()
    if bound.kwargs:
        raise LawfulError(f"arguments that have to be named, as {', '.join(bound.kwargs)}, are not supported.")
    return bound.args


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise LawfulError(f"{path}: {error.strerror}.", path=str(path)) from error
    except ValueError as error:
        raise LawfulError(f"{path} is no JSON: {error}.", path=str(path)) from error


def as_argument(value: Any) -> Any:
    """Turn lists into arrays, also inside objects.

    >>> as_argument({"y": [1.0, 2.0], "n": 3})
    {'y': array([1., 2.]), 'n': 3}
    """
    if isinstance(value, dict):
        return {name: as_argument(inner) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise LawfulError(f"a list of data has rows of different lengths: {error}.") from error
    if array.dtype.kind not in "biuf":
        raise LawfulError(
            "a list of data holds texts, nulls or objects; expected numbers or truth "
            "values. Fix: give missing values as a number and a list of truth values beside them, for obs_mask."
        )
    return array
