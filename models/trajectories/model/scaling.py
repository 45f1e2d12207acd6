"""Scaling: units are one SD of the outcome, one range of the times, and covariates of mean 0 and SD 1 inside a fit.

Law: a change of units changes no class probability, and -2LL by the Jacobian alone; `in_user_units` and
`Scaling.to_standard` are inverse.

The origin of time is kept, since rates and accelerations know it. With a random shape followed to first order the
growth covariates keep their origin too: the linear form is taken at their zero.

Whatever a fit computes is in double precision: -2LL of 23,000 is right to 0.001, which single precision cannot hold.
Outside a call the setting is the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .panels import Panel
from .parameters import Model, Parameters, Varying

__all__ = ["Scaling", "doubly", "in_standard_units", "in_user_units", "scaling_of", "standardised"]


class Scaling(NamedTuple):
    """Centres and scales: outcome (), times (), gate (p_g,), growth (p_e,) and time-varying covariates (p_v,)."""

    y_centre: Any
    y_scale: Any
    t_scale: Any
    gate_centre: Any
    gate_scale: Any
    growth_centre: Any
    growth_scale: Any
    varying_centre: Any = np.zeros(0)
    varying_scale: Any = np.ones(0)

    def log_jacobian(self, outcomes: Any, persons: int, model: Model) -> Any:
        """What the log-likelihood in the user's units has on top of that in standard units."""
        each = float(np.log(self.y_scale)) + float(np.sum(np.log(self.varying_scale))) * model.joint
        return -outcomes * each - persons * float(np.sum(np.log(self.growth_scale))) * model.joint


def scaling_of(panel: Panel, model: Model) -> Scaling:
    """Measure the units of a panel.

    >>> from lawful.models.trajectories import panel
    >>> scaling = scaling_of(panel([[1.0, 5.0], [3.0, 7.0]], [0.0, 10.0]), Model("LIN", 1))
    >>> float(scaling.y_centre), float(scaling.t_scale)
    (4.0, 10.0)
    """
    seen = np.asarray(panel.mask) > 0
    y, t = np.asarray(panel.y)[seen], np.asarray(panel.t)[seen]
    gate, growth = np.asarray(panel.gate)[1:], np.asarray(panel.growth)
    varying = np.zeros((0, 1)) if panel.varying is None else np.asarray(panel.varying)[:, seen]
    keep = 0.0 if model.intrinsic and not model.exact else 1.0
    return Scaling(
        y.mean(), y.std() or 1.0, np.ptp(t) or 1.0, gate.mean(axis=1), gate.std(axis=1, ddof=1),
        keep * growth.mean(axis=1), growth.std(axis=1, ddof=1), varying.mean(axis=1), varying.std(axis=1),
    )  # fmt: skip


def standardised(panel: Panel, scaling: Scaling) -> Panel:
    """Give the panel in standard units."""
    gate = (panel.gate[1:] - scaling.gate_centre[:, None]) / scaling.gate_scale[:, None]
    return Panel(
        (panel.y - scaling.y_centre * panel.mask) / scaling.y_scale,
        panel.t / scaling.t_scale,
        panel.mask,
        jnp.concatenate([panel.gate[:1], gate]),
        (panel.growth - scaling.growth_centre[:, None]) / scaling.growth_scale[:, None],
        None
        if panel.varying is None
        else (panel.varying - scaling.varying_centre[:, None, None] * panel.mask[None])
        / scaling.varying_scale[:, None, None],
    )


def in_user_units(parameters: Parameters, model: Model, scaling: Scaling) -> Parameters:
    """Take parameters from standard units to the user's, the factors still those of the curve's basis.

    Intercepts become those where covariates are 0, and the gate is that of covariates as they are.
    """
    form = model.form
    power = jnp.asarray(form.powers, jnp.result_type(float))
    mean_unit = scaling.y_scale * jnp.asarray(scaling.t_scale, power.dtype) ** power
    shape_unit = jnp.asarray(scaling.t_scale, power.dtype) ** float(form.shape_power)
    unit = jnp.concatenate([shape_unit[None], mean_unit]) if model.intrinsic else mean_unit
    slope = parameters.slope * unit[None, :, None] / scaling.growth_scale[None, None]
    moved = jnp.sum(slope * scaling.growth_centre[None, None], axis=2)
    shape, own = parameters.shape * shape_unit, moved[:, int(model.intrinsic) :]
    gate = parameters.gate[:, 1:] / scaling.gate_scale[None]
    x_mean, x_chol = parameters.x_mean, parameters.x_chol
    if model.joint:
        x_mean = x_mean * scaling.growth_scale[None] + scaling.growth_centre[None]
        x_chol = x_chol * scaling.growth_scale[None, :, None]
    level, varying = jnp.full((model.n_classes,), scaling.y_centre), parameters.varying
    if varying is not None:
        effect = varying.effect * scaling.y_scale / scaling.varying_scale[None]
        level = level - effect @ scaling.varying_centre
        centre, spread = scaling.varying_centre[None, :, None], scaling.varying_scale[None, :, None]
        varying = Varying(effect, varying.mean * spread + centre, varying.spread * spread)
    return Parameters(
        gate=jnp.concatenate([parameters.gate[:, :1] - (gate @ scaling.gate_centre)[:, None], gate], axis=1),
        mean=(parameters.mean * mean_unit[None] - own).at[:, 0].add(level),
        shape=shape - moved[:, :1] if model.intrinsic else shape,
        slope=slope,
        chol=parameters.chol * unit[None, :, None],
        noise=parameters.noise * scaling.y_scale**2,
        x_mean=x_mean,
        x_chol=x_chol,
        varying=varying,
    )


def in_standard_units(parameters: Parameters, model: Model, scaling: Scaling) -> Parameters:
    """Undo `in_user_units`."""
    inverse = Scaling(
        -scaling.y_centre / scaling.y_scale, 1 / scaling.y_scale, 1 / scaling.t_scale,
        -scaling.gate_centre / scaling.gate_scale, 1 / scaling.gate_scale,
        -scaling.growth_centre / scaling.growth_scale, 1 / scaling.growth_scale,
        -scaling.varying_centre / scaling.varying_scale, 1 / scaling.varying_scale,
    )  # fmt: skip
    return in_user_units(parameters, model, jax.tree.map(jnp.asarray, inverse))


def doubly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function in double precision.

    >>> doubly(lambda: jax.numpy.zeros(()).dtype)()
    dtype('float64')
    """

    @wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(True):
            return method(*args, **kwargs)

    return run
