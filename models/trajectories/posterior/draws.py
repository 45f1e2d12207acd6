"""Draws from the posterior of a mixture of trajectories, and what the classes of each are called.

Law: the density of a draw and the memberships it gives are those of the model at its parameters; the names that classes
are given depend neither on those that draws had, nor on the order of draws and chains.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np

import lawful
from lawful.inference import Result

from ...latent_classes import Relabelled, kept_draws, relabelled
from ..likelihood.density import class_log_densities, log_prior_classes
from ..model.parameters import Model, Parameters
from ..model.reports import Row, listed, reported, rows_of, ties_of
from ..model.scaling import Scaling, doubly, in_user_units
from ..reading.read_frames import Measured
from .bayes import Posed
from .priors import draw_parameters, parameters_of

__all__ = ["NamedDraws", "prior_program"]

BATCH = 1 << 16  # outcomes visited at once


@dataclass(frozen=True, repr=False)
class NamedDraws:
    """Draws of the parameters, with the names of the classes of each.

    Attributes:
        model: which mixture.
        data: what it was conditioned on.
        at: the same in standard units, with priors.
        scaling: from these to the user's.
        result: of the inference, in standard units.
        reference: the class that odds are told against, from 0 in the order of sizes.
    """

    model: Model
    data: Measured
    at: Posed
    scaling: Scaling
    result: Result
    reference: int = 0

    @cached_property
    def sites(self) -> dict[str, np.ndarray]:
        """Draws of the prior's sites, names of classes as drawn (chain, draw, ...), thinned to what can be held."""
        return {name: np.asarray(array)[:, self.kept] for name, array in self.result.posterior.items()}

    @cached_property
    def kept(self) -> np.ndarray:
        """Which draws of each chain these are, from 0 (draw,)."""
        chains, draws = np.shape(self.result.posterior["mean"])[:2]
        return kept_draws(draws, chains * len(self.data.y), self.model.n_classes)

    @cached_property
    @doubly
    def drawn(self) -> Parameters:
        """Parameters in standard units, names as drawn (chain, draw, K, ...)."""
        sites = jax.device_put(self.sites)
        return jax.tree.map(np.asarray, parameters_of(sites, self.model, self.at.knots))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of chains and of draws in each."""
        chains, draws = self.sites["mean"].shape[:2]
        return chains, draws

    @cached_property
    @doubly
    def _joint(self) -> np.ndarray:
        """Log joint density of each class and of what was seen of each person, names as drawn (D, n, K)."""
        found = _class_joint(self.model)(_flat(self.sites), self.at)
        return np.swapaxes(np.asarray(found), 1, 2)

    @cached_property
    def memberships(self) -> np.ndarray:
        """Probability of each class for each person, names as drawn (D, n, K)."""
        top = self._joint.max(axis=2, keepdims=True)
        weight = np.exp(self._joint - top)
        return weight / weight.sum(axis=2, keepdims=True)

    @property
    def log_likelihood_by_person(self) -> np.ndarray:
        """Log-likelihood of each person in the user's units (chain, draw, n)."""
        found = np.logaddexp.reduce(self._joint, axis=2).reshape(*self.shape, -1)
        seen = np.asarray(self.at.panel.mask).sum(axis=0)
        return found + self.scaling.log_jacobian(seen, 1, self.model)

    @property
    def sizes(self) -> np.ndarray:
        """Mean membership of each class, renamed, in each draw (chain, draw, K)."""
        each = self.memberships.mean(axis=1)
        return np.take_along_axis(each, self.names.order, axis=1).reshape(*self.shape, -1)

    @property
    def n(self) -> int:
        """Number of persons."""
        return len(self.data.y)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return self.model.size

    @property
    def selecting(self) -> int:
        """Number of persons where a horseshoe selects covariates; else 0."""
        return len(self.data.y) if {"gate_local", "effect_local"} & self.sites.keys() else 0

    @cached_property
    @doubly
    def log_prior(self) -> np.ndarray:
        """Log density of the prior at each draw, in standard units (chain, draw)."""
        return self.log_prior_under(self.at.priors)

    def log_prior_under(self, priors: Any) -> np.ndarray:
        """Give the log density of each draw under a prior of other scales, in standard units (chain, draw)."""
        return np.asarray(_log_prior(self.model, self.selecting)(self.sites, priors, self.at.knots))

    @cached_property
    def names(self) -> Relabelled:
        """How the classes of each draw are named: the draw of the highest posterior density names them first."""
        density = self.log_prior + self.log_likelihood_by_person.sum(axis=2)
        return relabelled(self.memberships, int(np.argmax(density)))

    @cached_property
    def draws(self) -> Parameters:
        """Parameters in standard units, classes renamed, with axes of chains and draws in front."""
        order = self.names.order

        def renamed(leaf: np.ndarray) -> np.ndarray:
            flat = leaf.reshape(len(order), *leaf.shape[2:])
            return flat[np.arange(len(order))[:, None], order].reshape(leaf.shape)

        at = jax.tree.map(renamed, self.drawn)
        return at._replace(gate=at.gate - at.gate[:, :, self.reference : self.reference + 1])

    @cached_property
    @doubly
    def parameters(self) -> Parameters:
        """The same in the user's units."""
        found = _in_user_units(self.model)(_flat(self.draws), self.scaling)
        return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(*self.shape, *leaf.shape[1:]), found)

    @property
    def rows(self) -> list[Row]:
        """What is reported, in the order and by the names of a fit of maximum likelihood."""
        names = self.data.gate_names, self.data.growth_names, self.reference, self.data.varying_names
        return rows_of(self.model, *names)

    @cached_property
    @doubly
    def ties(self) -> np.ndarray:
        """Of each reported parameter, whether it is "equal" in all classes, "fixed", or "" (R,)."""
        return ties_of(self.rows, self.model, self.at.knots, self.scaling, self.reference)

    @cached_property
    @doubly
    def values(self) -> np.ndarray:
        """Draws of the reported parameters, classes renamed (chain, draw, R)."""
        found = np.asarray(_listed(self.model, self.reference)(_flat(self.parameters)))
        return found.reshape(*self.shape, -1)

    @doubly
    def reported(self) -> Parameters:
        """Give the draws in the factors of reports, covariances in place of their factors (chain, draw, K, ...)."""
        found = _reported(self.model)(_flat(self.parameters))
        return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(*self.shape, *leaf.shape[1:]), found)


