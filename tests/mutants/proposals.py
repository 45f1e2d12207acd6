"""Mutants of proposals: how the weight of a site that is drawn from a proposal is computed."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from lawful.inference.kernels.jumps import redraw_one
from lawful.inference.laws import grid, symmetric_mixture, tailed
from lawful.inference.plans.guides import batches, fit, guide_plan, programs, reach, tables
from lawful.inference.transformers.propose import guide
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


def guide_unweighed():
    """What is drawn from a guide is weighed by the density of the program alone."""
    return patched(
        guide._Placed, "drawn", lambda original: lambda self, *args: (original(self, *args)[0], jnp.zeros(()))
    )


def draws_held_still():
    """The gradient of a fit takes the draws for constants, so that the parameters move nothing."""

    def held(original):
        def estimate(self, parameters, inputs, key):
            return original(replace(self, family=held_family(self.family)), parameters, inputs, key)

        return estimate

    return patched(fit.Uphill, "estimate", held)


def own_draw_in_the_baseline():
    """The baseline of a score is the mean of all draws, that of the score among them."""
    return patched(fit, "others", lambda original: lambda terms: jnp.full_like(terms, jnp.mean(terms)))


def masses_held_still():
    """The gradient of a sum over the values of finite sites takes their masses for constants."""
    return patched(
        tables.Tables,
        "log_mass",
        lambda original: lambda self, at, numbers: jax.lax.stop_gradient(original(self, at, numbers)),
    )


def scale_of_tails_left_out():
    """The density of heavier tails is that of the law before its scales were changed."""
    return patched(
        tailed.Tailed,
        "log_prob",
        lambda original: lambda self, value: original(self, value) + self.event_shape[0] * jnp.log(self.factor),
    )


def cells_with_all_the_mass():
    """The cells of a grid have the mass one, as if no draw came from its tails."""
    return patched(
        grid.Grid, "log_prob", lambda original: lambda self, value: original(self, value) - jnp.log1p(-grid.TAILS)
    )


def modes_unseen():
    """A guide is not told of the modes at which searches ended."""
    return patched(guide_plan, "missed", lambda original: lambda *given: iter(()))


def chains_that_stay():
    """Chains from the draws of a guide end where they began."""
    return patched(reach, "acceptance", lambda original: lambda log_ratio: 0 * original(log_ratio))


def program_without_jacobian():
    """The density of a guide that is a program is that of the values, not of their coordinates."""

    def of_values(original):
        def log_density(self, parameters, inputs, vector):
            jacobian = self.runs.place(jax.random.key(0), *inputs, *self.frame.parts(vector))[0][0]
            return original(self, parameters, inputs, vector) - jacobian

        return log_density

    return patched(programs.Way, "log_density", of_values)


def batch_counted_once():
    """The elements of a batch count once, and not for all of the plate."""
    return patched(batches, "multiple", lambda original: lambda count, size: 1.0)


def held_family(family):
    """A family whose draws do not follow its parameters."""

    class Held:
        def __init__(self, law):
            self.law = law

        def sample(self, key, shape):
            return jax.lax.stop_gradient(self.law.sample(key, shape))

        def log_prob(self, value):
            return self.law.log_prob(value)

    return replace(family, law=lambda parameters: Held(family.law(parameters)))


def another_element_scored():
    """The way back of a redraw scores the first element, whichever was drawn anew."""
    return patched(
        redraw_one._Element, "__call__", lambda original: lambda self, value, which: original(self, value, 0 * which)
    )
