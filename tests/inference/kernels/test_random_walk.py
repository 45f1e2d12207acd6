"""Random walk: log pi(x) + log q(y|x) + log a(x, y) is symmetric in (x, y), on every support.

Everything but the acceptance is computed here from closed forms: pi by SciPy, the bijections and their Jacobians by
hand.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import expit, logit

import lawful
from lawful import cond, inference, plate, sample, scan
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from tests.inference.kernels.transition import Transition

TOLERANCE = 1e-10
SCALE = 0.7
Y = 1.3
CONCENTRATION = np.array([0.8, 2.0, 1.5])


def model(y):
    """One site of each kind of support; the bound of `inside` is itself random."""
    theta = sample("theta", dist.Gamma(2.0, 1.5))
    inside = sample("inside", dist.Uniform(0.0, theta))
    p = sample("p", dist.Beta(1.5, 2.5))
    w = sample("w", dist.Dirichlet(jnp.array(CONCENTRATION)))
    s = sample("s", dist.LogNormal(0.2, 0.8))
    z = sample("z", dist.Normal(0.5, 2.0))
    sample("y", dist.Normal(inside + p * z + w[1], s), obs=y)


def log_pi(x, y=Y):
    terms = [
        stats.gamma.logpdf(x["theta"], 2.0, scale=1 / 1.5),
        stats.uniform.logpdf(x["inside"], 0, x["theta"]),
        stats.beta.logpdf(x["p"], 1.5, 2.5),
        stats.dirichlet.logpdf(x["w"] / x["w"].sum(), CONCENTRATION),
        stats.lognorm.logpdf(x["s"], 0.8, scale=np.exp(0.2)),
        stats.norm.logpdf(x["z"], 0.5, 2.0),
        stats.norm.logpdf(y, x["inside"] + x["p"] * x["z"] + x["w"][1], x["s"]),
    ]
    return sum(terms)


def sticks(w):
    """The fractions of the rest that each part of a simplex takes, the last one left out."""
    rest = 1 - np.concatenate([[0.0], np.cumsum(w)[:-2]])
    return w[:-1] / rest


def break_sticks(fractions):
    rest = np.concatenate([[1.0], np.cumprod(1 - fractions)])
    return np.append(fractions, 1.0) * rest


OFFSET = np.log(np.array([2.0, 1.0]))  # the centre of the simplex is at 0

# Each map: value -> unconstrained, unconstrained -> value, log |dx/du| at a value.
POSITIVE = (np.log, np.exp, np.log)
MAPS = {
    "theta": POSITIVE,
    "inside": (lambda x: x, lambda u: u, lambda x: 0.0),
    "p": (logit, expit, lambda x: np.log(x * (1 - x))),
    "w": (
        lambda w: logit(sticks(w)) + OFFSET,
        lambda u: break_sticks(expit(u - OFFSET)),
        lambda w: np.sum(np.log(w[:-1]) + np.log1p(-sticks(w))),
    ),
    "s": POSITIVE,
    "z": (lambda x: x, lambda u: u, lambda x: 0.0),
}


def points(seed, count):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        theta = generator.gamma(2.0, 1 / 1.5)
        yield {
            "theta": theta,
            "inside": generator.uniform(0, theta),
            "p": generator.beta(1.5, 2.5),
            "w": generator.dirichlet(CONCENTRATION),
            "s": generator.lognormal(0.2, 0.8),
            "z": generator.normal(0.5, 2.0),
        }


def moves(transition, x, steps, accept=True):
    """The next point, the probability of accepting it, and the log density that the kernel carries."""
    given = {("~mh", "step", name): step for name, step in steps.items()} | {("~mh", "accept"): accept}
    state, info = transition.step(transition.state(x), given)
    names = [choice.name for choice in transition.choices]
    return dict(zip(names, state, strict=False)), float(info["acceptance_rate"]), float(state[-1])


@pytest.mark.rest_slow
@pytest.mark.tier0b
@pytest.mark.parametrize("sites", [["theta"], ["inside"], ["p"], ["w"], ["s"], ["z"], list(MAPS)], ids="+".join)
def test_the_joint_density_of_a_move_is_symmetric(sites):
    transition = Transition(model, kernels.mh(kernels.random_walk(SCALE, sites=sites)), Y)
    generator = np.random.default_rng(7)
    accepted, left = 0.0, 0
    for x in points(3, 40):
        steps = {name: SCALE * generator.normal(size=np.shape(MAPS[name][0](x[name]))) for name in sites}
        y, a_forth, carried = moves(transition, x, steps)
        expected = {name: MAPS[name][1](MAPS[name][0](x[name]) + steps[name]) for name in sites}
        for name in MAPS:
            np.testing.assert_allclose(y[name], expected.get(name, x[name]), rtol=1e-12)
        if not 0 <= y["inside"] <= y["theta"]:
            assert a_forth == 0
            left += 1
            continue
        assert carried == pytest.approx(log_pi(y), abs=TOLERANCE)
        back, a_back, _ = moves(transition, y, {name: -step for name, step in steps.items()})
        for name in MAPS:
            np.testing.assert_allclose(back[name], x[name], rtol=1e-10)
        q = sum(np.sum(stats.norm.logpdf(step, 0, SCALE)) for step in steps.values())
        forth = log_pi(x) + q - sum(MAPS[name][2](y[name]) for name in sites) + np.log(a_forth)
        backward = log_pi(y) + q - sum(MAPS[name][2](x[name]) for name in sites) + np.log(a_back)
        assert forth == pytest.approx(backward, abs=TOLERANCE)
        assert max(a_forth, a_back) == 1
        accepted += a_forth
    assert accepted > 3  # the identity was checked on moves that happen
    assert (left > 0) == bool({"inside", "theta"} & set(sites))


@pytest.mark.tier0b
def test_a_refused_move_changes_nothing():
    transition = Transition(model, kernels.mh(kernels.random_walk(SCALE)), Y)
    for x in points(5, 5):
        steps = {name: np.full(np.shape(MAPS[name][0](x[name])), 0.3) for name in MAPS}
        y, _, carried = moves(transition, x, steps, accept=False)
        for name in MAPS:
            np.testing.assert_array_equal(y[name], x[name])
        assert carried == pytest.approx(log_pi(x), abs=TOLERANCE)


def sequence(y):
    """A loop of plates: the moved values have the shape (steps, plate)."""

    def step(x, y):
        with plate("pair", 2):
            x = sample("x", dist.Normal(x, 0.5))
            rate = sample("rate", dist.Gamma(jnp.exp(0.1 * x), 1.0))
            sample("y", dist.Poisson(rate), obs=y)
        return x, None

    scan(step, jnp.zeros(2), y)


def log_pi_sequence(x, rate, y):
    before = np.concatenate([np.zeros((1, 2)), x[:-1]])
    return np.sum(
        stats.norm.logpdf(x, before, 0.5) + stats.gamma.logpdf(rate, np.exp(0.1 * x)) + stats.poisson.logpmf(y, rate)
    )


@pytest.mark.tier0b
def test_loops_and_plates_move_as_a_whole():
    y = jnp.array([[1, 0], [2, 1], [0, 4]])
    scales = {"x": 0.2, "rate": np.array([[0.1, 0.3], [0.2, 0.2], [0.4, 0.1]])}
    transition = Transition(sequence, kernels.mh(kernels.random_walk(scales)), y)
    generator = np.random.default_rng(11)
    for _ in range(20):
        x, rate = generator.normal(size=(3, 2)), generator.gamma(1.0, size=(3, 2))
        steps = {name: scales[name] * generator.normal(size=(3, 2)) for name in scales}
        there, a_forth, carried = moves(transition, {"x": x, "rate": rate}, steps)
        np.testing.assert_allclose(there["x"], x + steps["x"], rtol=1e-12)
        np.testing.assert_allclose(there["rate"], rate * np.exp(steps["rate"]), rtol=1e-12)
        back, a_back, _ = moves(transition, there, {name: -step for name, step in steps.items()})
        assert carried == pytest.approx(log_pi_sequence(there["x"], there["rate"], y), abs=TOLERANCE)
        forth = log_pi_sequence(x, rate, y) - np.sum(np.log(there["rate"])) + np.log(a_forth)
        backward = carried - np.sum(np.log(rate)) + np.log(a_back)
        assert forth == pytest.approx(backward, abs=TOLERANCE)


D = 7  # unconstrained coordinates of the model; the simplex has two
ROOT = np.tril(np.random.default_rng(1).normal(size=(D, D)), -1) + np.diag(np.arange(1.0, D + 1) / 2)


@pytest.mark.tier0b
@pytest.mark.parametrize("sites", [None, ["p", "w", "z"]], ids=["all", "some"])
def test_a_joint_step_of_a_given_covariance_is_symmetric(sites):
    names = [name for name in MAPS if sites is None or name in sites]  # in the order of the program
    sizes = [np.size(MAPS[name][0](next(points(3, 1))[name])) for name in names]
    root = ROOT[: sum(sizes), : sum(sizes)]
    transition = Transition(model, kernels.mh(kernels.random_walk(SCALE, covariance=root @ root.T, sites=sites)), Y)
    generator = np.random.default_rng(13)
    accepted = 0.0
    for x in points(17, 20):
        noise = 0.2 * generator.normal(size=len(root))
        parts = np.split(SCALE * root @ noise, np.cumsum(sizes)[:-1])
        steps = {name: part.reshape(np.shape(MAPS[name][0](x[name]))) for name, part in zip(names, parts, strict=True)}
        y, a_forth, carried = joint_move(transition, x, noise)
        for name in MAPS:
            expected = MAPS[name][1](MAPS[name][0](x[name]) + steps[name]) if name in steps else x[name]
            np.testing.assert_allclose(y[name], expected, rtol=1e-12)
        if not 0 <= y["inside"] <= y["theta"]:
            assert a_forth == 0
            continue
        assert carried == pytest.approx(log_pi(y), abs=TOLERANCE)
        back, a_back, _ = joint_move(transition, y, -noise)
        for name in MAPS:
            np.testing.assert_allclose(back[name], x[name], rtol=1e-10)
        forth = log_pi(x) - sum(MAPS[name][2](y[name]) for name in names) + np.log(a_forth)
        backward = log_pi(y) - sum(MAPS[name][2](x[name]) for name in names) + np.log(a_back)
        assert forth == pytest.approx(backward, abs=TOLERANCE)
        accepted += a_forth
    assert accepted > 1


def joint_move(transition, x, noise):
    given = {("~mh", "step"): noise, ("~mh", "accept"): True}
    state, info = transition.step(transition.state(x), given)
    names = [choice.name for choice in transition.choices]
    return dict(zip(names, state, strict=False)), float(info["acceptance_rate"]), float(state[-1])


@pytest.mark.slow
@pytest.mark.tier0b
def test_the_density_identity_holds_for_joint_steps():
    covariance = ROOT @ ROOT.T / 20
    assert inference.check.mh_symmetry(kernels.mh(kernels.random_walk(1.0, covariance=covariance)), model, Y).passed


def test_steps_have_the_covariance_that_is_given():
    """On flat densities: the whitened steps are standard normal, by two exact Kolmogorov-Smirnov tests at 5e-10."""

    def flat():
        sample("a", dist.Normal(0.0, 1e9))
        sample("b", dist.LogNormal(0.0, 1e9))

    covariance = np.array([[1.0, -0.9], [-0.9, 2.0]])
    kernel = kernels.random_walk(0.3, covariance=covariance)
    draws = inference.mcmc(flat, kernel, chains=2000, warmup=0, draws=2, init={"a": 1.0, "b": 2.0})(jax.random.key(2))
    steps = np.stack([np.diff(draws.posterior["a"])[:, 0], np.diff(np.log(draws.posterior["b"]))[:, 0]])
    for white in np.linalg.solve(0.3 * np.linalg.cholesky(covariance), steps):
        assert stats.kstest(white, "norm").pvalue > 5e-10


@pytest.mark.parametrize(
    ("scale", "covariance", "sites", "named"),
    [
        (1.0, np.eye(3), ["theta"], r"covariance of 3 coordinates for 1, those of theta \(1\)"),
        (1.0, np.ones(3), None, r"expected a square covariance, got shape \(3,\)"),
        (1.0, [[1.0, 0.5], [0.4, 1.0]], None, "not a symmetric matrix"),
        (1.0, [[1.0, np.nan], [np.nan, 1.0]], None, "not a symmetric matrix"),
        (1.0, [[1.0, 2.0], [2.0, 1.0]], None, "not positive definite"),
        ({"theta": 1.0}, np.eye(1), None, "expected a positive number as scale"),
        (-1.0, np.eye(1), None, "expected a positive number as scale"),
    ],
)
def test_a_wrong_covariance_is_named(scale, covariance, sites, named):
    with pytest.raises(LawfulError, match=named):
        inference.mcmc(model, kernels.random_walk(scale, covariance=covariance, sites=sites))(jax.random.key(0), Y)


def test_each_site_takes_normal_steps_of_its_own_scale_and_flat_densities_accept_them_all():
    """False-alarm rate 1e-9, by two exact Kolmogorov-Smirnov tests."""

    def flat():
        sample("a", dist.Normal(0.0, 1e9))
        sample("b", dist.LogNormal(0.0, 1e9))

    kernel = kernels.random_walk({"a": 0.5, "b": 0.1})
    draws = inference.mcmc(flat, kernel, chains=2000, warmup=0, draws=2, init={"a": 1.0, "b": 2.0})(jax.random.key(2))
    for steps in (np.diff(draws.posterior["a"])[:, 0] / 0.5, np.diff(np.log(draws.posterior["b"]))[:, 0] / 0.1):
        assert stats.kstest(steps, "norm").pvalue > 5e-10


@pytest.mark.parametrize(
    ("program", "settings", "kind", "named"),
    [
        (lambda: sample("k", dist.Poisson(2.0)), {}, UnsupportedProgramError, "'k'.* is discrete"),
        (
            lambda: cond(
                sample("b", dist.Normal(0.0, 1.0)) > 0, lambda: sample("v", dist.Normal(0.0, 1.0)), lambda: 0.0
            ),
            {},
            UnsupportedProgramError,
            "'v'.* is conditional on a branch",
        ),
        (lambda: sample("x", dist.Normal(0.0, 1.0)), {"sites": ["mu"]}, LawfulError, "no latent site .*mu.*has: x"),
    ],
)
def test_what_cannot_walk_is_named_with_a_remedy(program, settings, kind, named):
    with pytest.raises(kind, match=named):
        inference.mcmc(program, kernels.random_walk(0.5, **settings))(jax.random.key(0))


def test_the_plan_tells_the_coordinates_of_each_site():
    lines = kernels.random_walk({"theta": 0.5, "p": 0.1}).plan(lawful.trace(model, Y))
    assert lines[0] == "theta: normal step of scale 0.5 (exp coordinates)"
    assert lines[1] == "inside: not moved"
    assert lines[2] == "p: normal step of scale 0.1 (sigmoid coordinates)"


def test_the_plan_of_a_joint_step_tells_its_coordinates():
    lines = kernels.random_walk(0.5, covariance=np.eye(2), sites=["theta", "z"]).plan(lawful.trace(model, Y))
    assert lines[0] == "theta: in a joint normal step of 0.5 x the root of the given covariance (exp coordinates)"
    assert lines[1] == "inside: not moved"


def test_a_site_under_a_plain_vmap_walks_on_its_own_support():
    def lanes():
        jax.vmap(lambda rate: sample("g", dist.Gamma(2.0, rate)))(jnp.array([1.0, 2.0, 3.0]))

    kernel = kernels.random_walk(3.0)
    assert kernel.plan(lawful.trace(lanes)) == ["g: normal step of scale 3.0 (exp coordinates)"]
    transition = Transition(lanes, kernels.mh(kernel))
    x, step = np.array([0.5, 1.0, 2.0]), np.array([-3.0, 0.5, 1.0])
    y, a_forth, _ = moves(transition, {"g": x}, {"g": step})
    back, a_back, _ = moves(transition, y, {"g": -step})
    density = [np.sum(stats.gamma.logpdf(g, 2.0, scale=1 / np.array([1.0, 2.0, 3.0]))) for g in (x, y["g"])]
    np.testing.assert_allclose(y["g"], x * np.exp(step), rtol=1e-12)
    forth = density[0] + np.sum(np.log(x)) + np.log(a_forth)
    assert forth == pytest.approx(density[1] + np.sum(np.log(y["g"])) + np.log(a_back), abs=TOLERANCE)
