"""Mutants of particle Markov chain Monte Carlo: what becomes of the reference and of its ancestors."""

import importlib

from lawful.form.builder import Block
from lawful.inference.laws.resampling import EssBelow, scheme
from lawful.inference.representations import conditional
from lawful.inference.representations.densities_of import scoped
from lawful.inference.transformers import backward_sampling as backward
from lawful.inference.transformers import conditional_smc
from lawful.inference.transformers.evidence_estimate import Filter
from tests.mutants.patching import patched

pseudo_marginal = importlib.import_module(
    "lawful.inference.kernels.particles.pseudo_marginal"
)  # the package has a function so


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
        def kept(block, known, inputs, here, state):
            inner, given = Block(), tuple(v.like() for v in (*inputs, *here))
            filter_ = Filter(2, scheme("systematic"), EssBelow(0.95))
            _, fresh = pseudo_marginal.estimated(inner, known, filter_, given[: len(inputs)], given[len(inputs) :])
            return block.splice(scoped(inner.form(given, (fresh,)), ("~anew",)), [*inputs, *here])[0]

        return kept

    return patched(pseudo_marginal, "kept_estimate", make)
