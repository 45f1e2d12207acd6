"""Guides that are programs of the user's: weighed rightly whatever they are, fitted without bias, refused in words."""

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints, transforms
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError, NoFiniteStartError, NonFiniteError, UnsupportedProgramError
from lawful.inference import RunOptions
from lawful.inference.kernels.base.frame import frame_of
from lawful.inference.plans.guides.fit import Uphill
from lawful.inference.plans.guides.programs import program_family

from .known_line import known_line, line, line_data
from .test_guide_fit import assert_unbiased

Y = np.array([0.4, -1.0, 1.2])


class Known(dist.Normal):
    """A normal law whose noise is given, so that all noise that there is can be gone through."""

    reparametrized_params: ClassVar[list[str]] = ["loc", "scale"]
    pytree_data_fields = ("noise",)

    def __init__(self, loc, scale, noise):
        self.noise = noise
        super().__init__(loc, scale, validate_args=False)

    def sample(self, key, sample_shape=()):
        return jnp.broadcast_to(self.loc + self.scale * self.noise, (*sample_shape, *self.batch_shape))


def within(base, sigma):
    """The law on the interval of a level, of one on the unit interval."""
    to = transforms.AffineTransform(-sigma, 2 * sigma, domain=constraints.unit_interval)
    return dist.TransformedDistribution(base, to)


def logit_normal(base):
    return dist.TransformedDistribution(base, transforms.SigmoidTransform())


def spread(y, noise):
    """A scale with a bound, and a level whose support it moves; the noise is the guide's alone."""
    sigma = lawful.sample("sigma", dist.HalfNormal(2.0))
    level = lawful.sample("level", within(dist.Beta(3.0, 3.0), sigma))
    with lawful.plate("i", 3):
        lawful.sample("y", dist.Normal(level, sigma), obs=y)


def spread_guide(p, y, noise):
    log_sigma = Known(p["log_sigma"], jnp.exp(p["log_width"]), noise[0])
    sigma = lawful.sample("sigma", dist.TransformedDistribution(log_sigma, transforms.ExpTransform()))
    loc = p["level"] + p["slope"] * jnp.log(sigma)
    lawful.sample("level", within(logit_normal(Known(loc, jnp.exp(p["level_width"]), noise[1])), sigma))


def family_of(model, program, parameters, *args, objective="elbo"):
    """The family, as a fit makes it, and the frame of the program."""
    form = lawful.trace(model, *args)
    frame = frame_of(form, "guide")
    return program_family(program, parameters, form, frame, "guide", objective != "forward"), frame


PARAMETERS = [
    {"log_sigma": 0.3, "log_width": -0.3, "level": -0.2, "slope": 0.5, "level_width": 0.4},
    {"log_sigma": -0.5, "log_width": 0.1, "level": 0.4, "slope": 0.0, "level_width": 0.6},
]


@pytest.mark.kills("59i", p=PARAMETERS[0])
@pytest.mark.parametrize("p", PARAMETERS)
def test_the_answer_is_weighed_rightly_whatever_the_parameters_are(p):
    """By the trapezoid rule over the noise of the guide: the mean weight is the evidence, and so with any function."""
    family, frame = family_of(spread, spread_guide, p, Y, np.zeros(2))
    s = np.linspace(-13.0, 13.0, 400)
    grid, area = np.stack(np.meshgrid(s, s, indexing="ij"), axis=-1).reshape(-1, 2), (s[1] - s[0]) ** 2

    @jax.vmap
    def weighed(noise):
        law = family.at((jnp.asarray(Y), noise)).law(p)
        vector = law.sample(jax.random.key(0))
        return frame.log_density((Y, noise), vector) - law.log_prob(vector), vector

    log_weight, vectors = weighed(jnp.asarray(grid))
    ours = np.exp(np.asarray(log_weight) - 0.5 * np.sum(grid**2, axis=1)) * area / (2 * np.pi)
    theirs = np.exp(np.asarray(jax.vmap(lambda u: frame.log_density((Y, jnp.zeros(2)), u))(grid))) * area
    np.testing.assert_allclose(ours.sum(), theirs.sum(), rtol=1e-10)
    for function in (np.exp, np.tanh):
        found, known = (np.sum(w[:, None] * function(u), axis=0) for w, u in ((ours, vectors), (theirs, grid)))
        np.testing.assert_allclose(found, known, rtol=1e-9)


