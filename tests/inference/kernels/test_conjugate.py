"""Conditionals of known families: found by a proof on the density's operations, and drawn with the exact parameters."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, plate, sample, scan, trace
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.kernels.gibbs.conjugate import FAMILIES, _Density, _Parameters, seen_family
from lawful.inference.transformers.spans import span
from tests.inference.kernels.transition import Transition
from tests.tiers import rest_slow

module = importlib.import_module("lawful.inference.kernels.gibbs.conjugate")
KERNEL = kernels.conjugate()


def conditional(program, site, *args):
    """Family of the conditional of a site, and its parameters as a function of the choices."""
    form = trace(program, *args)
    choices = choices_of(form)
    place = [c.name for c in choices].index(site)
    family = seen_family(form, choices, (place,)).family
    density = _Density(form, module.reached(form, [choices[place].address]), (place,), choices)
    told, given = jax.jit(_Parameters(density, FAMILIES[family])), list(map(jnp.asarray, args))
    return family, lambda values: list(
        map(np.asarray, told(*given, *(jnp.asarray(values[c.name], c.dtype) for c in choices)))
    )


def parameters(program, site, values, *args):
    """Family and parameters of the conditional of a site at given choices."""
    family, told = conditional(program, site, *args)
    return family, told(values)


# ---- the exact answers of the reference cases


@pytest.fixture(scope="module")
def case(data):
    return lambda name: json.loads((data / "exact" / f"{name}.json").read_text())


@pytest.mark.reference
def test_a_probability_has_the_beta_posterior_of_the_reference(case):
    found = case("beta_bernoulli")

    def model(y):
        p = sample("p", dist.Beta(found["model"]["a"], found["model"]["b"]))
        with plate("i", 12):
            sample("y", dist.Bernoulli(p), obs=y)

    y = np.array(found["data"]["y"])
    family, given = conditional(model, "p", y)
    assert family == "beta"
    for p in (0.5, 1e-6, 1 - 1e-6):
        np.testing.assert_allclose(given({"p": p}), [found["exact"]["posterior"][k] for k in ("a", "b")], rtol=1e-10)


@pytest.mark.reference
def test_a_rate_has_the_gamma_posterior_of_the_reference(case):
    found = case("gamma_poisson")

    def model(y):
        rate = sample("rate", dist.Gamma(found["model"]["shape"], found["model"]["rate"]))
        with plate("i", 8):
            sample("y", dist.Poisson(rate), obs=y)

    y = np.array(found["data"]["y"])
    family, given = conditional(model, "rate", y)
    assert family == "gamma"
    exact = [found["exact"]["posterior"][k] for k in ("shape", "rate")]
    for rate in (2.5, 0.01, 50.0):
        np.testing.assert_allclose(given({"rate": rate}), exact, rtol=1e-10)


def regression(x, y, v0, a0, b0):
    variance = sample("variance", dist.InverseGamma(a0, b0))
    beta = sample("beta", dist.Normal(jnp.zeros(3), jnp.sqrt(variance * v0)).to_event(1))
    with plate("i", len(y)):
        sample("y", dist.Normal(x @ beta, variance**0.5), obs=y)


@pytest.mark.reference
@pytest.mark.slow
def test_coefficients_and_variance_have_the_conditionals_of_the_reference(case):
    """The conditional of the coefficients is N(m, variance V) of the reference, and Gibbs finds its moments."""
    found = case("linreg_nig")
    x, y = np.array(found["data"]["X"]), np.array(found["data"]["y"])
    args = (x, y, 10.0, found["model"]["a0"], found["model"]["b0"])
    exact = found["exact"]["posterior"]
    family, (mean, root) = parameters(regression, "beta", {"beta": [9.0, -7.0, 1.0], "variance": 0.3}, *args)
    assert family == "normal"
    np.testing.assert_allclose(mean, exact["m"], rtol=1e-10)
    np.testing.assert_allclose(np.linalg.inv(root @ root.T), 0.3 * np.array(exact["V"]), rtol=1e-10)
    beta = np.array([0.5, -0.2, 1.5])
    family, (a, b) = parameters(regression, "variance", {"beta": beta, "variance": 2.0}, *args)
    rest = y - x @ beta
    assert family == "inverse gamma"
    np.testing.assert_allclose(a, found["model"]["a0"] + (len(y) + 3) / 2, rtol=1e-10)
    np.testing.assert_allclose(b, found["model"]["b0"] + (rest @ rest + beta @ beta / 10) / 2, rtol=1e-10)
    result = inference.mcmc(regression, KERNEL, chains=32, warmup=20, draws=300)(0, *args)
    for name, truth in (("beta", found["exact"]["beta_mean"]), ("variance", found["exact"]["sigma2_mean"])):
        means = np.asarray(result.posterior[name]).mean(axis=1)
        error = means.std(axis=0, ddof=1) / 32**0.5
        assert (np.abs(means.mean(axis=0) - truth) < 5 * error).all() and np.max(error) < 0.01
    assert np.max(result.stats["conjugate_error"]) < 1e-9


X = np.random.default_rng(0).normal(size=(8, 2))
OUTCOMES = X @ np.array([1.0, -2.0]) + np.random.default_rng(1).normal(size=8)
SPREAD = np.array([[2.0, 0.5], [0.5, 1.0]])
PRIORS = {
    "covariance": lambda v: dist.MultivariateNormal(jnp.zeros(2), v * SPREAD),
    "root": lambda v: dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.sqrt(v) * np.linalg.cholesky(SPREAD)),
    "precision": lambda v: dist.MultivariateNormal(jnp.zeros(2), precision_matrix=np.linalg.inv(SPREAD) / v),
}


@pytest.mark.parametrize("prior", PRIORS)
def test_the_variance_of_a_regression_moves_where_coefficients_vary_with_it(prior):
    """The prior of normal inverse gamma: the variance given the coefficients has theirs among its data."""

    def model(y):
        variance = sample("variance", dist.InverseGamma(3.0, 2.0))
        beta = sample("beta", PRIORS[prior](variance))
        sample("y", dist.Normal(X @ beta, jnp.sqrt(variance)).to_event(1), obs=y)

    beta = np.array([0.5, -0.2])
    family, (a, b) = parameters(model, "variance", {"beta": beta, "variance": 0.7}, OUTCOMES)
    rest = OUTCOMES - X @ beta
    assert family == "inverse gamma"
    np.testing.assert_allclose(a, 3.0 + (8 + 2) / 2, rtol=1e-10)
    np.testing.assert_allclose(b, 2.0 + (rest @ rest + beta @ np.linalg.inv(SPREAD) @ beta) / 2, rtol=1e-10)


def test_the_plan_says_why_a_site_is_not_moved():
    def model(y):
        sd = sample("sd", dist.HalfNormal(1.0))
        beta = sample("beta", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        sample("k", dist.Bernoulli(0.5))
        sample("y", dist.Normal(X @ beta, sd).to_event(1), obs=y)

    plan = KERNEL.plan(trace(model, OUTCOMES))
    assert plan[0].startswith("sd: not moved, as its log density is made of log s, s^-2 and s^2, where a gamma law has")
    assert plan[1:] == ["beta: drawn from its normal conditional", "k: not moved, as it is not continuous"]


# ---- the identity of conditionals: log joint ratio = log conditional ratio


def families(y, k, n, z):
    """A site of each family, and data for each; gives mu and the effects."""
    mu = sample("mu", dist.Normal(1.0, 3.0))
    tau = sample("tau", dist.Gamma(2.0, 2.0))
    variance = sample("variance", dist.InverseGamma(3.0, 2.0))
    shares = sample("shares", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    with plate("g", len(y)):
        effect = sample("effect", dist.Normal(0.5 * mu - 1.0, tau**-0.5))
        chance = sample("chance", dist.Beta(2.0, 3.0))
        rate = sample("rate", dist.Gamma(2.0, 1.0))
        sample("y", dist.Normal(effect + mu, jnp.sqrt(variance)), obs=y)
        sample("n", dist.Binomial(10, chance), obs=n)
        sample("k", dist.Categorical(shares), obs=k)
        sample("z", dist.Poisson(2.5 * rate), obs=z)
    return mu, effect


def everything(y, k, n, z):
    mu, effect = families(y, k, n, z)
    factor("also", -0.3 * (mu - effect[0]) ** 2)


DATA = (np.array([0.3, 2.0, -1.0]), np.array([0, 2, 2]), np.array([3, 9, 0]), np.array([4, 0, 2]))
FOUND = {
    "mu": "normal",
    "tau": "gamma",
    "variance": "inverse gamma",
    "shares": "Dirichlet",
    "effect": "normal",
    "chance": "beta",
    "rate": "gamma",
}


def test_every_family_is_found_and_told():
    plan = KERNEL.plan(trace(everything, *DATA))
    assert plan == [f"{name}: drawn from its {family} conditional" for name, family in FOUND.items()]


@pytest.mark.slow
@pytest.mark.tier0b
@pytest.mark.parametrize("site", rest_slow(FOUND))
def test_the_log_ratio_of_the_joint_is_that_of_the_conditional(site):
    form = trace(everything, *DATA)
    key = jax.random.key(5)
    start = jax.jit(lambda k: lawful_prior(form, k))
    density = jax.jit(lambda choices: form.log_density(choices, *DATA))
    _, given = conditional(everything, site, *DATA)
    score = jax.jit(FAMILIES[FOUND[site]].log_prob)
    for point in range(10):
        old, other = start(jax.random.fold_in(key, 2 * point)), start(jax.random.fold_in(key, 2 * point + 1))
        new = {**old, site: other[site]}
        joint = float(density(new)) - float(density(old))
        own = [float(score(x[site].reshape(-1), *given(old))) for x in (new, old)]
        assert joint == pytest.approx(own[0] - own[1], rel=1e-9, abs=1e-9)


def lawful_prior(form, key):
    from lawful.backends.xla import emit
    from lawful.inference.kernels.base.base import initial_state

    values = emit(initial_state(form))(key, *DATA)[0]
    return {c.name: v for c, v in zip(choices_of(form), values, strict=False)}


@pytest.mark.slow
@pytest.mark.tier1
@pytest.mark.parametrize("sites", [["mu", "tau", "rate"], ["variance", "effect"], ["chance", "shares"]], ids=repr)
def test_exact_draws_stay_exact_draws(sites):
    # without the factor, so that data can be drawn
    data = (jnp.zeros(2), jnp.zeros(2, int), jnp.zeros(2, int), jnp.zeros(2, int))
    invariant(kernels.conjugate(sites), families, *data, n=1_000, steps=(1, 3)).raise_if_failed()


@pytest.mark.slow
@pytest.mark.tier1
@pytest.mark.parametrize(
    "wrong",
    [lambda a, b: (a + 1.0, b), lambda a, b: (a, 1.3 * b)],
    ids=["a shape too large", "another rate"],
)
def test_a_wrong_parameter_is_seen(wrong, monkeypatch):
    """By exact draws, and by the reported error of the ratio."""
    right = FAMILIES["gamma"]
    made = module.Family(lambda *operands: wrong(*right.parameters(*operands)), *list(vars(right).values())[1:])
    monkeypatch.setitem(FAMILIES, "gamma", made)

    def model(y):
        tau = sample("tau", dist.Gamma(3.0, 2.0))
        with plate("i", 2):
            sample("y", dist.Normal(0.0, tau**-0.5), obs=y)

    assert invariant(KERNEL, model, jnp.zeros(2), n=2_000, steps=(1, 3)).status == "failed"
    result = inference.mcmc(model, KERNEL, chains=2, warmup=0, draws=20)(0, np.array([0.3, 1.0]))
    assert np.max(result.stats["conjugate_error"]) > 0.05


@pytest.mark.tier0b
def test_a_chain_of_states_is_drawn_at_once_and_sites_jointly():
    def walk(y):
        level = sample("level", dist.Normal(0.0, 5.0))

        def step(x, y):
            x = sample("x", dist.Normal(0.8 * x, 1.0))
            sample("y", dist.Normal(x + level, 0.5), obs=y)
            return x, None

        scan(step, 0.0, y)

    y = np.array([0.3, 1.0, -0.5, 2.0])
    kernel = kernels.conjugate([["level", "x"]])
    form = trace(walk, y)
    assert kernel.plan(form) == [
        "level: drawn from its normal conditional, with x",
        "x: drawn from its normal conditional, with level",
    ]
    transition = Transition(walk, kernel, y)
    noise = np.array([0.3, -1.0, 0.2, 0.7, 1.1])
    ends = []
    for values in ({"level": 0.0, "x": np.zeros(4)}, {"level": 30.0, "x": np.array([5.0, -4.0, 3.0, 9.0])}):
        state, info = transition.step(transition.state(values), {("~mh", "conjugate", "level~x"): noise})
        assert info["conjugate_error"] < 1e-12
        ends.append(np.concatenate([np.atleast_1d(s) for s in state[:2]]))
    np.testing.assert_allclose(*ends, atol=1e-10)  # the posterior, whatever it was before


# ---- what has no family


def test_what_is_not_seen_to_have_a_family_is_left_or_refused_by_name():
    def model(y):
        a = sample("a", dist.Normal(0.0, 1.0))
        sample("b", dist.Normal(jnp.exp(a), 1.0))
        c = sample("c", dist.Normal(0.0, 1.0))
        sample("root", dist.Normal(jnp.sqrt(c**2), 1.0), obs=y)
        d = sample("d", dist.Gamma(2.0, 1.0))
        factor("above", jnp.where(d > 1.0, 0.0, -jnp.inf))
        p = sample("p", dist.Beta(1.0, 1.0))
        sample("y", dist.Bernoulli(0.5 * p), obs=1)
        g = sample("g", dist.Normal(0.0, 1.0))
        factor("positive", jnp.where(g > 0, 0.0, -jnp.inf))
        e = sample("e", dist.Gamma(2.0, 1.0).expand([2]).to_event(1))
        sample("sum", dist.Poisson(e[0] + e[1]), obs=3)

    form = trace(model, 0.3)
    assert [line.split(": ")[1].split(", as")[0] for line in KERNEL.plan(form)] == [
        "not moved", "drawn from its normal conditional", *["not moved"] * 5]  # fmt: skip
    for name in ("a", "c", "d", "p", "g", "e"):
        with pytest.raises(UnsupportedProgramError, match=f"the conditional of '{name}' .* is not seen to be"):
            kernels.conjugate([name]).build(form)
    with pytest.raises(LawfulError, match="no latent site"):
        kernels.conjugate(["q"]).build(form)

    def odd():
        sample("x", dist.Cauchy(0.0, 1.0))

    with pytest.raises(UnsupportedProgramError, match="no site has a conditional of a known family"):
        KERNEL.build(trace(odd))


S = [jax.ShapeDtypeStruct((), float), jax.ShapeDtypeStruct((3,), float)]


@pytest.mark.parametrize(
    ("function", "terms"),
    [
        (lambda s, y: jnp.sum((y - s) ** 2) * s, {"0", "1", "2", "3"}),
        (lambda s, y: jnp.sum(y / jnp.sqrt(s)) + jnp.log(2 * s), {"0", "-1/2", "log"}),
        (lambda s, y: jnp.where(s > 0, s, -jnp.inf), {"0", "1"}),
        (lambda s, y: jnp.where(s > 1, s, -jnp.inf), None),
        (lambda s, y: jnp.where(s > 0, s, 3.0), None),
        (lambda s, y: jnp.sum(jnp.where(y * jnp.sqrt(s) < 0, jnp.nan, s)), {"0", "1"}),
        (lambda s, y: jnp.sum(jnp.where(s + y < 0, jnp.nan, s)), None),
        (lambda s, y: jnp.sum(jnp.where(s * y < 1, jnp.nan, s)), None),
        (lambda s, y: jnp.log(s + 1), None),
        (lambda s, y: jnp.log(s) * s, None),
        (lambda s, y: jnp.exp(s), None),
        (lambda s, y: jnp.sum(jnp.linalg.cholesky(s * jnp.eye(3) + jnp.eye(3))), None),
        (lambda s, y: jnp.sum(jnp.tril(jnp.linalg.cholesky(s * (jnp.eye(3) + 0.1)))), {"0", "1/2"}),
        (lambda s, y: jnp.sum(jax.scipy.linalg.solve_triangular(s**2 * jnp.eye(3), y * s)), {"0", "-1"}),
        (lambda s, y: jnp.maximum(s, 2.0), None),
    ],
)
def test_a_span_holds_the_terms_of_a_function(function, terms):
    found = span(function, 0, S, polynomial=False)
    assert (None if found is None else set(map(str, found))) == terms


def test_elements_that_mix_have_no_powers():
    def mixed(v):
        return jnp.log(v[0] + v[1])

    def apart(v):
        return jnp.sum(jnp.log(v)) - jnp.sum(v)

    vector = [jax.ShapeDtypeStruct((3,), float)]
    assert span(mixed, 0, vector, polynomial=False) is None
    assert span(lambda v: v[0] * v[1], 0, vector, polynomial=False) is None
    assert set(map(str, span(apart, 0, vector, polynomial=False))) == {"0", "1", "log"}
    assert set(map(str, span(lambda v: v[0] * v[1], 0, vector, polynomial=True))) == {"0", "2"}
    assert span(lambda v: jnp.sqrt(v[0] ** 2), 0, vector, polynomial=True) is None
    assert span(lambda v: jnp.where(v[0] > 0, v[0], -jnp.inf), 0, vector, polynomial=True) is None
