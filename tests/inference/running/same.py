"""What tests of runs in chunks share: a sequence with its data, and when two results are one, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import sample

KEY = jax.random.key(3)
Y = jnp.array([0.3, -0.2, 1.1, 0.4])


def walk(y):
    sd = sample("sd", dist.Gamma(2.0, 2.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, sd))
        sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    return lawful.scan(step, 0.0, y)[0]


def assert_same(one, other):
    """All arrays of two results are equal, bit for bit."""
    for first, second in [
        (one.posterior, other.posterior),
        (one.stats, other.stats),
        (one.warmup and one.warmup.posterior, other.warmup and other.warmup.posterior),
        (one.warmup and one.warmup.stats, other.warmup and other.warmup.stats),
        (one.weighted and one.weighted.values, other.weighted and other.weighted.values),
    ]:
        assert (first is None) == (second is None)
        assert list(first or ()) == list(second or ())
        for name in first or ():
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    if one.weighted is not None:
        np.testing.assert_array_equal(one.weighted.log_weight, other.weighted.log_weight)
        np.testing.assert_array_equal(one.log_evidence, other.log_evidence)
    for name in {"step_size", "inverse_mass"} & {*one.run, *other.run}:
        np.testing.assert_array_equal(one.run[name], other.run[name], err_msg=name)
    assert [f.code for f in one.found] == [f.code for f in other.found]
    assert (one.finished, one.interrupted) == (other.finished, other.interrupted)
    for a, b in zip(one.state or (), other.state or (), strict=True):
        np.testing.assert_array_equal(a, b)
