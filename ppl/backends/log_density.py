"""Log density: the log density of a form at given choices, as a function that JAX compiles and differentiates.

Law: it equals the eager score of the same program at the same choices, and only the sites of arms that run are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import as_address
from ..errors import LawfulError
from ..form import Form
from ..form.arguments.arrays import split_arguments
from ..form.arguments.constant_data import refuse_other_data
from ..form.choices import Choice
from ..form.operations.device import device_array
from ..form.pipeline import per_form
from ..passes.thread_sites import Threaded, score
from .xla import emit


@per_form
def scored(form: Form) -> tuple[Threaded, Callable[..., Any]]:
    """Return the scoring form and its compiled function `f(inputs, values) -> (log prior, log likelihood, flags)`."""
    with jax.ensure_compile_time_eval():  # the caller may be traced; the constants of a Form never are
        result = score(form)
    run = emit(replace(result.form, outputs=result.form.outputs[result.own :]))

    @jax.jit
    def function(inputs: Any, values: Any) -> Any:
        outputs, _ = run(jax.random.key(0), *inputs, *values)
        return outputs[0], outputs[1], outputs[2:]

    return result, function


def log_density(form: Form, choices: Mapping[Any, Any], *args: Any) -> jax.Array:
    """Score a form: log prior plus log likelihood, -inf outside the support.

    Args:
        form: the form.
        choices: values by name or address; a loop's site takes one array with the steps as leading axis, or one entry
            per step under the address with its index.
        args: the arguments that the program was traced with.

    Raises: LawfulError for a missing site that is active, an unknown name, or a wrong shape.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Bernoulli(0.25)))
    >>> round(float(form.log_density({"x": 1})), 4)
    -1.3863
    """
    result, function = scored(form)
    inputs, _, _ = split_arguments(args)
    refuse_other_data(form, inputs)
    values, missing = gather_choices(result.choices, choices)
    prior, likelihood, flags = function(inputs, values)
    conditional = [c for c in result.choices if c.conditional]
    for choice, flag in zip(conditional, flags, strict=True):
        if choice.address in missing and not isinstance(flag, jax.core.Tracer) and bool(np.any(np.asarray(flag))):
            raise _missing(choice)
    return prior + likelihood


def gather_choices(wanted: tuple[Choice, ...], given: Mapping[Any, Any]) -> tuple[list[Any], set[Any]]:
    """Arrange named values in the order of a form's choices; the second result lists the absent conditional ones."""
    data = {as_address(name): value for name, value in given.items()}
    values, missing = [], set()
    addresses = {choice.address for choice in wanted}
    for choice in wanted:
        value = data.pop(choice.address, None)
        if value is None and (choice.name,) not in addresses:
            value = data.pop((choice.name,), None)  # as results write it
        if value is None and choice.loops:
            value = _steps(choice, data)
        if value is None:
            if not choice.conditional and 0 not in choice.full_shape:
                raise _missing(choice)
            missing.add(choice.address)
            value = np.zeros(choice.full_shape, choice.dtype)
        array = device_array(value)
        if array.shape != choice.full_shape:
            raise _misshapen(choice, choice.name, array.shape, choice.full_shape)
        values.append(array.astype(choice.dtype))
    if data:
        names = ", ".join(".".join(map(str, a)) for a in data)
        known = ", ".join(c.name for c in wanted)
        raise LawfulError(f"no latent site has the name {names}; the program has: {known}.", names=tuple(data))
    return values, missing


def _steps(choice: Choice, data: dict[Any, Any]) -> Any:
    cells = list(np.ndindex(*choice.loops))
    entries = {cell: data.pop((*choice.address, *cell), None) for cell in cells}
    absent = [cell for cell, value in entries.items() if value is None]
    if len(absent) == len(cells) or (absent and not choice.conditional):
        return None
    parts = [np.zeros(choice.shape, choice.dtype) if value is None else value for value in entries.values()]
    for cell, part in zip(cells, parts, strict=True):
        if np.shape(part) != choice.shape:
            raise _misshapen(choice, f"{choice.name}[{', '.join(map(str, cell))}]", np.shape(part), choice.shape)
    stack = jnp.stack if any(isinstance(part, jax.Array) for part in parts) else np.stack
    return stack(parts).reshape(choice.full_shape)


def _misshapen(choice: Choice, name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> LawfulError:
    return LawfulError(
        f"site '{name}' ({choice.source}): given shape {given}, expected {expected}.", site=choice.address
    )


def _missing(choice: Choice) -> LawfulError:
    return LawfulError(
        f"site '{choice.name}' ({choice.source}) is active but has no value: give choices['{choice.name}'] of shape "
        f"{choice.full_shape}.",
        site=choice.address,
    )