def _flat(draws: Any) -> Any:
    """Join chains and draws of each leaf."""
    return jax.tree.map(lambda leaf: jax.device_put(leaf.reshape(math.prod(leaf.shape[:2]), *leaf.shape[2:])), draws)


@lru_cache(maxsize=64)
def prior_program(model: Model, selecting: int) -> Any:
    """Give the program of the prior alone: a function of scales and bounds of knots, the same for the same model."""

    def prior(priors: Any, knots: Any) -> None:
        draw_parameters(model, priors, knots, selecting)

    return prior


@lru_cache(maxsize=64)
def _log_prior(model: Model, selecting: int) -> Any:
    """Compile the log densities of draws of the prior's sites (chain, draw, ...)."""

    @jax.jit
    def run(sites: Any, priors: Any, knots: Any) -> jax.Array:
        form = lawful.trace(prior_program(model, selecting), priors, knots)
        own = {name: sites[name] for (name,) in (site.address for site in form.sites())}  # and none of the method's
        return jax.vmap(jax.vmap(lambda choices: form.log_density(choices, priors, knots)))(own)

    return run


@lru_cache(maxsize=64)
def _class_joint(model: Model) -> Any:
    """Compile the log joint densities of classes and persons at many parameters (D, K, n)."""

    @jax.jit
    def run(sites: Any, at: Posed) -> jax.Array:
        def one(sites: Any) -> jax.Array:
            wide = jax.tree.map(lambda leaf: leaf[..., None], parameters_of(sites, model, at.knots))
            gate = log_prior_classes(wide.gate, at.panel.gate)
            return gate + class_log_densities(wide, at.panel, model, at.width)

        return jax.lax.map(one, sites, batch_size=max(1, BATCH // max(1, at.panel.y.size)))

    return run


@lru_cache(maxsize=64)
def _in_user_units(model: Model) -> Any:
    return jax.jit(jax.vmap(lambda at, scaling: in_user_units(at, model, scaling), (0, None)))


@lru_cache(maxsize=64)
def _listed(model: Model, reference: int) -> Any:
    return jax.jit(jax.vmap(lambda at: listed(at, model, reference)))


@lru_cache(maxsize=64)
def _reported(model: Model) -> Any:
    return jax.jit(jax.vmap(lambda at: reported(at, model)))
