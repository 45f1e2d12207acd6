"""Mutants of single-site Metropolis-Hastings: the ratio and what is done with it."""

import importlib

import jax.numpy as jnp

from lawful.inference.kernels import redraw
from tests.mutants.patching import patched

mh = importlib.import_module("lawful.inference.kernels.mh")  # the package gives this name to a function of the module


def _ratio(change):
    """Patch the ratio; `change` is given (kept_new, likelihood_new, kept_old, likelihood_old, count_old, count_new)."""
    return patched(mh, "hastings_ratio", lambda original: lambda *terms: change(original, *terms))


def _acceptance(change):
    return patched(mh, "acceptance", lambda original: lambda log_ratio: change(original(log_ratio)))


def proposal_forgotten():
    """The ratio of the joint densities, prior of the redrawn parts included, without the proposal's."""

    def make(original):
        return lambda score, value, kept, *parameters: original(score, value, jnp.ones_like(kept), *parameters)

    return patched(redraw.KeptScore, "__call__", make)


def proposal_inverted():
    """The proposal's ratio enters upside down: the redrawn parts count twice."""

    def make(original):
        def score(self, value, kept, *parameters):
            (all_parts,) = original(self, value, jnp.ones_like(kept), *parameters)
            (kept_parts,) = original(self, value, kept, *parameters)
            return (2 * all_parts - kept_parts,)

        return score

    return patched(redraw.KeptScore, "__call__", make)


def always_accept():
    """Every proposal is accepted."""
    return _acceptance(jnp.ones_like)


def never_accept():
    """Every proposal is rejected: the kernel keeps every target and moves nowhere."""
    return _acceptance(jnp.zeros_like)


def slack():
    """The acceptance is 0.05 too high."""
    return _acceptance(lambda probability: jnp.minimum(probability + 0.05, 1.0))


def tempered():
    """The likelihood has the power 1.02."""
    return _ratio(lambda original, kn, ln, ko, lo, n, m: original(kn, 1.02 * ln, ko, 1.02 * lo, n, m))


def likelihood_dropped():
    """The ratio has no likelihood: the posterior becomes the prior."""
    return _ratio(lambda original, kn, ln, ko, lo, n, m: original(kn, jnp.zeros_like(ln), ko, jnp.zeros_like(lo), n, m))


def children_forgotten():
    """Only factors and observations are in the ratio; the children of what was redrawn are not scored again."""
    return _ratio(lambda original, kn, ln, ko, lo, n, m: original(jnp.zeros_like(kn), ln, jnp.zeros_like(ko), lo, n, m))


def counts_forgotten():
    """The ratio lacks n / n', the numbers of active parts."""
    return _ratio(lambda original, *terms: original(*terms[:4], terms[4], terms[4]))
