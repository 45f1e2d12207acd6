"""Laws of predictions: prior and posterior predictive have their laws, and nothing stale is replayed."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, factor, inference, plate, sample, scan
from lawful.errors import LawfulError
from lawful.form.choices import choices_of
from lawful.inference.results.collect import from_chains
from tests.ppl.programs import PROGRAMS

KEY = jax.random.key(7)
# Normal statistics of n draws are compared with their exact values at 6 standard errors: a false alarm has probability
# 2e-9 each; an error of 0.1 standard deviations is found at n = 10_000 with probability 1 - 3e-5.
N, Z = 10_000, 6.0


def school(y, sigma):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    twice = deterministic("twice", 2 * mu)
    with plate("school", len(sigma)):
        theta = sample("theta", dist.Normal(twice, 0.5))
        sample("y", dist.Normal(theta, sigma), obs=y)


SIGMA = np.array([1.0, 2.0])


def close(draws, mean, sd, z=Z):
    assert abs(np.mean(draws) - mean) < z * sd / np.sqrt(np.size(draws))
    assert abs(np.mean((draws - mean) ** 2) - sd**2) < z * sd**2 * np.sqrt(2 / np.size(draws))


def test_the_prior_predictive_has_the_joint_law_of_the_program():
    pred = inference.predictive(None, school, np.zeros(2), SIGMA, draws=N)
    assert pred.kind == "prior" and list(pred) == ["y", "mu", "theta", "twice"]
    assert pred["y"].shape == (1, N, 2)
    close(pred["mu"], 0.0, 1.0)
    close(pred["theta"], 0.0, np.sqrt(4.25))
    for k in range(2):
        close(pred["y"][..., k], 0.0, np.sqrt(4.25 + SIGMA[k] ** 2))
    np.testing.assert_array_equal(pred["twice"], 2 * pred["mu"])


def test_the_posterior_predictive_draws_data_at_the_given_draws_and_computes_names_again():
    mu = np.linspace(-1, 1, N).reshape(2, N // 2)
    theta = np.stack([mu, mu + 1], axis=-1)
    given = from_chains({"mu": mu, "theta": theta, "twice": np.full_like(mu, 99.0)}, sampler="hand")
    pred = inference.predictive(given, school, np.zeros(2), SIGMA)
    assert pred.kind == "predictions" and set(pred) == {"y", "twice"}
    np.testing.assert_array_equal(pred["twice"], 2 * mu)
    for k in range(2):
        close(pred["y"][..., k] - theta[..., k], 0.0, SIGMA[k])


@pytest.fixture(scope="module")
def fitted():
    return inference.importance(school, particles=50, runs=2)(KEY, np.zeros(2), SIGMA)


def test_the_same_arguments_give_the_posterior_and_others_predictions(fitted):
    result = fitted
    assert inference.predictive(result, school, np.zeros(2), SIGMA).kind == "posterior"
    other = result.predict(school, np.ones(2), SIGMA, key=3)
    assert other.kind == "predictions" and other["y"].shape == (2, 50, 2)


def test_new_groups_are_drawn_anew_where_asked_for(fitted):
    result = fitted
    three = np.ones(3)
    with pytest.raises(LawfulError, match=r"site 'theta' .* shape \(3,\) .* draws have \(2,\).*redraw=\['theta'\]"):
        inference.predictive(result, school, np.zeros(3), three)
    pred = inference.predictive(result, school, np.zeros(3), three, redraw=["theta"])
    assert pred["theta"].shape == pred["y"].shape == (2, 50, 3)
    with pytest.raises(LawfulError, match="redraw: the program has no choice thetta"):
        inference.predictive(result, school, np.zeros(3), three, redraw=["thetta"])


def test_a_site_without_an_observation_is_predicted(fitted):
    pred = inference.predictive(fitted, school, None, SIGMA)
    assert pred["y"].shape == (2, 50, 2) and "y" in pred.drawn


def test_draws_are_thinned_evenly_and_the_batch_size_changes_rounding_alone(fitted):
    result = fitted
    thin = inference.predictive(result, school, np.zeros(2), SIGMA, draws=5)
    np.testing.assert_array_equal(thin["twice"], 2 * result.posterior["mu"][:, [0, 12, 24, 37, 49]])
    whole = inference.predictive(result, school, np.zeros(2), SIGMA)
    for size in (1, 7, 100):
        part = inference.predictive(result, school, np.zeros(2), SIGMA, batch_size=size)
        np.testing.assert_allclose(part["y"], whole["y"], rtol=1e-12)
    with pytest.raises(LawfulError, match="draws: expected an integer of 1 or more, got 0"):
        inference.predictive(None, school, np.zeros(2), SIGMA, draws=0)


def arms(y):
    b = sample("b", dist.Bernoulli(0.5))
    x = cond(b == 1, lambda: 10.0 + sample("up", dist.Normal(0.0, 1.0)), lambda: sample("down", dist.Normal(0.0, 1.0)))
    sample("y", dist.Normal(x, 0.1), obs=y)


def test_arms_follow_the_given_choice_and_draw_anew_what_is_asked_for():
    b = np.array([[0, 1, 0, 1]])
    up = np.where(b == 1, 3.0, np.nan)
    given = from_chains({"b": b, "up": up})
    with pytest.raises(LawfulError, match="no draws of 'down'"):
        inference.predictive(given, arms, 0.0)
    pred = inference.predictive(given, arms, 0.0, redraw=["down"])
    assert np.all(np.abs(pred["y"][b == 1] - 13.0) < 1.0) and np.all(np.abs(pred["y"][b == 0]) < 7.0)
    np.testing.assert_array_equal(np.isnan(pred["down"]), b == 1)


def walk(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 0.01), obs=y)
        return x, deterministic("square", x**2)

    scan(step, 0.0, y)


def test_sequences_are_predicted_step_by_step():
    x = np.arange(12.0).reshape(1, 4, 3)
    pred = inference.predictive(from_chains({"x": x}), walk, np.zeros(3))
    assert np.all(np.abs(pred["y"] - x) < 0.1)
    np.testing.assert_allclose(pred["square"], x**2)
    assert pred.dims["y"] == ("time",)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plates", "grid", "branch in loop"])
def test_prior_draws_of_any_program_have_finite_shapes_and_score_finite(name):
    program, args = PROGRAMS[name]
    form = lawful.trace(program, *args)
    pred = inference.predictive(None, program, *args, draws=3)
    for choice in choices_of(form, ("sample", "observed", "deterministic")):
        assert pred[choice.name].shape == (1, 3, *choice.full_shape)


def test_a_factor_weighs_no_prediction():
    def model():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("up", 5 * x)

    close(inference.predictive(None, model, draws=N)["x"], 0.0, 1.0)


def test_groups_of_arviz():
    args, draws = (np.zeros(2), SIGMA), {"mu": np.zeros((2, 20)), "theta": np.zeros((2, 20, 2))}
    known = {"form": lawful.trace(school, *args), "model": school, "args": args}
    result = from_chains(draws, observed={"y": args[0]}, dims={"theta": ("school",)}, **known)
    only = {"log_likelihood": False, "log_prior": False}
    tree = result.to_datatree(predictive=True, **only)
    assert tree["prior"].theta.dims == ("chain", "draw", "school") and tree["prior"].sizes["draw"] == 40
    assert tree["prior_predictive"].y.dims == ("chain", "draw", "school")
    assert tree["posterior_predictive"].y.shape == (2, 20, 2)
    new = inference.predictive(result, school, np.zeros(3), np.ones(3), redraw=["theta"])
    assert result.to_datatree(predictive=new, **only)["predictions"].y.shape == (2, 20, 3)
    assert set(new.to_datatree().children) == {"predictions", "predictions_constant_data"}
    assert "constant_data" in tree.children and tree["constant_data"].sigma.values.tolist() == [1.0, 2.0]
    assert jnp.size(tree["observed_data"].y.values) == 2
