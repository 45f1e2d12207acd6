"""Predictive draws: a program run again at the choices of a result, with its observations drawn.

Law: without a result they have the joint law of prior and data; at posterior draws, that of the posterior predictive.
Only choices are given: named values are computed again, at the new arguments. An argument is what the caller gives,
also where a site observes it; the value that the site gives back is drawn. A choice that the result has no draws of
comes from its exact conditional, or is refused (see `withheld`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.backends.xla import emit
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.calls import positional
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import by_name, choices_of, dims_of
from lawful.form.labels import fitting, labels_of
from lawful.form.pipeline import per_form
from lawful.late import xarray
from lawful.passes.checked_draws import question
from lawful.passes.predict import Rerun, rerun
from lawful.passes.probe import Asked, probed
from lawful.tracing.trace import source_of, trace

from .arguments import constant_arguments, digest_of
from .batches import BatchSize, as_choice, in_batches, in_one_row
from .grouped import groups_tree
from .invalid_draws import refuse_invalid
from .record import Record, masked
from .undrawn_sites import drawn_back, withheld

type Arrays = Mapping[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Predictive(Mapping[str, Any]):
    """Predicted values: a mapping from names to arrays (chain, draw, ...).

    Attributes:
        kind: "prior", "posterior", or "predictions" where the arguments are not those of the result.
        observed: draws of the sites that the program observes.
        drawn: draws of choices that were not given.
        named: named values, computed again.
        dims: names of the axes after chain and draw.
        coords: values of dimensions.
        constants: of predictions, the arguments by name.
    """

    kind: str
    observed: Arrays
    drawn: Arrays
    named: Arrays
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    coords: Mapping[str, Any] = field(default_factory=dict)
    constants: Arrays = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        for arrays in (self.observed, self.drawn, self.named):
            if name in arrays:
                return arrays[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Walk the names: observed sites, choices, named values."""
        return iter([*self.observed, *self.drawn, *self.named])

    def __len__(self) -> int:
        return len(self.observed) + len(self.drawn) + len(self.named)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(np.shape(array))}" for name, array in self.items())
        return f"Predictive({self.kind}: {shapes})"

    @property
    def groups(self) -> dict[str, Arrays]:
        """ArviZ's groups: prior and prior_predictive, posterior_predictive, or predictions with their arguments."""
        if self.kind == "prior":
            groups = {"prior": {**self.drawn, **self.named}, "prior_predictive": self.observed}
        elif self.kind == "posterior":
            groups = {"posterior_predictive": {**self.observed, **self.drawn}}
        else:
            groups = {"predictions": dict(self), "predictions_constant_data": self.constants}
        return {name: group for name, group in groups.items() if group}

    def to_datatree(self) -> xarray.DataTree:
        """Convert to a DataTree of ArviZ 1.x with these groups alone."""
        return groups_tree(self.groups, self.dims, self.coords)


def predictive(
    result: Record | None,
    model: Callable[..., Any] | Form,
    *args: Any,
    draws: int | None = None,
    key: Any = 0,
    redraw: Iterable[str | Address] = (),
    batch_size: BatchSize = "auto",
    **named: Any,
) -> Predictive:
    """Predict: run a program again at the draws of a result, or at draws of the prior.

    Observed sites are drawn: what `sample` gives back is a prediction, and the argument that it observed stays as it is
    given, for all that reads it. Choices that the result has no draws of are drawn from their exact conditional where
    finite sums and normal integrals give it, and from their own law where neither data nor draws inform them.

    Args:
        result: a result with draws of the program's choices, or None for the prior.
        model: the program; of one that a transformer rewrote the program before, whose sites have the same names.
        args: its arguments; other ones than those of the inference give predictions. Where an observation is None the
            site is drawn, and belongs to the predictions.
        draws: with a result, the largest number of draws a chain, evenly spaced, by default all; for the prior, the
            number of draws, by default 1000.
        key: a typed key, or a seed.
        redraw: names of choices that are drawn anew although the result has them, as the effects of new groups.
        batch_size: draws computed at once, or "auto"; it changes values by no more than rounding.
        named: arguments of the program by name.

    Raises: LawfulError where the draws of a choice do not fit the program at these arguments, or the result lacks those
        of a choice that is informed and has no exact conditional; NonFiniteError where a site would be drawn from
        parameters outside their constraints.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     with lawful.plate("item", 3):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> y = jnp.array([0.1, 0.2, 0.3])
    >>> inference.predictive(None, model, y, draws=5)
    Predictive(prior: y (1, 5, 3), mu (1, 5))
    >>> result = inference.importance(model, particles=20, runs=2)(jax.random.key(0), y)
    >>> inference.predictive(result, model, y, key=1)["y"].shape
    (2, 20, 3)
    """
    if draws is not None and (not isinstance(draws, int | np.integer) or draws < 1):
        raise LawfulError(f"draws: expected an integer of 1 or more, got {draws!r}.", draws=draws)
    args = positional(model, args, named)
    model = source_of(model)
    form = trace(model, *args)
    inputs, _, _ = split_arguments(args)
    anew = {as_address(name) for name in redraw}
    if result is None:
        lead, given = (1, 1000 if draws is None else int(draws)), {}
    else:
        if not result.posterior:
            raise LawfulError("predictive: the result has no draws. Fix: keep='paths', or return a value.")
        lead, kept = _lead(result, draws), _kept(_lead(result, None)[1], draws)
        held = {name: np.asarray(array)[:, kept] for name, array in result.posterior.items()}
        given = _given(held, form, anew)
        missing = withheld(result, form, given, anew)
        if missing:
            known = result.args if result.args is not None else args if _same(result, args) else None
            own = jax.random.fold_in(one_key(key), lead[0] * lead[1])  # the draws have the numbers before
            back = drawn_back(result, model, known, missing, held, own, batch_size)
            given |= _given({c.name: back[c.name] for c in missing}, form, anew)
    again, asked, run = _compiled_rerun(form, frozenset(given))
    columns: list[Any] = [np.arange(lead[0] * lead[1], dtype=np.uint32)]
    for choice in again.given:
        flat = in_one_row(given[choice.address])
        columns.append(as_choice(choice, flat))
        if choice.conditional:
            axes = tuple(range(1 + len(choice.loops), flat.ndim))
            columns.append(~np.isnan(np.asarray(flat, dtype=float)).any(axis=axes))
    answers = in_batches(functools.partial(run, one_key(key), inputs), columns, lead[0] * lead[1], batch_size)
    values = len(answers) - len(asked)
    refuse_invalid(form, asked, answers[values:], "predictive")
    arrays = [answer.reshape(*lead, *answer.shape[1:]) for answer in answers[:values]]
    return _collect(result, again, arrays, model, args, labels_of(form, args))


