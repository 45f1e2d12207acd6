"""Unread inputs: the arrays among the arguments of a program that nothing reads, and those that hold NaN, by name.

Law: an input that is unread changes no density, whatever its values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...addresses import Address, show_address
from ...form import Form
from ...form.arguments.arrays import is_array
from ...form.arguments.calls import named_arguments
from ...form.arguments.constant_data import holds_data
from ...form.cached import per_form
from ...form.choices import choices_of
from ...messages import Source
from .precision import readers


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


@dataclass(frozen=True)
class Unread:
    """An argument that no site observes and no value reads.

    Attributes:
        name: of the argument.
        shape: of its array.
        site: the latent site of its name and shape, if there is one: then its observation was forgotten.
        source: where the site stands.
    """

    name: str
    shape: tuple[int, ...]
    site: Address | None
    source: Source

    @property
    def found(self) -> str:
        """Say what is wrong."""
        if self.site is None:
            return (
                f"nothing reads the argument {self.name}, of shape {self.shape}: no site observes it, no value uses it."
            )
        return (
            f"site '{show_address(self.site)}' is drawn, and nothing reads the argument {self.name}, whose name and "
            f"shape {self.shape} it has: the data were not observed."
        )

    @property
    def remedy(self) -> str:
        """Say what to do."""
        if self.site is None:
            return f"observe it, as obs={self.name}, or leave it out; where its size alone is meant, pass an integer."
        return f"give the site obs={self.name}; or, to draw it, pass None and its size."


def unread_arguments(form: Form, program: Any, args: Sequence[Any]) -> tuple[Unread, ...]:
    """Find the arrays among the arguments that nothing reads.

    Args:
        form: the Form of the program.
        program: the program; a Form has no names for its arguments, and is not looked at.
        args: its arguments.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(x, y):
    ...     lawful.sample("y", dist.Normal(x, 1.0))
    >>> [(one.name, one.site) for one in unread_arguments(lawful.trace(model, 1.0, 2.0), model, (1.0, 2.0))]
    [('y', ('y',))]
    """
    if isinstance(program, Form) or holds_data(form):
        return ()
    return tuple(_one(form, name, form.inputs[k].shape) for k, name in _named(form, program, args, _unread(form)))


@per_form
def _unread(form: Form) -> tuple[int, ...]:
    read = {v for node in form.nodes for v in node.ins} | set(form.outputs)
    return tuple(k for k, v in enumerate(form.inputs) if v not in read)


def _named(form: Form, program: Any, args: Sequence[Any], numbers: Collection[int]) -> list[tuple[int, str]]:
    names = input_names(program, args) if numbers else []
    return [(k, names[k]) for k in numbers if len(names) == len(form.inputs)]


def _one(form: Form, name: str, shape: tuple[int, ...]) -> Unread:
    for choice in choices_of(form):
        if (choice.address[-1], choice.full_shape) == (name.split(".")[-1], shape):
            return Unread(name, shape, choice.address, choice.source)
    return Unread(name, shape, None, Source("<program>", 0))


def gaps(form: Form, program: Any, args: Sequence[Any], inputs: Sequence[Any], sites: Collection[str]) -> str:
    """Say which of some sites read an argument that holds NaN, and where; empty where none does.

    Args:
        form: the Form of the program.
        program: the program.
        args: its arguments.
        inputs: the arrays among them.
        sites: names of the sites.
    """
    return " ".join(_gaps(form, program, args, inputs, sites))


def _gaps(
    form: Form, program: Any, args: Sequence[Any], inputs: Sequence[Any], sites: Collection[str]
) -> Iterator[str]:
    holed = {k: at for k, x in enumerate(inputs) if len(at := nan_places(x))}
    if not holed:
        return
    reading, names = readers(form)[1], input_names(program, args)
    for k, places in holed.items():
        hit = [name for name in map(show_address, reading[k]) if name in sites]
        if hit:
            name = f"argument {names[k]}" if len(names) == len(inputs) else "an argument"
            first = tuple(map(int, places[0]))
            yield (
                f"The {name} holds NaN, first at index {first}, and site '{hit[0]}' reads it: a covariate with gaps "
                "is to be modelled as a site with obs_mask, or its rows left out."
            )


def nan_places(array: Any) -> np.ndarray:
    """Give the places (number, axes) where an array is NaN; none of one without values."""
    if isinstance(array, jax.core.Tracer) or not jnp.issubdtype(jnp.result_type(array), jnp.floating):
        return np.empty((0, 0), int)
    return np.argwhere(np.isnan(np.asarray(array)))