@pytest.mark.parametrize("p", PARAMETERS)
def test_the_law_of_a_program_has_its_density_in_coordinates(p):
    """Known here: independent of how it draws, normal laws of the log of the scale and of the logit of the level."""
    family, _ = family_of(spread, spread_guide, p, Y, np.zeros(2))
    law = family.at((jnp.asarray(Y), jnp.zeros(2))).law(p)
    u = np.random.default_rng(0).normal(size=(3, 5, 2))
    known = stats.norm.logpdf(u[..., 0], p["log_sigma"], np.exp(p["log_width"]))
    known += stats.norm.logpdf(u[..., 1], p["level"] + p["slope"] * u[..., 0], np.exp(p["level_width"]))
    np.testing.assert_allclose(law.log_prob(u), known, rtol=1e-10)


@pytest.mark.parametrize("objective", ["elbo", "importance"])
def test_gradients_are_unbiased(objective):
    """The density is quadratic in the coordinates, so that the corners of a cube are all noise that there is."""
    x, y = line_data()

    def noisy(x, y, noise):
        line(x, y)

    def program(p, x, y, noise):
        lawful.sample("slopes", Known(p["loc"], jnp.exp(p["log_scale"]), noise).to_event(1))

    at = {"loc": np.zeros(2), "log_scale": np.zeros(2)}
    family, frame = family_of(noisy, program, at, x, y, np.zeros(2))

    def one(p, corner):
        inputs = jnp.asarray(x), jnp.asarray(y), corner
        return Uphill(frame, family.at(inputs), objective, 1).estimate(p, inputs, jax.random.key(0))

    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=2)))
    assert_unbiased(lambda p: jnp.mean(jnp.stack([one(p, jnp.asarray(corner)) for corner in corners])))


def slopes(p, x, y):
    """Two normal slopes of which one reads the other: the posterior of the regression is among these."""
    root = jnp.zeros((2, 2)).at[1, 0].set(p["below"]) + jnp.diag(jnp.exp(p["log_scale"]))
    lawful.sample("slopes", dist.MultivariateNormal(p["loc"], scale_tril=root))


SLOPES = {"loc": np.zeros(2), "log_scale": np.zeros(2), "below": 0}


def test_a_program_of_the_right_family_becomes_the_posterior():
    """The gradient has no noise at the posterior itself (Roeder 2017), so that a fit gets there: to 1e-4 and less."""
    x, y = line_data()
    mean, covariance, evidence = known_line(x, y)
    result = inference.guide(line, family=slopes, parameters=SLOPES)(0, x, y)
    assert result.ok and not result.reasons, result.warnings
    p = result.guide.law.parameters
    root = np.diag(np.exp(p["log_scale"])) + np.array([[0.0, 0.0], [1.0, 0.0]]) * p["below"]
    np.testing.assert_allclose(p["loc"], mean, atol=1e-4)
    np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-3)
    np.testing.assert_allclose(result.stats["elbo"], evidence, atol=1e-4)
    np.testing.assert_allclose(result.stats["eubo"], evidence, atol=1e-4)
    assert result.guide.family == "slopes" and result.run["family"] == "slopes"


@pytest.mark.parametrize("objective", ["elbo", "forward"])
def test_dependent_sites_in_another_order_become_the_posterior(objective):
    """A chain of two normals, which the program draws from its end: each site reads the one after it."""

    def chain(y):
        a = lawful.sample("a", dist.Normal(0.0, 1.0))
        b = lawful.sample("b", dist.Normal(a, 1.0))
        lawful.sample("y", dist.Normal(b, 0.5), obs=y)

    def back(p, y):
        b = lawful.sample("b", dist.Normal(p["b"], jnp.exp(p["log_b"])))
        lawful.sample("a", dist.Normal(p["a"] + p["slope"] * b, jnp.exp(p["log_a"])))

    start = dict.fromkeys(("a", "b", "log_a", "log_b", "slope"), 0.0)
    result = inference.guide(chain, family=back, parameters=start, objective=objective)(0, 1.3)
    assert result.ok, result.warnings
    p, tolerance = result.guide.law.parameters, 1e-3 if objective == "elbo" else 0.06
    known = {"b": 1.3 * 2 / 2.25, "log_b": 0.5 * np.log(0.5 / 2.25), "slope": 0.5, "a": 0.0, "log_a": 0.5 * np.log(0.5)}
    for name, value in known.items():
        np.testing.assert_allclose(p[name], value, atol=tolerance, err_msg=name)
    assert abs(result.log_evidence_pooled - stats.norm.logpdf(1.3, 0.0, 1.5)) < 0.01


