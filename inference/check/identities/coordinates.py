"""Coordinates without bounds (tier 0b): the exported density is that of the values times the Jacobian of the map.

Law: log density of coordinates = log density of the values + log |det d values / d coordinates|, the determinant taken
from forward derivatives of the map itself; supports that depend on other sites count.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import UnsupportedProgramError
from lawful.interop.density import density

from ..statistics.keys import key_of
from ..statistics.report import Report
from ..statistics.repro import line, named

TOLERANCE = 1e-10


def coordinates(model: Any, *args: Any, points: int = 20, tolerance: float = TOLERANCE) -> Report:
    """Check the Jacobian of `lawful.density` at random points.

    Args:
        model: a program.
        args: its arguments.
        points: number of points, normal with standard deviation 1.
        tolerance: largest difference, relative to the larger of 1 and the density; for float64.

    Raises: UnsupportedProgramError where a site has fewer coordinates than values, as on a simplex: there the volume is
        that of the map to some of its values.

    >>> import numpyro.distributions as dist, lawful
    >>> report = coordinates(lambda: lawful.sample("x", dist.Gamma(2.0, 1.0)), tolerance=1e-4)
    >>> report.passed, report.level
    (True, 'identities')
    """
    exported = density(model, *args)
    origin, unravel = exported.ravel()

    def values(vector: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.ravel(x) for x in exported.constrain(unravel(vector)).values()])

    volume = jax.jit(jax.jacfwd(values))
    name = getattr(model, "__name__", type(model).__name__)
    key, worst = key_of(f"coordinates/{name}"), 0.0
    for point in range(points):
        vector = jax.random.normal(jax.random.fold_in(key, point), origin.shape, origin.dtype)
        jacobian = np.asarray(volume(vector), np.float64)
        if jacobian.shape[0] != jacobian.shape[1]:
            raise UnsupportedProgramError(
                f"coordinates: the program has {jacobian.shape[0]} values and {jacobian.shape[1]} coordinates, so the "
                "map has no volume. Fix: check the sites with as many coordinates as values alone."
            )
        expected = float(exported.log_density(exported.constrain(unravel(vector)))) + np.linalg.slogdet(jacobian)[1]
        worst = max(worst, abs(float(exported.logp_vector(vector)) - expected) / max(1.0, abs(expected)))
    return Report(
        status="passed" if worst <= tolerance else "failed",
        law=f"{name}: density of coordinates = density of values x |Jacobian|",
        level="identities",
        measure_error=worst,
        instances=points,
        worst=("relative difference", worst),
        repro=line(coordinates, named(model, "model"), "*args", points=points, tolerance=tolerance),
    )
