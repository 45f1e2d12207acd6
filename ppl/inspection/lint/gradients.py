"""Gradients of the log density at draws from the prior, and the sites where they are NaN or infinite.

Law: a site without a finding had a gradient that is a number at each draw of finite density, and an infinite one not at
all of them. Where a program has no gradient, as with a loop without a bound, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...addresses import show_address
from ...backends.compile_options import UNFUSED
from ...backends.pointwise import ask_at_choices
from ...backends.xla import emit
from ...errors import UnsupportedProgramError
from ...form import Factor, Form, Site, walk
from ...form.choices import Choice, choices_of
from ...form.dependence import Dependence
from ...passes.probe import Probe
from ...passes.record import record
from .form_rules import LintFinding

REMEDY = (
    "guard its arithmetic: sqrt and norms have no gradient at 0, and jnp.where keeps the gradient of the arm that it "
    "does not take, so give that arm a harmless operand."
)


def slope_findings(form: Form, inputs: Sequence[Any], keys: jax.Array, graph: Dependence) -> tuple[LintFinding, ...]:
    """Return a finding nonfinite-start for the first site whose gradient is no number.

    Args:
        form: the program.
        inputs: its arrays.
        keys: one key a draw.
        graph: its dependences.
    """
    choices = choices_of(form)
    moved = [k for k, c in enumerate(choices) if jnp.issubdtype(c.dtype, jnp.floating) and 0 not in c.full_shape]
    if not moved:
        return ()
    judge, parts = _judge(form, list(inputs), choices, moved)
    try:
        jax.eval_shape(judge, keys[0])
    except (UnsupportedProgramError, NotImplementedError, TypeError, ValueError):
        return ()  # it has no gradient at all, and an inference that needs one says so
    run = jax.jit(lambda keys: jax.lax.map(judge, keys), compiler_options=UNFUSED)  # a branch runs one arm only
    finite, slopes, values = run(keys)
    finite = np.asarray(finite)
    for place, k in enumerate(moved):
        slope = np.asarray(slopes[place]).reshape(len(finite), -1)
        broken = finite & np.isnan(slope).any(axis=1)
        if not broken.any():
            broken = finite & np.isinf(slope).any(axis=1)
            if not broken.any() or not broken.all():
                continue
        row = int(broken.argmax())
        at = [np.asarray(value)[row] for value in values]
        word = "NaN" if np.isnan(slope[row]).any() else "infinite"
        return (_finding(form, graph, parts, at, choices[k], k, word, int(broken.sum()), len(finite)),)
    return ()


type _Parts = tuple[tuple[Any, ...], Callable[[Sequence[Any]], list[jax.Array]]]


def _judge(
    form: Form, inputs: list[Any], choices: Sequence[Choice], moved: Sequence[int]
) -> tuple[Callable[[jax.Array], Any], _Parts]:
    """Write what draws from the prior and differentiates, and the terms of the density."""
    recorded = record(form, ("sample",))
    draw = emit(recorded.form)
    asked, score = ask_at_choices(form, _question)

    def terms(values: Sequence[Any]) -> list[jax.Array]:
        return [jnp.sum(answer) for answer in score(inputs, list(values))]

    def judge(key: jax.Array) -> Any:
        values = recorded.split(draw(key, *inputs)[0]).values

        def total(free: list[jax.Array]) -> jax.Array:
            full = list(values)
            for k, value in zip(moved, free, strict=True):
                full[k] = value
            return jnp.sum(jnp.stack(terms(full)))

        value, slopes = jax.value_and_grad(total)([values[k] for k in moved])
        return jnp.isfinite(value), slopes, values

    return judge, (asked, terms)


def _question(node: Site | Factor) -> Any:
    if isinstance(node, Factor):
        yield Probe("score", jnp.asarray, (node.term,))
    else:
        value = node.out if node.observed is None else node.observed
        yield Probe("score", node.law.log_prob, (value, *node.parameters))


def _finding(
    form: Form, graph: Dependence, parts: _Parts, at: list[Any], choice: Choice, place: int, word: str, count: int,
    draws: int,
) -> LintFinding:  # fmt: skip
    """Find the first term whose gradient with respect to a choice is no number."""
    asked, terms = parts

    def broken(k: int) -> bool:  # one by one: a NaN times the zero that other terms get would be a NaN of theirs
        slope = jax.grad(lambda value: terms([*at[:place], value, *at[place + 1 :]])[k])(jnp.asarray(at[place]))
        return not bool(jnp.isfinite(slope).all())

    term = next((part.address for k, part in enumerate(asked) if broken(k)), choice.address)
    node = next(n for n in walk(form) if isinstance(n, Site | Factor) and n.address == term)
    shown = f" = {float(at[place]):g}" if np.ndim(at[place]) == 0 else ""
    parents = [show_address(tail) for tail, head in graph.edges if head == term]
    reads = f" It reads {', '.join(parents)}." if parents else ""
    return LintFinding(
        "nonfinite-start", "error", term, node.source,
        f"the gradient of its log density with respect to '{choice.name}' is {word} at {count} of {draws} draws from "
        f"the prior, as at {choice.name}{shown}, where the density is finite.{reads}", REMEDY,
    )  # fmt: skip