def test_positive_sites_and_simplices_become_the_posterior():
    """Gamma and Dirichlet are conjugate to what is seen; implicit gradients have noise, so that the ELBO is near."""
    counts, seen = np.array([3, 0, 5, 1]), np.array([0, 2, 2, 1, 2, 0])

    def model(counts, seen):
        rate = lawful.sample("rate", dist.Gamma(2.0, 1.0))
        shares = lawful.sample("shares", dist.Dirichlet(jnp.array([1.0, 2.0, 1.5])))
        with lawful.plate("day", 4):
            lawful.sample("n", dist.Poisson(rate), obs=counts)
        with lawful.plate("row", 6):
            lawful.sample("k", dist.Categorical(shares), obs=seen)

    def program(p, counts, seen):
        lawful.sample("shares", dist.Dirichlet(jnp.exp(p["shares"])))
        lawful.sample("rate", dist.Gamma(jnp.exp(p["shape"]), jnp.exp(p["speed"])))

    start = {"shares": np.zeros(3), "shape": 0.0, "speed": 0.0}
    result = inference.guide(model, family=program, parameters=start)(0, counts, seen)
    assert result.ok, result.warnings
    p = result.guide.law.parameters
    np.testing.assert_allclose(np.exp(p["shape"]), 2 + counts.sum(), rtol=0.05)
    np.testing.assert_allclose(np.exp(p["speed"]), 5.0, rtol=0.05)
    np.testing.assert_allclose(np.exp(p["shares"]), np.array([1.0, 2.0, 1.5]) + np.bincount(seen), rtol=0.05)
    assert np.ptp([result.stats["elbo"], result.stats["eubo"]]) < 0.01


def test_sites_of_loops_and_plates_and_what_the_model_is_called_with():
    """A random walk with known noise: the program reads the data and a number of Python, and finite sites are summed.

    The posterior is a mixture with wider tails than one normal, so that the program has those of Student's t.
    """

    def walk(y, steps, options):
        def step(level, seen):
            level = lawful.sample("level", dist.Normal(level, 1.0))
            off = lawful.sample("off", dist.Bernoulli(0.2))
            lawful.sample("y", dist.Normal(level, 0.5 + options["extra"] * off), obs=seen)
            return level, None

        lawful.scan(step, 0.0, y)
        with lawful.plate("i", steps):
            lawful.sample("z", dist.Normal(0.0, 1.0))

    def program(p, y, steps, options):
        def step(level, given):
            loc, seen = given
            loc = loc + p["keep"] * level + 0.5 * seen
            level = lawful.sample("level", dist.StudentT(4.0, loc, jnp.exp(p["log_scale"])))
            return level, None

        lawful.scan(step, 0.0, (p["locs"], y))
        with lawful.plate("i", steps):
            lawful.sample("z", dist.Normal(p["z"], 1.0))

    y, options = np.array([0.5, 1.0, 0.2]), {"extra": 1.0, "name": "wide"}
    start = {"locs": np.zeros(3), "keep": 0.0, "log_scale": -0.5, "z": 0.1}
    result = inference.guide(walk, family=program, parameters=start, enumerate="all")(0, y, 2, options)
    assert result.ok and set(result.posterior) == {"level", "off", "z"}, result.warnings
    known = 0.0
    for off in itertools.product(range(2), repeat=3):
        noise = np.diag((0.5 + np.array(off)) ** 2)
        walked = np.minimum.outer(np.arange(1, 4), np.arange(1, 4))
        known += np.prod(np.where(off, 0.2, 0.8)) * stats.multivariate_normal.pdf(y, np.zeros(3), walked + noise)
    assert abs(result.log_evidence_pooled - np.log(known)) < 0.02


