"""EM: a step is the one by hand, or of Baum and Welch; none lowers the marginal; where it ends; what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy import optimize

import lawful
from lawful import inference
from lawful.errors import UnsupportedProgramError
from lawful.inference.plans.searches.em import em_of
from lawful.inference.plans.searches.target import target_of
from lawful.inference.transformers.enumeration import enumeration

RNG = np.random.default_rng(41)
Y = np.concatenate([RNG.normal(-2.0, 1.0, 15), RNG.normal(2.0, 1.5, 25)])


def flat(name, support=constraints.real, event=(), batch=()):
    return lawful.sample(name, dist.ImproperUniform(support, batch, event))


def mixture(y):
    """Two normals, with a prior of their shares and levels."""
    with lawful.plate("component", 2):
        sd = flat("sd", constraints.positive)
        level = lawful.sample("level", dist.Normal(0.0, 10.0))
    share = lawful.sample("share", dist.Dirichlet(jnp.array([2.0, 3.0])))
    with lawful.plate("row", len(y)):
        z = lawful.sample("z", dist.Categorical(share))
        lawful.sample("y", dist.Normal(level[z], sd[z]), obs=y)


def hidden(y, scale=1.0):
    """A hidden Markov chain of two states, with normal data."""
    first = lawful.sample("first", dist.Dirichlet(jnp.ones(2)))
    with lawful.plate("state", 2):
        moves = lawful.sample("moves", dist.Dirichlet(2 * jnp.ones(2)))
        level = flat("level")

    def step(z, seen):
        z = lawful.sample("z", dist.Categorical(moves[z]))
        lawful.sample("y", dist.Normal(level[z], scale), obs=seen)
        return z, None

    begun = lawful.sample("begun", dist.Categorical(first))
    lawful.sample("y0", dist.Normal(level[begun], scale), obs=y[0])
    lawful.scan(step, begun, y[1:])


def planes(y):
    """Two normals in the plane, of one covariance."""
    share, root = flat("share", constraints.simplex, (2,)), flat("root", constraints.lower_cholesky, (2, 2))
    with lawful.plate("component", 2):
        centre = flat("centre", constraints.real_vector, (2,), (2,))
    with lawful.plate("row", len(y)):
        z = lawful.sample("z", dist.Categorical(share))
        lawful.sample("y", dist.MultivariateNormal(centre[z], scale_tril=jnp.stack([root, root])[z]), obs=y)


def mixed(y, law):
    """Data of two known kinds, in an unknown mixture."""
    share = lawful.sample("share", law)
    with lawful.plate("row", len(y)):
        z = lawful.sample("z", dist.Bernoulli(jnp.clip(share, 0.0, 1.0)))
        lawful.sample("y", dist.Normal(2.0 * z, 1.0), obs=y)


def coins(y):
    """Coins of two kinds, of which some are thrown at a rate."""
    kind = lawful.sample("kind", dist.Beta(2.0, 3.0))
    with lawful.plate("two", 2):
        p = flat("p", constraints.unit_interval)
        rate = lawful.sample("rate", dist.Gamma(2.0, 0.5))
    with lawful.plate("coin", len(y)):
        z = lawful.sample("z", dist.Bernoulli(kind))
        lawful.sample("heads", dist.Binomial(10, p[z]), obs=y)
        lawful.sample("wait", dist.Exponential(rate[z]), obs=1.0 + y)


HEADS = np.array([1, 2, 2, 8, 9, 7, 1, 9])
START = {"sd": [1.0, 2.0], "level": [-1.0, 0.5], "share": [0.3, 0.7]}
CHAIN = {"first": [0.4, 0.6], "moves": [[0.7, 0.3], [0.1, 0.9]], "level": [-2.0, 1.0]}


def steps_of(program, start, y):
    """Steps of EM from a point: (log marginal, values by name) at each, the start included, without end."""
    form = enumeration(lawful.trace(program, y), "all").marginal
    target = target_of(form, "maximise")
    names, em = [c.name for c in target.frame.choices], em_of(form, target)
    vector = target.coordinates((y,), [jnp.asarray(start[name]) for name in names])
    step = jax.jit(lambda vector: (target.log_density((y,), vector), target.sites((y,), vector), em.step((y,), vector)))
    while True:
        log, values, (vector, refused) = step(vector)
        assert not np.any(refused)
        yield float(log), dict(zip(names, map(np.asarray, values), strict=True))


def normal_pdf(y, level, sd):
    return np.exp(-0.5 * ((y[:, None] - level) / sd) ** 2) / sd


@pytest.mark.kills("67b")
def test_a_step_on_a_mixture_is_the_one_by_hand():
    """Levels given the scales, scales given the new levels, and counts over their sum, to 1e-12; and 30 steps climb."""
    steps = steps_of(mixture, START, Y)
    logs, at = zip(*(next(steps) for _ in range(31)), strict=True)
    shares = np.array(START["share"]) * normal_pdf(Y, np.array(START["level"]), np.array(START["sd"]))
    shares /= shares.sum(axis=1, keepdims=True)
    level = shares.T @ Y / (shares.sum(axis=0) + 0.01 * np.square(START["sd"]))
    sd = np.sqrt((shares * (Y[:, None] - level) ** 2).sum(axis=0) / shares.sum(axis=0))
    count = shares.sum(axis=0) + [1.0, 2.0]
    np.testing.assert_allclose(at[1]["level"], level, rtol=1e-12)
    np.testing.assert_allclose(at[1]["sd"], sd, rtol=1e-12)
    np.testing.assert_allclose(at[1]["share"], count / count.sum(), rtol=1e-12)
    assert np.diff(logs).min() > -1e-11 and logs[1] > logs[0] + 1


@pytest.mark.slow
def test_a_step_on_a_hidden_chain_is_that_of_baum_and_welch():
    """Counts of states and moves from forward and backward weights, to 1e-12; and 30 steps climb."""
    y = Y[10:20]
    steps = steps_of(hidden, CHAIN, y)
    logs, at = zip(*(next(steps) for _ in range(31)), strict=True)
    first, moves, level = (np.array(CHAIN[name]) for name in ("first", "moves", "level"))
    seen = normal_pdf(y, level, 1.0)
    forward, backward = [first * seen[0]], [np.ones(2)]
    for t in range(1, len(y)):
        forward.append(forward[-1] @ moves * seen[t])
        backward.insert(0, moves @ (seen[-t] * backward[0]))
    states = np.array(forward) * np.array(backward) / forward[-1].sum()
    pairs = sum(forward[t - 1][:, None] * moves * (seen[t] * backward[t]) for t in range(1, len(y))) / forward[-1].sum()
    np.testing.assert_allclose(at[1]["first"], states[0], rtol=1e-12)
    np.testing.assert_allclose(at[1]["moves"], (pairs + 1) / (pairs + 1).sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(at[1]["level"], states.T @ y / states.sum(axis=0), rtol=1e-12)
    assert np.diff(logs).min() > -1e-11 and logs[1] > logs[0] + 1


@pytest.mark.slow
def test_a_uniform_prior_of_shares_has_a_closed_step():
    """Its support is an interval from 0 to 1, one for all shares or one for each."""

    def program(y, ends):
        with lawful.plate("coin", 2):
            share = lawful.sample("share", dist.Uniform(*ends))
        with lawful.plate("throw", 2):
            z = lawful.sample("z", dist.Bernoulli(share))
            lawful.sample("y", dist.Normal(2.0 * z, 1.0), obs=y)

    zero, one = normal_pdf(Y[10:12], np.array([0.0, 2.0]), 1.0).T
    for ends in ((0.0, 1.0), (np.zeros(2), np.ones(2))):
        result = inference.maximise(partial(program, ends=ends), starts=2, enumerate="z", method="em")(0, Y[10:12])
        found = np.sum(np.log(np.maximum(zero, one))) - np.log(2 * np.pi)  # shares are 0 or 1
        np.testing.assert_allclose(result.optima[0].log_density, found, rtol=1e-6)


@pytest.mark.slow
def test_the_optimum_is_the_root_of_the_slope_by_hand():
    """Of a share with the prior Beta(2, 2): where the slope of the log marginal vanishes, from all starts."""
    y = Y[10:20]
    zero, one = normal_pdf(y, np.array([0.0, 2.0]), 1.0).T
    slope = lambda p: np.sum((one - zero) / (p * one + (1 - p) * zero)) + 1 / p - 1 / (1 - p)  # noqa: E731
    plan = inference.maximise(lambda y: mixed(y, dist.Beta(2.0, 2.0)), starts=2, enumerate="z", method="em")
    result = plan(0, y)
    share = optimize.brentq(slope, 0.01, 0.99, xtol=1e-14)
    np.testing.assert_allclose(result.optima[0].values["share"], share, rtol=1e-10)
    assert result.ok and result.optima[0].starts == 2


@pytest.mark.parametrize(
    ("program", "sums", "told"),
    [
        (lambda y: lawful.sample("x", dist.Normal(y[0], 1.0)), None, r"here none is.*enumerate="),
        (mixture, inference.integrate_normals(["level"]), r"integrates sites.*Fix: method='lbfgs'"),
        (lambda y: mixed(y, dist.Uniform(0.2, 0.8)), "z", r"'share' .* its support is .*Fix: method='lbfgs'"),
        (lambda y: mixed(y, dist.Normal(0.5, 0.1)), "z", r"'share' .* not of the form.*Fix: method='lbfgs'"),
    ],
    ids=["no sum", "integrals", "support", "no closed step"],
)
def test_what_has_no_closed_step_is_refused_by_name(program, sums, told):
    with pytest.raises(UnsupportedProgramError, match=told):
        inference.maximise(program, starts=2, enumerate=sums, method="em")(0, Y)


@pytest.mark.slow
@pytest.mark.parametrize("program", [mixture, hidden, coins, planes])
def test_the_optimum_is_that_of_the_search_along_gradients(program):
    """To rounding, whatever is looked for: means, scales, shares, probabilities, rates, and a root of a covariance."""
    data = {coins: HEADS, planes: np.stack([Y, RNG.normal(size=len(Y)) + 0.3 * Y**2], axis=1)}.get(program, Y)
    by_em, by_gradients = (
        inference.maximise(program, starts=8, enumerate="all", method=method)(0, data) for method in ("em", "lbfgs")
    )
    one, other = by_em.optima[0], by_gradients.optima[0]
    np.testing.assert_allclose(one.log_density, other.log_density, rtol=1e-11)
    assert one.kind == other.kind == "maximum" and len(one.at_edge) == len(other.at_edge)


@pytest.mark.slow
def test_in_chunks_and_as_a_function_it_ends_where_one_call_does_to_the_last_bit():
    settings = {"starts": 2, "enumerate": "z", "method": "em"}
    program = lambda y: mixed(y, dist.Beta(2.0, 2.0))  # noqa: E731
    whole = inference.maximise(program, **settings)(0, Y)
    parts = inference.maximise(program, **settings, run=inference.RunOptions(chunk=3))(0, Y)
    np.testing.assert_array_equal(whole.optima.search_value, parts.optima.search_value)
    np.testing.assert_array_equal(whole.optima.values["share"], parts.optima.values["share"])
    ends = inference.maximise(program, **settings).sampler(Y)(jax.random.key(0), Y)
    np.testing.assert_allclose(ends["share"], np.repeat(parts.optima.values["share"], 2), rtol=1e-6)
    with pytest.raises(UnsupportedProgramError, match="not of the form"):
        inference.maximise(lambda y: mixed(y, dist.Normal(0.5, 0.1)), **settings).sampler(Y)
