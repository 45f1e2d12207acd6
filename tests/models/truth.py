"""Two ways to compare a program with an exact answer: its density summed over a grid, and an unbiased evidence."""

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import emit
from lawful.form.arguments.arrays import split_arguments
from lawful.inference.check import unbiased


def grid_evidence(log_density, *axes):
    """Log of the sum over a regular grid: exact to rounding for a smooth density that vanishes at its ends."""
    points = jnp.stack([x.ravel() for x in jnp.meshgrid(*axes, indexing="ij")], axis=1)
    values = np.asarray(jax.jit(lambda points: jax.lax.map(log_density, points, batch_size=4096))(points))
    cell = sum(float(np.log(axis[1] - axis[0])) for axis in axes)
    return float(np.logaddexp.reduce(values)) + cell


def check_evidence(plan, args, log_evidence, n=4_000, error=0.05):
    """E[Z-hat] = Z at the share of one registered check; a bias of `error` would be found with probability 0.99."""
    run, inputs = emit(plan.form(*args)), split_arguments(args)[0]

    @jax.jit
    @jax.vmap
    def estimator(key):
        return run(key, *inputs)[1]

    report = unbiased(estimator, log_evidence, n=n)
    assert report.passed, report
    assert report.detects(error), report
