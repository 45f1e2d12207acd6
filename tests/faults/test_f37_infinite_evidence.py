"""Row 37: a factor of +inf is never a part of a number; the error names the factor and where it is infinite."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, inference, sample
from lawful.errors import NonFiniteError
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure
from tests.tiers import rest_slow

KEY = jax.random.key(37)


def pole():
    k = sample("k", dist.Categorical(probs=jnp.array([0.25, 0.25, 0.5])))
    factor("pole", -jnp.log(1.0 * k))


def point():
    """A density with a pole at a point of the support."""
    x = sample("x", dist.Bernoulli(0.5))
    sample("y", dist.Beta(0.5 + x, 1.0), obs=0.0)


PROGRAMS = {"pole": (pole, "factor 'pole'"), "point": (point, "'y'")}


@pytest.mark.fault(37)
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("mode", ["staged", "eager"])
def test_f37_enumeration_refuses_an_infinite_weight(name, mode):
    program, term = PROGRAMS[name]
    with pytest.raises(NonFiniteError, match=rf"{term} \(.*test_f37_infinite_evidence\.py:\d+\).*inf"):
        inference.enumerate(program, mode=mode)()
    with pytest.raises(NonFiniteError, match=term):
        enumerate_measure(program)


def test_f37_the_error_says_at_which_choices():
    with pytest.raises(NonFiniteError, match=r"\+inf at k = 0\..*Fix:") as caught:
        inference.enumerate(pole, mode="staged")()
    assert caught.value.value == np.inf


@pytest.mark.parametrize("build", [inference.importance, inference.smc])
def test_f37_no_population_reports_an_infinite_evidence(build):
    with pytest.raises(NonFiniteError, match="pole"):
        build(pole, particles=64)(KEY)


def test_f37_a_pole_of_probability_zero_is_never_met():
    def model(p):
        k = sample("k", dist.Categorical(probs=p))
        factor("pole", -jnp.log(1.0 * k))

    p = np.array([0.0, 0.5, 0.5])
    for mode in ("staged", "eager"):
        assert np.exp(inference.enumerate(model, mode=mode)(p).log_evidence) == pytest.approx(0.75, rel=1e-12)


def test_f37_a_pole_in_an_arm_that_does_not_run_is_never_met():
    def model():
        k = sample("k", dist.Bernoulli(0.5))

        def safe():
            factor("pole", -jnp.log(1.0 * k))

        cond(k == 1, safe, lambda: None)

    for mode in ("staged", "eager"):
        assert inference.enumerate(model, mode=mode)().log_evidence == pytest.approx(0.0, abs=1e-12)


def test_f37_the_log_density_of_one_trace_is_plus_infinity():
    assert float(lawful.trace(pole).log_density({"k": 0})) == np.inf


def wall():
    """An infinite density beyond 1."""
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("wall", jnp.where(x > 1.0, jnp.inf, 0.0))


MOVES = [
    kernels.random_walk(1.0), kernels.hmc(0.4, 3), kernels.nuts(0.5), kernels.mala(0.8), kernels.slice(1.0),
    kernels.elliptical_slice(), kernels.mh(),
]  # fmt: skip


@pytest.mark.parametrize("kernel", [MOVES[0], *rest_slow(MOVES[1:], 0)], ids=repr)
def test_f37_no_chain_goes_where_the_density_is_infinite(kernel):
    """It would never leave."""
    plan = inference.mcmc(wall, kernel, chains=8, warmup=0, draws=50, init={"x": np.zeros(8)})
    result = plan(KEY)
    assert (result.posterior["x"] <= 1.0).all() and np.isfinite(result.stats["lp"]).all()
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
    assert not result.ok and finding.value == result.stats["n_nonfinite"].sum() > 0 and "+inf" in finding.message
    assert finding.sites == ("wall",)
