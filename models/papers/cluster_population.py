"""Population of clusters: those of an optical catalogue, of which a second survey sees some and bounds the others.

A cluster of galaxies has a mass, a richness (galaxies counted) and a significance (depth of its shadow in the microwave
background, the Sunyaev-Zel'dovich effect, over its noise). The catalogue holds what is rich enough; of a cluster below
the threshold of the other survey only an upper limit of the significance is known. Three variants of the law of
richness: log-normal; with projected galaxies, which skew it; with entries behind which there is no cluster.

Law: a cluster of the catalogue has the density of any cluster divided by P(rich enough | relation, redshift); a limit
has the probability of all that is below it. The masses are nodes of a quadrature, so that the library sums over
them, and more nodes change the density by less and less.

Reference: Grandis and others (2025), Selection function of clusters in Dark Energy Survey year 3 data from
cross-matching with South Pole Telescope detections, arXiv:2502.12914. The forms of the relations are the usual ones of
the field; the mass function is a power law with a cut-off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr, ndtr

import lawful
from lawful import handlers, inference

__all__ = [
    "FIDUCIAL",
    "Catalogue",
    "Masses",
    "Skewed",
    "Variant",
    "cluster",
    "detected",
    "draw_catalogue",
    "population",
]

type Variant = Literal["lognormal", "projection", "contaminated"]

PIVOT, MATTER = 0.45, 0.3  # redshift at which amplitudes are meant; share of matter in the density of the universe
UNIT, LIGHTEST, HEAVIEST = 3e14, 10**13.8, 10**15.3  # solar masses
LEAST, THRESHOLD = 30.0, 4.5  # richness of the poorest cluster in the catalogue; least significance seen
FIDUCIAL: Mapping[str, float] = {
    "amplitude": 4.1, "slope": 1.0, "evolution": 0.0, "scatter": 0.2,
    "sz_amplitude": 1.6, "sz_slope": 1.5, "sz_evolution": 0.8, "sz_scatter": 0.2,
}  # fmt: skip


class Masses(NamedTuple):
    """Quadrature over masses: logs of them, in units of 3e14 solar masses, and the share that each has."""

    log: Any
    shares: Any

    @classmethod
    def of(cls, count: int = 48) -> Masses:
        """Take Gauss's rule of so many nodes for the mass function M^-2.5 exp(-M / 9e14)."""
        low, high = np.log(LIGHTEST / UNIT), np.log(HEAVIEST / UNIT)
        nodes, weights = np.polynomial.legendre.leggauss(count)
        log_mass = (high + low) / 2 + (high - low) / 2 * nodes
        shares = weights * np.exp(-2.5 * log_mass - np.exp(log_mass) / 3.0)
        return cls(log_mass, shares / shares.sum())


class Catalogue(NamedTuple):
    """What is known of n clusters: log richness, bounds of the significance (equal where it was seen), redshift."""

    richness: Any
    lower: Any
    upper: Any
    redshift: Any


