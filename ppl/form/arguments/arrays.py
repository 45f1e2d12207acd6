"""Arrays: which arguments of a program become inputs of its form, and which stay Python values.

Law: arrays, floats and labelled tables of numbers become inputs; integers, truth values, text and functions do not. No
number changes on the way. A form knows its inputs by the names of the arguments that they are of.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...errors import LawfulError
from ..nodes import Form
from ..operations.device import device_array
from .calls import named_arguments

LABELLED = ("pandas", "polars", "xarray")  # whose arrays of numbers are arguments like any array


def is_array(leaf: Any) -> bool:
    """Tell whether an argument becomes an input of the Form."""
    if isinstance(leaf, jax.Array | np.ndarray | np.generic | float | complex | jax.ShapeDtypeStruct):
        return True
    return type(leaf).__module__.partition(".")[0] in LABELLED and hasattr(leaf, "__array__")


def split_arguments(args: Any, program: Any = None) -> tuple[list[Any], Callable[[Any], tuple[Any, ...]], Any]:
    """Split arguments into array leaves and the rest: (arrays, rebuild, a hashable key of shapes and static values).

    Errors name an argument by the parameter of the program, where it is given.
    """
    leaves, tree = jax.tree.flatten(args)
    dynamic = [is_array(leaf) for leaf in leaves]
    arrays = [_as_array(leaf, args, program) for leaf, is_dynamic in zip(leaves, dynamic, strict=True) if is_dynamic]
    static = tuple(leaf for leaf, is_dynamic in zip(leaves, dynamic, strict=True) if not is_dynamic)
    kinds = tuple(map(type, static))  # True equals 1, and is another argument

    def rebuild(values: Any) -> tuple[Any, ...]:
        rest, still = iter(values), iter(static)
        return jax.tree.unflatten(tree, [next(rest) if is_dynamic else next(still) for is_dynamic in dynamic])

    # An integer of Python that is an input (see `number_arguments`) has the type of what it meets.
    whole = [getattr(a, "weak_type", False) and not jax.numpy.issubdtype(a.dtype, jax.numpy.inexact) for a in arrays]
    shapes = tuple((a.shape, str(a.dtype), bool(is_whole)) for a, is_whole in zip(arrays, whole, strict=True))
    return arrays, rebuild, (tree, tuple(dynamic), kinds, static, shapes)


@jax.tree_util.register_static
@dataclass(frozen=True)
class Still:
    """A leaf of an argument that stays a Python value."""

    value: Any


@dataclass(frozen=True)
class Argument:
    """An argument of a program: its tree, whose leaves are the inputs of the Form from `start` on."""

    tree: Any
    start: int

    @property
    def inputs(self) -> slice:
        """Where its leaves stand among the inputs."""
        return slice(self.start, self.start + self.tree.num_leaves)

    def made(self, inputs: Sequence[Any]) -> Any:
        """Give the argument at values of the inputs of the Form."""
        marked = jax.tree.unflatten(self.tree, list(inputs[self.inputs]))
        return jax.tree.map(lambda x: x.value if isinstance(x, Still) else x, marked, is_leaf=_is_still)


def tree_of(program: Any, args: tuple[Any, ...]) -> Any:
    """Give the tree of the arguments of a call by their names, in their order; its leaves are the inputs."""
    marked = jax.tree.map(lambda leaf: leaf if is_array(leaf) else Still(leaf), args)
    return jax.tree.structure(OrderedDict(zip(named_arguments(program, args), marked, strict=True)))


def arguments_of(form: Form) -> dict[str, Argument]:
    """Tell the arguments of the program of a Form by name; none where they are not known.

    >>> import jax.numpy as jnp, lawful
    >>> form = lawful.trace(lambda x, n, at: x, 1.0, 3, {"y": jnp.ones(2), "z": 2.0})
    >>> at = arguments_of(form)["at"]
    >>> [*arguments_of(form)], at.inputs, at.made([1.0, "y", "z"])
    (['x', 'n', 'at'], slice(1, 3, None), {'y': 'y', 'z': 'z'})
    """
    found, start = dict[str, Argument](), 0
    if form.in_tree is not None:
        for name, tree in zip(form.in_tree.node_data()[1], form.in_tree.children(), strict=True):
            found[name] = Argument(tree, start)
            start += tree.num_leaves
    return found


def _is_still(leaf: Any) -> bool:
    return isinstance(leaf, Still)


def _as_array(leaf: Any, args: Any, program: Any) -> Any:
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return leaf
    given = np.asarray(leaf)
    if given.dtype.kind in "USOMm" or given.dtype.fields is not None:
        kind = f"{type(leaf).__module__.partition('.')[0]}.{type(leaf).__name__}"
        raise LawfulError(
            f"argument {_place(leaf, args, program)} is a {kind} of {given.dtype}: expected numbers. Fix: pass codes "
            "of its categories, as np.unique(x, return_inverse=True)[1], dates as numbers of days, or only the columns "
            "of numbers; what is missing is NaN in an observation with obs_mask."
        )
    array = device_array(given if type(leaf).__module__.partition(".")[0] in LABELLED else leaf)
    if given.dtype.kind in "iu" and given.dtype != array.dtype and given.size:
        bounds = np.iinfo(array.dtype)
        lost = next((int(x) for x in (given.min(), given.max()) if not bounds.min <= x <= bounds.max), None)
        if lost is not None:  # it would wrap
            raise LawfulError(
                f"argument {_place(leaf, args, program)} holds the integer {lost}, which {array.dtype} does not. Fix: "
                "enable jax_enable_x64, or rescale the data."
            )
    return array


def _place(leaf: Any, args: Any, program: Any) -> str:
    path = next((path for path, each in jax.tree_util.tree_flatten_with_path(args)[0] if each is leaf), ())
    if program is None or isinstance(program, Form):
        return jax.tree_util.keystr(path)
    names = list(named_arguments(program, args))
    return names[path[0].idx] + jax.tree_util.keystr(path[1:])
