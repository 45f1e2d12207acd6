"""Mutants of proposals: how the weight of a site that is drawn from a proposal is computed."""

import jax.numpy as jnp

from lawful.inference.kernels.jumps import redraw_one
from lawful.inference.laws import symmetric_mixture
from lawful.inference.transformers.propose.propose import Proposer
from tests.mutants.patching import patched


def _scored(change):
    """Patch `Proposer.answer`: `change(message, drawn)` is the distribution that the draw is divided by."""

    def make(original):
        return lambda self, message, value, drawn: original(self, message, value, change(message, drawn))

    return patched(Proposer, "answer", make)


def weight_forgotten():
    """A proposed draw counts as a draw from the prior."""
    return _scored(lambda message, drawn: message.distribution)


def one_order_alone():
    """The density of a symmetric mixture is that of its elements in the order in which they were given."""
    return patched(
        symmetric_mixture,
        "log_permanent",
        lambda original: lambda log_matrix: jnp.trace(log_matrix, axis1=-2, axis2=-1),
    )


def another_element_scored():
    """The way back of a redraw scores the first element, whichever was drawn anew."""
    return patched(
        redraw_one._Element, "__call__", lambda original: lambda self, value, which: original(self, value, 0 * which)
    )
