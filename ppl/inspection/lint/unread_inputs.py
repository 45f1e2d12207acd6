"""Unread inputs: the arrays among the arguments of a program that nothing reads, and those that hold NaN, by name.

Law: an input that is unread changes no density, whatever its values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...addresses import show_address
from ...form import Form
from ...form.arguments.arrays import is_array
from ...form.arguments.calls import named_arguments
from ...form.arguments.constant_data import holds_data
from ...form.choices import choices_of
from ...messages import Source
from .finding import LintFinding
from .precision import readers
from .settled import inputs_read


def input_names(program: Any, args: Sequence[Any]) -> list[str]:
    """Name the arrays among arguments: an argument by its parameter, what is inside it by its path.

    >>> input_names(lambda x, data: None, (np.ones(2), {"y": np.ones(3), "n": 3}))
    ['x', 'data.y']
    """
    names = []
    for top, arg in named_arguments(program, args).items():
        for path, leaf in jax.tree_util.tree_flatten_with_path(arg)[0]:
            if is_array(leaf):
                names.append(".".join([top, *map(part_name, path)]))
    return names


def part_name(part: Any) -> str:
    """Name a step of a path into nested arguments."""
    return str(next((getattr(part, key) for key in ("key", "idx", "name") if hasattr(part, key)), part))


def unread_arguments(form: Form, program: Any, args: Sequence[Any]) -> tuple[LintFinding, ...]:
    """Find the arrays among the arguments that nothing reads; those of the name and shape of a site are errors.

    Args:
        form: the Form of the program.
        program: the program; a Form has no names for its arguments, and is not looked at.
        args: its arguments.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(x, y):
    ...     lawful.sample("y", dist.Normal(x, 1.0))
    >>> [(one.level, one.site) for one in unread_arguments(lawful.trace(model, 1.0, 2.0), model, (1.0, 2.0))]
    [('error', ('y',))]
    """
    read = inputs_read(form)
    if len(read) == len(form.inputs) or isinstance(program, Form) or holds_data(form):
        return ()
    names = input_names(program, args)
    named = enumerate(zip(names, form.inputs, strict=True) if len(names) == len(form.inputs) else ())
    return tuple(_finding(form, name, v.shape) for k, (name, v) in named if k not in read)


def _finding(form: Form, name: str, shape: tuple[int, ...]) -> LintFinding:
    for choice in choices_of(form):
        if (choice.address[-1], choice.full_shape) == (name.split(".")[-1], shape):
            return LintFinding(
                "unread-argument", "error", choice.address, choice.source,
                f"site '{choice.name}' is drawn, and nothing reads the argument {name}, whose name and shape {shape} "
                "it has: the data were not observed.",
                f"give the site obs={name}; or, to draw it, pass None and its size.",
            )  # fmt: skip
    return LintFinding(
        "unread-argument", "warning", (), Source("<program>", 0),
        f"nothing reads the argument {name}, of shape {shape}: no site observes it, no value uses it.",
        f"observe it, as obs={name}, or leave it out; where its size alone is meant, pass an integer.",
    )  # fmt: skip


def gaps(form: Form, program: Any, args: Sequence[Any], inputs: Sequence[Any], sites: Collection[str]) -> str:
    """Say which of some sites read an argument that holds NaN, and where; empty where none does.

    Args:
        form: the Form of the program.
        program: the program.
        args: its arguments.
        inputs: the arrays among them.
        sites: names of the sites.
    """
    holed = first_gaps(inputs)
    reading, names, told = readers(form)[1] if holed else [], input_names(program, args), []
    for k, place in holed.items():
        hit = [name for name in map(show_address, reading[k]) if name in sites]
        if hit:
            name = f"argument {names[k]}" if len(names) == len(inputs) else "an argument"
            told.append(
                f"The {name} holds NaN, first at index {place}, and site '{hit[0]}' reads it: a "
                "covariate with gaps is to be modelled as a site with obs_mask, or its rows left out."
            )
    return " ".join(told)


def first_gaps(inputs: Sequence[Any]) -> dict[int, tuple[int, ...]]:
    """Tell which arrays hold NaN, by number, and where first."""
    return {k: tuple(map(int, places[0])) for k, x in enumerate(inputs) if len(places := nan_places(x))}


def nan_places(array: Any) -> np.ndarray:
    """Give the places (number, axes) where an array is NaN; none of one without values."""
    if isinstance(array, jax.core.Tracer) or not jnp.issubdtype(jnp.result_type(array), jnp.floating):
        return np.empty((0, 0), int)
    return np.argwhere(np.isnan(np.asarray(array)))
