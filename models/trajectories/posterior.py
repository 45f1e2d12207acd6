"""A posterior of a mixture of trajectories: what survives a change of names of the classes, and classes by name.

Law: every number is a function of the draws as a set: names that draws gave the classes, the order of the draws and of
the chains change nothing. Classes come by decreasing size; all is in the user's units.

Source: specification sections 9.2 and 9.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

import lawful
from lawful.errors import DeadPopulationError, LawfulError
from lawful.inference import Result
from lawful.inference.densities import scored_draws
from lawful.inference.evidence import pooled_evidence
from lawful.inference.findings import Finding
from lawful.record import choices_of
from lawful.tracing import split_arguments

from ..latent_classes import Relabelled, co_membership, kept_draws, membership_interval, occupied_classes, relabelled
from ..latent_classes.invariants import tails
from .bayes import Posed
from .density import class_log_densities, log_prior_classes
from .parameters import Model, Parameters
from .plots.posterior import PosteriorPlots
from .precision import doubly
from .priors import draw_parameters, parameters_of
from .reading import Measured
from .reports import Row, listed, reported, rows_of
from .scaling import Scaling, in_user_units
from .selection import inclusion_weights, scales_of

if TYPE_CHECKING:
    import xarray

__all__ = ["TrajectoryPosterior"]

BATCH = 1 << 16  # outcomes visited at once
STUCK = "Chains stay where they began: they may be in different modes, all of which method='smc' visits."


@dataclass(frozen=True, repr=False)
class TrajectoryPosterior:
    """Draws from the posterior of a mixture of trajectories, with summaries.

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

    def __repr__(self) -> str:
        """Tell the posterior in a line."""
        k, n = self.model.n_classes, len(self.data.y)
        codes = dict.fromkeys(finding.code for finding in self.reasons if finding.status)
        verdict = "ok" if self.ok else f"NOT OK: {', '.join(codes)}"
        evidence = f"log evidence {self.log_evidence:.2f}, " if np.isfinite(self.log_evidence) else ""
        mixture = f"{self.model.form.long_name}, {k} class{'es' * (k > 1)}, {n} persons"
        return f"<TrajectoryPosterior: {mixture}, {evidence}{verdict}>"

    @cached_property
    def reasons(self) -> tuple[Finding, ...]:
        """What the checks of the inference found, of the reported parameters after classes were renamed.

        (`result.reasons` knows no names: chains that call the classes otherwise disagree there.)
        """
        try:
            named = {f"{row.parameter}, class {row.label}": self.values[..., i] for i, row in enumerate(self.rows)}
        except DeadPopulationError:
            return self.result.reasons
        found = replace(self.result, _posterior=named).reasons
        chains = self.result.log_evidence is None
        return tuple(replace(each, message=f"{each.message} {STUCK}") if chains and each.code == "HIGH_RHAT" else each
                     for each in found)  # fmt: skip

    @property
    def ok(self) -> bool:
        """Whether no check of the inference failed; `reasons` tells why."""
        return not any(finding.status for finding in self.reasons)

    @property
    def log_evidence_by_run(self) -> np.ndarray:
        """Log evidence of each independent run, of the data in the user's units (runs,); NaN for chains."""
        if self.result.log_evidence is None:
            return np.full(1, np.nan)
        seen = int(np.asarray(self.at.panel.mask).sum())
        return np.asarray(self.result.log_evidence) + self.scaling.log_jacobian(seen, len(self.data.y), self.model)

    @property
    def log_evidence(self) -> float:
        """Log evidence of the data in the user's units, pooled over runs."""
        return pooled_evidence(self.log_evidence_by_run)[0]

    @property
    def log_evidence_error(self) -> float:
        """Its standard error by the spread of the runs; NaN for one run."""
        return pooled_evidence(self.log_evidence_by_run)[1]

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
    def _draws(self) -> Parameters:
        """Parameters in standard units, names as drawn (chain, draw, K, ...)."""
        return jax.tree.map(np.asarray, parameters_of(jax.tree.map(jnp.asarray, self.sites), self.model, self.at.knots))

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
    def _memberships(self) -> np.ndarray:
        """Probability of each class for each person, names as drawn (D, n, K)."""
        top = self._joint.max(axis=2, keepdims=True)
        weight = np.exp(self._joint - top)
        return weight / weight.sum(axis=2, keepdims=True)

    @property
    def log_likelihood(self) -> np.ndarray:
        """Log-likelihood of each person in the user's units (chain, draw, n)."""
        found = np.logaddexp.reduce(self._joint, axis=2).reshape(*self.shape, -1)
        seen = np.asarray(self.at.panel.mask).sum(axis=0)
        return found + self.scaling.log_jacobian(seen, 1, self.model)

    @property
    def sizes(self) -> np.ndarray:
        """Mean membership of each class, renamed, in each draw (chain, draw, K)."""
        each = self._memberships.mean(axis=1)
        return np.take_along_axis(each, self.names.order, axis=1).reshape(*self.shape, -1)

    @cached_property
    @doubly
    def log_prior(self) -> np.ndarray:
        """Log density of the prior at each draw, in standard units (chain, draw)."""
        selecting = len(self.data.y) if {"gate_local", "effect_local"} & self.sites.keys() else 0
        prior = lawful.trace(_prior(self.model, selecting), self.at.priors, self.at.knots)
        inputs = split_arguments((self.at.priors, self.at.knots))[0]
        return scored_draws(prior, inputs, [self.sites[c.name] for c in choices_of(prior)])

    @cached_property
    def names(self) -> Relabelled:
        """How the classes of each draw are named: the draw of the highest posterior density names them first."""
        density = self.log_prior + self.log_likelihood.sum(axis=2)
        return relabelled(self._memberships, int(np.argmax(density)))

    @cached_property
    def draws(self) -> Parameters:
        """Parameters in standard units, classes renamed, with axes of chains and draws in front."""
        order = self.names.order

        def renamed(leaf: np.ndarray) -> np.ndarray:
            flat = leaf.reshape(len(order), *leaf.shape[2:])
            return flat[np.arange(len(order))[:, None], order].reshape(leaf.shape)

        at = jax.tree.map(renamed, self._draws)
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
    def values(self) -> np.ndarray:
        """Draws of the reported parameters, classes renamed (chain, draw, R)."""
        found = np.asarray(_listed(self.model, self.reference)(_flat(self.parameters)))
        return found.reshape(*self.shape, -1)

    def estimates(self, level: float = 0.95) -> Any:
        """A frame of pandas: class, parameter, meaning, mean, sd, lower, upper, after renaming the classes of draws."""
        import pandas

        flat = self.values.reshape(-1, len(self.rows))
        lower, upper = np.quantile(flat, tails(level), axis=0)
        return pandas.DataFrame({
            "class": [row.label for row in self.rows], "parameter": [row.parameter for row in self.rows],
            "meaning": [row.meaning for row in self.rows], "mean": flat.mean(axis=0), "sd": flat.std(axis=0, ddof=1),
            "lower": lower, "upper": upper,
        })  # fmt: skip

    def class_probabilities(self) -> np.ndarray:
        """Give the probability of each class for each person, parameters not known (n, K)."""
        return self.names.mean

    def class_intervals(self, level: float = 0.95) -> np.ndarray:
        """Give the central interval of each person's probability of each class (n, K, 2)."""
        return membership_interval(self._memberships, self.names, level)

    def classify(self) -> np.ndarray:
        """Give the most probable class of each person, from 1 (n,)."""
        return 1 + np.argmax(self.class_probabilities(), axis=1)

    def co_membership(self, persons: Any = None) -> np.ndarray:
        """Give the probability that two persons belong to one class (m, m); no names are needed.

        Args:
            persons: places of m persons in the data, from 0; all by default.

        Raises: LawfulError for more than 10,000 persons.
        """
        return co_membership(self._memberships if persons is None else self._memberships[:, np.asarray(persons)])

    def occupied(self) -> np.ndarray:
        """Give the probabilities that 1, ..., K classes have a person (K,); no names are needed."""
        return occupied_classes(self._memberships)

    def sorted_functionals(self, level: float = 0.95) -> Any:
        """A frame of pandas of what can be sorted within each draw: sizes, and shapes where the curve has one.

        Columns: functional, rank from the smallest, mean, sd, lower, upper. No names are needed.
        """
        import pandas

        unit = float(self.scaling.t_scale) ** self.model.form.shape_power
        found = {"size": self._memberships.mean(axis=1)}
        if self.model.form.shape:
            found[self.model.form.shape] = self._draws.shape.reshape(-1, self.model.n_classes) * unit
        ends, rows = tails(level), []
        for name, values in found.items():
            for rank, column in enumerate(np.sort(values, axis=1).T, start=1):
                lower, upper = np.quantile(column, ends)
                rows.append((name, rank, column.mean(), column.std(ddof=1), lower, upper))
        return pandas.DataFrame(rows, columns=["functional", "rank", "mean", "sd", "lower", "upper"])

    def inclusion(self) -> Any:
        """A frame of pandas of covariates that were selected: part, covariate, weight of inclusion (see `selection`).

        Raises: LawfulError where none were: call `bayes` with select="horseshoe".
        """
        import pandas

        names = {"gate": self.data.gate_names, "effect": self.data.growth_names}
        rows = [
            ("growth" if part == "effect" else part, name, weight)
            for part, own in names.items()
            if f"{part}_local" in self.sites
            for name, weight in zip(own, inclusion_weights(scales_of(self.sites, part), len(self.data.y)), strict=True)
        ]
        if not rows:
            raise LawfulError('inclusion: no covariate was selected. Fix: call bayes(..., select="horseshoe").')
        return pandas.DataFrame(rows, columns=["part", "covariate", "weight"])

    @doubly
    def curves(self, times: Any, level: float = 0.95) -> np.ndarray:
        """Give mean and pointwise interval of the curve of each class where covariates are 0 (K, m, 3).

        Args:
            times: in the user's units (m,).
            level: of the interval.
        """
        at, form = self.parameters, self.model.form
        flat_mean = jnp.asarray(at.mean.reshape(-1, form.q)).T[..., None]
        shape = at.shape.reshape(-1, 1) if form.shape else np.zeros((flat_mean.shape[1], 1))
        found = np.asarray(form.value(jnp.asarray(times, float)[None], jnp.asarray(shape), flat_mean))
        by_class = found.reshape(-1, self.model.n_classes, found.shape[1])
        lower, upper = np.quantile(by_class, tails(level), axis=0)
        return np.stack([by_class.mean(axis=0), lower, upper], axis=-1)

    @property
    def plot(self) -> PosteriorPlots:
        """Pictures: `plot.curves()`, `persons()`, `shape()`, `membership(fit)` and `checks(key)`."""
        return PosteriorPlots(self)

    @doubly
    def to_datatree(self, predictive: int | bool = False, key: Any = 0) -> xarray.DataTree:
        """Convert to a DataTree of ArviZ: draws with renamed classes, log_likelihood by person, statistics, data.

        Odds of the gate are those of the other classes against the reference. Evidence is that of `log_evidence`.

        Args:
            predictive: from how many draws the outcomes are drawn anew, into the group posterior_predictive; True for
                200.
            key: a key of `jax.random`, or a seed, for these.

        Raises: LawfulError where predictive is no number of draws.
        """
        from .datatree import tree_of

        return tree_of(self, predictive, key)

    @doubly
    def reported(self) -> Parameters:
        """Give the draws in the factors of reports, covariances in place of their factors (chain, draw, K, ...)."""
        found = _reported(self.model)(_flat(self.parameters))
        return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(*self.shape, *leaf.shape[1:]), found)


def _flat(draws: Any) -> Any:
    """Join chains and draws of each leaf."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(math.prod(leaf.shape[:2]), *leaf.shape[2:])), draws)


@lru_cache(maxsize=64)
def _prior(model: Model, selecting: int) -> Any:
    def prior(priors: Any, knots: Any) -> None:
        draw_parameters(model, priors, knots, selecting)

    return prior


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
