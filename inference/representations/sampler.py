"""Sampler: a program without factors and observations, whose value is a draw.

Meaning: the law of the draw, a probability measure. Law: `sampler` refuses a program whose measure its draws would not
have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from lawful.addresses import show_address
from lawful.backends.xla import compile
from lawful.errors import LawfulError
from lawful.form import Factor, Form, Site, walk
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.calls import positional
from lawful.form.arguments.random_keys import one_key
from lawful.tracing.number_arguments import with_inputs
from lawful.tracing.trace import trace


@dataclass(frozen=True)
class Sampler:
    """A Form that only draws."""

    form: Form

    def draw(self, key: jax.Array, *inputs: Any) -> list[jax.Array]:
        """Draw once; the outputs of the Form."""
        return compile(self.form)(key, *inputs)[0]


def sampler(form: Form) -> Sampler:
    """Read a Form as a sampler.

    Raises: LawfulError for a Form with a factor or an observation, whose weight a sampler would forget.
    """
    for node in walk(form):
        if isinstance(node, Factor) or (isinstance(node, Site) and node.observed is not None):
            raise LawfulError(
                f"sampler: '{show_address(node.address)}' ({node.source}) weighs the program, and a sampler "
                "would forget the weight. Fix: use inference.importance or another inference.",
                site=node.address,
            )
    return Sampler(form)


def simulate(program: Callable[..., Any] | Form) -> Callable[..., Any]:
    """Draw from a program without observations and factors: `simulate(program)(key, *args)` gives what it returns.

    >>> import numpyro.distributions as dist, lawful
    >>> x = simulate(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))(jax.random.key(0))
    >>> x.shape
    ()
    """

    def run(key: Any, *args: Any, **named: Any) -> Any:
        args = with_inputs(program, positional(program, args, named))
        form = trace(program, *args)
        inputs, _, _ = split_arguments(args)
        outputs = sampler(form).draw(one_key(key), *inputs)
        return tuple(outputs) if form.out_tree is None else jax.tree.unflatten(form.out_tree, outputs)

    return run
