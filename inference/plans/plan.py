"""Plan: an inference that was built from a model and waits for a key and the model's arguments.

Law: a second call with equal shapes runs the compiled program of the first; nothing is traced again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.addresses import show_address
from lawful.backends.compile_options import in_a_program
from lawful.errors import LawfulError, UnsupportedProgramError, kind_of
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.calls import positional
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.inspection.lint.observed_data import checked_data
from lawful.inspection.lint.scales import checked_scales
from lawful.inspection.lint.unread_inputs import gaps, unread_arguments
from lawful.tracing.free_variables import Watch, users_in
from lawful.tracing.number_arguments import with_inputs
from lawful.tracing.primitives import in_a_trace
from lawful.tracing.trace import source_of, trace

from ..findings.findings import Finding
from ..representations.parameters import Around
from ..running.environment import seed_of
from ..running.memory import in_index_range

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Subject(NamedTuple):
    """The program that results are about, with its Form and its data."""

    model: Any
    form: Form
    observed: dict[str, np.ndarray]


@dataclass
class Prepared:
    """A model traced on its arguments, with what an inference compiled for it.

    Attributes:
        form: of what is run.
        inputs: the arrays among the arguments.
        args: the arguments, with arrays for numbers that are inputs.
        built: what was compiled.
        subject: the user's program; it is what is run, but where an inference wrote a program around it.
        seed: of the run, as `seed_of` tells it; None where there is none yet, or it is not known.
        elsewhere: what was other where the run began, as versions, if it goes on from a checkpoint.
    """

    form: Form
    inputs: list[Any]
    args: tuple[Any, ...]
    built: Any
    subject: Subject
    seed: Any = None
    elsewhere: tuple[str, ...] = ()

    @property
    def observed(self) -> dict[str, np.ndarray]:
        """The data of the program that results are about."""
        return self.subject.observed

    @property
    def unread(self) -> tuple[Finding, ...]:
        """Tell of data that nothing reads; where a site has their name and shape the result is not ok."""
        return tuple(
            Finding("UNOBSERVED" if one.site else "UNREAD_ARGUMENT", f"{one.found} Fix: {one.remedy}",
                    (show_address(one.site),) if one.site else ())
            for one in unread_arguments(self.subject.form, self.subject.model, self.args)
        )  # fmt: skip

    def gaps(self, sites: Sequence[str]) -> str:
        """Say, for an error about some sites, where arguments that they read hold NaN."""
        told = gaps(self.subject.form, self.subject.model, self.args, self.inputs, sites)
        return f" {told}" if told else ""


@dataclass
class Builder:
    """Traces a model, checks its data, and builds once per Form and what the user's functions in the settings read.

    Attributes:
        model: what is run.
        build: makes of its Form what a plan needs.
        runs: how many of the algorithm there are.
        about: the program that results are about; None for the model, or for that inside `Around`.
    """

    model: Callable[..., Any] | Form
    build: Callable[[Form], Any]
    runs: int = 1
    about: Any = None
    _built: dict[Any, Any] = field(default_factory=dict)
    _users: tuple[Any, ...] = ()
    _watch: Watch | None = None
    _last: tuple[Form, list[Any], Subject] | None = None

    def __call__(self, args: tuple[Any, ...], key: Any = ..., named: Mapping[str, Any] = NOTHING) -> Prepared:
        """Prepare a call, with the user's key where one belongs to it, and with arguments by name."""
        args = positional(self.subject, args, named)
        if key is not ...:
            refuse_traced((key, args), SAMPLER)
        if self._watch is None:
            self._users = users_in((self.build, self.model), self, *map(source_of, (self.model, self.subject)))
            self._watch = Watch(self._users)
        if not self._users:  # these get the inputs one by one, and count on numbers not to be among them
            args = with_inputs(self.model, args)
        seed = None if key is ... else seed_of(key)
        form = trace(self.model, *args)
        inputs, _, _ = split_arguments(args)
        if len(inputs) != len(form.inputs):
            raise LawfulError(f"the traced form takes {len(form.inputs)} arrays, but was called with {len(inputs)}.")
        refuse_other_data(form, inputs)
        subject = self._checked(form, inputs, args)
        return Prepared(form, inputs, args, self._made(form, self._watch), subject, seed)

    def _made(self, form: Form, watch: Watch) -> Any:
        """Build for a Form, or find it."""
        key = form, watch.key
        if key not in self._built:
            with jax.core.eval_context():  # the caller may be traced; what is kept for later calls never is
                built = self.build(form)
            if isinstance(getattr(built, "form", None), Form):
                in_index_range(built.form, self.runs)
            key = form, watch.ran()
            self._built[key] = built
        return self._built[key]

    @property
    def subject(self) -> Any:
        """The program that results are about."""
        if isinstance(self.model, Around):
            return self.model.model
        return self.model if self.about is None else self.about

    def _checked(self, form: Form, inputs: list[Any], args: tuple[Any, ...]) -> Subject:
        """Check the data; arrays of JAX do not change, so the same ones need no second look."""
        if self._last is None or self._last[0] is not form or not all(map(operator.is_, self._last[1], inputs)):
            checked_scales(form, inputs)
            observed = checked_data(form, inputs)
            model = self.subject
            if model is self.model:
                found = Subject(self.model, form, observed)
            else:
                inside = trace(model, *args)
                found = Subject(model, inside, checked_data(inside, inputs))
            self._last = form, inputs, found
        return self._last[2]


# What jit, vmap and grad can take in place of a call that gives a result.
SAMPLER = "draw = plan.sampler(*arguments), which jit and vmap take: draw(key, *arguments) gives draws by name"


def refuse_traced(given: Any, remedy: str) -> None:
    """Refuse a call from inside jit, vmap or grad that makes a result: its checks and its text need numbers.

    Args:
        given: key and arguments of the call.
        remedy: what to do.
    """
    traced = [x for x in jax.tree.leaves(given) if isinstance(x, jax.core.Tracer)]
    if not traced and not (in_a_trace() and in_a_program()):  # the first is asked in a microsecond
        return
    which = f" (traced: {', '.join(map(kind_of, traced))})" if traced else ""
    raise UnsupportedProgramError(
        f"an inference was called inside jit, vmap or grad{which}: a result holds numbers, checks and text, which "
        f"these cannot follow. Fix: {remedy}; or call it outside, in a loop of Python."
    )
