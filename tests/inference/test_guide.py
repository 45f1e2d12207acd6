"""Guides: the measure stays whatever a guide is, its gradients are unbiased, and no answer is wrong in silence."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import RunOptions, kernels
from lawful.inference.check.rows.kernel_rows import taken
from lawful.inference.plans.guides.families import FAMILIES
from lawful.inference.plans.guides.verdict import GAP, TAIL, acceptance, bounds
from lawful.inference.transformers.propose.stored_guide import restored, stored

from .known_line import known_line, line, line_data

Y = np.array([0.4, -1.0, 1.2])
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def spread(y):
    """A scale with a bound, and a level whose support it moves: two coordinates, of which none is normal."""
    sigma = lawful.sample("sigma", dist.HalfNormal(2.0))
    level = lawful.sample("level", dist.Uniform(-sigma, sigma))
    lawful.deterministic("ratio", level / sigma)
    with lawful.plate("i", 3):
        lawful.sample("y", dist.Normal(level, sigma), obs=y)
    return level


def schools(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    tau = lawful.sample("tau", dist.HalfCauchy(5.0))
    with lawful.plate("school", 8):
        z = lawful.sample("z", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(mu + tau * z, ERRORS), obs=y)


def normal_guide(loc, scale, sites=(("sigma", 1), ("level", 1))):
    return inference.Guide(dist.Normal(jnp.asarray(loc), jnp.asarray(scale)).to_event(1), sites)


def test_the_measure_is_that_of_the_program_whatever_the_tables_are():
    """Every value of finite sites in a plate and a loop, by enumeration; the guide alone has its own law."""
    rng = np.random.default_rng(1)
    tables = {"a": rng.normal(size=2), "z": rng.normal(size=(2, 3)), "s": rng.normal(size=(2, 2))}
    guide = inference.Guide(None, (), tables)
    plain, guided = (inference.enumerate(program)() for program in (taken, inference.start_from(guide)(taken)))
    np.testing.assert_allclose(guided.log_evidence, plain.log_evidence, rtol=1e-13)
    own = inference.enumerate(guide(taken))()
    np.testing.assert_allclose(own.log_evidence, 0.0, atol=1e-13)
    for name, table in tables.items():
        known, found, drawn = (
            exact.marginal(each) for exact, each in ((plain, name), (guided, f"~guide.{name}"), (own, f"~guide.{name}"))
        )
        masses = np.exp(table - np.logaddexp.reduce(table, axis=-1, keepdims=True)).reshape(-1, table.shape[-1])
        assert known.keys() == found.keys() == drawn.keys()
        for value in known:
            np.testing.assert_allclose(found[value], known[value], rtol=1e-12)
            numbers = np.atleast_1d(value)
            np.testing.assert_allclose(drawn[value], np.prod(masses[np.arange(len(numbers)), numbers]), rtol=1e-12)


def test_the_evidence_is_that_of_the_program_whatever_the_guide_is():
    """By the trapezoid rule on the coordinates that the guide draws: the weight times its density is the program's."""
    guide = normal_guide([0.3, -0.2], [0.7, 1.5])
    form = lawful.trace(inference.start_from(guide)(spread), Y)
    assert [site.address for site in form.sites() if site.observed is None] == [("~guide", "coordinates")]
    density = lawful.density(form, Y)
    s = np.linspace(-8.0, 8.0, 400)
    grid = np.stack(np.meshgrid(s, s, indexing="ij"), axis=-1).reshape(-1, 2)
    name = density.names[0]
    ours = np.exp(np.asarray(jax.vmap(lambda u: density.logp({name: u}))(grid))).sum() * (s[1] - s[0]) ** 2
    plain = lawful.density(spread, Y)
    theirs = jax.vmap(lambda u: plain.logp({"sigma": u[0], "level": u[1]}))(grid)
    np.testing.assert_allclose(ours, np.exp(np.asarray(theirs)).sum() * (s[1] - s[0]) ** 2, rtol=1e-10)