class Skewed(dist.Distribution):
    """A normal law to which, with probability `fraction`, an exponential value of mean `tail` is added."""

    arg_constraints = {
        "loc": dist.constraints.real,
        "scale": dist.constraints.positive,
        "fraction": dist.constraints.unit_interval,
        "tail": dist.constraints.positive,
    }
    support = dist.constraints.real

    def __init__(self, loc: Any, scale: Any, fraction: Any, tail: Any, *, validate_args: bool | None = None) -> None:
        shape = jax.lax.broadcast_shapes(*(jnp.shape(x) for x in (loc, scale, fraction, tail)))
        self.loc, self.scale, self.fraction, self.tail = dist.util.promote_shapes(loc, scale, fraction, tail)
        super().__init__(shape, validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw values."""
        keys, shape = jax.random.split(key, 3), sample_shape + self.batch_shape
        excess = (
            self.tail
            * dist.Exponential().sample(keys[0], shape)
            * (dist.Uniform().sample(keys[1], shape) < self.fraction)
        )
        return self.loc + self.scale * dist.Normal().sample(keys[2], shape) + excess

    def log_prob(self, value: Any) -> jax.Array:
        """Score values."""
        plain = dist.Normal(self.loc, self.scale).log_prob(value) + jnp.log1p(-self.fraction)
        return jnp.logaddexp(plain, jnp.log(self.fraction / self.tail) + self._log_excess(value))

    def cdf(self, value: Any) -> jax.Array:
        """Give P(X <= value)."""
        return ndtr((value - self.loc) / self.scale) - self.fraction * jnp.exp(self._log_excess(value))

    def _log_excess(self, value: Any) -> jax.Array:
        """Log of P(X > value) with an excess less that without one."""
        rate, distance = self.scale / self.tail, (value - self.loc) / self.scale
        return rate * (rate / 2 - distance) + log_ndtr(distance - rate)


def richness_law(relation: Mapping[str, Any], log_mass: Any, redshift: Any) -> Skewed | dist.Normal:
    """Give the law of the log richness: scatter and the count's own, skewed where the relation says so."""
    mean = relation["amplitude"] + relation["slope"] * log_mass
    mean = mean + relation["evolution"] * jnp.log((1 + redshift) / (1 + PIVOT))
    scale = jnp.sqrt(relation["scatter"] ** 2 + jnp.exp(-mean))
    if "fraction" in relation:
        return Skewed(mean, scale, relation["fraction"], relation["tail"])
    return dist.Normal(mean, scale)


def cluster(relation: Mapping[str, Any], redshift: Any, masses: Masses) -> jax.Array:
    """Make one cluster, whether or not a catalogue has it.

    Args:
        relation: parameters by name, as sites of `population`; those of a variant are there or not.
        redshift: one, or (n,) in a plate.
        masses: what it can have.

    Returns: its log richness.

    >>> [site.address[0] for site in lawful.trace(cluster, dict(FIDUCIAL), 0.4, Masses.of()).sites()]
    ['mass', 'richness', 'significance']
    """
    log_mass = jnp.asarray(masses.log)[lawful.sample("mass", dist.Categorical(probs=jnp.asarray(masses.shares)))]
    richness: jax.Array = lawful.sample("richness", richness_law(relation, log_mass, redshift))
    expansion = jnp.log((MATTER * (1 + redshift) ** 3 + 1 - MATTER) / (MATTER * (1 + PIVOT) ** 3 + 1 - MATTER)) / 2
    log_signal = relation["sz_amplitude"] + relation["sz_slope"] * log_mass + relation["sz_evolution"] * expansion
    mean = jnp.sqrt(jnp.exp(2 * log_signal) + 3.0)  # the highest of the noise's peaks nearby adds the 3
    spread = jnp.sqrt(1.0 + (relation["sz_scatter"] * (mean - 3.0 / mean)) ** 2)  # to first order in the log scatter
    if "odds" in relation:
        chance = jax.nn.sigmoid(relation["odds"] + relation["odds_slope"] * (richness - jnp.log(40.0)))
        empty = lawful.sample("contaminated", dist.Bernoulli(chance)) == 1
        mean, spread = jnp.where(empty, 0.0, mean), jnp.where(empty, 1.0, spread)
    lawful.sample("significance", dist.Normal(mean, spread))
    return richness


def detected(relation: Mapping[str, Any], redshift: Any, masses: Masses) -> jax.Array:
    """Give the probability that a cluster is rich enough for the catalogue.

    Args: as of `cluster`.

    Returns: the probability, with the shape of the redshift.

    >>> round(float(detected(FIDUCIAL, 0.4, Masses.of())), 3)
    0.143
    """
    law = richness_law(relation, jnp.asarray(masses.log), jnp.asarray(redshift)[..., None])
    return jnp.sum(jnp.asarray(masses.shares) * (1.0 - law.cdf(jnp.log(LEAST))), axis=-1)


def population(
    data: Catalogue,
    variant: Variant = "lognormal",
    by: Literal["divide", "ignore"] = "divide",
    masses: Masses | None = None,
) -> dict[str, Any]:
    """Relate richness and significance to mass, from a catalogue of what was rich enough.

    Args:
        data: the catalogue, n clusters.
        variant: how richness scatters.
        by: "divide" by the probability to be in the catalogue; "ignore" takes it for a sample of all clusters.
        masses: what clusters can have; default: 48 nodes.

    Returns: the parameters by name.

    >>> data = draw_catalogue(jax.random.key(0), FIDUCIAL, np.full(5, 0.4))
    >>> form = inference.marginalise("all")(lawful.trace(population, data))
    >>> [site.address[0] for site in form.sites()][:4]
    ['amplitude', 'slope', 'evolution', 'scatter']
    """
    names = {
        "amplitude": dist.Normal(jnp.log(60.0), 0.3),
        "slope": dist.Normal(1.0, 0.3),
        "evolution": dist.Normal(0.0, 0.5),
        "scatter": dist.LogNormal(jnp.log(0.2), 0.4),
        "sz_amplitude": dist.Normal(jnp.log(5.0), 0.1),
        "sz_slope": dist.Normal(1.5, 0.1),
        "sz_evolution": dist.Normal(0.8, 0.3),
        "sz_scatter": dist.LogNormal(jnp.log(0.2), 0.3),
    }
    if variant == "projection":
        names |= {"fraction": dist.Beta(1.0, 2.0), "tail": dist.LogNormal(jnp.log(0.5), 0.4)}
    if variant == "contaminated":
        names |= {"odds": dist.Normal(-2.0, 1.0), "odds_slope": dist.Normal(0.0, 1.0)}
    relation = {name: lawful.sample(name, law) for name, law in names.items()}
    program: Callable[..., Any] = cluster
    if by == "divide":
        program = inference.selected(cluster, lambda richness: richness > jnp.log(LEAST), probability=detected)
    seen = {"richness": data.richness, "significance": lawful.Interval(data.lower, data.upper)}
    with lawful.plate("cluster", len(data.redshift)):
        handlers.condition(program, seen)(relation, data.redshift, masses or Masses.of())
    return relation


def draw_catalogue(key: jax.Array, relation: Mapping[str, Any], redshift: Any, tries: int = 64) -> Catalogue:
    """Draw clusters at each redshift until one is rich enough, and forget significances below the threshold.

    Args:
        key: a random key.
        relation: parameters by name.
        redshift: (n,).
        tries: clusters drawn at once for each that is kept.

    Returns: the catalogue, n clusters; masses are draws from 400 nodes.

    >>> draw_catalogue(jax.random.key(0), FIDUCIAL, np.full(3, 0.4)).richness > np.log(30.0)
    array([ True,  True,  True])
    """
    redshift = np.asarray(redshift)
    columns, missing = np.arange(len(redshift)), np.full(len(redshift), True)
    richness, significance = np.zeros((2, len(redshift)))
    while missing.any():
        key, fresh = jax.random.split(key)
        found = [np.asarray(x) for x in _draws(jax.random.split(fresh, tries), dict(relation), redshift)]
        kept = found[0] > np.log(LEAST)
        new, first = missing & kept.any(axis=0), np.argmax(kept, axis=0)
        richness = np.where(new, found[0][first, columns], richness)
        significance = np.where(new, found[1][first, columns], significance)
        missing = missing & ~new
    seen = significance > THRESHOLD
    return Catalogue(richness, np.where(seen, significance, -np.inf), np.where(seen, significance, THRESHOLD), redshift)


@jax.jit
def _draws(keys: jax.Array, relation: Mapping[str, Any], redshift: Any) -> tuple[jax.Array, jax.Array]:
    """Draw richness and significance (tries, n) of any clusters."""

    def universe() -> None:
        with lawful.plate("cluster", len(redshift)):
            cluster(relation, redshift, Masses.of(400))

    def once(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        choices = handlers.trace(handlers.seed(universe, key))().choices
        return choices[("richness",)], choices[("significance",)]

    return jax.vmap(once)(keys)
