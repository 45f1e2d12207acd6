"""Batches: steps of a fit read some elements of a plate, which stand for all of them.

Law: a batch of `size` of the `count` elements is drawn without replacement, each set as likely, and the sum of its
terms counts `count / size` times, so that the mean over all batches is the log density of the program, and that of the
gradients its gradient. The terms are those of the program traced on the rows of the batch, so that a step takes the
time of these. That an element reads its own row of the arguments alone, and nothing else a row, is proved from the
operations; that the program does not read the number or the places of the rows is seen by a batch before a fit.

Reference: Hoffman, Blei, Wang and Paisley (2013), Stochastic variational inference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.compile_options import quickly
from lawful.errors import LawfulError, UnsupportedProgramError, without_fix
from lawful.form import Form
from lawful.form.arguments.arrays import arguments_of
from lawful.form.choices import choices_of
from lawful.passes.fill_absent import unguarded
from lawful.tracing.trace import trace

from ...kernels.base.frame import Frame, frame_of
from ...transformers.log_marginals import Elements, elements_of, weighed
from ..searches.target import target_of

POINT = 0.3  # the coordinates run from - to + this where a batch is compared with the whole
SAME = 1e3  # roundings of the largest term, by which the two may differ


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of the elements of a plate.

    Attributes:
        plate: its name.
        count, size: of its elements, and of those of a batch.
        form: the program.
        axes: for each input the axis of the elements; None where it is the same for all.
        part: the program on the rows of a batch.
        asker: who asks, for messages.
    """

    plate: str
    count: int
    size: int
    form: Form
    axes: tuple[int | None, ...]
    part: Form
    asker: str

    @cached_property
    def terms(self) -> Elements:
        """The terms of a batch."""
        return elements_of(self.part, self.plate, None, self.axes)

    @cached_property
    def frame(self) -> Frame:
        """The program on the rows of a batch, which count for all."""
        return frame_of(weighed(self.part, self.terms, multiple(self.count, self.size)), self.asker)

    def rows(self, key: jax.Array) -> jax.Array:
        """Draw the numbers of the elements of a batch."""
        return first_of_shuffle(key, self.count, self.size)

    def of_rows(self, inputs: Sequence[Any], rows: jax.Array) -> tuple[Any, ...]:
        """Give the inputs of the batch of some rows."""
        pairs = zip(inputs, self.axes, strict=True)
        return tuple(x if axis is None else jnp.take(jnp.asarray(x), rows, axis) for x, axis in pairs)

    @cached_property
    def _compared(self) -> Callable[..., Any]:
        """Compile the three parts of the last rows, in their order from the end, by themselves and in the whole."""
        whole, target = elements_of(self.form, self.plate, None, self.axes), target_of(self.form, self.asker)
        vector = jnp.linspace(-POINT, POINT, target.frame.size)

        def both(inputs: tuple[Any, ...]) -> Any:
            rows = jnp.arange(self.count)[::-1][: self.size]
            values = target.sites(inputs, vector)
            own = self.terms.function(self.terms.arrays(self.of_rows(inputs, rows)), values)
            elements, *rest = whole.function(whole.arrays(inputs), values)
            return own, (elements[rows], *rest)

        return quickly(both)

    def refuse_other_terms(self, inputs: Sequence[Any]) -> None:
        """Compare a batch with the same rows of the whole, at one point.

        Raises: UnsupportedProgramError where their terms differ.
        """
        parts = zip(("terms", "terms outside of the plate", "a prior"), *self._compared(tuple(inputs)), strict=True)
        for what, own, whole in parts:
            near = SAME * float(jnp.finfo(whole.dtype).eps)
            largest = np.max(np.abs(np.nan_to_num(whole)), initial=1.0)
            if not np.allclose(own, whole, rtol=0.0, atol=near * largest, equal_nan=True):
                why = f"has other values of {what} than the same rows among all {self.count}"
                raise not_of_rows(self.asker, self.form, {self.plate: self.size}, self.axes, why)


def multiple(count: int, size: int) -> float:
    """Say for how many elements each of a batch stands."""
    return count / size


def first_of_shuffle(key: jax.Array, count: int, size: int) -> jax.Array:
    """Draw numbers below `count` without replacement: a shuffle that ends when `size` are in their places.

    >>> sorted(first_of_shuffle(jax.random.key(0), 4, 4).tolist())
    [0, 1, 2, 3]
    """
    others = jax.random.randint(key, (size,), jnp.arange(size), count)

    def swap(place: jax.Array, rows: jax.Array) -> jax.Array:
        one, other = rows[place], rows[others[place]]
        return rows.at[place].set(other).at[others[place]].set(one)

    return jax.lax.fori_loop(0, size, swap, jnp.arange(count))[:size]


