"""Mutants of moves along gradients: the flow, its end, the momentum, the choice of a point, and the end of tuning."""

import contextlib
import importlib

import jax.numpy as jnp

from lawful.inference.kernels.gradient import gradient, trajectories
from lawful.inference.kernels.gradient.window_adaptation import Schedule
from lawful.inference.plans.chains import chain_loop
from tests.mutants.patching import patched

hmc = importlib.import_module("lawful.inference.kernels.gradient.hmc")  # the package gives the names to functions
finite_orbits = importlib.import_module("lawful.inference.check.identities.orbit")


def half_step_missing():
    """The momentum after the last drift lacks its half kick."""

    def make(original):
        def flow(target, root, step, phase, steps):
            end, passed = original(target, root, step, phase, steps)
            return end._replace(momentum=end.momentum - trajectories.kicked(root, end.gradient, 0.5 * step)), passed

        return flow

    return patched(hmc, "flow", make)


def momentum_not_negated():
    """The flow does not turn round at its end, so that twice does not lead back."""
    return patched(hmc, "flipped", lambda original: lambda phase: phase)


def momentum_not_refreshed():
    """Every move starts with the same momentum."""

    def make(original):
        def refreshed(block, size):
            return block.constant(jnp.ones(size, jnp.result_type(float)))

        return refreshed

    return patched(gradient, "refreshed", make)


@contextlib.contextmanager
def progressive_choice_wrong():
    """A new half is taken with the inverse of the ratio of weights."""

    def make(original):
        return lambda half, tree: jnp.exp(jnp.minimum(tree - half, 0.0))

    finite_orbits._functions.clear()
    try:
        with patched(trajectories, "half_share", make) as reached:
            yield reached
    finally:
        finite_orbits._functions.clear()


def tuning_goes_on():
    """Draws learn, too, as the steps of the warm-up do."""

    class Endless(Schedule):
        def __call__(self, step):
            return super().__call__(step).at[2].set(1.0)

    def make(original):
        return lambda warmup: Endless(**vars(original(warmup)))

    return patched(chain_loop, "schedule", make)
