"""Parameters of a Gaussian mixture of experts, and the maps of them that leave every density unchanged.

p(y | x) = sum_i w_i(x) N(y; a_i' x + b_i, nu_i), with gates made of the scores beta1_i' x + beta0_i and tau.

Law: `permuted` keeps the density for every gate, `shifted` for the gates that are linear in their scores, `rescaled`
for the linear gate with a temperature, and `standardised` the density of the data in other units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

__all__ = ["Parameters", "Units", "permuted", "pinned", "rescaled", "shifted", "standardised", "unstandardised"]


class Parameters(NamedTuple):
    """Parameters of k experts of d covariates; sigma_i is the root of nu_i.

    Attributes:
        beta1: slopes of the scores (k, d).
        beta0: intercepts of the scores (k,).
        a: slopes of the experts (k, d).
        b: intercepts of the experts (k,).
        nu: variances of the experts (k,).
        tau: temperature of the gate, (); read by the gates "temperature" and "activated" alone.
    """

    beta1: Any
    beta0: Any
    a: Any
    b: Any
    nu: Any
    tau: Any = 1.0

    @classmethod
    def of(cls, beta1: Any, beta0: Any, a: Any, b: Any, nu: Any, tau: Any = 1.0) -> Parameters:
        """Make parameters of lists or arrays, and check that they fit each other.

        Slopes of one covariate may be given as (k,).

        Raises: LawfulError for shapes that do not fit, or variances or a temperature that are not positive.

        >>> Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16]).beta1.shape
        (2, 1)
        """
        slopes = [np.asarray(value, float) for value in (beta1, a)]
        slopes = [value[:, None] if value.ndim == 1 else value for value in slopes]
        rest = [np.asarray(value, float) for value in (beta0, b, nu, tau)]
        k, d = slopes[0].shape if slopes[0].ndim == 2 else (0, 0)
        names = ("beta1", "a", "beta0", "b", "nu", "tau")
        for name, value, shape in zip(names, [*slopes, *rest], [(k, d), (k, d), (k,), (k,), (k,), ()], strict=True):
            if value.shape != shape or k == 0:
                expected = shape if k else "(experts, covariates)"
                raise LawfulError(
                    f"Parameters: {name} has the shape {value.shape}, expected {expected} as beta1 has "
                    f"{slopes[0].shape}. Fix: give one row or number an expert."
                )
        if not (np.all(rest[2] > 0) and rest[3] > 0):
            raise LawfulError(f"Parameters: nu={rest[2].tolist()}, tau={float(rest[3])}. Fix: give positive variances.")
        if not all(np.isfinite(value).all() for value in (*slopes, *rest)):
            raise LawfulError("Parameters: not all of them are finite. Fix: give finite numbers.")
        arrays = (slopes[0], rest[0], slopes[1], *rest[1:])
        return cls(*(jax.device_put(value.copy()) for value in arrays))

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return int(self.b.shape[-1])


def permuted(parameters: Parameters, order: Any) -> Parameters:
    """Give the experts, with their gates, in another order.

    >>> permuted(Parameters.of([1.0, 0.0], [2.0, 0.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0]), [1, 0]).b.tolist()
    [6.0, 5.0]
    """
    index = np.asarray(order)
    beta1, beta0, a, b, nu = (value[index] for value in parameters[:-1])
    return Parameters(beta1, beta0, a, b, nu, parameters.tau)


def shifted(parameters: Parameters, t1: Any, t0: Any) -> Parameters:
    """Add t1 (d,) to every beta1 and t0 to every beta0, which changes no weight of a linear gate."""
    return parameters._replace(beta1=parameters.beta1 + jnp.asarray(t1)[None], beta0=parameters.beta0 + t0)


def pinned(parameters: Parameters) -> Parameters:
    """Shift so that the last expert has the pair (0, 0), the convention of reports.

    >>> pinned(Parameters.of([1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0])).beta0.tolist()
    [-1.0, 0.0]
    """
    return shifted(parameters, -parameters.beta1[-1], -parameters.beta0[-1])


def rescaled(parameters: Parameters, factor: Any) -> Parameters:
    """Multiply beta1, beta0 and tau by a positive factor, which changes no weight of the gate "temperature"."""
    return parameters._replace(
        beta1=factor * parameters.beta1, beta0=factor * parameters.beta0, tau=factor * parameters.tau
    )


class Units(NamedTuple):
    """Units of the data: covariates are (x - x_mean) / x_scale, and answers (y - y_mean) / y_scale."""

    x_mean: Any
    x_scale: Any
    y_mean: Any
    y_scale: Any

    @classmethod
    def of(cls, x: Any, y: Any, centred: bool = True) -> Units:
        """Take means and standard deviations of data; a column that is constant keeps its scale.

        Args:
            x: covariates (n, d).
            y: answers (n,).
            centred: whether covariates are centred; gates that are not linear allow a change of scale alone.
        """
        mean = jnp.mean(x, axis=0)
        return cls(mean if centred else jnp.zeros_like(mean), _spread(x), jnp.mean(y), _spread(y))


def _spread(values: Any) -> jax.Array:
    """Give standard deviations, and 1 where values differ by rounding alone, as the mean of equal ones may."""
    rounding = 4 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), axis=0)
    spread = jnp.std(values, axis=0)
    return jnp.where(spread > rounding, spread, 1.0)


def standardised(parameters: Parameters, units: Units) -> Parameters:
    """Give the parameters of the same conditional density for data in these units."""
    beta1, beta0, a, b, nu, tau = parameters
    return Parameters(
        beta1=beta1 * units.x_scale[None],
        beta0=beta0 + beta1 @ units.x_mean,
        a=a * units.x_scale[None] / units.y_scale,
        b=(b + a @ units.x_mean - units.y_mean) / units.y_scale,
        nu=nu / units.y_scale**2,
        tau=tau,
    )


def unstandardised(parameters: Parameters, units: Units) -> Parameters:
    """Undo `standardised`."""
    beta1 = parameters.beta1 / units.x_scale[None]
    a = parameters.a * units.y_scale / units.x_scale[None]
    return Parameters(
        beta1=beta1,
        beta0=parameters.beta0 - beta1 @ units.x_mean,
        a=a,
        b=parameters.b * units.y_scale + units.y_mean - a @ units.x_mean,
        nu=parameters.nu * units.y_scale**2,
        tau=parameters.tau,
    )
