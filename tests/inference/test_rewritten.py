"""Laws of transformers on functions: what they give is a program, with the Form that they make of the function's."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference, plate, sample
from lawful.errors import LawfulError
from lawful.inference import kernels

KEY = jax.random.key(1)
EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SD = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def mixture(y, scale=1.0):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    with plate("row", 3):
        z = sample("z", dist.Bernoulli(0.3))
        sample("y", dist.Normal(mu + 2.0 * z, scale), obs=y)
    return mu


def walk(y, scale=1.0):
    def step(x, y):
        x = sample("mu", dist.Normal(x, scale))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    return lawful.scan(step, 0.0, y)[1]


TRANSFORMERS = {
    "in the program": (inference.marginalise(["z"]), mixture),
    "by a graph": (inference.marginalise(method="graph"), mixture),
    "noncentred": (inference.noncentred(["mu"]), mixture),
    "integrate_normals": (inference.integrate_normals(["mu"]), mixture),
    "propose": (inference.propose(lambda *args: sample("mu", dist.Normal(1.0, 3.0))), mixture),
    "propose_each": (inference.propose_each(lambda address, law: None), mixture),
    "local_proposals": (inference.local_proposals(), walk),
    "collapse": (inference.spawn(5) >> inference.Collapse, mixture),
    "two": (inference.noncentred() >> inference.marginalise(), mixture),
}
Y = np.array([0.3, 2.2, -0.1])


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_program_that_is_rewritten_has_the_form_that_is_rewritten(name):
    transformer, model = TRANSFORMERS[name]
    program = transformer(model)
    form = transformer(lawful.trace(model, Y, 2.0))
    assert lawful.trace(program, Y, 2.0).show() == form.show()
    assert lawful.trace(program, Y, 2.0) is lawful.trace(program, 2 * Y, 1.0)
    assert lawful.trace(transformer(model), Y, 2.0).show() == form.show()
    assert list(inspect.signature(program).parameters) == ["y", "scale"]
    record = handlers.trace(handlers.seed(program, KEY))(Y, 2.0)  # eagerly it runs its Form
    if name != "collapse":  # the choices of particles are those of no one program
        assert abs(record.log_density - form.log_density(record.choices, Y, 2.0)) < 1e-12


@pytest.mark.slow
def test_inferences_take_it_wherever_they_take_a_program():
    program = inference.marginalise(["z"])(mixture)
    form = lawful.trace(program, Y)
    exact = inference.enumerate(lawful.handlers.do(mixture, {"mu": 0.0}))(Y)
    alone = inference.enumerate(inference.marginalise()(lawful.handlers.do(mixture, {"mu": 0.0})))(Y)
    assert abs(exact.log_evidence - alone.log_evidence) < 1e-12
    assert lawful.check_program(program, Y) == lawful.check_program(form, Y)
    one, other = (inference.importance(model, particles=20, runs=2)(KEY, Y) for model in (program, form))
    assert one.posterior.keys() == other.posterior.keys()
    np.testing.assert_array_equal(one.posterior["mu"], other.posterior["mu"])
    assert one.model is program and set(one.to_datatree()["constant_data"]) <= {"y", "scale"}
    by_name = inference.importance(program, particles=20, runs=2)(KEY, y=Y)
    np.testing.assert_array_equal(one.posterior["mu"], by_name.posterior["mu"])
    eager = inference.importance(program, particles=5, mode="eager")(KEY, Y)
    assert eager.posterior["mu"].shape == (1, 5)


def test_what_is_no_program_in_the_end_is_told():
    with pytest.raises(LawfulError, match=r"spawn\(3\)\(mixture\) is a Population, and no program"):
        lawful.trace(inference.spawn(3)(mixture), Y)


def schools(effect, sd):
    mean = sample("mean", dist.Normal(0.0, 10.0))
    spread = sample("spread", dist.HalfNormal(10.0))
    with plate("school", 8, coords=tuple("ABCDEFGH")):
        theta = sample("theta", dist.Normal(mean, spread))
        sample("effect", dist.Normal(theta, sd), obs=effect)


@pytest.fixture(scope="module")
def fitted():
    program = inference.noncentred(["theta"])(schools)
    return program, inference.mcmc(program, kernels.nuts(), chains=2, warmup=200, draws=200)(KEY, EFFECT, SD)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_noncentred_keeps_the_sites_by_name_in_results(fitted):
    _, result = fitted
    draws = result.posterior
    assert set(draws) == {"mean", "spread", "theta.~normal", "theta"}
    made = draws["mean"][..., None] + draws["spread"][..., None] * draws["theta.~normal"]
    np.testing.assert_allclose(draws["theta"], made, rtol=1e-12)
    tree = result.to_datatree()
    assert tree["posterior"].theta.dims == ("chain", "draw", "school")
    assert tree["posterior"].school.values.tolist() == list("ABCDEFGH")
    assert tree["log_likelihood"].effect.shape == (2, 200, 8)
    known = dist.Normal(draws["theta"], SD).log_prob(EFFECT)
    np.testing.assert_allclose(tree["log_likelihood"].effect, known, rtol=1e-10)
    assert result.loo().n_samples == 400


@pytest.mark.slow
def test_noncentred_keeps_the_sites_by_name_in_predictions(fitted):
    program, result = fitted
    for model in (schools, program, lawful.trace(program, EFFECT, SD), lawful.trace(schools, EFFECT, SD)):
        pred = inference.predictive(result, model, EFFECT, SD)
        assert pred.kind == "posterior" and pred["effect"].shape == (2, 200, 8)
        spread = (pred["effect"] - result.posterior["theta"]) / SD  # independent standard normals: 6 standard errors
        assert abs(spread.mean()) < 6 / np.sqrt(3200) and abs(spread.std() - 1) < 6 / np.sqrt(6400)
    new = inference.predictive(result, program, None, np.full(8, 1.0), redraw=["theta"])
    assert new["theta"].shape == (2, 200, 8) and not np.array_equal(new["theta"], result.posterior["theta"])
    assert set(result.to_datatree(predictive=True)["posterior_predictive"]) == {"effect"}


def test_a_program_that_is_rewritten_runs_inside_another():
    inner = inference.noncentred(["mu"])(mixture)

    def outer(y):
        with lawful.scope("left"):
            mu = inner(y)
        return sample("next", dist.Normal(mu, 1.0))

    form = lawful.trace(outer, Y)
    names = {site.address for site in form.sites()}
    assert {("left", "mu", "~normal"), ("left", "z"), ("next",)} <= names
    choices = {("left", "mu", "~normal"): 0.4, ("left", "z"): jnp.array([0, 1, 1]), "next": 0.1}
    expected = dist.Normal(0.0, 1.0).log_prob(jnp.array([0.4])).sum() + dist.Normal(0.8, 1.0).log_prob(0.1)
    expected += jnp.log(jnp.array([0.7, 0.3, 0.3])).sum()
    expected += dist.Normal(0.8 + 2.0 * jnp.array([0.0, 1.0, 1.0]), 1.0).log_prob(Y).sum()
    assert abs(form.log_density(choices, Y) - expected) < 1e-12


def test_a_name_that_reads_what_is_summed_keeps_nothing_that_draws_it_back():
    def model(y):
        tau = sample("tau", dist.HalfNormal(1.0))
        with plate("row", 3):
            z = sample("z", dist.Bernoulli(0.4))
            theta = sample("theta", dist.Normal(3.0 * z, tau))
            sample("y", dist.Normal(theta, 1.0), obs=y)

    form, noises = lawful.trace(model, Y), inference.noncentred(["theta"])
    left = {
        inference.marginalise(["z"]): [("tau",), ("theta", "~normal")],
        inference.marginalise(["z"]): [("tau",), ("theta", "~normal")],
        inference.integrate_normals(["theta"]): [("tau",), ("z",)],
        inference.marginalise(["z"]) >> inference.integrate_normals(["theta"]): [("tau",)],
    }
    for transformer, expected in left.items():
        found = (noises >> transformer)(form)
        assert [site.address for site in found.sites() if site.observed is None] == expected
    # An inference on the marginal draws the summed sites back, and then the name has its value.
    plan = inference.importance(noises(model), particles=5, enumerate=["z"])
    draws = plan(KEY, Y).posterior
    made = 3.0 * draws["z"] + draws["tau"][..., None] * draws["theta.~normal"]
    np.testing.assert_allclose(draws["theta"], made, rtol=1e-12)
