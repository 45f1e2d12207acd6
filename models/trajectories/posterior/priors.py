"""The default priors of a mixture of trajectories: weakly informative, proper, and the same for every class.

Law: the density is unchanged when classes change their names, the gate's coefficients included, which sum to zero over
classes; so the evidence needs no correction for labels. Everything is in standard units: one standard deviation of the
outcome, one range of the times, covariates of mean 0 and SD 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError

from ...latent_classes.gates import zero_sum_gate
from ..model.parameters import Bounds, Model, Parameters, Varying, shared
from .selection import draw_scales, scales_of

__all__ = ["Priors", "draw_parameters", "parameters_of", "shared_sites", "sites_of", "usable_priors"]

INSIDE = 1e-2  # how far chains begin from an edge
# The sites that each name of `Model.equal` makes one of for all classes, and how many axes a class has of each.
EQUAL = {
    "psi": ("spread", "root"), "residual": ("noise",), "slope": ("effect",), "shape": ("place", "rate"),
    "covariates": ("x_mean", "x_spread", "x_root"), "kappa": ("direct",), "varying": ("v_mean", "v_spread"),
}  # fmt: skip
AXES = {"noise": 0, "place": 0, "rate": 0, "root": 2, "x_root": 2, "effect": 2, "v_mean": 2, "v_spread": 2}  # else 1


class Priors(NamedTuple):
    """Scales of the priors, in standard units; each is a number that may change without a new compilation.

    Attributes:
        level: SD of a class's level: of the first growth factor.
        slope: SD of a class's other growth factors.
        knot: both parameters of the Beta law of a knot between the outer times.
        rate: median of rates, and of accelerations in size; their logarithm is normal with
        rate_spread: as its SD.
        level_spread: scale of the half-normal SD between persons of factors in units of the outcome.
        slope_spread: the same for factors in other units.
        shape_spread: the same for a person's own shape.
        concentration: of the LKJ law of correlations, of growth factors and of growth covariates.
        noise: scale of the half-normal residual SD.
        effect: SD of the effect of a growth covariate, as a share of the scale of the factor's SD, and of the direct
            effect of a time-varying covariate.
        x_mean: SD of the mean of a growth covariate in a class, or of a time-varying one at a wave, and
        x_spread: scale of its half-normal SD.
        gate: SD s of the gate: K coefficients have covariance s^2 (I - 11'/K), a contrast of two has SD 1.41 s.
        relevant: how many of the candidates are expected to matter, where covariates are selected, and
        slab: scale of the coefficients of those, in units of the prior without selection.
    """

    level: Any = 1.5
    slope: Any = 4.0
    knot: Any = 2.0
    rate: Any = 2.0
    rate_spread: Any = 1.0
    level_spread: Any = 1.0
    slope_spread: Any = 2.0
    shape_spread: Any = 0.25
    concentration: Any = 2.0
    noise: Any = 0.5
    effect: Any = 0.5
    x_mean: Any = 1.0
    x_spread: Any = 1.0
    gate: Any = 1.0
    relevant: Any = 2.0
    slab: Any = 1.0


def usable_priors(priors: Any = None) -> Priors:
    """Give the scales of the priors, the usual ones for None.

    Raises: LawfulError for something else than scales, or a scale that is no positive number.

    >>> usable_priors().level
    1.5
    """
    if priors is None:
        return Priors()
    if not isinstance(priors, Priors):
        raise LawfulError(
            f"bayes: priors={priors!r}, expected scales of priors. Fix: give Priors(level=1.0), say, with as many of "
            f"{', '.join(Priors._fields)} as are to change."
        )
    for name, scale in zip(Priors._fields, priors, strict=True):
        number = np.asarray(scale)
        if number.shape or number.dtype.kind not in "iuf" or not 0 < number < np.inf:
            raise LawfulError(f"bayes: priors.{name}={scale!r}, expected a positive number. Fix: give one.")
    return priors


def draw_parameters(model: Model, priors: Priors, knots: Bounds, selecting: int = 0) -> Parameters:
    """Draw the parameters of K classes: the prior as a program, with sites in the plate "class".

    Args:
        model: which mixture.
        priors: scales.
        knots: the least and the largest value of a knot.
        selecting: number of persons, where a horseshoe selects covariates of the gate and of growth; else 0.

    Returns: the parameters, as `unpack` gives them, except that the gate sums to zero over classes.

    >>> from lawful import handlers
    >>> drawn = handlers.seed(draw_parameters, jax.random.key(0))
    >>> at = drawn(Model("BLS", 3, p_gate=1), Priors(), Bounds(0.1, 0.9))
    >>> at.mean.shape, bool(((at.shape > 0.1) & (at.shape < 0.9)).all())
    ((3, 3), True)
    """
    sites = draw_shared(model, priors, selecting) | draw_classes(model, priors) | draw_effects(model, priors)
    return parameters_of(sites, model, knots)


def draw_shared(model: Model, priors: Priors, selecting: int = 0) -> dict[str, jax.Array]:
    """Draw what belongs to no class alone: the gate, and the scales of a horseshoe."""
    priors = _arrays(priors)
    sites = {"gate": zero_sum_gate(1 + model.p_gate, model.n_classes, priors.gate)}
    if selecting and model.p_gate and model.n_classes > 1:
        sites |= draw_scales("gate", model.p_gate, selecting, priors.relevant, priors.slab)
    if selecting and model.p_growth:
        sites |= draw_scales("effect", model.p_growth, selecting, priors.relevant, priors.slab)
    return sites


def shared_sites(model: Model) -> frozenset[str]:
    """Give the names of sites of which there is one for all classes, outside of their plate."""
    return frozenset(site for name in model.equal for site in EQUAL[name])


def draw_classes(model: Model, priors: Priors) -> dict[str, jax.Array]:
    """Draw what belongs to each class but the effects of growth covariates: sites in the plate "class".

    What is equal in all classes is drawn once, before them.
    """
    return _drawn(_laws(model, _arrays(priors)), model)


def _drawn(laws: Mapping[str, dist.Distribution], model: Model) -> dict[str, jax.Array]:
    """Draw from each law once, or once a class."""
    once = shared_sites(model)
    found = {name: lawful.sample(name, law) for name, law in laws.items() if name in once}
    with lawful.plate("class", model.n_classes):
        return found | {name: lawful.sample(name, law) for name, law in laws.items() if name not in once}


def _laws(model: Model, priors: Priors) -> dict[str, dist.Distribution]:
    """Give the laws of the sites of a class, in their order."""
    q, p, dtype = model.form.q, model.p_growth, priors.level.dtype
    centre = jnp.stack([priors.slope if j else priors.level for j in range(q)])
    laws: dict[str, dist.Distribution] = {"mean": dist.Normal(jnp.zeros(q, dtype), centre).to_event(1)}
    if model.curve == "BLS" and not model.fixed:
        laws["place"] = dist.Beta(priors.knot, priors.knot)
    elif model.form.shape is not None and not model.fixed:
        laws["rate"] = dist.LogNormal(jnp.log(priors.rate), priors.rate_spread)
    random = model.random_places
    if len(random):
        spreads = _spreads(model, priors)
        laws["spread"] = dist.HalfNormal(spreads if len(random) == model.n_factors else spreads[random]).to_event(1)
    if len(random) > 1:
        laws["root"] = dist.LKJCholesky(len(random), priors.concentration)
    laws["noise"] = dist.HalfNormal(priors.noise)
    if p and model.joint:
        zero, one = jnp.zeros(p, dtype), jnp.ones(p, dtype)
        laws["x_mean"] = dist.Normal(zero, priors.x_mean * one).to_event(1)
        laws["x_spread"] = dist.HalfNormal(priors.x_spread * one).to_event(1)
        if p > 1:
            laws["x_root"] = dist.LKJCholesky(p, priors.concentration)
    return laws | (_laws_of_varying(model, priors) if model.p_varying else {})


def draw_effects(model: Model, priors: Priors) -> dict[str, jax.Array]:
    """Draw the effects of growth covariates in each class, in units of their scales where they are selected."""
    if not model.p_growth:
        return {}
    priors = _arrays(priors)
    scale = jnp.broadcast_to((priors.effect * _spreads(model, priors))[:, None], (model.n_factors, model.p_growth))
    return _drawn({"effect": dist.Normal(jnp.zeros_like(scale), scale).to_event(2)}, model)


def parameters_of(sites: Mapping[str, Any], model: Model, knots: Bounds) -> Parameters:
    """Give the parameters at values of the prior's sites, which may have further axes in front (..., K, ...)."""
    lead, dtype = sites["mean"].shape[:-1], sites["mean"].dtype
    p, random = model.p_growth, model.random_places
    if model.equal:
        sites = {
            **sites,
            **{name: _spread_over(sites[name], name, lead) for name in shared_sites(model) & sites.keys()},
        }
    if model.fixed:
        shape = jnp.broadcast_to(jnp.asarray(knots.low, dtype), (*lead, 1))
    elif "place" in sites:
        shape = (knots.low + (knots.high - knots.low) * sites["place"])[..., None]
    elif "rate" in sites:
        shape = (-sites["rate"] if model.curve == "JB" else sites["rate"])[..., None]
    else:
        shape = jnp.zeros((*lead, 0), dtype)
    spread = sites["spread"] if "spread" in sites else jnp.zeros((*lead, 0), dtype)
    chol = spread[..., None] * sites["root"] if "root" in sites else spread[..., None][..., : len(random)]
    if len(random) < model.n_factors:
        whole = jnp.zeros((*lead, model.n_factors, model.n_factors), dtype)
        chol = whole.at[..., random[:, None], random[None]].set(chol)
    joint = p if model.joint else 0
    x_mean, x_chol = sites.get("x_mean", jnp.zeros((*lead, joint), dtype)), jnp.zeros((*lead, joint, joint), dtype)
    if joint:
        x_chol = sites["x_spread"][..., None] * (sites["x_root"] if joint > 1 else 1.0)
    gate = sites.get("gate", jnp.zeros((*lead[:-1], 1 + model.p_gate, model.n_classes), dtype))
    if "gate_local" in sites:
        scale = scales_of(sites, "gate")
        gate = gate * jnp.concatenate([jnp.ones_like(scale[..., :1]), scale], axis=-1)[..., None]
    slope = sites.get("effect", jnp.zeros((*lead, model.n_factors, 0), dtype))
    if "effect_local" in sites:
        slope = slope * scales_of(sites, "effect")[..., None, None, :]
    varying = None
    if "direct" in sites:
        none = jnp.zeros((*sites["direct"].shape, 0), dtype)
        varying = Varying(sites["direct"], sites.get("v_mean", none), sites.get("v_spread", none))
    return Parameters(
        gate=jnp.swapaxes(gate, -1, -2), mean=sites["mean"], shape=shape, slope=slope, chol=chol,
        noise=sites["noise"] ** 2, x_mean=x_mean, x_chol=x_chol, varying=varying,
    )  # fmt: skip


def sites_of(parameters: Parameters, model: Model, knots: Bounds) -> dict[str, jax.Array]:
    """Give values of the prior's sites at parameters, which may have further axes in front: where chains begin.

    What lies on an edge is moved inside: a singular covariance, a knot at its bounds, a variance of zero.
    """
    found = {"mean": jnp.asarray(parameters.mean), "noise": jnp.sqrt(parameters.noise)}
    if model.n_classes > 1:
        gate = parameters.gate - jnp.mean(parameters.gate, axis=-2, keepdims=True)
        found["gate"] = jnp.swapaxes(gate, -1, -2)
    if model.curve == "BLS" and not model.fixed:
        place = (parameters.shape[..., 0] - knots.low) / (knots.high - knots.low)
        found["place"] = jnp.clip(place, INSIDE, 1.0 - INSIDE)
    elif model.form.shape is not None and not model.fixed:
        found["rate"] = jnp.maximum(jnp.abs(parameters.shape[..., 0]), INSIDE)
    random = model.random_places
    if len(random):
        found["spread"], root = _split(parameters.chol[..., random, :])
    if len(random) > 1:
        found["root"] = root
    if model.p_growth:
        found["effect"] = jnp.asarray(parameters.slope)
    if model.p_growth and model.joint:
        found["x_mean"] = jnp.asarray(parameters.x_mean)
        found["x_spread"], root = _split(parameters.x_chol)
        if model.p_growth > 1:
            found["x_root"] = root
    if parameters.varying is not None:
        found["direct"] = jnp.asarray(parameters.varying.effect)
        if model.joint:
            found["v_mean"] = jnp.asarray(parameters.varying.mean)
            found["v_spread"] = jnp.maximum(parameters.varying.spread, INSIDE)
    for name in shared_sites(model) & found.keys():
        axis = found[name].ndim - 1 - AXES.get(name, 1)
        found[name] = jnp.squeeze(shared(found[name], axis), axis)
    return found


def _spread_over(value: Any, name: str, lead: tuple[int, ...]) -> jax.Array:
    """Give what all classes have in common (...) once for each (..., K, ...)."""
    axes = AXES.get(name, 1)
    own = jnp.shape(value)[jnp.ndim(value) - axes :]
    return jnp.broadcast_to(jnp.expand_dims(value, jnp.ndim(value) - axes), (*lead, *own))


def _laws_of_varying(model: Model, priors: Priors) -> dict[str, dist.Distribution]:
    """Give the laws of time-varying covariates: of direct effects, and in the joint variant of moments of each wave."""
    effect = jnp.zeros(model.p_varying, jnp.result_type(float))
    moments = jnp.zeros((model.p_varying, model.waves), effect.dtype)
    found: dict[str, dist.Distribution] = {"direct": dist.Normal(effect, priors.effect).to_event(1)}
    if model.joint:
        found["v_mean"] = dist.Normal(moments, priors.x_mean).to_event(2)
        found["v_spread"] = dist.HalfNormal(priors.x_spread + moments).to_event(2)
    return found


def _arrays(priors: Priors) -> Priors:
    """Give scales as arrays of one type."""
    return jax.tree.map(lambda scale: jnp.asarray(scale, jnp.result_type(float)), priors)


def _spreads(model: Model, priors: Priors) -> jax.Array:
    """Scales of the standard deviations between persons, a person's own shape first where there is one."""
    own = [priors.shape_spread] * model.intrinsic
    return jnp.stack([*own, *(priors.slope_spread if power else priors.level_spread for power in model.form.powers)])


def _split(chol: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Give standard deviations and the Cholesky factor of the correlations of C C', kept off the boundary."""
    covariance = chol @ jnp.swapaxes(chol, -1, -2)
    spread = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance, axis1=-2, axis2=-1), INSIDE**2))
    correlation = covariance / spread[..., :, None] / spread[..., None, :]
    eye = jnp.eye(chol.shape[-2], dtype=chol.dtype)
    inner = (1.0 - INSIDE) * (correlation * (1.0 - eye) + eye) + INSIDE * eye
    return spread, jnp.linalg.cholesky(inner)
