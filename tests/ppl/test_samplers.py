"""Densities for samplers from elsewhere: the same function, the same gradient, and their draws have our posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas
import pytest
from arviz_stats.base import array_stats

import lawful
from lawful import inference, plate, sample, scan
from lawful.errors import LawfulError
from lawful.inference import kernels

KEY = jax.random.key(5)
Y = np.array([1.3, 0.2, 2.1, 0.9])


def model(y):
    """A location and a scale with a conjugate prior: the location is Student t after the data."""
    precision = sample("precision", dist.Gamma(3.0, 2.0))
    with plate("row", 4):
        sample("y", dist.Normal(0.5, precision**-0.5), obs=y)
    rest = sample("mix", dist.Dirichlet(jnp.array([2.0, 1.0, 1.0])))
    sample("count", dist.Multinomial(5, rest), obs=jnp.array([3, 1, 1]))


def walk(y):
    """A level that wanders, in a loop."""

    def step(x, y):
        x = sample("x", dist.Normal(x, 0.5))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, 0.0, y)


def levels():
    """Posterior means of the walk: its precision is that of the steps, and 1 for each observation."""
    steps = np.eye(4) - np.eye(4, k=-1)
    return np.linalg.solve(steps.T @ steps / 0.25 + np.eye(4), Y)


# Gamma(3 + 4 / 2, 2 + sum (y - 0.5)^2 / 2), Dirichlet(5, 2, 2), of which two shares say all, and the walk's.
MODELS = {
    "mix": (model, {"precision": 5.0 / (2.0 + np.sum((Y - 0.5) ** 2) / 2.0), "mix": np.array([5.0, 2.0]) / 9.0}),
    "walk": (walk, {"x": levels()}),
}


def agrees(name, draws):
    """Means within 5.7 Monte Carlo standard errors of the exact ones: a false alarm in 1e-7 runs."""
    for site, means in MODELS[name][1].items():
        columns = np.asarray(draws[site])
        for place, truth in np.ndenumerate(means):
            column = columns[(..., *place)]
            error = float(array_stats.mcse(column, chain_axis=0, draw_axis=1, method="mean"))
            assert 0 < error < 0.1 * np.std(column)
            assert abs(np.mean(column) - truth) < 5.7 * error


def test_axes_have_numbers_and_two_lengths_of_one_name_are_refused():
    assert {k: v.tolist() for k, v in lawful.density(model, Y).coords.items()} == {"mix_dim_0": [0, 1, 2]}

    def steps(length, name=None):
        scan(lambda x, _: (sample("x", dist.Normal(x, 1.0)), None), 0.0, None, length=3, name=name)
        with lawful.scope("other"):
            scan(lambda x, _: (sample("x", dist.Normal(x, 1.0)), None), 0.0, None, length=length, name=name)

    assert lawful.density(steps, 3).coords["time"].tolist() == [0, 1, 2]
    apart = lawful.density(steps, 2).coords
    assert {name: len(labels) for name, labels in apart.items()} == {"x_time": 3, "other.x_time": 2}
    with pytest.raises(LawfulError, match="axis 'step' has length 3 at site 'x' and 2 at site 'other.x'"):
        _ = lawful.density(lambda: steps(2, "step")).coords


def test_axes_have_the_labels_of_plates_and_of_arguments():
    def schools(y):
        with lawful.plate("school", 3, coords=["a", "b", "c"]):
            theta = sample("theta", dist.Normal(0.0, 1.0))
            sample("y", dist.Normal(theta, 1.0), obs=y)
        with lawful.plate("year", 2):
            sample("effect", dist.Normal(0.0, 1.0))

    years = pandas.Series([1.0, 2.0, 3.0], index=pandas.Index([7, 8, 9], name="year"))  # one too many for its plate
    assert lawful.density(schools, years).coords["school"].tolist() == ["a", "b", "c"]
    assert lawful.density(schools, years).coords["year"].tolist() == [0, 1]


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "c"], np.array(["2001", "2002", "2003"], "datetime64[D]"), np.arange(3, dtype=np.int32),
     [1.5, 2.5, 3.5], np.array(["a", 1, None], object)],
    ids=["text", "days", "short integers", "floats", "objects"],
)  # fmt: skip
def test_nutpie_takes_labels_of_any_type(labels):
    pytest.importorskip("nutpie")

    def schools():
        with lawful.plate("school", 3, coords=labels):
            sample("theta", dist.Normal(0.0, 1.0))

    theirs = lawful.density(schools).to_nutpie()
    theirs._make_model(None)  # what nutpie.sample does first


@pytest.mark.slow
def test_blackjax_gets_the_density_and_a_start():
    d = lawful.density(model, Y)
    logdensity, position = d.to_blackjax(KEY)
    u = jax.tree.map(lambda x: x + 0.1, position)
    value, gradient = jax.value_and_grad(logdensity)(u)
    assert float(value) == pytest.approx(float(d.logp(u)), rel=1e-14)
    for name, array in position.items():
        for i in np.ndindex(array.shape):
            ends = [logdensity({**u, name: u[name].at[i].add(h)}) for h in (1e-5, -1e-5)]
            assert float((ends[0] - ends[1]) / 2e-5) == pytest.approx(float(gradient[name][i]), rel=1e-6, abs=1e-8)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.reuses_keys  # the guard takes keys that BlackJAX moves under vmap for used ones
@pytest.mark.parametrize("name", MODELS)
def test_blackjax_and_our_chains_have_the_exact_means(name):
    blackjax = pytest.importorskip("blackjax")
    program = MODELS[name][0]
    d = lawful.density(program, Y)

    def chain(key, start):
        warm = blackjax.window_adaptation(blackjax.nuts, d.logp)
        (state, tuned), _ = warm.run(jax.random.fold_in(key, 0), start, num_steps=500)
        step = blackjax.nuts(d.logp, **tuned).step
        keys = jax.random.split(jax.random.fold_in(key, 1), 1000)
        return jax.lax.scan(lambda s, k: (step(k, s)[0], s.position), state, keys)[1]

    starts = [d.to_blackjax(jax.random.fold_in(KEY, i))[1] for i in range(4)]
    starts = jax.tree.map(lambda *rows: jnp.stack(rows), *starts)
    draws = jax.vmap(jax.vmap(d.constrain))(jax.jit(jax.vmap(chain))(jax.random.split(KEY, 4), starts))
    agrees(name, draws)
    agrees(name, inference.mcmc(program, kernels.nuts(), chains=4, warmup=500, draws=1000)(3, Y).posterior)


@pytest.mark.slow
def test_flowmc_gets_the_density_of_vectors_and_a_start_for_each_chain():
    d = lawful.density(model, Y)
    logpdf, starts = d.to_flowmc(KEY, 3)
    assert starts.shape == (3, 3) and len(np.unique(np.asarray(starts))) == 9
    value, gradient = jax.value_and_grad(logpdf)(starts[1], {})
    assert float(value) == pytest.approx(float(d.logp(d.ravel()[1](starts[1]))), rel=1e-14)
    for i in range(3):
        ends = [float(logpdf(starts[1].at[i].add(h), {})) for h in (1e-5, -1e-5)]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(gradient[i]), rel=1e-6, abs=1e-8)
    with pytest.raises(LawfulError, match=r"to_flowmc: chains: expected an integer of 1 or more, got 0"):
        d.to_flowmc(KEY, 0)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.reuses_keys  # as the sampler does with its own
@pytest.mark.parametrize("name", MODELS)
def test_flowmc_has_the_exact_means(name):
    pytest.importorskip("flowMC")
    from flowMC.resource_strategy_bundle.RQSpline_MALA import RQSpline_MALA_Bundle
    from flowMC.Sampler import Sampler

    d = lawful.density(MODELS[name][0], Y)
    logpdf, starts = d.to_flowmc(KEY, 20)
    chains, size = starts.shape
    bundle = RQSpline_MALA_Bundle(
        jax.random.key(1), chains, size, logpdf, n_local_steps=50, n_global_steps=20, n_training_loops=10,
        n_production_loops=10, n_epochs=5, rq_spline_n_layers=2, batch_size=1000, n_max_examples=5000,
    )  # fmt: skip
    sampler = Sampler(
        n_dim=size, n_chains=chains, rng_key=jax.random.key(2), resource_strategy_bundles=bundle, checkpoint_interval=0
    )
    sampler.sample(starts, {})
    vectors = sampler.resources["positions_production"].data
    agrees(name, jax.vmap(jax.vmap(lambda vector: d.constrain(d.ravel()[1](vector))))(vectors))


def test_nutpie_gets_the_density_its_gradient_and_a_start():
    """Through the functions that nutpie calls; what it makes of them is tested where it runs."""
    pytest.importorskip("nutpie")
    d = lawful.density(model, Y)
    theirs = d.to_nutpie()
    start = theirs._make_initial_points(2**63 + 5)
    value, gradient = theirs._make_logp_func()(start)
    assert theirs.n_dim == 3 and isinstance(value, float) and gradient.dtype == np.float64
    assert value == pytest.approx(float(d.logp_vector(jnp.asarray(start))), rel=1e-14)
    for i in range(3):
        ends = [float(d.logp_vector(jnp.asarray(start).at[i].add(h))) for h in (1e-5, -1e-5)]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(gradient[i], rel=1e-6, abs=1e-8)
    values = theirs._make_expand_func(0, 1, 0)(start)
    assert list(values) == ["precision", "mix"]
    assert {name: value.shape for name, value in values.items()} == d.shapes


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", MODELS)
def test_nutpie_has_the_exact_means(name):
    nutpie = pytest.importorskip("nutpie")
    theirs = lawful.density(MODELS[name][0], Y).to_nutpie()
    tree = nutpie.sample(theirs, draws=1000, tune=500, chains=4, cores=2, seed=1, progress_bar=False)
    axis = {"mix": "mix_dim_0", "x": "time"}
    assert all(tree.posterior[site].dims == ("chain", "draw", axis[site]) for site in axis if site in tree.posterior)
    agrees(name, {site: tree.posterior[site].values for site in MODELS[name][1]})


def test_nutpie_without_float64_is_refused(single_precision):
    pytest.importorskip("nutpie")
    with pytest.raises(LawfulError, match="jax_enable_x64"):
        lawful.density(model, Y).to_nutpie()


def test_nutpie_that_is_not_installed_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nutpie.compiled_pyfunc", None)
    with pytest.raises(LawfulError, match=r"pip install 'lawful\[nutpie\]'"):
        lawful.density(model, Y).to_nutpie()
