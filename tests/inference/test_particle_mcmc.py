"""Particle MCMC has the posterior of parameters and path, for few particles and for many."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, NoFiniteStartError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import sbc
from tests.inference.unknown_step import Y as SERIES
from tests.inference.unknown_step import exact, walk
from tests.structure.programs import equations
from tests.tiers import rest_slow

Y = jnp.asarray(SERIES)


def plans():
    walk_sigma = kernels.random_walk(0.8)
    settings = {"chains": 200, "warmup": 100, "draws": 200}
    return {
        "pmmh": inference.pmmh(walk, walk_sigma, ["sigma"], particles=10, **settings),
        "pmmh, correlated": inference.pmmh(walk, walk_sigma, ["sigma"], particles=10, correlation=0.95, **settings),
        "particle gibbs, sampled": inference.particle_gibbs(
            walk, "x", kernels.on("sigma", walk_sigma), particles=5, **settings
        ),
        "particle gibbs, backward": inference.particle_gibbs(
            walk, "x", kernels.on("sigma", walk_sigma), particles=5, ancestors="backward", **settings
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", rest_slow(["pmmh", "pmmh, correlated", "particle gibbs, sampled", "particle gibbs, backward"])
)
def test_the_posterior_of_a_parameter_and_of_a_state_is_exact(name):
    """200 independent chains: their means are independent, so 6.2 standard errors are a false alarm in 10^9."""
    result = plans()[name](jax.random.key(0), Y)
    _, mean, sd, last = exact()
    for found, truth in ((np.log(result.posterior["sigma"]), mean), (result.posterior["x"][..., -1], last)):
        each = np.asarray(found, np.float64).mean(axis=1)
        error = each.std(ddof=1) / np.sqrt(len(each))
        assert abs(each.mean() - truth) < 6.2 * error
        assert error < 0.05 * sd


def test_a_run_without_a_start_is_about_the_users_program():
    def impossible(y):
        lawful.sample("sigma", dist.LogNormal(0.0, 1.0))
        lawful.scan(lambda x, y: (lawful.sample("x", dist.Normal(x, 1.0)), lawful.factor("never", -jnp.inf)), 0.0, y)

    walk_sigma, settings = kernels.random_walk(0.5), {"chains": 2, "warmup": 0, "draws": 2, "on_fault": "flag"}
    plan = inference.pmmh(impossible, walk_sigma, ["sigma"], particles=2, correlation=0.5, **settings)
    result = plan(jax.random.key(0), Y[:2])
    assert result.model is impossible and set(result.posterior) == {"sigma"} and not result.ok


def test_data_outside_their_support_are_refused_before_anything_runs():
    def counts(y):
        rate = lawful.sample("rate", dist.Gamma(2.0, 2.0))

        def step(x, y):
            x = lawful.sample("x", dist.Normal(x, rate))
            lawful.sample("y", dist.Poisson(jnp.exp(x)), obs=y)
            return x, None

        lawful.scan(step, 0.0, y)

    plan = inference.smc2(counts, kernels.random_walk(0.5), ["rate"], particles=4, inner=2)
    with pytest.raises(LawfulError, match=r"'y'.*1\.5"):
        plan.prepare((jnp.array([1.0, 1.5]),))


@pytest.mark.slow
def test_parameters_alone_are_those_of_the_chain_that_keeps_its_paths():
    """The same keys, with and without paths; no number of the compiled program grows with particles x steps."""
    settings = {"particles": 50, "chains": 3, "warmup": 2, "draws": 20}
    plan = inference.pmmh(walk, kernels.random_walk(0.8), ["sigma"], keep="parameters", **settings)
    both = inference.pmmh(walk, kernels.random_walk(0.8), ["sigma"], **settings)(jax.random.key(3), Y)
    alone = plan(jax.random.key(3), Y)
    assert set(alone.posterior) == {"sigma"} and set(both.posterior) == {"sigma", "x"}
    np.testing.assert_allclose(alone.posterior["sigma"], both.posterior["sigma"], rtol=1e-12)
    np.testing.assert_allclose(alone.stats["lp"], both.stats["lp"], rtol=1e-12)
    assert set(plan.sampler(Y)(jax.random.key(3), Y)) == {"sigma"}
    long = jnp.zeros(40)
    prepared = plan.prepare((long,))
    state, _ = prepared.built.start(jax.random.key(0), prepared.inputs)
    traced = jax.make_jaxpr(prepared.built.run)(jax.random.key(0), prepared.inputs, state)
    assert max(np.prod(v.aval.shape, dtype=int) for e in equations(traced) for v in e.outvars) < 3 * 50 * 40


@pytest.mark.slow
def test_what_parameters_alone_cannot_tell_is_said():
    plan = inference.pmmh(walk, kernels.random_walk(0.8), ["sigma"], particles=5, chains=2, warmup=0, draws=2,
                          keep="parameters")  # fmt: skip
    with pytest.raises(LawfulError, match="the result has none of x"):
        plan(jax.random.key(0), Y).to_datatree(log_likelihood=True)
    with pytest.raises(NoFiniteStartError, match="the estimate of a filter is zero or no number. At: sigma = "):
        plan(jax.random.key(0), Y.at[2].set(1e200))
    with pytest.raises(LawfulError, match="keep: expected 'all', 'named', or 'parameters' where there are some, got"):
        inference.pmmh(walk, particles=5, keep="parameters")
    with pytest.raises(LawfulError, match="with a correlation a chain keeps all noises"):
        kernels.refresh(kernels.random_walk(0.8), ["sigma"], correlation=0.5, keep="named")
    with pytest.raises(LawfulError, match="with a correlation .* keep='parameters' saves nothing"):
        inference.pmmh(walk, kernels.random_walk(0.8), ["sigma"], particles=5, correlation=0.5, keep="parameters")


def in_arms(y):
    """A sequence with a site in an arm, named values, and one of the parameter alone."""
    sigma = lawful.sample("sigma", dist.LogNormal(0.0, 1.0))
    lawful.deterministic("variance", sigma**2)

    def step(x, y):
        jumps = lawful.sample("jumps", dist.Bernoulli(0.5))
        x = lawful.cond(jumps == 1, lambda: lawful.sample("x", dist.Normal(x, sigma)), lambda: x)
        lawful.deterministic("twice", 2 * x)
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_slow(["pmmh", "pmmh, correlated", "smc2"]))
def test_a_path_has_what_its_arms_choose_and_what_the_program_names(name):
    """Named values are those of the path; a site whose arm did not run is NaN; nothing of the filter is shown."""
    walk_sigma, few = kernels.random_walk(0.5), {"chains": 2, "warmup": 0, "draws": 8}
    plan = {
        "pmmh": lambda: inference.pmmh(in_arms, walk_sigma, ["sigma"], particles=5, **few),
        "pmmh, correlated": lambda: inference.pmmh(in_arms, walk_sigma, ["sigma"], particles=5, correlation=0.5, **few),
        "smc2": lambda: inference.smc2(in_arms, walk_sigma, ["sigma"], particles=16, inner=4),
    }[name]()
    found = {name: np.asarray(x) for name, x in plan(jax.random.key(0), Y[:3]).posterior.items()}
    assert set(found) == {"sigma", "jumps", "x", "variance", "twice"}
    np.testing.assert_allclose(found["variance"], found["sigma"] ** 2, rtol=1e-12)
    np.testing.assert_array_equal(np.isnan(found["x"]), found["jumps"] == 0)
    last = np.zeros(found["sigma"].shape)
    for step in range(3):
        last = np.where(found["jumps"][..., step] == 1, found["x"][..., step], last)
        np.testing.assert_array_equal(found["twice"][..., step], 2 * last)


@pytest.mark.slow
def test_a_value_that_never_changes_is_no_site_that_never_moved():
    def model(y):
        lawful.deterministic("half", jnp.asarray(0.5))
        known(y)

    result = inference.pmmh(model, particles=20, chains=2, warmup=5, draws=50)(jax.random.key(0), Y)
    assert set(result.posterior) == {"half", "x"} and "NEVER_MOVED" not in {f.code for f in result.found}
    assert set(inference.pmmh(model, particles=20).sampler(Y)(jax.random.key(0), Y)) == {"x"}


@pytest.mark.slow
def test_the_estimate_is_kept_with_the_state():
    """`lp` moves exactly where the parameters do: an estimate that is made anew would move alone."""
    result = inference.pmmh(walk, kernels.random_walk(0.8), ["sigma"], particles=5, chains=8, draws=200)(
        jax.random.key(1), Y
    )
    sigma, lp = np.asarray(result.posterior["sigma"]), np.asarray(result.stats["lp"])
    assert np.array_equal(sigma[:, 1:] != sigma[:, :-1], lp[:, 1:] != lp[:, :-1])
    assert 0.1 < np.asarray(result.stats["acceptance_rate"]).mean() < 0.9


@pytest.mark.slow
def test_a_chain_starts_where_it_is_told():
    plan = inference.pmmh(
        walk, kernels.random_walk(1e-9), ["sigma"], particles=5, chains=2, warmup=0, draws=1, init={"sigma": [0.3, 0.7]}
    )
    sigma = plan(jax.random.key(0), Y).posterior["sigma"][:, 0]
    np.testing.assert_allclose(sigma, [0.3, 0.7], rtol=1e-6)


@pytest.mark.slow
def test_independent_paths_have_no_parameters():
    result = inference.pmmh(lambda y: known(y), particles=20, chains=4, warmup=5, draws=50)(jax.random.key(0), Y)
    assert result.posterior["x"].shape == (4, 50, 6)


def known(y):
    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, 0.5))
        lawful.sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


def nested_prior(y):
    scale = lawful.sample("scale", dist.LogNormal(0.0, 1.0))
    sigma = lawful.sample("sigma", dist.HalfNormal(scale))
    lawful.scan(lambda x, y: (lawful.sample("x", dist.Normal(x, sigma)), lawful.factor("f", -y)), 0.0, y)


def test_what_cannot_be_a_parameter_is_refused():
    walk_sigma = kernels.random_walk(0.5)
    with pytest.raises(UnsupportedProgramError, match="'scale' .* decides the law of a parameter"):
        inference.pmmh(nested_prior, walk_sigma, ["sigma"], particles=5).plan(Y)
    with pytest.raises(LawfulError, match="no latent site 'tau'"):
        inference.pmmh(walk, walk_sigma, ["tau"], particles=5).plan(Y)
    with pytest.raises(LawfulError, match="expected a proposal and the names"):
        inference.pmmh(walk, walk_sigma, particles=5)
    kernel = kernels.refresh(walk_sigma, ["sigma"], keep="named")
    with pytest.raises(UnsupportedProgramError, match="cycle: a pseudo-marginal kernel keeps an estimate"):
        inference.mcmc(walk, kernels.cycle(kernel, kernels.mh())).form(Y)
    with pytest.raises(UnsupportedProgramError, match="on: a pseudo-marginal kernel"):
        inference.mcmc(walk, kernels.on(["x", "sigma"], kernel)).form(Y)
    with pytest.raises(UnsupportedProgramError, match="parallel_tempering: a pseudo-marginal kernel"):
        inference.parallel_tempering(walk, kernel, powers=[0.5, 1.0]).form(Y)
    with pytest.raises(UnsupportedProgramError, match="delayed_acceptance: a pseudo-marginal kernel"):
        inference.mcmc(walk, kernels.delayed_acceptance(walk, kernel)).form(Y)
    with pytest.raises(LawfulError, match="expected the name of a site"):
        inference.particle_gibbs(walk, (), particles=5)


@pytest.mark.tier3
@pytest.mark.optimised
@pytest.mark.slow
def test_pmmh_is_calibrated():
    """1,000 simulations of a local level, four steps; draws of one chain, thinned."""
    algorithm = lambda p: inference.pmmh(
        p, kernels.random_walk(1.0), ["sigma"], particles=10, chains=1, warmup=50, draws=49, thin=8
    )
    report = sbc(walk, algorithm, Y[:4], n_sims=1_000, draws=49, bins=25)
    report.raise_if_failed()
    assert report.detects(0.3)
