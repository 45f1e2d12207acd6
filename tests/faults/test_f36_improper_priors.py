"""Row 36: a prior that does not integrate to one is refused by what starts from the prior, naming the sites."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference, sample, scan
from lawful.errors import ImproperPriorError
from lawful.inference import kernels

KEY = jax.random.key(0)
LINE = dist.ImproperUniform(dist.constraints.real, (), ())
HALF_LINE = dist.ImproperUniform(dist.constraints.positive, (), ())


def flat(y):
    mu = sample("mu", LINE)
    sigma = sample("sigma", HALF_LINE)
    sample("nu", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(mu, sigma), obs=y)


def flat_step(y):
    def step(x, y):
        x = sample("x", LINE)
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


@pytest.mark.fault(36)
@pytest.mark.parametrize("keep", ["paths", "last"])
@pytest.mark.parametrize("build", [inference.smc, inference.importance], ids=lambda build: build.__name__)
def test_f36_smc_and_importance_sampling_name_all_improper_sites(build, keep):
    with pytest.raises(ImproperPriorError, match="'mu'.*'sigma'.*does not integrate to one.*Fix") as caught:
        build(flat, particles=10, keep=keep)(KEY, 0.3)
    assert caught.value.sites == (("mu",), ("sigma",))
    assert "nu" not in str(caught.value)


def test_f36_a_site_in_a_loop_is_named_too():
    with pytest.raises(ImproperPriorError, match="'x'"):
        inference.smc(flat_step, particles=10)(KEY, jnp.zeros(2))


WALK = kernels.random_walk(0.5)


@pytest.mark.parametrize("build", [inference.annealed_importance, inference.tempered_smc], ids=lambda b: b.__name__)
def test_f36_paths_from_the_prior_name_all_improper_sites(build):
    with pytest.raises(ImproperPriorError, match="'mu'.*'sigma'.*does not integrate to one.*Fix") as caught:
        build(flat, particles=10)(KEY, 0.3)
    assert caught.value.sites == (("mu",), ("sigma",))


@pytest.mark.parametrize("site", ["level", "x"])
def test_f36_both_levels_of_smc2_name_the_improper_site(site):
    def model(y):
        level = sample("level", LINE if site == "level" else dist.Normal(0.0, 1.0))

        def step(x, y):
            x = sample("x", LINE if site == "x" else dist.Normal(x, 1.0))
            sample("y", dist.Normal(x + level, 1.0), obs=y)
            return x, None

        scan(step, 0.0, y)

    with pytest.raises(ImproperPriorError, match=f"'{site}'.*does not integrate to one.*Fix") as caught:
        inference.smc2(model, WALK, ["level"], particles=4, inner=3)(KEY, jnp.zeros(2))
    assert caught.value.sites == ((site,),)


@pytest.mark.parametrize(
    "algorithm",
    [lambda form: inference.importance(form, particles=99), lambda form: lambda key, y: {"mu": jnp.zeros(99)}],
    ids=["plan", "function"],
)
def test_f36_calibration_by_simulation_names_the_improper_site(algorithm):
    """Before anything is inferred: there is no joint law to draw truth and data from."""
    with pytest.raises(ImproperPriorError, match=r"site 'mu' \(.*flat prior.*does not integrate to one.*Fix"):
        inference.check.sbc(flat, algorithm, 0.3, n_sims=20)


def test_f36_the_transformer_refuses_as_the_plan_does():
    with pytest.raises(ImproperPriorError, match="spawn.*'mu'"):
        inference.spawn(2)(lawful.trace(flat, 0.3))


def test_f36_the_density_of_a_flat_prior_is_one_on_its_support():
    form = lawful.trace(flat, 0.3)
    at = {"mu": 0.1, "sigma": 2.0, "nu": 1.0}
    expected = dist.Gamma(2.0, 1.0).log_prob(1.0) + dist.Normal(0.1, 2.0).log_prob(0.3)
    assert abs(float(form.log_density(at, 0.3)) - float(expected)) < 1e-12
    half = lawful.trace(lambda: sample("sigma", HALF_LINE))
    assert [float(half.log_density({"sigma": x})) for x in (2.0, -2.0)] == [0.0, -jnp.inf]


WALK = inference.kernels.random_walk(0.5)
SHORT = {"chains": 2, "warmup": 1, "draws": 3}
STARTS = {
    "pmmh": lambda **how: inference.pmmh(flat, WALK, ["mu", "sigma", "nu"], particles=2, **SHORT, **how),
    "mcmc, eager": lambda **how: inference.mcmc(flat, mode="eager", **SHORT, **how),
    "smc, eager": lambda **how: inference.smc(flat, particles=3, mode="eager", **how),
}


@pytest.mark.parametrize("name", STARTS)
def test_f36_a_start_that_would_be_drawn_from_a_flat_prior_names_the_site_and_its_line(name):
    with pytest.raises(
        ImproperPriorError,
        match=r"site '.*mu' \(.*test_f36_improper_priors\.py:\d+\).*flat prior.*Fix.*init=.*density.initial",
    ):
        STARTS[name]()(KEY, 0.3)


@pytest.mark.rest_slow
@pytest.mark.parametrize("kernel", [WALK, inference.kernels.nuts()], ids=["walk", "nuts"])
def test_f36_chains_under_a_flat_prior_start_in_the_cube_whatever_the_kernel(kernel):
    """A point of the cube has log densities down to -1e5; a start is at most some tens below the highest."""
    plan = inference.mcmc(flat_pair, kernel, **SHORT)
    result = plan(KEY, jnp.array([99.0, 101.0, 100.0]))
    assert all(words.startswith("point of the cube (-2, 2)") for words in result.run["starts"])
    assert (result.warmup.stats["lp"] > -30).all() and result.posterior["mu"].shape == (2, 3)


def flat_pair(y):
    sample("y", dist.Normal(sample("mu", LINE), sample("sigma", HALF_LINE)).expand([3]).to_event(1), obs=y)


def test_f36_chains_with_a_start_have_the_posterior_under_a_flat_prior():
    """The posterior of mu is Normal(0.3, 1); a false alarm is more than six errors of 200 independent chains off."""

    def level(y):
        sample("y", dist.Normal(sample("mu", LINE), 1.0), obs=y)

    plan = inference.mcmc(level, inference.kernels.random_walk(2.4), chains=200, warmup=50, draws=50, init={"mu": 0.0})
    means = plan(KEY, 0.3).posterior["mu"].mean(axis=1)
    assert abs(means.mean() - 0.3) < 6 * means.std() / 200**0.5 < 0.2


def test_f36_a_copy_at_power_zero_needs_a_prior_that_can_be_drawn_from():
    start = {"mu": 0.0, "sigma": 1.0, "nu": 1.0}
    plan = inference.parallel_tempering(flat, WALK, powers=(0.0, 1.0), init=start, **SHORT)
    with pytest.raises(ImproperPriorError, match="power 0: the prior of 'mu'.*'sigma'"):
        plan(KEY, 0.3)
    above = inference.parallel_tempering(flat, WALK, powers=(0.5, 1.0), init=start, **SHORT)
    assert above(KEY, 0.3).posterior["mu"].shape == (2, 3)
