"""Mutants of particle Markov chain Monte Carlo: what becomes of the reference and of its ancestors."""

from lawful.inference import backward, conditional_smc
from lawful.inference.representations import conditional
from tests.mutants.patching import patched


def reference_lost():
    """Conditional SMC draws its first particle like the others."""
    return patched(conditional, "_first", lambda original: lambda drawn, path: drawn)


def ancestors_by_weight():
    """The ancestor of the reference is drawn by weight alone, without the density of its next step."""
    return patched(conditional_smc, "aimed", lambda original: lambda weight, density: original(weight, 0.0 * density))


def backward_by_weight():
    """The walk back picks ancestors by the weights of the filter alone."""
    return patched(backward, "aimed", lambda original: lambda weight, density: original(weight, 0.0 * density))
