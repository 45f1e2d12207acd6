"""Mutants of single-site Metropolis-Hastings: the ratio and what is done with it."""

import importlib

import jax.numpy as jnp

from lawful.inference.kernels.base import acceptance
from tests.mutants.patching import patched

single_site = importlib.import_module(
    "lawful.inference.kernels.local.single_site"
)  # the package gives the name to a function


def _ratio(change):
    """Patch the ratio: `change(original, terms)` gives other weights.

    Terms: kept_new, likelihood_new, drawn_new, kept_old, likelihood_old, drawn_old, count_old, count_new.
    """
    return patched(single_site, "move_weights", lambda original: lambda *terms: change(original, terms))


def _acceptance(change):
    return patched(acceptance, "acceptance", lambda original: lambda log_ratio: change(original(log_ratio)))


def _with_drawn(times):
    """Let the densities of what is drawn enter the ratio."""

    def change(original, terms):
        ratio, difference = original(*terms)
        return ratio + times * (terms[2] - terms[5]), difference

    return _ratio(change)


def proposal_forgotten():
    """The ratio of the joint densities, prior of the redrawn parts included, without the proposal's."""
    return _with_drawn(1.0)


def proposal_inverted():
    """The proposal's ratio enters upside down: the redrawn parts count twice."""
    return _with_drawn(2.0)


def capped_too_early():
    """The ratio of the joint densities is cut off at one before the proposal's ratio is multiplied."""

    def change(original, terms):
        ratio, difference = original(*terms)
        drawn = terms[2] - terms[5]
        return jnp.minimum(ratio + drawn, 0.0) - drawn, difference

    return _ratio(change)


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
    return _ratio(lambda original, t: original(t[0], 1.02 * t[1], t[2], t[3], 1.02 * t[4], *t[5:]))


def likelihood_dropped():
    """The ratio has no likelihood: the posterior becomes the prior."""
    return _ratio(lambda original, t: original(t[0], 0 * t[1], t[2], t[3], 0 * t[4], *t[5:]))


def children_forgotten():
    """Only factors and observations are in the ratio; the children of what was redrawn are not scored again."""
    return _ratio(lambda original, t: original(jnp.zeros_like(t[0]), *t[1:3], jnp.zeros_like(t[3]), *t[4:]))


def counts_forgotten():
    """The ratio lacks n / n', the numbers of active parts of a branch."""
    return _ratio(lambda original, t: original(*t[:6], t[6], t[6]))


def inactive_counted():
    """The number of parts after a move, in n / n', counts those that do not run."""
    seen = set()

    def make(original):
        def active(self, inner, flags):
            found = original(self, inner, flags)
            if self in seen:  # the first count chooses a part, the second is that of the state after
                return [self.block.det(jnp.ones_like, flag, label="all") for flag in found]
            seen.add(self)
            return found

        return active

    return patched(single_site._Arm, "_active", make)
