"""Slices keep the posterior: exactly on whole numbers, with all draws on grids, and from exact draws elsewhere."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample, trace
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.passes.thread_sites import score

slice_module = importlib.import_module("lawful.inference.kernels.walks.slice")
shrinkage = importlib.import_module("lawful.inference.kernels.walks.shrinkage")
WEIGHTS = np.array([1.0, 4.0, 2.0, 3.0])


def ladder():
    sample("x", dist.Categorical(jnp.asarray(WEIGHTS / WEIGHTS.sum())))


def midpoints(n):
    return (np.arange(n) + 0.5) / n


def transition(kernel, tries):
    """The matrix of a step on `ladder`, with every draw of the kernel on a grid that gives its exact law.

    Heights fall between the weights in twelfths of the one that stands; places are drawn from 1, ..., 4 whole numbers,
    so twelfths of an interval give each of them its share; offsets and shares decide between two.
    """
    built = kernel.build(trace(ladder))
    opened = score(built.form)
    run = emit(opened.form)
    names = [c.address[-1] for c in opened.choices]
    twelfths = midpoints(12)
    axes = {"height": -np.log(twelfths), "offset": midpoints(2), "share": midpoints(2)}
    grids = np.meshgrid(axes["height"], axes["offset"], axes["share"], *[twelfths] * tries, indexing="ij")
    flat = [jnp.asarray(g.reshape(-1)) for g in grids]

    def step(x, *draws):
        given = dict(zip(("height", "offset", "share"), draws, strict=False)) | {"tries": jnp.stack(draws[3:])}
        shaped = [given[n].reshape(c.full_shape) for n, c in zip(names, opened.choices, strict=True)]
        return run(jax.random.key(0), x, jnp.log(WEIGHTS / WEIGHTS.sum())[x], *shaped)[0][0]

    every = jax.jit(jax.vmap(step, (None, *[0] * len(flat))))
    return np.stack([np.bincount(np.asarray(every(jnp.asarray(x), *flat)), minlength=4) for x in range(4)]) / len(
        flat[0]
    )


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("tries", [1, 3])
def test_a_slice_of_whole_numbers_keeps_their_law_exactly(tries):
    """Also where the tries run out."""
    pi = WEIGHTS / WEIGHTS.sum()
    matrix = transition(kernels.slice(2.0, steps=2, tries=tries), tries)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-14)
    np.testing.assert_allclose(pi @ matrix, pi, atol=1e-14)
    assert (np.linalg.matrix_power(matrix, 50) > 0).all()


FAULTS = {
    "the interval is not shrunk to where one stands": (
        "shrunk",
        lambda right: lambda f, here, *rest: right(f, here + 1, *rest),
    ),
    "the first interval starts where one stands": (
        "stepped_out",
        lambda right: lambda f, here, h, w, at, *rest: right(f, here, h, w, 0.0 * at, *rest),
    ),
    "all steps go to the right": (
        "stepped_out",
        lambda right: lambda f, here, h, w, at, share, *rest: right(f, here, h, w, at, 0.0 * share, *rest),
    ),
    "it steps out of another height": (
        "stepped_out",
        lambda right: lambda f, here, h, *rest: right(f, here, h + jnp.log(2.0), *rest),
    ),
}


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_slice_is_seen(fault, monkeypatch):
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(slice_module, name, wrong(getattr(shrinkage, name)))
    pi = WEIGHTS / WEIGHTS.sum()
    matrix = transition(kernels.slice(2.0, steps=2, tries=3), 3)
    assert np.abs(pi @ matrix - pi).max() > 1e-3


def mixed(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    n = sample("n", dist.Poisson(3.0))
    with plate("i", 2):
        theta = sample("theta", dist.Normal(jnp.log1p(n * 1.0), rate))
        sample("y", dist.Normal(theta, 0.5), obs=y)


@pytest.mark.slow
@pytest.mark.tier1
def test_exact_draws_stay_exact_draws_also_with_bounds_and_counts():
    assert invariant(
        kernels.slice({"rate": 1.0, "n": 2, "theta": 1.0}), mixed, jnp.zeros(2), n=2_000, steps=(1, 3)
    ).passed


@pytest.mark.slow
@pytest.mark.tier1
def test_a_forgotten_jacobian_of_the_bounds_is_seen(monkeypatch):
    monkeypatch.setattr(slice_module.Map, "log_jacobian", lambda self, u, value: jnp.zeros(()))
    assert invariant(kernels.slice(1.0), mixed, jnp.zeros(2), n=2_000, steps=(1, 3)).status == "failed"


@pytest.mark.slow
@pytest.mark.tier0b
@pytest.mark.parametrize("kernel", [kernels.slice(1.0), kernels.elliptical_slice(["theta"])], ids=repr)
def test_the_log_density_that_is_carried_is_that_of_the_state(kernel):
    y = jnp.array([0.4, 2.0])
    moves = kernels.cycle(kernels.on(["rate", "theta"], kernel), kernels.mh())
    result = inference.mcmc(mixed, kernel if "slice(1" in repr(kernel) else moves, chains=2, warmup=0, draws=5)(0, y)
    form = trace(mixed, y)
    for chain, draw in np.ndindex(2, 5):
        state = {name: np.asarray(v)[chain, draw] for name, v in result.posterior.items()}
        assert float(form.log_density(state, y)) == pytest.approx(float(result.stats["lp"][chain, draw]), abs=1e-10)
    assert (np.asarray(result.stats["n_exhausted"]) == 0).all()


# ---- ellipses


def field(y):
    mean = sample("mean", dist.Normal(1.0, 0.5))
    x = sample("x", dist.MultivariateNormal(jnp.stack([mean, -mean]), jnp.array([[1.0, 0.6], [0.6, 2.0]])))
    with plate("i", 2):
        sample("y", dist.Normal(x, 0.7), obs=y)


@pytest.mark.slow
@pytest.mark.tier1
def test_ellipses_keep_exact_draws():
    kernel = kernels.cycle(kernels.elliptical_slice(["x"]), kernels.elliptical_slice(["mean"]))
    assert invariant(kernel, field, jnp.zeros(2), n=2_000, steps=(1, 5)).passed


@pytest.mark.slow
@pytest.mark.tier1
def test_an_ellipse_about_the_wrong_mean_is_seen(monkeypatch):
    module = importlib.import_module("lawful.inference.kernels.walks.elliptical")
    monkeypatch.setattr(module._Spread, "__call__", lambda self, mean: jnp.zeros(self.shape, self.dtype))
    assert invariant(kernels.elliptical_slice(["x"]), field, jnp.zeros(2), n=2_000, steps=(1, 5)).status == "failed"


@pytest.mark.tier3
def test_ellipses_find_the_conjugate_posterior():
    def normal(y):
        x = sample("x", dist.Normal(jnp.array([0.5, -1.0]), 2.0).to_event(1))
        sample("y", dist.Normal(x, 1.0).to_event(1), obs=y)

    y = jnp.array([1.0, 2.0])
    result = inference.mcmc(normal, kernels.elliptical_slice(), chains=64, warmup=20, draws=400)(1, y)
    means = np.asarray(result.posterior["x"]).mean(axis=1)
    exact = (np.array([0.5, -1.0]) / 4 + np.asarray(y)) / 1.25
    assert (np.abs(means.mean(0) - exact) < 5 * means.std(0, ddof=1) / 8).all()
    assert means.std(0, ddof=1).max() / 8 < 0.02
    assert np.asarray(result.posterior["x"]).std(axis=(0, 1)) == pytest.approx([0.8**0.5] * 2, abs=0.03)


@pytest.mark.parametrize("kernel", [kernels.slice(1.0), kernels.elliptical_slice()], ids=repr)
def test_places_whose_density_is_no_number_are_left_out_and_told(kernel):
    def broken():
        x = sample("x", dist.Normal(0.5, 1.0))
        sample("y", dist.Normal(jnp.log(x), 1.0), obs=0.2)

    result = inference.mcmc(broken, kernel, chains=2, warmup=0, draws=50, init={"x": 1.0})(jax.random.key(4))
    assert (np.asarray(result.posterior["x"]) > 0).all()
    assert "NONFINITE_DENSITY" in {f.code for f in result.reasons}


def test_what_has_no_line_or_no_ellipse_is_refused_by_name():
    def other():
        b = sample("b", dist.Bernoulli(0.5))
        cond(b == 1, lambda: sample("w", dist.Normal(0.0, 1.0)), lambda: 0.0)
        scale = sample("scale", dist.HalfNormal(1.0))
        x = sample("x", dist.Normal(0.0, scale))
        sample("z", dist.Normal(x, 1.0))
        factor("f", -0.1 * scale)

    form = trace(other)
    for kernel, words in (
        (kernels.slice(1.0), "site 'w' .* only runs in a branch"),
        (kernels.elliptical_slice(["scale"]), "site 'scale' .* has the prior HalfNormal, which is not normal"),
        (kernels.elliptical_slice(["w"]), "site 'w' .* only runs in a branch"),
        (kernels.elliptical_slice(), "site 'z' .* depends on another site that moves"),
    ):
        with pytest.raises(UnsupportedProgramError, match=words):
            kernel.build(form)
    for kernel in (kernels.slice(1.0, sites=["q"]), kernels.elliptical_slice(["q"])):
        with pytest.raises(LawfulError, match="no latent site"):
            kernel.build(form)
    with pytest.raises(LawfulError, match="positive numbers as width"):
        kernels.slice(-1.0)
    assert kernels.elliptical_slice(["x"]).plan(form)[-2] == "x: on an ellipse of its normal prior"
    assert kernels.slice({"x": 2.0}).plan(form)[-2] == "x: slices of width 2 (identity coordinates)"
