"""Planted faults in programs of what was kept: what the rejected weigh."""

import importlib

from tests.mutants.patching import rewritten

selected = importlib.import_module("lawful.inference.transformers.reweigh.selected")


def divided_once():
    """The density of n objects is divided by P(keep) once, where it is n times."""
    return rewritten(selected, "_divided", "-count * jnp.log(share)", "-jnp.log(share)")


def orders_forgotten():
    """The rejected are counted as if none could come before one that was kept."""
    return rewritten(selected, "_impute", "(orders - proposed)[number]", "-proposed[number]")


def all_expected():
    """The expected number of objects is that of all, kept or not."""
    return rewritten(selected, "_counted", "rate * share", "rate")