def test_results_have_the_choices_and_values_of_the_program_by_name():
    guide = normal_guide([0.3, -0.2], [0.7, 1.5])
    result = inference.importance(spread, particles=500, runs=2, proposal=guide)(0, Y)
    assert set(result.posterior) == {"sigma", "level", "ratio"} and result.posterior["sigma"].shape == (2, 500)
    assert np.all(np.abs(result.posterior["ratio"]) < 1) and np.all(result.posterior["sigma"] > 0)
    np.testing.assert_allclose(
        result.posterior["ratio"], result.posterior["level"] / result.posterior["sigma"], rtol=1e-5
    )


def test_a_guide_is_an_argument_that_compiles_nothing_anew():
    plan = inference.importance(lambda y, guide: inference.start_from(guide)(spread)(y), particles=50, runs=1)
    first = plan(0, Y, normal_guide([0.3, -0.2], [0.7, 1.5]))
    second = plan(0, Y, normal_guide([0.1, 0.2], [0.5, 1.0]))
    assert second.run["compile_seconds"] == 0.0 and not np.array_equal(
        first.posterior["sigma"], second.posterior["sigma"]
    )


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        (normal_guide([0.0], [1.0], (("sigma", 1),)), "sigma (1), and the program has sigma (1), level (1)"),
        (normal_guide([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), "one vector of 2 coordinates"),
        (inference.Guide(None, (), {"sigma": jnp.zeros(2)}), "the program has sigma (1), level (1)"),
        (
            inference.Guide(
                dist.TruncatedNormal(jnp.zeros(2), 1.0, low=-2.0).to_event(1), (("sigma", 1), ("level", 1))
            ),
            "which it does not reach",
        ),
    ],
)
def test_a_guide_of_other_choices_is_refused(guide, words):
    for asker, call in (
        ("proposal=: ", lambda: inference.importance(spread, particles=10, proposal=guide)(0, Y)),
        ("start_from: ", lambda: lawful.trace(inference.start_from(guide)(spread), Y)),
        ("guide(model): ", lambda: lawful.trace(guide(spread), Y)),
    ):
        with pytest.raises(LawfulError) as error:
            call()
        assert words in str(error.value) and str(error.value).startswith(asker)


def test_what_is_no_guide_is_refused_with_what_makes_one():
    with pytest.raises(LawfulError, match=r"inference.guide\(model\)"):
        inference.start_from(dist.Normal(0.0, 1.0))
    with pytest.raises(LawfulError, match="'flow', 'laplace', 'mode', 'pathfinder' or 'grid', got 'magic'"):
        inference.guide(spread, family="magic")

    def counted():
        lawful.sample("n", dist.Poisson(3.0))

    with pytest.raises(UnsupportedProgramError, match="discrete sites 'n'.*sum them out"):
        inference.guide(counted)(0)

    def branched():
        lawful.cond(
            lawful.sample("p", dist.Uniform(0.0, 1.0)) > 0.5,
            lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), lambda: 0.0,
        )  # fmt: skip

    with pytest.raises(UnsupportedProgramError, match="'x'.*exists in one arm of a branch only"):
        inference.guide(branched)(0)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_corrected_answers_are_those_of_the_program(family, false_alarm):
    """Evidence and means of a conjugate regression by all families, by Student's t over 16 runs of 500 draws."""
    x, y = line_data()
    mean, covariance, evidence = known_line(x, y)
    result = inference.guide(line, family=family, particles=500, runs=16, steps=600)(1, x, y)
    assert result.ok, result.warnings
    ratio = np.exp(result.log_evidence - evidence)
    limit = stats.t.isf(false_alarm / 2, 15) / 4
    assert abs(ratio.mean() - 1) <= limit * ratio.std(ddof=1) + 1e-4
    weight = np.exp(result.weighted.log_weight)
    each = np.sum(weight[..., None] * result.weighted.values["slopes"], axis=1) / weight.sum(axis=1)[:, None]
    assert np.all(abs(each.mean(axis=0) - mean) <= limit * each.std(axis=0, ddof=1) + 1e-4)
    if family in ("laplace", "lowrank"):  # which have the posterior among them
        assert result.stats["elbo"].mean() > evidence - 0.05
    low, high = result.stats["elbo"], result.stats["eubo"]
    assert low.mean() <= evidence + 0.01 and high.mean() >= evidence - 0.01


def test_a_mode_that_says_little_of_the_posterior_is_not_ok():
    """Eight schools: the scale of the effects has its highest coordinates far from most of the mass."""
    result = inference.guide(schools, family="mode")(0, EFFECTS)
    assert not result.ok and result.guide.family == "mode"


