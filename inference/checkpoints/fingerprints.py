"""Fingerprints: what a run was of, so that a checkpoint is not taken up by another one.

Law: a run with another model, other data, another algorithm or other settings is refused, and told what differs by its
name; other versions or another device are allowed, and end the promise of equal bits.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lawful.errors import CheckpointMismatch
from lawful.form import Form
from lawful.form.digest import digest
from lawful.tracing.number_arguments import as_written

from ..laws.resampling_schemes import is_named
from .form_digests import constants_of, content, digests_of, short

__all__ = ["check", "fingerprints"]

LONGEST = 1 << 16  # characters of a text that is kept itself
LIBRARIES = ("lawful", "jax", "jaxlib", "numpyro", "numpy")
SHOWN = 8  # differences that a message names
CODES = 2  # how codes are made; those of sites that were made otherwise are not compared
SCHEME_CODE = re.compile("Scheme[0-9a-f]{16}")  # older files have it in place of the name of a scheme


def fingerprints(
    form: Form | None, args: tuple[Any, ...] | Mapping[str, Any], settings: Mapping[str, Any], algorithm: Any = None
) -> dict[str, Any]:
    """Describe a run, as JSON.

    Args:
        form: the traced program; None where there is none.
        args: arguments of the program, or data by name.
        settings: by name; numbers, texts, and nests of them as they are, arrays and other objects by a digest.
        algorithm: what runs; a text, or anything as in settings.

    Returns: of the model its text, and a code for each site; of the data types, shapes and digests; settings; versions,
        device and precision.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     return lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)
    >>> found = fingerprints(lawful.trace(model, 0.5), (0.5,), {"draws": 10})
    >>> sorted(found["model"]["sites"]), found["settings"]
    (['return', 'x', 'y'], {'draws': 10})
    >>> check(found, found)
    ()
    """
    named = args if isinstance(args, Mapping) else {f"argument {i}": arg for i, arg in enumerate(args)}
    return {
        "codes": CODES,
        "model": _model(form),
        "data": {name + path: told for name, arg in named.items() for path, told in _data(arg)},
        "algorithm": _plain(algorithm),
        "settings": {str(name): _plain(value) for name, value in settings.items()},
        "versions": {name: _version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "x64": bool(jax.config.read("jax_enable_x64")),
    }


def check(header: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[str, ...]:
    """Compare a stored run with this one.

    Args:
        header: of a checkpoint, with what `fingerprints` gave under that name; or that itself.
        expected: `fingerprints` of this run.

    Returns: flags, one for each other version, device or precision: results are then equal in law, not in bits.

    Raises: CheckpointMismatch with all that differs, in `differing`.
    """
    stored = header.get("fingerprints", header)
    expected = json.loads(json.dumps(expected))
    flags = tuple(
        f"{name}: {old} where it was stored, {new} now"
        for name, (old, new) in _changes(_environment(stored), _environment(expected)).items()
    )
    versions = any(flag.split(":")[0] not in ("device", "x64") for flag in flags)
    same = stored.get("codes") == expected["codes"]
    differing = _models(stored.get("model") or {}, expected.get("model") or {}, operations=not versions and same)
    for part in ("data", "settings"):
        changes = _changes(stored.get(part) or {}, expected.get(part) or {})
        differing += [
            f"{part} {name} ({_brief(old)} stored, {_brief(new)} now)"
            for name, (old, new) in changes.items()
            if same or not SCHEME_CODE.fullmatch(str(old))
        ]
    old, new = stored.get("algorithm"), expected.get("algorithm")
    if _text(old) != _text(new):
        differing.append(f"algorithm ({_brief(old)} stored, {_brief(new)} now)")
    if differing:
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise CheckpointMismatch(
            f"the checkpoint is of another run. It differs in: {'; '.join(differing[:SHOWN])}{more}. Fix: give what it "
            "was made with, or another folder to start anew.",
            differing=tuple(differing),
        )
    return flags


# What is stored


def _model(form: Form | None) -> dict[str, Any] | None:
    if form is None:
        return None
    text, sites, constants = form.show(), digests_of(form), constants_of(form)
    if len(text) + _room(sites) > LONGEST:  # codes alone, by the start of the name
        joined: dict[str, list[str]] = {}
        for name, code in sites.items():
            joined.setdefault(name.split("[")[0], []).append(code)
        sites = {name: short(codes) for name, codes in joined.items()}
        if _room(sites) > LONGEST:
            sites = {"of many sites, one": short(sites)}
    if _room(constants) > LONGEST:
        constants = {"one of many constants": short(constants)}
    return {"text": text if len(text) <= LONGEST else digest(text), "sites": sites, "constants": constants}


def _room(codes: Mapping[str, str]) -> int:
    return sum(len(name) + len(code) + 8 for name, code in codes.items())


def _data(arg: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), _plain(leaf)) for path, leaf in jax.tree_util.tree_flatten_with_path(arg)[0]]


def _plain(value: Any) -> Any:
    """Give a value as JSON: arrays by type, shape and digest, objects by what they are made of."""
    value = as_written(value)
    if is_named(value):
        return value.name
    if value is None or isinstance(value, str | bool | int | float):
        return value if not isinstance(value, str) or len(value) <= 200 else short(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array) and np.ndim(value):
        if not jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key) and value.dtype != object:
            array = np.asarray(value)
            return f"{array.dtype}{list(array.shape)} {digest(array.tobytes())[:32]}"
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    text = content(value)
    return text if len(text) <= 200 else f"{type(value).__qualname__} {short(text)}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


# How it is compared


def _environment(told: Mapping[str, Any]) -> dict[str, Any]:
    return {**(told.get("versions") or {}), "device": told.get("device"), "x64": told.get("x64")}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Give the values that differ, by name; NaN is equal to itself, and 1 is not True."""
    names = dict.fromkeys([*old, *new])
    both = {name: (old.get(name, _Missing), new.get(name, _Missing)) for name in names}
    return {name: pair for name, pair in both.items() if _text(pair[0]) != _text(pair[1])}


class _Missing:
    """Stands for what is not there."""


def _text(value: Any) -> str:
    return "nothing" if value is _Missing or value is None else json.dumps(value, sort_keys=True)


def _brief(value: Any) -> str:
    text = "nothing" if value is _Missing else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _models(old: Mapping[str, Any], new: Mapping[str, Any], *, operations: bool) -> list[str]:
    """Compare two models by the lines of their sites and their constants, with equal versions by all operations."""
    lines = _changes(_lines(old), _lines(new))
    found = [f"model, site {name} ({_brief(was)} stored, {_brief(now)} now)" for name, (was, now) in lines.items()]
    if operations and not found:
        for name, (was, now) in _changes(old.get("sites") or {}, new.get("sites") or {}).items():
            how = "is gone" if now is _Missing else "is new" if was is _Missing else "is computed by other operations"
            found.append(f"model, {name} ({how})")
    if not found and "constants" in old:  # files of older versions have none
        changed = _changes(old["constants"], new.get("constants") or {})
        found += [f"model, {name} (other numbers than were stored)" for name in changed]
    if not found and old.get("text") != new.get("text"):
        found.append("model (its text)")
    return found


def _lines(model: Mapping[str, Any]) -> dict[str, str]:
    """Read the line of each site off the text of a form."""
    told = [line.strip().partition(" ~ ") for line in str(model.get("text", "")).splitlines()]
    return {name: law for name, mark, law in told if mark}