def test_a_law_whose_draws_have_no_gradient_is_fitted_forward():
    x, y = line_data()
    _, _, evidence = known_line(x, y)

    def mixture(p, x, y):
        kinds = dist.Categorical(jnp.array([0.9, 0.1]))
        scales = jnp.exp(p["log_scale"]) * jnp.array([1.0, 3.0])[:, None]
        parts = dist.Normal(p["loc"] * jnp.ones((2, 1)), scales).to_event(1)
        lawful.sample("slopes", dist.MixtureSameFamily(kinds, parts))

    start = {"loc": np.zeros(2), "log_scale": np.zeros(2)}
    result = inference.guide(line, family=mixture, parameters=start, objective="forward")(0, x, y)
    assert result.ok and abs(result.log_evidence_pooled - evidence) < 0.05
    with pytest.raises(UnsupportedProgramError, match="'slopes'.*MixtureSameFamily.*no gradient.*objective='forward'"):
        inference.guide(line, family=mixture, parameters=start)(0, x, y)


def test_the_guide_is_a_value_of_other_programs_that_no_file_holds(tmp_path):
    x, y = line_data()
    _, _, evidence = known_line(x, y)
    result = inference.guide(line, family=slopes, parameters=SLOPES, particles=200)(0, x, y)
    anew = inference.importance(line, particles=200, runs=2, proposal=result.guide)(1, x, y)
    assert abs(anew.log_evidence_pooled - evidence) < 1e-3
    rough = inference.guide(line, family=slopes, parameters=SLOPES, particles=200, steps=50)(0, x, y)
    started = inference.start_from(rough.guide)(line)
    assert abs(inference.tempered_smc(started, particles=500, runs=4)(1, x, y).log_evidence_pooled - evidence) < 0.1
    result.save(tmp_path / "guide.nc")
    found = inference.Result.load(tmp_path / "guide.nc")
    assert found.guide is None and found.run["family"] == "slopes"


def test_a_fit_goes_on_where_it_was_stopped(tmp_path):
    """Bit for bit, by the plan; other parameters are another run."""
    x, y = line_data()

    def plan(parameters=SLOPES, **options):
        return inference.guide(line, family=slopes, parameters=parameters, steps=60, particles=20, runs=2, **options)

    whole = plan()(3, x, y)
    stop = RunOptions(chunk=3, checkpoint=tmp_path / "run", callbacks=lambda progress: progress.step == 30)
    part = plan(run=stop)(3, x, y)
    assert "UNSETTLED" in {finding.code for finding in part.reasons}
    with pytest.raises(LawfulError, match="parameters"):
        inference.resume(tmp_path / "run", plan({**SLOPES, "below": 0.1}), x, y)
    found = inference.resume(tmp_path / "run", plan(), x, y)
    np.testing.assert_array_equal(found.posterior["slopes"], whole.posterior["slopes"])
    assert not np.array_equal(part.posterior["slopes"], whole.posterior["slopes"])
    unmoved = inference.guide(line, family=slopes, parameters=SLOPES, steps=0, particles=20)(3, x, y)
    np.testing.assert_array_equal(unmoved.guide.law.parameters["loc"], [0.0, 0.0])


def test_draws_by_name_are_those_of_a_function():
    """The sampler, which jit takes, and a second call that compiles nothing."""
    x, y = line_data()
    plan = inference.guide(line, family=slopes, parameters=SLOPES, steps=30, particles=10, runs=1)
    assert plan(0, x, y).run["compile_seconds"] > 0 == plan(1, x, y).run["compile_seconds"]
    assert jax.jit(plan.sampler(x, y))(jax.random.key(0), x, y)["slopes"].shape == (10, 2)
    assert "slopes from its parameters" in plan.plan(x, y)


def pair(y):
    a = lawful.sample("a", dist.HalfNormal(1.0))
    b = lawful.sample("b", dist.Normal(jnp.zeros(2), a))
    lawful.sample("y", dist.Normal(b, 1.0), obs=y)


def draws(**laws):
    """A program of some laws by name."""

    def own(p, y):
        for name, law in laws.items():
            lawful.sample(name, law)

    return own


