"""The sides of one program that must agree: eager, the Form run node by node, staged, compiled, mapped in chunks."""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

import lawful
from lawful import handlers
from lawful.addresses import as_address
from lawful.backends.compile_options import QUICK
from lawful.backends.log_density import gather_choices, scored
from lawful.backends.xla import emit
from lawful.form.arguments.arrays import split_arguments
from lawful.passes.record import record


@dataclass(frozen=True, eq=False)
class Sides:
    """A program with its arguments, and its text."""

    program: object
    args: tuple
    text: str = ""

    @cached_property
    def form(self):
        return lawful.trace(self.program, *self.args)

    @cached_property
    def inputs(self):
        return [jnp.asarray(x) for x in split_arguments(self.args)[0]]

    # Draws: a dict from the address of each active site to its value.

    def eager(self, key):
        return handlers.trace(handlers.seed(self.program, key))(*self.args)

    def node_by_node(self, key):
        return handlers.trace(handlers.seed(self.form, key))(*self.args)

    @cached_property
    def recorded(self):
        return record(self.form, ("sample",))

    @cached_property
    def run(self):
        emitted, inputs = emit(self.recorded.form), self.inputs
        return lambda key: emitted(key, *inputs)[0]

    @cached_property
    def compiled(self):
        return jax.jit(self.run, compiler_options=QUICK)

    def mapped(self, keys):
        """Many keys in one compiled call."""
        # A map over keys turns a branch into a selection among its operands, and the check of key reuse counts that.
        with jax.debug_key_reuse(False):
            return self._mapped(keys)

    @cached_property
    def _mapped(self):
        return jax.jit(jax.vmap(self.run), compiler_options=QUICK)

    def active(self, outputs):
        """Read the active sites from the outputs of a recorded form."""
        choices = self.recorded.choices
        values = outputs[self.recorded.own : self.recorded.own + len(choices)]
        flags = iter(outputs[self.recorded.own + len(choices) :])
        found = {}
        for choice, value in zip(choices, values, strict=True):
            flag = np.asarray(next(flags)) if choice.conditional else np.ones(choice.loops, bool)
            for cell in np.ndindex(*choice.loops):
                if flag[cell]:
                    found[(*choice.address, *cell)] = np.asarray(value)[cell]
        return found

    def lane(self, outputs, index):
        return self.active([np.asarray(x)[index] for x in outputs])

    # Densities.

    def densities(self, choices):
        """The log density at given choices by every side that takes one trace."""
        return {
            "eager": handlers.log_density(self.program, choices)(*self.args),
            "node by node": handlers.log_density(self.form, choices)(*self.args),
            "staged": self.form.log_density(choices, *self.args),
        }

    @cached_property
    def scoring(self):
        """The density as a function of the values of all choices, compiled for many at once."""
        (_, function), inputs = scored(self.form), self.inputs

        def one(values):
            prior, likelihood, _ = function(inputs, values)
            return prior + likelihood

        return jax.jit(jax.vmap(one), compiler_options=QUICK)

    def mapped_density(self, many, size):
        """The log densities at many traces, some at a time in one compiled call."""
        rows = [gather_choices(scored(self.form)[0].choices, choices)[0] for choices in many]
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        return np.concatenate(
            [self.scoring([jnp.stack(column) for column in zip(*chunk, strict=True)]) for chunk in chunks]
        )


def same_density(first, second, tolerance=1e-12):
    """Whether two log densities agree: to a tolerance relative to their size, and exactly where they are -inf."""
    first, second = float(first), float(second)
    return first == second or abs(first - second) <= tolerance * max(1.0, abs(first))


def same_draws(first, second):
    """Whether two runs made the same choices: integers equal, numbers to rounding."""
    first = {as_address(a): np.asarray(v) for a, v in first.items()}
    second = {as_address(a): np.asarray(v) for a, v in second.items()}
    if first.keys() != second.keys():
        return False
    return all(_same(first[a], second[a]) for a in first)


def _same(first, second):
    if first.shape != second.shape:
        return False
    if np.issubdtype(first.dtype, np.floating):
        return np.allclose(first, second, rtol=1e-11, atol=1e-12)
    return np.array_equal(first, second)


def same_runs(sides, keys):
    """Tell whether one key gives one run on every side, for each of the keys (D4); node by node for the first alone."""
    lanes = sides.mapped(keys)
    for i, key in enumerate(keys):
        first = sides.eager(key).choices
        others = [sides.active(sides.compiled(key)), sides.lane(lanes, i)]
        others += [sides.node_by_node(key).choices] if i == 0 else []
        if not all(same_draws(first, other) for other in others):
            return False
    return True
