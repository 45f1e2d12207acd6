"""Mutants of particle Markov chain Monte Carlo: what becomes of the reference and of its ancestors."""

import importlib

from lawful.form.builder import Block
from lawful.inference.representations import conditional
from lawful.inference.representations.kernel_form import scoped
from lawful.inference.transformers import backward_sampling as backward
from lawful.inference.transformers import conditional_smc
from tests.mutants.patching import patched

refresh = importlib.import_module("lawful.inference.kernels.combine.refresh")  # the package has a function so


def reference_lost():
    """Conditional SMC draws its first particle like the others."""
    return patched(conditional, "_first", lambda original: lambda drawn, path: drawn)


def ancestors_by_weight():
    """The ancestor of the reference is drawn by weight alone, without the density of its next step."""
    return patched(conditional_smc, "aimed", lambda original: lambda weight, density: original(weight, 0.0 * density))


def backward_by_weight():
    """The walk back picks ancestors by the weights of the filter alone."""
    return patched(backward, "aimed", lambda original: lambda weight, density: original(weight, 0.0 * density))


def estimated_anew():
    """A pseudo-marginal kernel estimates the likelihood of the current parameters anew at every step."""

    def make(original):
        def kept(block, known, inputs, here, log_density):
            inner, given = Block(), tuple(v.like() for v in (*inputs, *here))
            fresh = refresh.anew(inner, known, given[: len(inputs)], given[len(inputs) :], "parameters").log_weight
            return block.splice(scoped(inner.form(given, (fresh,)), ("~anew",)), [*inputs, *here])[0]

        return kept

    return patched(refresh, "kept_weight", make)
