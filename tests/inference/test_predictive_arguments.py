"""Laws of observed values: an argument stays what the caller gave, and what `sample` gives back is drawn anew.

In every other inference the two are the same value, so that which of them a program reads changes nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, handlers, inference, plate, sample, scan
from lawful.inference import kernels
from lawful.inference.results.collect import from_chains

KEY = jax.random.key(3)
Y = np.array([9.0, 11.0, 13.0])


def both(argument, given_back):
    deterministic("argument", argument)
    deterministic("given back", given_back)


def in_plate(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("row", 3):
        out = sample("y", dist.Normal(mu, 1.0), obs=y)
        both(2.0 * y, 2.0 * out)


def in_scan(y):
    sample("mu", dist.Normal(0.0, 1.0))

    def step(_, y):
        out = sample("y", dist.Normal(0.0, 1.0), obs=y)
        both(2.0 * y, 2.0 * out)
        return None, out

    both_ys = scan(step, None, y)[1]
    deterministic("after", 2.0 * both_ys)


def in_arms(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))

    def arm(scale):
        def run():
            out = sample("y", dist.Normal(mu, scale).expand([3]).to_event(1), obs=y)
            return 2.0 * y, 2.0 * out

        return run

    both(*cond(mu > 0, arm(1.0), arm(2.0)))


def masked(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("row", 3), lawful.mask(np.array([True, True, False])):
        both(2.0 * y, 2.0 * sample("y", dist.Normal(mu, 1.0), obs=y))


def conditioned(y):
    def alone():
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("row", 3):
            return sample("y", dist.Normal(mu, 1.0))

    both(2.0 * y, 2.0 * handlers.condition(alone, {"y": y})())


def a_constant(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("row", 3):
        both(2.0 * y, 2.0 * sample("y", dist.Normal(mu, 1.0), obs=Y))


@lawful.from_numpyro
def of_numpyro(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", 3):
        out = numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    numpyro.deterministic("argument", 2.0 * y)
    numpyro.deterministic("given back", 2.0 * out)


MODELS = [in_plate, in_scan, in_arms, masked, conditioned, a_constant, of_numpyro]


@pytest.mark.rest_slow
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_an_argument_stays_and_what_is_given_back_is_drawn(model):
    given = from_chains({"mu": np.linspace(-1.0, 1.0, 10).reshape(2, 5)})
    for result, lead in ((given, (2, 5)), (None, (1, 5))):
        pred = inference.predictive(result, model, Y, draws=5)
        assert pred["y"].shape == (*lead, 3) and len(np.unique(pred["y"])) == np.size(pred["y"])
        np.testing.assert_array_equal(pred["argument"], np.broadcast_to(2.0 * Y, (*lead, 3)))
        np.testing.assert_allclose(pred["given back"], 2.0 * pred["y"], rtol=1e-15)
        if "after" in pred:
            np.testing.assert_array_equal(pred["after"], pred["given back"])
    eager = handlers.trace(handlers.seed(model, KEY))(Y)
    values = {a[0]: v for a, v in eager.deterministics.items() if len(a) == 1}
    if "argument" in values:
        np.testing.assert_array_equal(values["argument"], values["given back"])


@pytest.mark.parametrize("read", ["argument", "given back"])
def test_a_sequence_is_predicted_a_step_ahead_or_as_a_whole(read):
    def walk(y):
        def step(before, y):
            deterministic("before", before)
            out = sample("y", dist.Normal(before, 1.0), obs=y)
            return (y if read == "argument" else out), None

        scan(step, sample("start", dist.Normal(0.0, 1.0)), y)

    start = np.zeros((1, 4))
    pred = inference.predictive(from_chains({"start": start}), walk, Y)
    expected = np.broadcast_to(Y, (1, 4, 3)) if read == "argument" else pred["y"]
    np.testing.assert_array_equal(pred["before"], np.concatenate([start[..., None], expected[..., :-1]], -1))


def test_statistics_of_the_data_are_those_that_numpyro_predicts_with():
    def body(sample, named):
        def model(y):
            mu = sample("mu", dist.Normal(0.0, 1.0))
            sample("y", dist.Normal(mu, 1.0).expand([3]).to_event(1), obs=y)
            named("centre", jnp.mean(y))
            named("shifted", jnp.max(y) + mu)

        return model

    mu = np.linspace(-1.0, 1.0, 6)
    theirs = numpyro.infer.Predictive(body(numpyro.sample, numpyro.deterministic), {"mu": jnp.asarray(mu)})(KEY, Y)
    ours = inference.predictive(from_chains({"mu": mu[None]}), body(sample, deterministic), Y)
    for name in ("centre", "shifted"):
        np.testing.assert_allclose(ours[name][0], theirs[name], rtol=1e-15)
    assert np.all(ours["centre"] == 11.0)


def test_a_gaussian_process_predicts_given_its_data():
    rng = np.random.default_rng(0)
    x, new = np.linspace(0.0, 6.0, 12), np.linspace(0.5, 5.5, 5)
    y = np.sin(x) + 0.05 * rng.normal(size=12)

    def kernel(a, b, length):
        return jnp.exp(-0.5 * ((a[:, None] - b[None]) / length) ** 2)

    def process(y, new):
        length = sample("length", dist.LogNormal(0.0, 0.1))
        covariance = kernel(x, x, length) + 0.0025 * jnp.eye(12)
        sample("y", dist.MultivariateNormal(jnp.zeros(12), covariance), obs=y)
        across = kernel(new, x, length)
        mean = deterministic("mean", across @ jnp.linalg.solve(covariance, y))
        rest = kernel(new, new, length) - across @ jnp.linalg.solve(covariance, across.T) + 1e-6 * jnp.eye(len(new))
        sample("f", dist.MultivariateNormal(mean, rest))

    length = np.array([[0.9, 1.0, 1.1]])
    pred = inference.predictive(from_chains({"length": length, "f": np.zeros((1, 3, 5))}), process, y, new, redraw="f")
    for k, value in enumerate(length[0]):
        covariance = np.asarray(kernel(x, x, value)) + 0.0025 * np.eye(12)
        expected = np.asarray(kernel(new, x, value)) @ np.linalg.solve(covariance, y)
        np.testing.assert_allclose(pred["mean"][0, k], expected, rtol=1e-10)
    assert np.abs(pred["f"] - np.sin(new)).max() < 0.15  # its standard deviation is below 0.03


def test_an_observation_that_python_reads_keeps_its_numbers():
    def counted():
        n = int(sample("n", dist.Poisson(3.0), obs=4))
        with plate("item", n):
            sample("x", dist.Normal(0.0, 1.0))

    form = lawful.trace(counted)
    assert [site.out.shape for site in form.sites()] == [(), (4,)]
    with pytest.raises(lawful.errors.UnsupportedProgramError, match="Python value"):
        lawful.trace(lambda n: int(sample("n", dist.Poisson(3.0), obs=n)), 4.0)


def chain(reads):
    """A finite chain whose observations drive it: each level reads the one before."""

    def model(y):
        rise = sample("rise", dist.Bernoulli(0.4))
        mu = sample("mu", dist.Normal(0.0, 1.0)) if reads.startswith("normal") else 0.3

        def step(state, y):
            level, before = state
            level = sample("level", dist.Bernoulli(jnp.where(level == 1, 0.8, 0.3) * jnp.exp(-0.1 * before**2)))
            out = sample("y", dist.Normal(mu + 0.5 * before + level + 0.2 * rise, 1.0), obs=y)
            return (level, y if reads.endswith("argument") else out), None

        (_, last), _ = scan(step, (0, 0.0), y)
        sample("end", dist.Bernoulli(jax.nn.sigmoid(last)), obs=1)

    return model


SHORT = np.array([0.3, -0.4, 1.2])


def test_exact_sums_do_not_depend_on_which_of_the_two_is_read():
    found = []
    for reads in ("argument", "given back"):
        model = chain(reads)
        exact = inference.enumerate(model)(SHORT)
        summed = inference.enumeration(lawful.trace(model, SHORT)).marginal
        graph = inference.bp(model).beliefs(SHORT)
        found.append((exact.log_evidence, summed.log_density({}, SHORT), graph.log_evidence))
    np.testing.assert_allclose(np.ravel(found), found[0][0], atol=1e-12)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("importance", "summed", "nuts", "tempered")]


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", ["smc", "single site", *SLOW])
def test_runs_do_not_depend_on_which_of_the_two_is_read(method):
    def run(reads):
        model = chain(reads)
        if method == "importance":
            plan = inference.importance(model, particles=20, runs=2)
        elif method == "smc":
            plan = inference.smc(model, particles=20, runs=2)
        elif method == "summed":
            plan = inference.smc(model, particles=20, enumerate=["level"])
        elif method == "nuts":
            plan = inference.mcmc(model, kernels.nuts(), enumerate="all", chains=1, warmup=10, draws=10)
        elif method == "single site":
            plan = inference.mcmc(model, kernels.mh(), chains=1, warmup=2, draws=10)
        else:
            plan = inference.tempered_smc(model, particles=20, kernel=kernels.mh())
        return plan(KEY, SHORT).posterior

    one, other = run("normal, argument"), run("normal, given back")
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-9)