SPOILED = {
    "wrong place": lambda loc, root: (loc + 6 * root[0, 0], root),
    "half the scale": lambda loc, root: (loc, 0.5 * root),
    "double scale": lambda loc, root: (loc, 2.0 * root),
    "correlations dropped": lambda loc, root: (loc, np.diag(1 / np.sqrt(np.diag(np.linalg.inv(root @ root.T))))),
    "wrong sign": lambda loc, root: (-loc, root),
    "unfitted start": lambda loc, root: (np.zeros_like(loc), np.eye(len(loc))),
    "one site too narrow": lambda loc, root: (loc, np.diag([0.05, 1.0]) @ root),
}


@pytest.mark.parametrize("spoil", list(SPOILED))
def test_a_spoiled_guide_is_told_or_harmless(spoil):
    """The corrected mean lies within five errors of both runs and weights, or the result is not ok."""
    x, y = line_data()
    mean, covariance, evidence = known_line(x, y)
    loc, root = SPOILED[spoil](mean, np.linalg.cholesky(covariance))
    guide = inference.Guide(dist.MultivariateNormal(jnp.asarray(loc), scale_tril=jnp.asarray(root)), (("slopes", 2),))
    for seed in range(5):
        result = inference.importance(line, particles=1000, runs=4, proposal=guide)(seed, x, y)
        means = result.posterior["slopes"].mean(axis=1)
        error = means.std(axis=0, ddof=1) / 2 + np.sqrt(np.diag(covariance) / 400)
        right = np.all(abs(means.mean(axis=0) - mean) < 5 * error) and abs(result.log_evidence_pooled - evidence) < 0.5
        assert right or not result.ok, spoil


def test_the_raw_guide_is_had_by_asking_and_says_what_it_is():
    x, y = line_data()
    near = inference.guide(line, family="laplace", corrected=False)(0, x, y)
    assert near.ok and [finding.code for finding in near.reasons] == ["UNCORRECTED"]
    far = inference.guide(schools, family="normal", corrected=False)(0, EFFECTS)
    assert not far.ok and "BIASED_GUIDE" in {finding.code for finding in far.reasons}
    assert np.mean(far.stats["eubo"] - far.stats["elbo"]) > GAP
    assert inference.guide(line).contract.exact and not inference.guide(line, corrected=False).contract.exact


def test_bounds_enclose_the_log_of_the_mean_weight():
    log_w = np.random.default_rng(0).normal(size=(3, 100))
    low, high = bounds(log_w)
    evidence = np.log(np.exp(log_w).mean(axis=1))
    assert np.all(low < evidence) and np.all(evidence < high)
    assert bounds(np.array([[0.0, -np.inf]]))[1][0] == 0.0


def test_the_acceptance_of_independence_moves_is_that_of_all_pairs():
    """Each pair of draws by itself, the first by its weight; a dead draw is never moved to."""
    log_w = np.random.default_rng(0).normal(size=(3, 50)) * np.array([[0.1], [1.0], [3.0]])
    log_w[1, 3] = -np.inf
    weight = np.exp(log_w)
    least = np.minimum(weight[:, :, None], weight[:, None, :]).sum(axis=(1, 2)) - weight.sum(axis=1)
    np.testing.assert_allclose(acceptance(log_w), least / weight.sum(axis=1) / 49, rtol=1e-12)


def test_the_acceptance_of_a_result_is_that_of_chains(false_alarm):
    """Of chains from the same guide, by Student's t over their rates; that of the weights has an error of .003."""
    x, y = line_data()
    result = inference.guide(line, family="mode")(0, x, y)
    kernel = kernels.mh(kernels.independence())
    chains = inference.mcmc(inference.start_from(result.guide)(line), kernel, chains=8, draws=1000)(1, x, y)
    rates = np.asarray(chains.stats["acceptance_rate"]).reshape(8, -1).mean(axis=1)
    limit = stats.t.isf(false_alarm / 2, 7) * rates.std(ddof=1) / np.sqrt(8)
    assert abs(rates.mean() - result.stats["independence_acceptance"].mean()) < limit + 0.02


