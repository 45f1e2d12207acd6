"""Jump: between two models with their own sites, by a map and its inverse (reversible jump).

Law: the two maps together are one involution on the choices of both models and their auxiliary choices, so the kernel
is the involutive one; a site that does not run has no value that it could read.

Reference: Green (1995), Reversible jump Markov chain Monte Carlo computation and Bayesian model determination.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lawful import scope, switch
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of
from lawful.tracing.trace import trace

from ...contract import Contract
from ...representations.kernel_form import KernelForm
from ..base.base import INVARIANT
from ..local.arms import active_sites
from .involutive import Involutive
from .taken import taken

WAYS = ("forth", "back")


@dataclass(frozen=True)
class Jump:
    """A jump between two models; see `jump`."""

    site: str
    between: tuple[Any, Any]
    forth: Callable[..., Any] | None = None
    back: Callable[..., Any] | None = None
    auxiliary: Callable[..., Any] | None = None
    back_auxiliary: Callable[..., Any] | None = None
    contract: Contract = INVARIANT

    def build(self, program: Form) -> KernelForm:
        """Write the involution of both ways."""
        return self.involutive(program).build(program)

    def plan(self, program: Form) -> list[str]:
        """Say which site the jump moves, and what it draws."""
        made = self.involutive(program)
        moves = set(made.parts(program).map.touched)
        return [f"{c.name}: {f'moved by {self!r}' if i in moves else 'not moved'}"
                for i, c in enumerate(choices_of(program))]  # fmt: skip

    def involutive(self, program: Form) -> Involutive:
        """Make the kernel for a program.

        Raises: LawfulError where a way does not give what the other model needs.
        """
        return Involutive(*_Ways(self, program).both())

    def __repr__(self) -> str:
        """Show the models."""
        return f"jump({self.site!r}, {self.between})"


def jump(
    site: str,
    between: tuple[Any, Any],
    forth: Callable[..., Any] | None = None,
    back: Callable[..., Any] | None = None,
    *,
    auxiliary: Callable[..., Any] | None = None,
    back_auxiliary: Callable[..., Any] | None = None,
) -> Jump:
    """Jump between two models, each with the sites that run there: reversible jump.

    The site `site` chooses the model, as the index of a `switch` or the condition of a `cond`. From the first model the
    kernel proposes the second one, from the second the first, and elsewhere it stays. Each way is a function of the
    sites that run in its model and of the auxiliary choices drawn there, by name; it gives those of the other model.
    Sites of both models that a way leaves out keep their values. Several models take a `mixture` of jumps.

    Args:
        site: name of the integer site that chooses.
        between: its values in the two models.
        forth: (choices, auxiliary) of the first model -> (choices, auxiliary) of the second. Default: the auxiliary
            choices are the values of the sites of the same names.
        back: its inverse, from the second model to the first.
        auxiliary: samples what `forth` needs besides: a program of the first model's choices by name, or of these and
            of the model's arguments as a proposal of `mh`. Default: nothing.
        back_auxiliary: the same for `back`.

    Raises: when the kernel is built, LawfulError where a way gives other sites than the model has to which it leads, or
        where the two ends have different numbers of continuous coordinates.

    Reference: Green (1995), Reversible jump Markov chain Monte Carlo computation and Bayesian model determination.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     two = lawful.sample("two", dist.Bernoulli(0.5))
    ...     a = lawful.sample("a", dist.Normal(0.0, 1.0))
    ...     b = lawful.cond(two == 1, lambda: lawful.sample("b", dist.Normal(0.0, 1.0)), lambda: a)
    ...     lawful.sample("y", dist.Normal(jnp.stack([a, b]), 1.0), obs=y)
    >>> def half(current):
    ...     lawful.sample("d", dist.Normal(0.0, 1.0))
    >>> def split(x, u):
    ...     return {"a": x["a"] - u["d"], "b": x["a"] + u["d"]}, {}
    >>> def merge(x, u):
    ...     return {"a": (x["a"] + x["b"]) / 2}, {"d": (x["b"] - x["a"]) / 2}
    >>> kernel = jump("two", (0, 1), split, merge, auxiliary=half)
    >>> kernel.plan(lawful.trace(model, jnp.zeros(2)))
    ["two: moved by jump('two', (0, 1))", "a: moved by jump('two', (0, 1))", "b: moved by jump('two', (0, 1))"]
    """
    if not isinstance(between, tuple) or len(between) != 2 or between[0] == between[1]:
        raise LawfulError(f"jump: expected two different values of {site!r} as a pair, got {between!r}.", site=site)
    if (forth is None) != (back is None):
        raise LawfulError("jump: expected both forth and back, or neither. Fix: the one is the inverse of the other.")
    if forth is None and auxiliary is None:
        raise LawfulError("jump: expected an auxiliary program that samples the sites of the second model.")
    return Jump(site, between, forth, back, auxiliary, back_auxiliary)


class _Ways:
    """Both ways for a program, checked, as one map and one auxiliary program."""

    def __init__(self, jump: Jump, program: Form) -> None:
        self.jump, self.program, self.site = jump, program, jump.site
        self.chooser, self.names = active_sites(program, jump.site, jump.between)
        self.choices = {c.name: c for c in choices_of(program)}
        self.programs = jump.auxiliary, jump.back_auxiliary
        self.drawn = [self._drawn(program, i) for i in range(2)]
        self.moved = [self._moved(i) for i in range(2)]
        sizes = [self._size(self.names[i], self.choices) + self._size(self.drawn[i], self.drawn[i]) for i in range(2)]
        if sizes[0] != sizes[1]:
            ends = (f"{jump.site} = {value} with {', '.join((*self.names[i], *self.drawn[i])) or 'nothing'}"
                    for i, value in enumerate(jump.between))  # fmt: skip
            raise LawfulError(
                f"{jump!r}: {sizes[0]} continuous coordinates at one end and {sizes[1]} at the other: "
                f"{'; '.join(ends)}. Fix: let an auxiliary program draw one value for each coordinate that is missing."
            )

    def both(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Give the map and the auxiliary program of the involution."""
        return self.map, self.auxiliary

    def which(self, current: Mapping[str, Any]) -> Any:
        """Number of the way from the current model; 2 for none."""
        here = current[self.site]
        first, second = (here == value for value in self.jump.between)
        return jnp.where(first, 0, jnp.where(second, 1, 2)).astype(jnp.int32)

    def auxiliary(self, current: Mapping[str, Any], *arrays: Any) -> None:
        """Sample what the way from the current model needs."""

        def sampled(way: int) -> None:
            with scope(WAYS[way]):
                self._sample(way, current, arrays)

        switch(self.which(current), [partial(sampled, 0), partial(sampled, 1), lambda: None])

    def map(self, choices: Mapping[str, Any], auxiliary: Mapping[str, Any]) -> tuple[Any, Any]:
        """Go the way from the current model."""
        touched = [name for name in self.choices if any(name in moved for moved in self.moved)]

        def gone(way: int) -> tuple[Any, Any]:
            given = {n: auxiliary[f"{WAYS[way]}.{n}"] for n in self.drawn[way]}
            new, kept = self._way(way)({n: choices[n] for n in self.names[way]}, given)
            end = self._typed(jnp.asarray(self.jump.between[1 - way]), self.chooser)
            there = {n: self._typed(new.get(n, choices[n]), self.choices[n]) for n in touched}
            empty = {n: jnp.zeros_like(v) for n, v in auxiliary.items()}
            there_too = {f"{WAYS[1 - way]}.{n}": self._typed(kept[n], c) for n, c in self.drawn[1 - way].items()}
            return {**there, self.site: end}, {**empty, **there_too}

        def still() -> tuple[Any, Any]:
            return {n: choices[n] for n in (*touched, self.site)}, dict(auxiliary)

        out: tuple[Any, Any] = jax.lax.switch(self.which(choices), [partial(gone, 0), partial(gone, 1), still])
        return out

    def _sample(self, way: int, current: Mapping[str, Any], arrays: Sequence[Any]) -> None:
        program = self.programs[way]
        if program is not None:
            given = {n: current[n] for n in self.names[way]}
            by_place, named = taken(program, 1, self.program, repr(self.jump)).given(arrays)
            program(given, *by_place, **named)

    def _drawn(self, program: Form, way: int) -> dict[str, Choice]:
        """List what a way draws."""
        state = {n: jax.ShapeDtypeStruct(c.full_shape, c.dtype) for n, c in self.choices.items()}
        arrays = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.inputs]
        form = trace(lambda current, *given: self._sample(way, current, given), state, *arrays)
        return {c.name: c for c in choices_of(form)}

    def _way(self, way: int) -> Callable[..., Any]:
        """Give the function of a way; by default sites and auxiliary choices of the same names change places."""
        given = (self.jump.forth, self.jump.back)[way]
        if given is not None:
            return given
        names = tuple(self.drawn[1 - way])
        return lambda x, u: (dict(u), {n: x[n] for n in names if n in x})

    def _moved(self, way: int) -> set[str]:
        """Check what a way gives, and list the sites that it moves."""
        there, name = self.names[1 - way], f"{self.jump!r}, {WAYS[way]}"
        x = {n: jax.ShapeDtypeStruct(self.choices[n].full_shape, self.choices[n].dtype) for n in self.names[way]}
        u = {n: jax.ShapeDtypeStruct(c.full_shape, c.dtype) for n, c in self.drawn[way].items()}
        try:
            result = jax.eval_shape(self._way(way), x, u)
        except KeyError as error:
            raise LawfulError(
                f"{name}: the map reads {error}, which does not run there; given: {', '.join((*x, *u)) or 'nothing'}."
            ) from error
        if not isinstance(result, tuple) or len(result) != 2 or not all(isinstance(part, Mapping) for part in result):
            raise LawfulError(
                f"{name}: expected two dictionaries, of choices and of auxiliary choices, got {result!r}."
            )
        wanted = {n: self.choices[n] for n in there}
        self._check(name, result[0], wanted, [n for n in there if n not in self.names[way]], "a site of that model")
        self._check(name, result[1], self.drawn[1 - way], list(self.drawn[1 - way]), "drawn on the way back")
        return set(result[0]) | (set(self.names[0]) ^ set(self.names[1]))

    def _check(
        self, name: str, given: Mapping[str, Any], known: Mapping[str, Choice], needed: Sequence[str], what: str
    ) -> None:
        for key in given:
            if key not in known:
                raise LawfulError(
                    f"{name}: it gives {key!r}, which is not {what}: {', '.join(known) or 'none'}.", site=key
                )
            expected, got = known[key], given[key]
            if tuple(got.shape) != expected.full_shape:
                raise LawfulError(
                    f"{name}: it gives {key!r} the shape {tuple(got.shape)}, expected {expected.full_shape}.", site=key
                )
        for key in needed:
            if key not in given:
                raise LawfulError(
                    f"{name}: it does not give {key!r}, which is {what}. Fix: return its value.", site=key
                )

    def _size(self, names: Any, choices: Mapping[str, Choice]) -> int:
        """Number of continuous coordinates."""
        found = (choices[n] for n in names)
        return sum(math.prod(c.full_shape) for c in found if jnp.issubdtype(c.dtype, jnp.floating) and not c.law.atoms)

    def _typed(self, value: Any, choice: Choice) -> jax.Array:
        array = jnp.asarray(value)
        if jnp.issubdtype(array.dtype, jnp.inexact) != jnp.issubdtype(choice.dtype, jnp.inexact):
            raise LawfulError(
                f"{self.jump!r}: it gives '{choice.name}' the type {array.dtype}, expected {choice.dtype}: discrete "
                "values stay discrete.",
                site=choice.address,
            )
        return array.astype(choice.dtype)