def _lead(result: Record, draws: int | None) -> tuple[int, int]:
    chains, length = next((np.shape(array)[:2] for array in result.posterior.values()), (0, 0))
    return chains, len(_kept(length, draws))


def _kept(length: int, draws: int | None) -> np.ndarray:
    if draws is None or draws >= length:
        return np.arange(length)
    return np.linspace(0, length - 1, draws).round().astype(int)


def _given(draws: Arrays, form: Form, anew: Collection[Address]) -> dict[Address, np.ndarray]:
    """Collect the draws of the choices that there are."""
    choices = choices_of(form)
    unknown = set(anew) - {choice.address for choice in choices}
    if unknown:
        names = ", ".join(show_address(address) for address in unknown)
        raise LawfulError(f"redraw: the program has no choice {names}.", names=tuple(unknown))
    given = {}
    for choice in choices:
        if choice.name not in draws or choice.address in anew:
            continue
        array = np.asarray(draws[choice.name])
        if array.shape[2:] != choice.full_shape:
            raise LawfulError(
                f"site '{choice.name}' ({choice.source}) has shape {choice.full_shape} at these arguments, but its "
                f"draws have {array.shape[2:]}. Fix: predict at arguments of the same shapes, or draw it anew with "
                f"redraw=['{choice.name}'].",
                site=choice.address, given=array.shape[2:], expected=choice.full_shape,
            )  # fmt: skip
        given[choice.address] = array
    return given


@per_form
def _compiled_rerun(form: Form, given: frozenset[Address]) -> tuple[Rerun, tuple[Asked, ...], Callable[..., Any]]:
    again = rerun(form, given)
    asked, recorded = probed(again.form, question)
    run = emit(replace(recorded.form, outputs=(*recorded.parts.own, *recorded.parts.values)))

    def one(key: jax.Array, inputs: Sequence[Any], index: jax.Array, values: Sequence[Any]) -> list[jax.Array]:
        return run(jax.random.fold_in(key, index), *inputs, *values)[0]

    many = jax.vmap(one, (None, None, 0, 0))
    return again, asked, jax.jit(lambda key, inputs, columns: many(key, inputs, columns[0], columns[1:]))


def _collect(
    result: Record | None,
    again: Rerun,
    answers: list[np.ndarray],
    model: Any,
    args: tuple[Any, ...],
    labels: dict[str, np.ndarray],
) -> Predictive:
    places = (*again.named, *again.drawn)
    found = by_name(places, answers)
    values = masked(found.values, found.flags)
    observed = {c.name: values[c.name] for c in again.drawn if c.address in again.observed}
    drawn = {c.name: values[c.name] for c in again.drawn if c.address not in again.observed}
    named = {c.name: values[c.name] for c in again.named}
    kind = "prior" if result is None else "posterior" if _same(result, args) else "predictions"
    known: Mapping[str, Any] = {} if result is None else result.coords
    kept = {name: known[name] for name in known if kind == "posterior" or name == "chain"}
    constants = constant_arguments(model, args, {}) if kind == "predictions" else {}
    dims = dims_of(places)
    own = fitting(labels, {name: np.shape(array)[2:] for name, array in values.items()}, dims)
    return Predictive(kind, observed, drawn, named, dims, {**own, **kept}, constants)


def _same(result: Record, args: tuple[Any, ...]) -> bool:
    """Tell whether the arguments are those of the inference; a file holds only their digest."""
    known = digest_of(result.args) if result.args is not None else result.run.get("arguments")
    return known is not None and known == digest_of(args)