def test_heavy_weights_are_not_ok():
    """A guide of a tenth of the scale: the weights have no second moment, whatever their effective size says."""
    x, y = line_data()
    mean, _, _ = known_line(x, y)
    result = inference.guide(schools, family="laplace")(0, EFFECTS)
    found = {finding.code: finding for finding in result.reasons}
    assert not result.ok and found["HEAVY_TAIL"].value > TAIL


def test_a_guide_serves_every_method_that_starts_somewhere(false_alarm):
    """The evidence of the regression by tempering from a poor guide; means by an independence sampler and by NUTS."""
    x, y = line_data()
    mean, covariance, evidence = known_line(x, y)
    law = dist.MultivariateNormal(jnp.asarray(mean) + 0.3, jnp.asarray(4 * covariance))
    guided = inference.start_from(inference.Guide(law, (("slopes", 2),)))(line)
    tempered = inference.tempered_smc(guided, particles=500, runs=8)(0, x, y)
    ratio = np.exp(tempered.log_evidence - evidence)
    assert abs(ratio.mean() - 1) < stats.t.isf(false_alarm / 2, 7) * ratio.std(ddof=1) / np.sqrt(8)
    for kernel in (kernels.mh(kernels.independence()), kernels.nuts()):
        chains = inference.mcmc(guided, kernel, chains=8, warmup=300, draws=1000)(1, x, y)
        means = chains.posterior["slopes"].mean(axis=1)
        limit = stats.t.isf(false_alarm / 4, 7) * means.std(axis=0, ddof=1) / np.sqrt(8)
        assert np.all(abs(means.mean(axis=0) - mean) < limit), kernel


