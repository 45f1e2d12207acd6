"""Sites that are centred by a share: an exact change of variables; and shares that draws teach.

False alarms: keys are fixed. Means of draws lie within 5 Monte Carlo errors (6e-7 each, by batches of 40).
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import kstest

import lawful
from lawful import inference, models
from lawful.addresses import show_address
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import kernels, noncentred
from lawful.inference.algorithms.choice import centring
from lawful.inference.algorithms.choice.centring import GRID, learnt_coordinates, learnt_shares
from lawful.inference.results.collect import from_population
from lawful.passes.condition import conditioned

KEY = jax.random.key(0)
SHARES = [0.0, 0.3, 1.0, np.array([0.0, 0.4, 1.0]), np.array([0.2, 0.7, 0.9])]


def groups(y):
    mean = lawful.sample("mean", dist.Normal(0.0, 2.0))
    spread = lawful.sample("spread", dist.HalfNormal(2.0))
    with lawful.plate("group", 3):
        x = lawful.sample("x", dist.Normal(mean + jnp.arange(3.0), spread))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    return x


def walk():
    scale = lawful.sample("scale", dist.HalfNormal(1.0))

    def step(x, _):
        x = lawful.sample("x", dist.Normal(0.9 * x, scale))
        return x, x

    return lawful.scan(step, 1.0, jnp.zeros(4))[1]


def latent(form):
    return next(c for c in choices_of(form) if c.address[0] == "x")


def value_at(form, values):
    fed = conditioned(form, [c.address for c in choices_of(form)])
    return emit(fed.form)(KEY, *(values[c.name] for c in fed.choices))[0][0]


@pytest.mark.kills("59n", share=SHARES[1])
@pytest.mark.parametrize("share", SHARES, ids=str)
def test_the_density_with_the_jacobian_is_that_of_the_site(share):
    y, rng = np.array([0.3, -1.0, 2.5]), np.random.default_rng(0)
    before = lawful.trace(groups, y)
    after = noncentred(["x"], centred=share)(before)
    name = latent(after).name
    for _ in range(5):
        mean, spread, x = rng.normal(), rng.gamma(2.0), rng.normal(size=3) * 3
        m = mean + np.arange(3.0)
        z = share * m + spread ** (np.asarray(share) - 1) * (x - m)
        found = after.log_density({"mean": mean, "spread": spread, name: z}, y)
        jacobian = np.sum((1 - np.broadcast_to(share, (3,))) * np.log(spread))
        expected = before.log_density({"mean": mean, "spread": spread, "x": x}, y) + jacobian
        assert float(found) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("share", SHARES, ids=str)
def test_the_value_is_the_map_of_the_latent_value(share):
    form = noncentred(["x"], centred=share)(lawful.trace(groups, np.zeros(3)))
    mean, spread, z = 0.7, 2.3, np.array([0.1, -0.4, 1.1])
    m = mean + np.arange(3.0)
    run = conditioned(form, [c.address for c in choices_of(form)])
    values = {"mean": mean, "spread": spread, latent(form).name: z}
    out = emit(run.form)(KEY, np.zeros(3), *(jnp.asarray(values[c.name]) for c in run.choices))[0][0]
    np.testing.assert_allclose(out, m + spread ** (1 - np.asarray(share)) * (z - share * m), rtol=0, atol=1e-12)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_site_in_a_loop_has_one_share_for_all_steps(share):
    before = lawful.trace(walk)
    after = noncentred(["x"], centred={"x": share})(before)
    x, scale = np.array([0.4, -0.2, 1.3, 0.9]), 0.6
    m = 0.9 * np.concatenate([[1.0], x[:-1]])
    z = share * m + scale ** (share - 1) * (x - m)
    found = after.log_density({"scale": scale, latent(after).name: z})
    expected = before.log_density({"scale": scale, "x": x}) + 4 * (1 - share) * np.log(scale)
    assert float(found) == pytest.approx(float(expected), abs=1e-12)
    np.testing.assert_allclose(value_at(after, {"scale": scale, latent(after).name: z}), x, atol=1e-12)


def test_draws_of_the_prior_have_the_law_of_the_site():
    """4,000 standardised draws by Kolmogorov and Smirnov, at 1e-6."""

    def known():
        spread = lawful.sample("spread", dist.LogNormal(0.0, 1.0))
        return spread, lawful.sample("x", dist.Normal(2.0, spread))

    run = emit(noncentred(["x"], centred=0.4)(lawful.trace(known)))
    spread, x = jax.vmap(lambda key: run(key)[0])(jax.random.split(KEY, 4000))
    assert kstest((x - 2.0) / spread, "norm").pvalue > 1e-6


def test_what_has_no_share_is_refused():
    form = lawful.trace(groups, np.zeros(3))
    with pytest.raises(UnsupportedProgramError, match="'spread' .* has the law HalfNormal, and centred= .*Fix: leave"):
        noncentred(["spread"], centred=0.5)(form)

    def joint():
        lawful.sample("v", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))

    with pytest.raises(UnsupportedProgramError, match="'v' .* has the law MultivariateNormal"):
        noncentred(centred={"v": 0.5})(lawful.trace(joint))
    assert noncentred(centred={"v": 0.0})(lawful.trace(joint)).show() == noncentred()(lawful.trace(joint)).show()
    with pytest.raises(LawfulError, match=r"centred of 'x' .* has shape \(2,\), its value \(3,\). Fix: give a number"):
        noncentred(["x"], centred=[0.1, 0.2])(form)
    with pytest.raises(LawfulError, match="centred of 'x' is 1.5; expected numbers from 0 to 1"):
        noncentred(["x"], centred={"x": 1.5})
    with pytest.raises(LawfulError, match="centred names 'z', which is not rewritten. Fix: name one of 'x'"):
        noncentred(["x"], centred={"z": 0.5})(form)


def test_a_site_that_is_partly_centred_is_not_rewritten_again():
    form = noncentred(["x"], centred=0.5)(lawful.trace(groups, np.zeros(3)))
    assert noncentred("x")(form) is form
    assert [show_address(s.address) for s in form.sites() if s.observed is None] == ["mean", "spread", "x.~partly"]


@pytest.mark.kills("59o")
def test_the_divergence_is_that_of_the_nearest_normal_law():
    """Of log s, m and x jointly normal in the coordinates of share 1: the determinant of their covariance, to 1e-10."""
    rng = np.random.default_rng(1)
    log_scale, mean, x = rng.multivariate_normal(np.zeros(3), np.eye(3) + 0.5, size=2000).T
    gap = centring.divergences(x, mean, np.exp(log_scale))
    for place, share in enumerate(GRID):
        z = share * mean + np.exp((share - 1) * log_scale) * (x - mean)
        joint = np.linalg.slogdet(np.cov([z, mean, log_scale], bias=True))[1]
        others = np.linalg.slogdet(np.cov([mean, log_scale], bias=True))[1]
        jacobian = np.mean((share - 1) * log_scale)
        assert gap[place] == pytest.approx(0.5 * (joint - others) - jacobian, abs=1e-10)


def posterior_of_groups(spread, noise, count=4000):
    """Draw from a posterior whose groups are normal given their mean and spread."""
    rng = np.random.default_rng(2)
    tau = spread * np.exp(0.5 * rng.normal(size=count))
    mu = rng.normal(size=count)
    precision = 1 / tau**2 + 1 / noise**2
    x = (mu / tau**2 + 0.7 / noise**2) / precision + rng.normal(size=count) / np.sqrt(precision)
    return x, mu, tau


@pytest.mark.parametrize(("noise", "low", "high"), [(100.0, 0.0, 0.05), (0.01, 0.95, 1.0), (1.0, 0.1, 0.9)])
def test_shares_follow_the_information_of_the_data(noise, low, high):
    gap = centring.divergences(*posterior_of_groups(1.0, noise))
    assert low <= GRID[np.argmin(gap)] <= high


def test_too_few_different_draws_teach_nothing():
    assert centring.divergences(*(np.repeat(x[:50], 40) for x in posterior_of_groups(1.0, 1.0))) is None
    form = lawful.trace(groups, np.zeros(3))
    assert learnt_shares(form, [("x",)], (np.zeros(3),), {"mean": np.zeros((1, 500))}) == {}
    assert learnt_coordinates(form, [("x",)], (np.zeros(3),), []).name == noncentred().name


def test_runs_that_died_teach_nothing_and_others_do():
    rng, y = np.random.default_rng(3), np.zeros(3)
    values = {"mean": rng.normal(size=(4, 300)), "spread": rng.gamma(2.0, size=(4, 300))}
    values["x"] = 0.01 * rng.normal(size=(4, 300, 3))  # known, so that the site stays centred
    form = lawful.trace(groups, y)
    for dead, learns in ((1, True), (4, False)):
        evidence = np.where(np.arange(4) < dead, -np.inf, 0.0)
        result = from_population(values, np.zeros((4, 300)), evidence, draws=values)
        found = learnt_coordinates(form, [("x",)], (y,), [result])
        assert (found.name == "noncentred(normal sites, centred=x)") == learns, found.name


def test_sites_without_elements_teach_nothing():
    def empty():
        lawful.sample("e", dist.Normal(jnp.zeros(0), 1.0).to_event(1))
        lawful.sample("x", dist.Normal(0.0, 1.0))

    draws = {"e": np.zeros((2, 200, 0)), "x": np.random.default_rng(0).normal(size=(2, 200))}
    assert learnt_shares(lawful.trace(empty), [("x",)], (), draws) == {}


def draws_of(program, *args, warmup=500):
    return inference.mcmc(noncentred(["theta"])(program), kernels.nuts(), chains=2, warmup=warmup, draws=500)(
        KEY, *args
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_eight_schools_are_hardly_centred_and_much_data_keep_a_group_centred():
    y, sd = models.hierarchical.SCHOOLS
    for scale, low, high in ((1.0, 0.0, 0.4), (0.01, 0.9, 1.0)):
        data = (y, scale * sd)
        result = draws_of(models.hierarchical.eight_schools, *data)
        form = lawful.trace(models.hierarchical.eight_schools, *data)
        shares = learnt_shares(form, [("theta",)], data, result.posterior)
        assert shares["theta"].shape == (8,)
        assert np.all((low <= shares["theta"]) & (shares["theta"] <= high)), shares


PRECISE = np.array([0.05, 10.0, 10.0, 0.05, 10.0, 10.0])  # groups of which some are known well, others hardly


def uneven(y):
    mean = lawful.sample("mean", dist.Normal(0.0, 3.0))
    spread = lawful.sample("spread", dist.LogNormal(0.0, 1.5))
    with lawful.plate("group", 6):
        theta = lawful.sample("theta", dist.Normal(mean, spread))
        lawful.sample("y", dist.Normal(theta, PRECISE), obs=y)


def truth_of_uneven(y):
    """Means of mean and spread: theta is integrated by hand, both are summed over a fine grid."""
    m, s = np.linspace(-12, 12, 801)[:, None], np.exp(np.linspace(-7.5, 7.5, 2001))[None]
    density = -0.5 * (m / 3) ** 2 - 0.5 * (np.log(s) / 1.5) ** 2
    for value, noise in zip(y, PRECISE, strict=True):
        variance = s**2 + noise**2
        density = density - 0.5 * (value - m) ** 2 / variance - 0.5 * np.log(variance)
    weight = np.exp(density - density.max())
    return {"mean": np.sum(weight * m) / weight.sum(), "log spread": np.sum(weight * np.log(s)) / weight.sum()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_chains_on_learnt_coordinates_hardly_diverge_and_have_the_posterior():
    """A tenth of the steps of standard normals, where some groups are known well and others hardly."""
    y = np.array([0.4, 3.0, -5.0, -0.6, 8.0, 1.0])
    first, form = draws_of(uneven, y), lawful.trace(uneven, y)
    learnt = learnt_coordinates(form, [("theta",)], (y,), [first])
    shares = learnt_shares(form, [("theta",)], (y,), first.posterior)["theta"]
    assert shares[PRECISE < 1].min() > 0.8 and shares[PRECISE > 1].max() < 0.5
    careful = kernels.nuts(target_acceptance=0.95)
    result = inference.mcmc(learnt(uneven), careful, chains=4, warmup=1000, draws=1000)(KEY, y)
    assert np.mean(result.stats["diverging"]) < 0.001
    whole = inference.mcmc(noncentred(["theta"])(uneven), careful, chains=4, warmup=1000, draws=1000)(KEY, y)
    assert np.mean(result.stats["n_steps"]) < 0.1 * np.mean(whole.stats["n_steps"])
    draws = {"mean": result.posterior["mean"], "log spread": np.log(result.posterior["spread"])}
    for name, expected in truth_of_uneven(y).items():
        batches = np.asarray(draws[name]).reshape(40, -1).mean(1)
        assert abs(batches.mean() - expected) < 5 * batches.std(ddof=1) / np.sqrt(40), name


def counted(y):
    mean = lawful.sample("mean", dist.Normal(0.0, 1.0))
    spread = lawful.sample("spread", dist.LogNormal(0.0, 1.0))
    with lawful.plate("group", 4):
        theta = lawful.sample("theta", dist.Normal(mean, spread))
        lawful.sample("y", dist.Poisson(jnp.exp(theta)), obs=y)


@pytest.mark.slow
def test_infer_learns_coordinates_from_the_attempts_before():
    """Chains of the learnt attempt are those of `noncentred(centred=...)` of what draws before taught."""
    y = np.array([0, 3, 200, 1])
    plan = inference.infer(counted, draws=1000).plan(y)
    number = next(n for n, attempt in enumerate(plan.attempts) if attempt.learnt is not None)
    attempt, inputs = plan.attempts[number], tuple(plan.prepared.inputs)
    assert attempt.after(inputs, []) is attempt
    before = [plan.method(0)(KEY, y)]
    learnt = attempt.after(inputs, before).before
    assert learnt.name == "noncentred(normal sites, centred=theta)"
    result = plan.begun(number, before)(KEY, y)
    by_hand = attempt.method.on(learnt(counted))(KEY, y)
    np.testing.assert_array_equal(result.posterior["theta"], by_hand.posterior["theta"])
