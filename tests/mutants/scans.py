"""Mutants of Gibbs sampling: the state that a conditional is taken at, what it weighs, and the order of the draws."""

import importlib

import jax.numpy as jnp

from lawful.form.builder import Block
from lawful.inference.representations.kernel_form import KernelForm, State, scoped, state_inputs
from tests.mutants.patching import patched

gibbs = importlib.import_module("lawful.inference.kernels.gibbs.gibbs")  # the package gives the name to a function


def stale():
    """Every site is drawn at the state before the scan, whatever was drawn since."""

    def make(original):
        first = {}

        def scan(block, part, inputs, state):
            start = first.setdefault(block, state)
            drawn, changed = original(block, part, inputs, start)
            k = next(i for i, c in enumerate(part.choices) if c.address == part.slot.address)
            values = (*state.values[:k], drawn.values[k], *state.values[k + 1 :])
            return State(values, state.flags, drawn.log_density), changed

        return scan

    return patched(gibbs, "scan", make)


def all_at_once():
    """All parts of a site are drawn at one state, also where they read each other."""

    def make(original):
        return lambda move, whole, take, indices: True

    return patched(gibbs, "_reads_only", make)


def marginal():
    """A part is drawn by its own density alone, as if nothing else depended on it."""

    def make(original):
        return lambda *terms: original(*(0 * t for t in terms[:2]), terms[2], *(0 * t for t in terms[3:5]), terms[5])

    return patched(gibbs, "log_weight", make)


def order_by_state():
    """The sites are drawn in the opposite order where the first of them is zero."""
    turned = []

    def targets(original):
        return lambda form: original(form)[:: -1 if turned else 1]

    def make(original):
        def build(self, program):
            forward = original(self, program)
            turned.append(True)
            with patched(gibbs, "_moved", targets):
                backward = original(self, program)
            turned.clear()
            block, state = Block(), state_inputs(forward.choices)
            inputs = tuple(v.like() for v in program.inputs)
            one, other = (
                block.splice(scoped(built.step, (name,)), (*inputs, *state.flat))
                for name, built in (("~one", forward), ("~other", backward))
            )
            zero = block.det(lambda x: jnp.ravel(x)[0] == 0, state.values[0], label="zero?")
            chosen = [block.det(jnp.where, zero, a, b, label="order") for a, b in zip(one, other, strict=True)]
            form = block.form((*inputs, *state.flat), chosen)
            return KernelForm(form, forward.choices, forward.info, leave=forward.leave)

        return build

    return patched(gibbs.Gibbs, "build", make)