def batches_of(form: Form, model: Callable[..., Any], batch: Mapping[str, int], asker: str) -> Batches:
    """Write the batches of a plate of a program; an argument has rows along its first axis of as many elements.

    Raises:
        LawfulError: there is no such plate, or it has fewer elements.
        UnsupportedProgramError: latent sites stand in the plate, or a site is discrete; an element is not seen to read
            its own row alone; or the program on some rows is no program, or another one.
    """
    ((plate, size),) = batch.items()
    told = f"{asker}: batch={batch!r}"
    _refuse_plate(form, plate, size, told)
    count = _sizes(form)[plate]
    axes = tuple(next((k for k, n in enumerate(v.shape) if n == count), None) for v in form.inputs)
    try:
        elements_of(form, plate, None, axes)
    except LawfulError as error:
        raise UnsupportedProgramError(
            f"{told}: {_without_fix(error)}. Expected elements that each read their own row of the arguments, which "
            "nothing else reads. Fix: give what is computed of all rows, as their mean or number, as an argument of "
            "its own; or no batch.",
            plate=plate,
        ) from error
    shapes = [
        jax.ShapeDtypeStruct(tuple(size if k == axis else n for k, n in enumerate(v.shape)), v.dtype)
        for v, axis in zip(form.inputs, axes, strict=True)
    ]
    try:
        part = unguarded(trace(model, *(argument.made(shapes) for argument in arguments_of(form).values())))
        known, whole = frame_of(part, asker), frame_of(form, asker)
    except (LawfulError, TypeError, ValueError) as error:
        raise not_of_rows(asker, form, batch, axes, f"fails: {_without_fix(error)}") from error
    if _sizes(part).get(plate) != size:
        raise not_of_rows(asker, form, batch, axes, f"has a plate '{plate}' of {_sizes(part).get(plate)}")
    if [c.address for c in known.choices] != [c.address for c in whole.choices] or known.shapes != whole.shapes:
        raise not_of_rows(asker, form, batch, axes, "has latent sites of other shapes")
    return Batches(plate, count, size, form, axes, part, asker)


def _sizes(form: Form) -> dict[str, int]:
    """Give the sizes of the plates in which sites stand."""
    return {frame.name: frame.size for c in choices_of(form, ("sample", "observed")) for frame in c.frames}


def _refuse_plate(form: Form, plate: str, size: int, told: str) -> None:
    """Refuse a plate that is not there, or whose elements are not apart given the sites that are fitted."""
    sizes = _sizes(form)
    if plate not in sizes:
        there = ", ".join(f"'{name}' of {count}" for name, count in sizes.items()) or "none"
        raise LawfulError(f"{told}: no site stands in the plate '{plate}'; the plates are: {there}. Fix: name one.")
    if size > sizes[plate]:
        raise LawfulError(
            f"{told}: expected at most the {sizes[plate]} elements of the plate '{plate}', got {size}. Fix: "
            f"batch={{'{plate}': {sizes[plate]}}}, or no batch."
        )
    for bad, what in (
        (lambda c: any(frame.name == plate for frame in c.frames), "latent in the plate, and no step has all its data"),
        (lambda c: not jnp.issubdtype(c.dtype, jnp.floating), "discrete, and steps on batches move continuous sites"),
    ):
        found = [choice for choice in choices_of(form) if bad(choice)]
        if found:
            raise UnsupportedProgramError(
                f"{told}: {', '.join(f"'{c.name}' ({c.source})" for c in found)} is {what}. Fix: write the law of the "
                "data with it summed out, as dist.MixtureSameFamily; or no batch.",
                sites=tuple(c.address for c in found),
            )


def _without_fix(error: Exception) -> str:
    """Give the first line of a message without its remedy, for another one."""
    return without_fix(error).removeprefix("log_marginals: ")


def not_of_rows(
    asker: str, form: Form, batch: Mapping[str, int], axes: Sequence[int | None], why: str
) -> UnsupportedProgramError:
    """Say that a program on some rows of its data is no program, or another one."""
    ((plate, size),) = batch.items()
    known = arguments_of(form).items()
    taken = ", ".join(name for name, own in known if any(axis is not None for axis in axes[own.inputs]))
    return UnsupportedProgramError(
        f"{asker}: batch={batch!r}: the model on {size} rows of its data ({taken or 'no argument has them'}) {why}. "
        "Expected a model that says the same of a row whichever others there are. Fix: take from the arguments what "
        f"has a row for each element, from their shapes the size of the plate, as lawful.plate('{plate}', len(y)), and "
        "their number or places from an argument of its own.",
        plate=plate,
    )
