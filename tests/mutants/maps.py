"""Mutants of maps between bounded values and coordinates without bounds, and of incremental scores."""

import importlib

import jax.numpy as jnp
from numpyro.distributions import constraints
from numpyro.distributions.transforms import biject_to

from lawful.distributions import bijections as supports
from lawful.inference.algorithms.choice import centring
from lawful.inference.kernels.local import local
from lawful.inference.kernels.local.frames import Frame
from lawful.inference.representations import coordinates, partly_centred
from lawful.passes import unconstrain
from tests.mutants.patching import patched, rewritten

single_site = importlib.import_module("lawful.inference.kernels.local.single_site")


def _jacobian(change):
    """Patch the step of a random walk: `change(term)` is the log Jacobian that enters the ratio."""

    def make(original):
        def walk(self, *operands):
            *values, term = original(self, *operands)
            return (*values, change(term))

        return walk

    return patched(coordinates.Step, "__call__", make)


def jacobian_missing():
    """The ratio of a walk on a bounded site lacks the Jacobian."""
    return _jacobian(jnp.zeros_like)


def jacobian_inverted():
    """The Jacobian of the inverse map."""
    return _jacobian(jnp.negative)


def jacobian_in_the_maximum():
    """What is maximised is the density of the coordinates without bounds."""
    return patched(unconstrain, "density_on_support", lambda original: supports.to_support)


def scale_by_the_share():
    """A site that is centred by a share c is its latent value times s**c, where it is s**(1 - c)."""
    return rewritten(partly_centred, "_value", "scale ** (1 - share)", "scale**share")


def shares_without_jacobian():
    """Shares are learned from the spread of the latent value alone."""
    return rewritten(centring, "divergences", "(1.0 - share) * log_scale.mean(0)", "0.0")


def dependent_bound_forgotten():
    """The Jacobian of an interval is that of (0, 1), wherever its ends are."""

    class Unit:
        """A map whose Jacobian forgets the length of the interval."""

        def __init__(self, bijection):
            self.bijection = bijection

        def __getattr__(self, name):
            return getattr(self.bijection, name)

        def __call__(self, free):
            return self.bijection(free)

        def log_abs_det_jacobian(self, free, value):
            unit = biject_to(constraints.unit_interval)
            return unit.log_abs_det_jacobian(free, unit(free))

    def make(original):
        def bijection(law, parameters):
            found = original(law, parameters)
            return Unit(found) if parameters and law.label == "Uniform" else found

        return bijection

    return patched(supports, "_bijection", make)


def old_density_kept():
    """The change of the log density is the new one: the old one is not subtracted."""

    def make(original):
        def weights(*terms):
            ratio, _ = original(*terms)
            return ratio, terms[0] + terms[1] + terms[2]

        return weights

    return patched(single_site, "move_weights", make)


class _NewArm(Frame):
    """A frame whose view of a branch's index is the new one, also where the old is asked for."""

    def __init__(self, frame, index):
        vars(self).update(vars(frame))
        self.whole, self.index = frame, index

    def get(self, value, at=(), new=False):
        return self.whole.get(value, at, new or value is self.index)


def inactive_arm():
    """Where a branch flips the old score is that of the arm that runs now."""

    def make(original):
        def moved(self, frame, node, form):
            return original(self, _NewArm(frame, getattr(node, "index", None)), node, form)

        return moved

    return patched(local.Local, "_moved", make)
