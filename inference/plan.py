"""Plan: an inference that was built from a model and waits for a key and the model's arguments.

Law: a second call with equal shapes runs the compiled program of the first; nothing is traced again.
"""

from __future__ import annotations

import functools
import importlib.metadata
import operator
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.observed import checked_data
from lawful.scales import checked_scales
from lawful.tracing import split_arguments, trace

from .compile_time import timed as timed
from .sizes import in_index_range

LIBRARIES = ("lawful", "jax", "numpyro", "numpy")


@dataclass
class Prepared:
    """A model traced on its arguments, with what an inference compiled for it."""

    form: Form
    inputs: list[Any]
    args: tuple[Any, ...]
    built: Any
    observed: dict[str, np.ndarray]


@dataclass
class Builder:
    """Traces a model, checks its data, and builds once per Form."""

    model: Callable[..., Any] | Form
    build: Callable[[Form], Any]
    runs: int = 1
    _built: dict[Form, Any] = field(default_factory=dict)
    _last: tuple[Form, list[Any], dict[str, np.ndarray]] | None = None

    def __call__(self, args: tuple[Any, ...]) -> Prepared:
        """Prepare a call."""
        form = trace(self.model, *args)
        inputs, _, _ = split_arguments(args)
        if len(inputs) != len(form.inputs):
            raise LawfulError(f"the traced form takes {len(form.inputs)} arrays, but was called with {len(inputs)}.")
        observed = self._checked(form, inputs)
        if form not in self._built:
            built = self.build(form)
            if isinstance(getattr(built, "form", None), Form):
                in_index_range(built.form, self.runs)
            self._built[form] = built
        return Prepared(form, inputs, args, self._built[form], observed)

    def _checked(self, form: Form, inputs: list[Any]) -> dict[str, np.ndarray]:
        """Check the data; arrays of JAX do not change, so the same ones need no second look."""
        if self._last is None or self._last[0] is not form or not all(map(operator.is_, self._last[1], inputs)):
            checked_scales(form, inputs)
            self._last = form, inputs, checked_data(form, inputs)
        return self._last[2]


class Subject(NamedTuple):
    """The program that a result is about, with its Form and its data."""

    model: Any
    form: Form
    observed: dict[str, np.ndarray]


def subject(model: Any, prepared: Prepared, *, within: bool = False) -> Subject:
    """Give the program that a result is about: the model, but for one that an inference wrote around a user's program.

    Args:
        model: the model of a plan; `about` is the program inside, if it has such.
        prepared: what the plan runs.
        within: whether that is another program around the model, as one with a proposal.
    """
    program = getattr(model, "about", model)
    if program is model and not within:
        return Subject(model, prepared.form, prepared.observed)
    form = trace(program, *prepared.args)
    return Subject(program, form, checked_data(form, split_arguments(prepared.args)[0]))


def one_key(key: Any) -> jax.Array:
    """Read a user's key: a typed key, or a seed as an integer."""
    if isinstance(key, (int, np.integer)):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    raise LawfulError(f"key: expected one typed key, jax.random.key(0), or an integer seed, got {type(key).__name__}.")


class Told:
    """A text that is written when it is first read, as what a plan says of itself.

    >>> str(Told(lambda: "two chains"))
    'two chains'
    """

    def __init__(self, write: Callable[[], str]) -> None:
        """Write nothing yet."""
        self._write = functools.cache(write)

    def __str__(self) -> str:
        """Write it."""
        return self._write()


def environment(settings: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Describe a run: settings, times, versions and device."""
    return {
        **settings,
        **times(seconds),
        **_versions(),
        "device": jax.default_backend(),
        "x64": bool(jax.config.read("jax_enable_x64")),
    }


def times(seconds: float) -> dict[str, float]:
    """Tell compiling and running apart, where that was measured."""
    compiling = getattr(seconds, "compiling", 0.0)
    return {"seconds": float(seconds), "compile_seconds": compiling, "run_seconds": float(seconds) - compiling}


@functools.cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}


def masked(values: Mapping[str, Any], active: Mapping[str, Any]) -> dict[str, Any]:
    """Put NaN where the arm of a conditional choice did not run."""
    out = {}
    for name, value in values.items():
        xp: Any = jnp if isinstance(value, jax.core.Tracer) else np
        array = xp.asarray(value)
        if name in active:
            flag = xp.asarray(active[name])
            flag = flag.reshape(flag.shape + (1,) * (array.ndim - flag.ndim))
            array = xp.where(flag, array, xp.nan)
        out[name] = array
    return out
