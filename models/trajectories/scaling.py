"""Units: inside a fit one standard deviation of the outcome, one range of the times, covariates of mean 0 and SD 1.

Law: a change of units changes no class probability, and -2LL by the Jacobian alone; `in_user_units` and
`Scaling.to_standard` are inverse.

The origin of time is kept, since rates and accelerations know it. With a random shape followed to first order the
growth covariates keep their origin too: the linear form is taken at their zero.

Source: specification sections 3.1, 3.2 and 8.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .panels import Panel
from .parameters import Model, Parameters

__all__ = ["Scaling", "in_standard_units", "in_user_units", "scaling_of", "standardised"]


class Scaling(NamedTuple):
    """Centres and scales of the outcome (), the times (), gate covariates (p_g,) and growth covariates (p_e,)."""

    y_centre: Any
    y_scale: Any
    t_scale: Any
    gate_centre: Any
    gate_scale: Any
    growth_centre: Any
    growth_scale: Any

    def log_jacobian(self, outcomes: int, persons: int, model: Model) -> float:
        """What the log-likelihood in the user's units has on top of that in standard units."""
        found = -outcomes * float(np.log(self.y_scale))
        return found - persons * float(np.sum(np.log(self.growth_scale))) * model.joint


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
    keep = 0.0 if model.intrinsic and not model.exact else 1.0
    return Scaling(
        y.mean(), y.std() or 1.0, np.ptp(t) or 1.0, gate.mean(axis=1), gate.std(axis=1, ddof=1),
        keep * growth.mean(axis=1), growth.std(axis=1, ddof=1),
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
    )


def in_user_units(parameters: Parameters, model: Model, scaling: Scaling) -> Parameters:
    """Take parameters from standard units to the user's, the factors still those of the curve's basis.

    Intercepts become those where growth covariates are 0, and the gate is that of covariates as they are.
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
    return Parameters(
        gate=jnp.concatenate([parameters.gate[:, :1] - (gate @ scaling.gate_centre)[:, None], gate], axis=1),
        mean=(parameters.mean * mean_unit[None] - own).at[:, 0].add(scaling.y_centre),
        shape=shape - moved[:, :1] if model.intrinsic else shape,
        slope=slope,
        chol=parameters.chol * unit[None, :, None],
        noise=parameters.noise * scaling.y_scale**2,
        x_mean=x_mean,
        x_chol=x_chol,
    )


def in_standard_units(parameters: Parameters, model: Model, scaling: Scaling) -> Parameters:
    """Undo `in_user_units`."""
    inverse = Scaling(
        -scaling.y_centre / scaling.y_scale, 1 / scaling.y_scale, 1 / scaling.t_scale,
        -scaling.gate_centre / scaling.gate_scale, 1 / scaling.gate_scale,
        -scaling.growth_centre / scaling.growth_scale, 1 / scaling.growth_scale,
    )  # fmt: skip
    return in_user_units(parameters, model, jax.tree.map(jnp.asarray, inverse))