@pytest.mark.parametrize("family", ["laplace", "pathfinder", "normal"])
def test_scales_of_a_guide_serve_chains_in_their_own_coordinates(family):
    """A bounded site beside a vector: the inverse of the curvature at the mode, to 1e-6; chains take fewer steps."""
    x = np.random.default_rng(0).normal(size=(40, 2)) @ np.array([[1.0, 0.99], [0.0, 0.1]])
    y = x @ [1.0, -2.0]

    def close(x, y):
        noise = lawful.sample("noise", dist.LogNormal(0.0, 0.2))
        w = lawful.sample("w", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
        lawful.sample("y", dist.Normal(x @ w, 5.0 * noise).to_event(1), obs=y)

    with jax.enable_x64(True):
        result = inference.guide(close, family=family)(0, x, y)
        found = result.guide.covariance
        assert found.shape == (3, 3)
        if family == "laplace":
            logp = lawful.density(close, x, y).logp_vector
            curvature = -np.asarray(jax.hessian(logp)(jnp.asarray(result.guide.law.mean)))
            np.testing.assert_allclose(found, np.linalg.inv(curvature), rtol=1e-4, atol=1e-6)
        if family != "normal":
            start = {name: np.asarray(v)[:, 0] for name, v in result.posterior.items()}
            steps = [
                np.mean(inference.mcmc(close, kernels.nuts(inverse_mass=mass), warmup=50, draws=50, init=start)(
                    0, x, y).stats["n_steps"])
                for mass in (found, np.diag(np.diag(found)))
            ]  # fmt: skip
            assert steps[0] < 0.5 * steps[1]


def test_finite_sites_are_summed_and_drawn_back():
    """Two components, whose shares of the posterior are known by quadrature."""

    def mixed(y):
        z = lawful.sample("z", dist.Bernoulli(0.3))
        level = lawful.sample("level", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(level + 2.0 * z, 1.0), obs=y)

    parts = np.array([0.7, 0.3]) * stats.norm.pdf(1.5, [0.0, 2.0], np.sqrt(2.0))
    result = inference.guide(mixed, family="laplace", enumerate="all")(0, 1.5)
    assert result.ok and abs(result.log_evidence_pooled - np.log(parts.sum())) < 0.02
    assert abs(result.posterior["z"].mean() - parts[1] / parts.sum()) < 0.03 and result.guide.sites == (("level", 1),)


def test_a_fit_stopped_early_is_still_corrected():
    x, y = line_data()
    _, _, evidence = known_line(x, y)
    stopped = inference.guide(
        line, family="lowrank", run=RunOptions(chunk=20, callbacks=lambda progress: progress.phase == "fit")
    )(0, x, y)
    assert "UNSETTLED" in {finding.code for finding in stopped.reasons}
    assert abs(stopped.log_evidence_pooled - evidence) < 0.1


def test_the_best_law_of_a_path_is_kept_where_there_is_no_maximum():
    """The density of a funnel rises without bound towards its neck; the law that is kept covers its body."""

    def funnel():
        scale = lawful.sample("log_scale", dist.Normal(0.0, 1.0))
        with lawful.plate("i", 8):
            lawful.sample("x", dist.Normal(0.0, jnp.exp(scale)))

    guide = inference.guide(funnel, family="normal")(0).guide
    assert abs(float(guide.law.mean[0])) < 1.0


@pytest.mark.parametrize("phase", ["paths", "fit"])
def test_a_fit_goes_on_where_it_was_stopped(phase, tmp_path):
    """Bit for bit, from a stop in either phase; a fit of fewer steps than a window is used as it is."""
    x, y = line_data()
    settings = {"paths": 2, "steps": 60, "particles": 20, "runs": 2}
    whole = inference.guide(line, **settings)(3, x, y)
    stop = RunOptions(chunk=3, checkpoint=tmp_path / phase, callbacks=lambda progress: progress.phase == phase)
    part = inference.guide(line, run=stop, **settings)(3, x, y)
    found = inference.resume(tmp_path / phase, line, x, y)
    np.testing.assert_array_equal(found.posterior["slopes"], whole.posterior["slopes"])
    assert not np.array_equal(part.posterior["slopes"], whole.posterior["slopes"])
    moved = inference.guide(line, **{**settings, "steps": 0})(3, x, y).guide.law
    assert not np.array_equal(moved.mean, whole.guide.law.mean)


def test_absent_elements_have_their_prior():
    """The evidence is that of the three data that are there, which are normal together."""

    def ragged(y, there):
        level = lawful.sample("level", dist.Normal(0.0, 1.0))

        def step(carry, y):
            with lawful.plate("person", 2):
                x = lawful.sample("x", dist.Normal(level, 1.0))
                lawful.sample("y", dist.Normal(x, 0.5), obs=y)
            return carry, None

        lawful.scan(step, jnp.zeros(2), y, mask=there)

    y, there = np.array([[0.5, -1.0], [7.0, 0.2]]), np.array([[True, True], [False, True]])
    known = stats.multivariate_normal.logpdf(y[there], np.zeros(3), 1.0 + 1.25 * np.eye(3))
    result = inference.guide(ragged)(0, y, there)
    assert result.ok and abs(result.log_evidence_pooled - known) < 0.02


LAWS = {
    "lowrank": {}, "normal": {}, "flow": {"paths": 2}, "laplace": {}, "mode": {}, "pathfinder": {"paths": 3},
}  # fmt: skip


@pytest.mark.parametrize("family", LAWS)
def test_a_guide_is_stored_with_its_result(family, tmp_path):
    """The guide that is read draws and scores as the one that was written, bit for bit."""
    x, y = line_data()
    result = inference.guide(line, family=family, particles=20, runs=2, steps=100, **LAWS[family])(0, x, y)
    result.save(tmp_path / "guide.nc")
    found = inference.Result.load(tmp_path / "guide.nc").guide
    assert repr(found) == repr(result.guide) and found.sites == result.guide.sites
    drawn, again = (each.law.sample(jax.random.key(1), (5,)) for each in (result.guide, found))
    np.testing.assert_array_equal(again, drawn)
    np.testing.assert_array_equal(found.law.log_prob(drawn), result.guide.law.log_prob(drawn))
    assert jax.tree.structure(found) == jax.tree.structure(result.guide)
    anew, other = (
        inference.importance(line, particles=20, runs=2, proposal=each)(3, x, y) for each in (result.guide, found)
    )
    np.testing.assert_array_equal(anew.posterior["slopes"], other.posterior["slopes"])


def test_tables_are_stored_and_a_law_of_the_user_is_left_out():
    tables = {"z": np.array([[0.1, 0.2], [0.3, 0.4]])}
    arrays, told = stored(inference.Guide(None, (), tables))
    np.testing.assert_array_equal(restored(arrays, json.loads(json.dumps(told))).tables["z"], tables["z"])

    class Own(dist.Normal):
        pass

    assert stored(inference.Guide(Own(jnp.zeros(2), 1.0).to_event(1), (("x", 2),))) is None