A, B = dist.LogNormal(0.0, 1.0), dist.Normal(jnp.zeros(2), 1.0)


def observing(p, y):
    draws(a=A, b=B)(p, y)
    lawful.sample("y", dist.Normal(0.0, 1.0), obs=0.3)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (draws(a=A), r"guide: family=own has no site 'b', which the model draws .*Fix: draw it there"),
        (draws(a=A, b=B, c=B), r"draws site 'c' \(.*\), which the model does not draw, or which is summed"),
        (draws(a=A, b=dist.Normal(jnp.zeros(3), 1.0)), r"'b' .* of shape \(3,\), and the model .* of shape \(2,\)"),
        (draws(a=dist.Uniform(0.0, 5.0), b=B), r"cannot reach all its values: its support is \[0, 5\].*\[0, inf\]"),
        (draws(a=dist.Normal(0.0, 1.0), b=B), r"values beyond it: its support is \[-inf, inf\].*Fix:.*LogNormal"),
        (draws(a=A, b=dist.Poisson(jnp.ones(2))), r"site 'b' .*Poisson.*is discrete.*Fix: draw it from a continuous"),
        (draws(a=dist.Delta(1.0), b=B), r"site 'a' .*is a point mass.*Fix"),
        (observing, r"family=observing observes 'y' \(.*a guide draws alone. Fix: leave it out"),
        (lambda p: None, r"is called as <lambda>\(parameters, y\), with the arguments of the model.*Fix: let it take"),
    ],
)
def test_programs_of_other_choices_are_refused(program, words):
    with pytest.raises(LawfulError, match=words):
        inference.guide(pair, family=program, parameters={"loc": 0.0})(0, 0.5 * np.ones(2))


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(LawfulError, match=r"family=slopes is a program, and parameters are missing.*Fix: parameters="):
        inference.guide(line, family=slopes)
    with pytest.raises(LawfulError, match=r"family='normal' has its own. Fix: leave them out"):
        inference.guide(line, family="normal", parameters=SLOPES)
    with pytest.raises(LawfulError, match=r"'mode', 'pathfinder' or 'grid', got 'magic'.*family=program"):
        inference.guide(line, family="magic")
    for wrong in ({}, {"loc": "zero"}, {"loc": None}):
        with pytest.raises(LawfulError, match=r"parameters: expected real numbers.*Fix: give the numbers"):
            inference.guide(line, family=slopes, parameters=wrong)


def test_finite_sites_of_the_model_are_refused_where_they_are_not_summed():
    def mixed(y):
        z = lawful.sample("z", dist.Bernoulli(0.3))
        lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)) + z, 1.0), obs=y)

    with pytest.raises(UnsupportedProgramError, match=r"the model draws 'z'.*discrete.*enumerate='all'"):
        inference.guide(mixed, family=draws(x=B), parameters=0.0)(0, 0.5)


def test_bounds_that_differ_in_the_run_give_no_answer():
    """A level that the guide draws within half of its interval: no weight makes up for the rest of it."""

    def narrow(p, y, noise):
        sigma = lawful.sample("sigma", dist.LogNormal(p["loc"], 1.0))
        lawful.sample("level", within(logit_normal(dist.Normal(0.0, 1.0)), 0.5 * sigma))

    with pytest.raises(NonFiniteError, match="draws 'level' within bounds that are computed.*Fix: compute them"):
        inference.guide(spread, family=narrow, parameters={"loc": 0.0}, steps=0)(0, Y, np.zeros(2))
    with pytest.raises(NoFiniteStartError, match="Bounds of 'level' are computed, and have to be those of the model"):
        inference.guide(spread, family=narrow, parameters={"loc": 0.0}, steps=50)(0, Y, np.zeros(2))


def test_a_fit_that_cannot_begin_is_told():
    """A scale that is no scale: the objective is NaN at each step."""

    def program(p, x, y):
        lawful.sample("slopes", dist.Normal(jnp.zeros(2), p).to_event(1))

    x, y = line_data()
    with pytest.raises(NoFiniteStartError, match="no finite objective at the parameters.*Fix: begin elsewhere"):
        inference.guide(line, family=program, parameters=-1.0)(0, x, y)
