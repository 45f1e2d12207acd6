"""Files: a result on disk, as the DataTree that ArviZ reads together with what it takes to make the result again.

Law: `load(save(result))` has every array of the result bit for bit, its verdict, and its refusal of dead runs. Nothing
in a file is ever run: arrays and JSON are all that is read.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError, ResultFileError
from lawful.form import Form
from lawful.form.digest import digest
from lawful.inference.checkpoints.stored_run import refuse_objects
from lawful.late import xarray

from ..checkpoints.form_digests import code_of
from ..findings.findings import Finding, Limits
from ..transformers.propose.stored_guide import restored, stored
from .arguments import digest_of
from .datatree.tree import name_of, renamed, tree_of
from .optima import Optima
from .record import Record, Warmup, WeightedParticles

FORMAT = 1
GROUP = "lawful"  # holds the header, and the arrays that ArviZ's groups hold in another form or not at all
HEADER = "header"
OWN_GROUPS = re.compile(rf"posterior|weighted_posterior|warmup_posterior|(warmup_)?sample_stats\w*|{GROUP}")

type Place = tuple[str, ...]
type _Format = tuple[Callable[[Any, Path], None], Callable[[Path], Any]]


def save(result: Record, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a result; see `Result.save`. A file that stands there is replaced only once the new one is complete."""
    target = Path(path)
    write = _format_of(target)[0]
    named = renamed(result, options.pop("dims", None), options.pop("coords", None))
    tree = _with_header(named, tree_of(named, in_full=True, **{"save_warmup": True, **options}))
    folder = Path(tempfile.mkdtemp(prefix=".saving-", dir=target.parent))
    try:
        write(tree, folder / target.name)
        if target.is_dir():
            os.replace(target, folder / "old")
        os.replace(folder / target.name, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load[Kind: Record](path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """Read a result; see `Result.load`."""
    source = Path(path)
    read = _format_of(source)[1]
    if not source.exists():
        raise ResultFileError(f"{source}: there is no such file.", path=str(source))
    try:
        tree = read(source)
    except LawfulError:
        raise
    except Exception as error:  # whatever the libraries below say of a damaged file
        raise ResultFileError(f"{source} cannot be read, so it is damaged or no file of a result: {error}.",
                              path=str(source)) from error  # fmt: skip
    return _result_of(tree, source, kind)


def _format_of(path: Path) -> _Format:
    formats: dict[str, _Format] = {".nc": (_write_netcdf, _read_netcdf), ".zarr": (_write_zarr, _read_zarr)}
    if path.suffix not in formats:
        raise LawfulError(f"{path}: expected a name that ends in .nc (netCDF) or .zarr, got '{path.suffix}'.")
    module = {".nc": "netCDF4", ".zarr": "zarr"}[path.suffix]
    try:
        __import__(module)
    except ImportError as error:
        raise LawfulError(
            f"{path}: files of this kind need {module}. Fix: pip install 'lawful[io]'.", module=module
        ) from error
    return formats[path.suffix]


def _write_netcdf(tree: Any, path: Path) -> None:
    tree.to_netcdf(path, engine="netcdf4")


def _read_netcdf(path: Path) -> Any:

    with xarray.open_datatree(path, engine="netcdf4") as tree:
        return tree.load()


def _write_zarr(tree: Any, path: Path) -> None:
    tree.to_zarr(path, mode="w", consolidated=False)


def _read_zarr(path: Path) -> Any:

    refuse_objects(path)
    with xarray.open_datatree(path, engine="zarr", consolidated=False) as tree:
        return tree.load()


# Writing


def _with_header(result: Record, tree: Any) -> Any:

    held: dict[str, Any] = {}
    entries = []
    for place, array in _arrays(result).items():
        entry = _found(tree, place, array)
        if entry is None:
            name = f"array_{len(held)}"
            held[name] = ([f"{name}_{axis}" for axis in range(array.ndim)], _storable(array))
            entry = {"group": GROUP, "name": name}
        entries.append({"place": place, **entry, "dtype": array.dtype.name, "sha256": digest(array)})
    for group, node in tree.children.items():
        for name, variable in () if OWN_GROUPS.fullmatch(group) else node.data_vars.items():
            values = np.asarray(variable.values)
            if values.dtype.kind in "biuf":
                entry = {"group": group, "name": str(name), "dtype": values.dtype.name, "sha256": digest(values)}
                entries.append({"place": ("groups", group, str(name)), **entry})
    text = json.dumps({**_header(result), "arrays": entries}, default=str)
    code = np.frombuffer(text.encode(), np.uint8)
    dataset = xarray.Dataset({**held, HEADER: (["byte"], code)}, attrs={"format": FORMAT, "sha256": digest(code)})
    tree[GROUP] = xarray.DataTree(dataset)
    for node in tree.subtree:
        for variable in node.variables.values():
            variable.encoding["_FillValue"] = None  # else reading would put one NaN for every NaN
    return tree


def _arrays(result: Record) -> dict[Place, np.ndarray]:
    """List the arrays of a result, apart from those of its further groups."""
    found: dict[Place, Any] = {("posterior", name): a for name, a in result._posterior.items()}
    if result._weighted is not None:
        found |= {("weighted", name): a for name, a in result._weighted.values.items()}
        found["log_weight",] = result._weighted.log_weight
    found |= {("stats", name): a for name, a in result.stats.items()}
    if result.warmup is not None:
        found |= {("warmup_posterior", name): a for name, a in result.warmup.posterior.items()}
        found |= {("warmup_stats", name): a for name, a in result.warmup.stats.items()}
    if result.log_evidence is not None:
        found["log_evidence",] = result.log_evidence
    found |= {("state", name): a for name, a in _state(result.state).items()}
    if result.optima is not None:
        found |= {("optima", name): a for name, a in result.optima.arrays().items()}
    guide = stored(result.guide)
    if guide is not None:
        found |= {("guide", name): a for name, a in guide[0].items()}
    return {place: _plain_array(a) for place, a in found.items()}


def _state(state: Any) -> dict[str, Any]:
    """Name the arrays of a state; one that is not a list or dictionary of arrays is not stored."""
    named: Mapping[Any, Any] = {}
    if isinstance(state, Mapping | list | tuple):
        named = state if isinstance(state, Mapping) else dict(enumerate(state))
    arrays = {str(name): a for name, a in named.items() if isinstance(a, jax.Array | np.ndarray | np.generic)}
    return arrays if len(arrays) == len(named) else {}


def _is_key(array: Any) -> bool:
    return isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def _plain_array(array: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(array) if _is_key(array) else array)


def _storable(array: np.ndarray) -> np.ndarray:
    """View a type that files lack, as bfloat16, as integers of its size."""
    if array.dtype.kind == "V" or array.dtype == np.float16:
        return array.view(f"u{array.dtype.itemsize}")
    return array


def _found(tree: Any, place: Place, array: np.ndarray) -> dict[str, str] | None:
    """Find an array in ArviZ's groups, where it stands there bit for bit."""
    groups = {
        "posterior": ("posterior",),
        "weighted": ("weighted_posterior",),
        "log_weight": ("weighted_posterior",),
        "stats": ("sample_stats", "sample_stats_smc"),
        "warmup_posterior": ("warmup_posterior",),
        "warmup_stats": ("warmup_sample_stats",),
        "log_evidence": ("sample_stats_smc",),
    }
    for group in groups.get(place[0], ()):
        node = tree.children.get(group)
        if node is not None and place[-1] in node.data_vars:
            values = np.asarray(node[place[-1]].values)
            if (values.dtype, values.shape) == (array.dtype, array.shape) and values.tobytes() == array.tobytes():
                return {"group": group, "name": place[-1]}
    return None


def _header(result: Record) -> dict[str, Any]:
    form = result.form if isinstance(result.form, Form) else None
    text = str(result.run.get("form", "")) if form is None else form.show()
    arguments = result.run.get("arguments") if result.args is None else digest_of(result.args)
    run = {name: value if _is_plain(value) else str(value) for name, value in result.run.items()}
    guide = stored(result.guide)
    keys = {name: str(jax.random.key_impl(a)) for name, a in _state(result.state).items() if _is_key(a)}
    return {
        "sampler": result.sampler,
        "interrupted": result.interrupted,
        "finished": result.finished,
        "weighted": result._weighted is not None,
        "warmup": result.warmup is not None,
        "state": type(result.state).__name__ if _state(result.state) else None,
        "keys": keys,
        "limits": dataclasses.asdict(result.limits),
        "found": [_finding(f) for f in result.found],
        "reasons": [_finding(f) for f in result.reasons],
        "dims": {name: list(axes) for name, axes in result.dims.items()},
        "coords": [name for name in result.coords],
        "guide": None if guide is None else guide[1],
        "run": {
            **run,
            "name": name_of(result),
            "form": text,
            "fingerprint": result.run.get("fingerprint", digest(text)) if form is None else code_of(form),
            "arguments": arguments,
        },
    }


def _is_plain(value: Any) -> bool:
    """Tell whether JSON holds a value as it is."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(inner) for name, inner in value.items())
    return value is None or isinstance(value, str | bool | int | float) or _is_list(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_plain, value))


def _finding(finding: Finding) -> dict[str, Any]:
    return {f.name: _json(getattr(finding, f.name)) for f in dataclasses.fields(finding)}


def _json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic | jax.Array) else value


# Reading


def _result_of[Kind: Record](tree: Any, path: Path, kind: type[Kind]) -> Kind:
    header = _read_header(tree, path)
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for entry in header["arrays"]:
        values = _checked(tree, entry, path)
        place = entry["place"]
        if place[0] != "groups":
            arrays.setdefault(place[0], {})[place[-1]] = values
    groups = {g: node.to_dataset() for g, node in tree.children.items() if not OWN_GROUPS.fullmatch(g)}
    log_evidence = arrays.get("log_evidence", {}).get("log_evidence")
    weighted = warmup = None
    if header["weighted"]:
        weighted = WeightedParticles(arrays.get("weighted", {}), arrays["log_weight"]["log_weight"])
    if header["warmup"]:
        warmup = Warmup(arrays.get("warmup_posterior", {}), arrays.get("warmup_stats", {}))
    known = {f.name for f in dataclasses.fields(Limits)}
    result = kind(
        header["sampler"],
        arrays.get("posterior", {}),
        weighted,
        arrays.get("stats", {}),
        warmup=warmup,
        log_evidence=log_evidence,
        groups=groups,
        found=tuple(map(_as_finding, header["found"])),
        limits=Limits(**{name: value for name, value in header["limits"].items() if name in known}),
        interrupted=header["interrupted"],
        finished=header["finished"],
        state=_as_state(header, arrays.get("state", {})),
        dims={name: tuple(axes) for name, axes in header["dims"].items()},
        coords=_coords(tree, header["coords"]),
        run=header["run"],
        optima=Optima.of_arrays(arrays["optima"]) if "optima" in arrays else None,
        guide=restored(arrays.get("guide", {}), header["guide"]) if header.get("guide") else None,
    )
    result.__dict__["reasons"] = tuple(map(_as_finding, header["reasons"]))  # the verdict is that of the run
    return result


def _read_header(tree: Any, path: Path) -> dict[str, Any]:
    node = tree.children.get(GROUP)
    if node is None or HEADER not in node.data_vars:
        raise ResultFileError(
            f"{path} holds no result, as it has no group '{GROUP}'. Fix: use xarray.open_datatree.",
            path=str(path),
        )
    if int(node.attrs.get("format", -1)) != FORMAT:
        raise ResultFileError(
            f"{path} has format {node.attrs.get('format')}, and this version reads format {FORMAT}.", path=str(path)
        )
    code = np.asarray(node[HEADER].values)
    if digest(code) != node.attrs.get("sha256"):
        raise ResultFileError(f"{path} is damaged: its header does not fit its checksum.", path=str(path))
    return json.loads(code.tobytes().decode())


def _checked(tree: Any, entry: Mapping[str, Any], path: Path) -> np.ndarray:
    node = tree.children.get(entry["group"])
    label = ".".join(entry["place"])
    if node is None or entry["name"] not in node.variables:
        raise ResultFileError(f"{path} is damaged: the array '{label}' is missing.", path=str(path), array=label)
    values = np.asarray(node[entry["name"]].values)
    dtype = np.dtype(entry["dtype"]) if values.dtype.name != entry["dtype"] else values.dtype
    if values.dtype.kind == "u" and values.dtype != dtype and values.dtype.itemsize == dtype.itemsize:
        values = values.view(dtype)
    if digest(values) != entry["sha256"]:
        raise ResultFileError(
            f"{path} is damaged: the array '{label}' does not fit its checksum.", path=str(path), array=label
        )
    return values


def _as_finding(fields: Mapping[str, Any]) -> Finding:
    return Finding(**{**fields, "sites": tuple(fields["sites"])})


def _as_state(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Make the state again; keys become typed keys."""
    kind = header["state"]
    if kind is None:
        return None
    made = {
        name: jax.random.wrap_key_data(jnp.asarray(a), impl=header["keys"][name]) if name in header["keys"] else a
        for name, a in arrays.items()
    }
    if kind in ("list", "tuple"):
        rows = [made[str(i)] for i in range(len(made))]
        return rows if kind == "list" else tuple(rows)
    return made


def _coords(tree: Any, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in tree.children.values():
        for name in names:
            if name in node.coords and name not in found:
                found[name] = np.asarray(node.coords[name].values)
    return {name: found[name] for name in names if name in found}
