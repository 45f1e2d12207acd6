"""Log densities of draws: in total, and site by site as the groups log_likelihood and log_prior of a result.

Law: at each draw the terms of both groups sum to the log density of the program, `form.log_density`; log marginals of
the elements of a plate take the place of the log likelihood where they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lawful.backends.log_density import scored
from lawful.backends.pointwise import pointwise
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.pipeline import per_form

from ..representations.element_terms import LogMarginals
from .batches import BatchSize, at_draws, in_one_row, over_rows

LANES = 1024  # draws whose totals are scored side by side

type Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Densities:
    """Terms (chain, draw, ...) by the name of the site or factor, and the names of their further axes."""

    log_likelihood: dict[str, np.ndarray]
    log_prior: dict[str, np.ndarray]
    dims: dict[str, tuple[str, ...]]


def densities(form: Form, args: tuple[Any, ...], draws: Arrays, batch_size: BatchSize = "auto") -> Densities:
    """Score draws (chain, draw, ...) of every choice, by name, part by part; NaN where an arm did not run.

    Raises: LawfulError where a choice has no draws.
    """
    parts = pointwise(form)
    _refuse_absent(form, draws)
    found: dict[str, dict[str, np.ndarray]] = {"likelihood": {}, "prior": {}}
    for part, answer in zip(parts.asked, at_draws(_scores(form), args, parts.choices, draws, batch_size), strict=True):
        found[part.kind][part.name] = answer
    return Densities(found["likelihood"], found["prior"], dict(parts.dims))


def marginals_at(found: LogMarginals, draws: Arrays, batch_size: BatchSize = "auto") -> np.ndarray:
    """Give the log marginals of the elements of a plate at draws (chain, draw, *sizes of the plates).

    Raises: LawfulError where a choice of the marginal has no draws.
    """
    _refuse_absent(found.marginal, draws)

    def elements(inputs: Sequence[Any], values: Sequence[Any]) -> list[jax.Array]:
        return [found.function(found.inputs, values)[0]]

    (answer,) = at_draws(over_rows(elements), (), found.choices, draws, batch_size)
    return answer


def _refuse_absent(form: Form, draws: Arrays) -> None:
    missing = absent_choices(form, draws)
    if missing:
        raise LawfulError(
            f"log densities need the draws of every choice; the result has none of {', '.join(missing)}. Fix: keep "
            "them (keep='paths' of inference.smc), or leave the groups out with log_likelihood=False, "
            "log_prior=False.",
            names=missing,
        )


def absent_choices(form: Form, draws: Arrays) -> tuple[str, ...]:
    """Name the choices of a form that have no draws of their shape."""
    names = []
    for choice in pointwise(form).choices:
        if choice.name not in draws or tuple(np.shape(draws[choice.name])[2:]) != choice.full_shape:
            names.append(choice.name)
    return tuple(names)


@per_form
def _scores(form: Form) -> Callable[[Sequence[Any], Sequence[Any]], list[jax.Array]]:
    """Compile the scores of many draws."""
    return over_rows(pointwise(form).function)


def scored_draws(form: Form, inputs: Sequence[Any], values: Sequence[Any]) -> np.ndarray:
    """Score draws in total: values (chain, draw, ...) of the choices in order give log densities (chain, draw)."""
    lead = np.shape(values[0])[:2]
    columns = [in_one_row(np.asarray(v)) for v in values]
    return np.asarray(log_densities(form)(list(inputs), columns)).reshape(lead) if np.prod(lead) else np.zeros(lead)


def log_densities(form: Form) -> Callable[..., Any]:
    """Compile `(inputs, values) -> log densities`: values (draw, ...) of the choices in order."""
    function = scored(form)[1]

    @jax.jit
    def run(inputs: Any, columns: Any) -> Any:
        return jax.lax.map(lambda values: sum(function(inputs, values)[:2]), columns, batch_size=LANES)

    return run
