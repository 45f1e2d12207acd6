"""The mixture of trajectories as a program: a class for each person, growth factors given it, outcomes given both.

Law: with the growth factors integrated out and the classes summed out, in either order, its log density is the sum of
`log_likelihood_by_person`; the conditional of the classes is `log_memberships`, that of the growth factors
`factor_scores`. With priors in front it is that of `posterior_program`.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

from .likelihood.density import log_prior_classes
from .model.panels import Panel
from .model.parameters import Model, Parameters, Varying
from .posterior.bayes import Posed
from .posterior.priors import draw_parameters

__all__ = ["mixture_with_priors", "trajectory_mixture"]


def trajectory_mixture(panel: Panel, parameters: Parameters, model: Model, width: Any = 0.0) -> jax.Array:
    """Choose a class for each person, then growth factors, then what was measured.

    z ~ Categorical(gate), x ~ N(mu_z, Phi_z) in the joint variant, eta ~ N(a_z + B_z x, Psi_z), and outcomes
    y ~ N(L(g_z) eta, th_z) where the mask is 1, time-varying covariates added to the mean. The factors are those of the
    curve's basis. A random shape that is followed to first order is the first of them, as its deviation from the shape
    of the class; one that is treated exactly has a site of its own, "own", standard normal, which the curve reads.

    Args:
        panel: n persons; outcomes, and in the joint variant covariates, that are None are drawn.
        parameters: in the units of the panel; a program with priors may draw them and call this one.
        model: which mixture.
        width: of the smoothing of kinks, in units of time.

    Returns: (n,), the classes, from 0.

    >>> from lawful import inference
    >>> from lawful.models.trajectories import panel
    >>> at = Parameters(
    ...     jnp.zeros((2, 1)), jnp.array([[0.0, 1.0], [0.0, -1.0]]), jnp.zeros((2, 0)), jnp.zeros((2, 2, 0)),
    ...     jnp.tile(0.5 * jnp.eye(2), (2, 1, 1)), jnp.ones(2), jnp.zeros((2, 0)), jnp.zeros((2, 0, 0)))
    >>> data = panel([[0.0, 1.2, 2.3], [0.1, -0.8, float("nan")]], [0.0, 1.0, 2.0])
    >>> def program(data, at):
    ...     trajectory_mixture(data, at, Model("LIN", 2))
    >>> both = inference.integrate_normals(["eta"]) >> inference.marginalise(["z"])
    >>> summed = inference.enumeration(lawful.trace(program, data, at), both).marginal
    >>> round(float(summed.log_density({}, data, at)), 4)
    -6.6354
    """
    p, form, n = parameters, model.form, panel.t.shape[1]
    logits = log_prior_classes(p.gate[..., None], panel.gate).T
    with lawful.plate("person", n):
        z: jax.Array = lawful.sample("z", dist.Categorical(logits=logits))
        if model.joint and model.p_growth:
            law = dist.MultivariateNormal(p.x_mean[z], scale_tril=p.x_chol[z])
            x = lawful.sample("x", law, obs=None if panel.growth is None else panel.growth.T)
        else:
            x = panel.growth.T
        moved = jnp.sum(p.slope[z] * x[:, None], axis=-1)
        chol, own = p.chol[z], int(model.intrinsic)
        mean = jnp.concatenate([jnp.zeros((n, own), p.mean.dtype), p.mean[z]], axis=1) + moved
        shape = p.shape[z][None, :, 0] if form.shape else jnp.zeros((1, n), p.mean.dtype)
        if model.intrinsic and model.exact:
            u = lawful.sample("own", dist.Normal(0.0, 1.0))
            shape = shape + (mean[:, 0] + chol[:, 0, 0] * u)[None]
            mean, chol = mean[:, 1:] + chol[:, 1:, 0] * u[:, None], chol[:, 1:, 1:]
        eta = lawful.sample("eta", dist.MultivariateNormal(mean, scale_tril=chol))
        columns = list(form.basis(panel.t, shape, width))
        if model.intrinsic and not model.exact:
            columns.insert(0, form.sensitivity(panel.t, shape, list(p.mean[z].T[:, None]), width))
        loads = jnp.stack([jnp.broadcast_to(column, panel.t.shape) for column in columns])
        seen = nullcontext() if panel.y is None else lawful.mask(panel.mask > 0)
        with lawful.plate("wave", len(panel.t)), seen:
            fitted = jnp.sum(loads * eta.T[:, None], axis=0)
            if p.varying is not None:
                fitted = fitted + _direct(z, p.varying, panel, model)
            lawful.sample("y", dist.Normal(fitted, jnp.sqrt(p.noise[z])[None]), obs=panel.y)
    return z


def mixture_with_priors(at: Posed, model: Model, select: bool = False) -> Parameters:
    """Draw the parameters of the classes, and then classes, growth factors and outcomes: the joint of a posterior.

    Args:
        at: scales of priors and the persons, in standard units.
        model: which mixture.
        select: whether a horseshoe selects covariates.

    Returns: the parameters, in standard units.

    >>> from lawful.models.trajectories import Bounds, Priors, panel
    >>> at = Posed(Priors(), panel([[0.0, 1.2, 2.3]], [0.0, 0.5, 1.0]), Bounds(0.1, 0.9), 0.0)
    >>> form = lawful.trace(lambda at: mixture_with_priors(at, Model("LIN", 2)), at)
    >>> [site.address[0] for site in form.sites()]
    ['gate', 'mean', 'spread', 'root', 'noise', 'z', 'eta', 'y']
    """
    found = draw_parameters(model, at.priors, at.knots, at.panel.n if select else 0)
    trajectory_mixture(at.panel, found, model, at.width)
    return found


def _direct(z: jax.Array, varying: Varying, panel: Panel, model: Model) -> jax.Array:
    """What time-varying covariates add to the outcomes (J, n); in the joint variant they have a law themselves."""
    x = panel.varying
    if model.joint:
        with lawful.plate("covariate", model.p_varying):
            law = dist.Normal(*(jnp.moveaxis(leaf[z], 0, -1) for leaf in (varying.mean, varying.spread)))
            x = lawful.sample("varying", law, obs=x)
    return jnp.sum(varying.effect[z].T[:, None] * x, axis=0)
