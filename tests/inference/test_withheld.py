"""Laws of predictions from a result that lacks choices: the posterior's law or an error, never the prior's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, inference, plate, sample, scan
from lawful.errors import LawfulError
from lawful.inference import kernels
from lawful.inference.results.collect import from_chains
from lawful.inference.results.undrawn_sites import drawn_back, withheld
from tests.inference.test_predictive import N, close

KEY = jax.random.key(7)


def made(draws, model, *args):
    return from_chains(draws, form=lawful.trace(model, *args), model=model, args=args)


def shares(draws, expected, z=6.0):
    """Compare frequencies with probabilities, at z standard errors (a false alarm has probability 2e-9 each)."""
    n = np.shape(draws)[0] * np.shape(draws)[1]
    found = np.mean(draws, axis=(0, 1))
    assert np.all(np.abs(found - expected) < z * np.sqrt(expected * (1 - expected) / n))


def means(y):
    mu = sample("mu", dist.Normal(0.0, 10.0))
    with plate("row", 4):
        sample("y", dist.Normal(mu, 1.0), obs=y)
    return mu


EIGHTS = np.full(4, 8.0)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["particles", "hand"])
def test_a_normal_site_that_is_not_held_is_drawn_from_its_conditional(by):
    if by == "particles":
        result = inference.smc(means, particles=N // 2, runs=2, keep="last")(KEY, EIGHTS)
    else:
        result = made({"other": np.zeros((2, N // 2))}, means, EIGHTS)
    pred = inference.predictive(result, means, EIGHTS)
    precision = 4 + 0.01
    assert pred.kind == "posterior" and "mu" not in pred  # it is no prediction
    for k in range(4):
        close(pred["y"][..., k], 32 / precision, np.sqrt(1 + 1 / precision))
    # Other arguments are predicted from the draws of the posterior at the data of the inference.
    new = inference.predictive(result, means, None)
    close(new["y"][..., 0], 32 / precision, np.sqrt(1 + 1 / precision))
    one = inference.predictive(result, means, EIGHTS)["y"]
    np.testing.assert_array_equal(one, pred["y"])
    part = inference.predictive(result, means, EIGHTS, batch_size=999)["y"]
    np.testing.assert_allclose(part, pred["y"], rtol=1e-12)


def walk(y):
    scale = sample("scale", dist.HalfNormal(1.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, scale))
        sample("y", dist.StudentT(4.0, x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


def normal_walk(y):
    scale = sample("scale", dist.HalfNormal(1.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, scale))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


@pytest.mark.slow
def test_a_path_of_normals_that_is_not_held_is_drawn_from_its_exact_conditional():
    """Means of the predicted data at 6 standard errors: four false alarms of 2e-9 each."""
    n = 4000
    alone = made({"scale": np.ones((1, n))}, normal_walk, EIGHTS)
    drawn = inference.predictive(alone, normal_walk, EIGHTS)["y"][0]
    exact = inference.smoothed(normal_walk, EIGHTS, given={"scale": 1.0})
    scale = np.sqrt((np.asarray(exact.covariance["x"]) + 1.0) / n)
    assert np.all(np.abs(drawn.mean(0) - exact.mean["x"]) < 6.0 * scale)


def refused(result, lost):
    with pytest.raises(LawfulError, match=r"no draws of 's?[cx].*keep='paths'.*redraw=") as caught:
        inference.predictive(result, walk, EIGHTS)
    assert list(caught.value.withheld) == lost and "test_withheld.py" in str(caught.value)
    with pytest.raises(LawfulError, match="no draws of"):
        result.to_datatree(predictive=True)


@pytest.mark.slow
def test_a_path_that_is_not_held_is_refused_with_the_remedy():
    refused(inference.smc(walk, particles=20, keep="last")(KEY, EIGHTS), ["scale", "x"])
    alone = made({"scale": np.ones((1, 4))}, walk, EIGHTS)
    refused(alone, ["x"])
    assert inference.predictive(alone, walk, EIGHTS, redraw=["x"])["y"].shape == (1, 4, 4)


@pytest.mark.slow
def test_parameters_of_particle_mcmc_alone_predict_nothing_that_needs_the_path():
    proposal, settings = kernels.random_walk(0.5), {"particles": 10, "chains": 1, "warmup": 2, "draws": 4}
    refused(inference.pmmh(walk, proposal, ["scale"], keep="parameters", **settings)(KEY, EIGHTS), ["x"])
    whole = inference.pmmh(walk, proposal, ["scale"], **settings)(KEY, EIGHTS)
    assert inference.predictive(whole, walk, EIGHTS)["y"].shape == (1, 4, 4)


def machine(y):
    stay = sample("stay", dist.Beta(2.0, 2.0))

    def day(z, y):
        z = sample("z", dist.Bernoulli(jnp.where(z == 1, stay, 0.3)))
        sample("y", dist.Normal(1.0 * z, 0.5), obs=y)
        return z, None

    scan(day, 0, y)


def smoothed(stay, y):
    """The probability of state 1 at each step given the data, summed over all paths by hand."""
    total, found = 0.0, np.zeros(len(y))
    for path in itertools.product((0, 1), repeat=len(y)):
        weight, before = 1.0, 0
        for z, value in zip(path, y, strict=True):
            up = stay if before == 1 else 0.3
            weight *= (up if z else 1 - up) * np.exp(-0.5 * ((value - z) / 0.5) ** 2)
            before = z
        total, found = total + weight, found + weight * np.array(path)
    return found / total


def test_finite_states_that_are_not_held_are_drawn_from_their_smoothing_law():
    y = np.array([0.2, 0.9, 0.4])
    stay = np.where(np.arange(N) < N // 2, 0.2, 0.9).reshape(2, -1)
    result = made({"stay": stay}, machine, y)
    (missing,) = withheld(result, result.form, [("stay",)], ())
    back = drawn_back(result, machine, (y,), [missing], result.posterior, KEY, "auto")["z"]
    for row, p in enumerate((0.2, 0.9)):
        shares(back[row : row + 1], smoothed(p, y))
    pred = inference.predictive(result, machine, y)
    for row, p in enumerate((0.2, 0.9)):
        for k, m in enumerate(smoothed(p, y)):
            draws = pred["y"][row, :, k]
            assert abs(np.mean(draws) - m) < 6 * np.sqrt((0.25 + m * (1 - m)) / len(draws))


@pytest.mark.slow
def test_summed_sites_come_back_in_predictions_from_the_marginal():
    def mixture(y):
        mu = sample("mu", dist.Normal(0.0, 3.0))
        with plate("row", 3):
            z = sample("z", dist.Bernoulli(0.3))
            sample("y", dist.Normal(mu * z, 0.5), obs=y)

    y = np.array([0.1, 2.0, 1.1])
    marginal = inference.marginalise(["z"])(mixture)
    result = made({"mu": np.full((1, N), 2.0)}, marginal, y)
    odds = np.array([0.3 * np.exp(-0.5 * ((v - 2.0) / 0.5) ** 2) for v in y])
    p = odds / (odds + np.array([0.7 * np.exp(-0.5 * (v / 0.5) ** 2) for v in y]))
    for program in (mixture, marginal, inference.noncentred(["mu"])(marginal), lawful.trace(mixture, y)):
        pred = inference.predictive(result, program, y)
        assert pred.kind == "posterior"
        for k in range(3):
            m = 2.0 * p[k]
            assert abs(np.mean(pred["y"][..., k]) - m) < 6 * np.sqrt((0.25 + 4 * p[k] * (1 - p[k])) / N)
    assert set(result.to_datatree(predictive=True, log_prior=False)["posterior_predictive"]) == {"y"}


def test_normal_and_finite_sites_are_drawn_back_together():
    def model(y):
        scale = sample("scale", dist.HalfNormal(1.0))
        with plate("row", 2):
            z = sample("z", dist.Bernoulli(0.5))
            x = sample("x", dist.Normal(4.0 * z, scale))
            sample("y", dist.Normal(x, 1.0), obs=y)

    y = np.array([0.0, 4.5])
    result = made({"scale": np.full((1, N), 1.0)}, model, y)
    pred = inference.predictive(result, model, y)["y"]
    for k, value in enumerate(y):  # y given z: N(4 z, 2); x given z and y: N((4 z + y) / 2, 1 / 2)
        odds = np.exp(-0.25 * (value - 4.0 * np.arange(2)) ** 2)
        p = odds / odds.sum()
        centres = (4.0 * np.arange(2) + value) / 2
        m = p @ centres
        v = 1.5 + p @ centres**2 - m**2
        assert abs(np.mean(pred[..., k]) - m) < 6 * np.sqrt(v / N)


def hierarchy(y, seen):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("old", 2):
        theta = sample("theta", dist.Normal(mu, 0.5))
        sample("y", dist.StudentT(4.0, theta, 1.0), obs=y)
    if not seen:
        with plate("fresh", 3):
            new = sample("new", dist.Normal(mu, 0.5))
            below = sample("below", dist.Normal(new, 0.1))
            sample("later", dist.Normal(below, 1.0), obs=np.zeros(3))


TWO = np.array([1.0, -1.0])
DRAWS = {"mu": np.linspace(-1, 1, 20).reshape(2, 10), "theta": np.zeros((2, 10, 2))}


@pytest.mark.slow
def test_what_no_data_inform_is_drawn_from_its_own_law():
    result = made(DRAWS, hierarchy, TWO, True)
    pred = inference.predictive(result, hierarchy, TWO, False)
    assert pred["new"].shape == pred["below"].shape == pred["later"].shape == (2, 10, 3)
    assert np.all(np.abs(pred["new"] - DRAWS["mu"][..., None]) < 6 * 0.5)
    assert np.all(np.abs(pred["below"] - pred["new"]) < 6 * 0.1)

    def beside(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        sample("noise", dist.Gamma(2.0 + mu**2, 1.0))
        sample("y", dist.Normal(mu, 1.0), obs=y)

    mu = {"mu": DRAWS["mu"]}
    assert inference.predictive(made(mu, beside, 0.5), beside, 0.5)["noise"].shape == (2, 10)
    # A result that does not know its program is judged by the one that predicts.
    assert inference.predictive(from_chains(mu), beside, 0.5)["noise"].shape == (2, 10)


def test_what_draws_or_factors_inform_is_refused():
    def child(y):
        tau = sample("tau", dist.Gamma(2.0, 1.0))
        sample("theta", dist.Normal(0.0, tau))  # held, so it informs tau
        sample("y", dist.Normal(0.0, 1.0), obs=y)

    def weighed(y):
        tau = sample("tau", dist.Gamma(2.0, 1.0))
        factor("f", -tau)
        sample("y", dist.Normal(sample("theta", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    def above(y):
        tau = sample("tau", dist.Gamma(2.0, 1.0))
        with plate("row", 2):
            theta = sample("theta", dist.Normal(0.0, tau))
            sample("y", dist.Normal(theta, 1.0), obs=y)

    theta = {"theta": np.zeros((1, 5))}
    for program in (child, weighed):
        for result in (made(theta, program, 0.5), from_chains(theta)):
            with pytest.raises(LawfulError, match="no draws of 'tau'"):
                inference.predictive(result, program, 0.5)
    both = made({"theta": np.zeros((1, 5, 2))}, above, TWO)
    with pytest.raises(LawfulError, match="no draws of 'tau'"):  # tau is that of the groups before
        inference.predictive(both, above, TWO, redraw=["theta"])
    # What reads a choice that is drawn anew belongs to it.
    held = made({"mu": DRAWS["mu"]}, hierarchy, TWO, True)
    with pytest.raises(LawfulError, match="no draws of 'theta'"):
        inference.predictive(held, hierarchy, TWO, True)
    assert inference.predictive(held, hierarchy, TWO, True, redraw=["mu"])["theta"].shape == (2, 10, 2)


def test_data_of_another_inference_give_no_conditional(tmp_path):
    draws = {"other": np.zeros((1, 5))}
    with pytest.raises(LawfulError, match="the arguments of the inference are not known"):
        inference.predictive(from_chains(draws), means, EIGHTS)
    known = {"form": lawful.trace(means, EIGHTS), "model": means, "args": (EIGHTS,), "observed": {"y": EIGHTS}}
    from_chains(draws, **known).save(tmp_path / "a.nc")
    back = inference.Result.load(tmp_path / "a.nc")
    assert inference.predictive(back, means, EIGHTS)["y"].shape == (1, 5, 4)
    with pytest.raises(LawfulError, match="the arguments of the inference are not known"):
        inference.predictive(back, means, None)
