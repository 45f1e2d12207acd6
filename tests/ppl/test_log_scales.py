"""A normal whose scale is exp(s) is scored by s: the density is the same, whatever the order of its parameters."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import sample
from lawful.passes.simplify.log_exp import NormalOfLogScale, by_log_scales
from lawful.passes.thread_sites import score
from tests.ppl.arithmetic import run


@pytest.fixture(params=[("loc", "scale"), ("scale", "loc")], ids=" ".join)
def order(request, monkeypatch):
    """Numpyro lists the parameters of a distribution in an order that differs between processes."""
    monkeypatch.setattr(dist.Normal, "gather_pytree_data_fields", classmethod(lambda cls: request.param))
    monkeypatch.setattr("lawful.distributions.law._laws", {})  # of the order of this process


def rewritten(model, *args):
    form = score(lawful.trace(model, *args)).form
    small = by_log_scales(form)
    return form, small, any(isinstance(node.function, NormalOfLogScale) for node in small.nodes)


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("s", [-3.0, 0.0, 2.0])
def test_a_log_scale_gives_the_density(s):
    form, small, found = rewritten(lambda m, s: sample("x", dist.Normal(m, jnp.exp(s))), 0.0, 0.0)
    assert found
    expected = stats.norm.logpdf(0.7, 0.3, np.exp(s))
    for each in (form, small):
        np.testing.assert_allclose(run(each, 0.3, s, 0.7)[1], expected, rtol=1e-14)


@pytest.mark.usefixtures("order")
def test_a_location_that_is_an_exponential_is_no_scale():
    form, small, found = rewritten(lambda m: sample("x", dist.Normal(jnp.exp(m), 2.0)), 0.0)
    assert not found and small is form
    np.testing.assert_allclose(run(small, 0.3, 0.7)[1], stats.norm.logpdf(0.7, np.exp(0.3), 2.0), rtol=1e-14)


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize(
    ("x", "s", "expected"),
    [
        (np.nan, 0.0, np.nan),
        (np.inf, 0.0, -np.inf),
        (1.0, np.nan, np.nan),
        (0.3, -800.0, np.nan),  # 0 / 0
        (1.0, -800.0, -np.inf),  # the division by a scale that is rounded to zero gave inf - inf
    ],
)
def test_what_is_impossible_or_no_number_stays_so(x, s, expected):
    form, small, _ = rewritten(lambda m, s: sample("x", dist.Normal(m, jnp.exp(s))), 0.0, 0.0)
    np.testing.assert_array_equal(run(small, 0.3, s, x)[1], expected)
    assert not np.isfinite(run(form, 0.3, s, x)[1])
