"""Planted faults in ratios of programs and in orders of drawing: what a value weighs."""

import importlib

from tests.mutants.patching import rewritten

tilt = importlib.import_module("lawful.inference.transformers.reweigh.tilt")
unmask = importlib.import_module("lawful.inference.transformers.reweigh.unmask")


def density_alone():
    """The weight is a power of the other density, where it is one of the ratio."""
    return rewritten(tilt, "_log_weight", "there - here", "there")


def arms_unchecked():
    """The other program scores a choice that it does not make."""
    return rewritten(tilt, "_log_density", "jnp.where(same, prior + likelihood, -jnp.inf)", "prior + likelihood")


def guesses_kept():
    """What a step guessed the mass to be stays in the weight."""
    return rewritten(unmask, "_log_weight", "now - before", "now")


def all_drawn():
    """A step divides by the probability of sites that it does not draw."""
    return rewritten(unmask, "_log_weight", "jnp.where(group, proposed, 0.0)", "proposed")
