"""Reversible jump: exact on finite models by enumeration, and beside model probabilities known in closed form."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import special, stats

from lawful import cond, factor, inference, plate, sample, switch, trace
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import invariant, involution
from tests.inference.kernels.transition import Transition

jacobian_module = importlib.import_module("lawful.inference.kernels.jumps.log_jacobian")
P3 = jnp.array([0.2, 0.5, 0.3])

# ---- finite models


def models():
    """Three models: nothing, `a`, or `a` and `b`; in the last, `b` depends on `a`."""
    k = sample("k", dist.Categorical(P3))
    shared = sample("shared", dist.Bernoulli(0.4))

    def both():
        a = sample("a", dist.Categorical(P3))
        return a + sample("b", dist.Bernoulli(jnp.array([0.2, 0.6, 0.7])[a]))

    total = switch(k, [lambda: 0, lambda: sample("a", dist.Categorical(P3)), both])
    factor("f", 0.3 * total * shared - 0.5 * (k == 1))


def first(current):
    sample("a", dist.Categorical(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])[current["shared"]]))


def second(current):
    sample("b", dist.Bernoulli(0.3 + 0.2 * current["a"]))


BIRTHS = [kernels.jump("k", (0, 1), auxiliary=first), kernels.jump("k", (1, 2), auxiliary=second)]


@pytest.mark.tier0
@pytest.mark.parametrize("birth", BIRTHS, ids=repr)
def test_a_birth_and_its_death_keep_the_posterior_of_finite_models(birth):
    report = invariant(birth, models, irreducible=False)
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.tier0
def test_jumps_reach_every_model():
    kernel = kernels.cycle(kernels.mixture([1, 2], *BIRTHS), kernels.on("shared"))
    report = invariant(kernel, models)
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.tier0
def test_both_ways_may_draw():
    """`shared` is drawn anew by the death, and what it was is drawn by the birth."""

    def forth(x, u):
        return {"b": u["b"], "shared": u["shared"]}, {"was": x["shared"]}

    def back(x, u):
        return {"shared": u["was"]}, {"b": x["b"], "shared": x["shared"]}

    def born(current):
        sample("b", dist.Bernoulli(0.3 + 0.2 * current["a"]))
        sample("shared", dist.Bernoulli(0.2 + 0.5 * current["shared"]))

    def died(current):
        sample("was", dist.Bernoulli(0.7 - 0.4 * current["b"]))

    kernel = kernels.jump("k", (1, 2), forth, back, auxiliary=born, back_auxiliary=died)
    report = invariant(kernel, models, irreducible=False)
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.tier0
def test_a_site_that_does_not_run_has_no_influence():
    transition = Transition(models, BIRTHS[0])
    rows = [transition.outcomes(transition.state({"k": 0, "shared": 1}, absent=k)) for k in (0, 1)]
    assert rows[0].keys() == rows[1].keys()
    assert all(rows[0][x] == pytest.approx(rows[1][x], abs=1e-15) for x in rows[0])


# ---- a normal mean that is there or not


def present(y):
    there = sample("there", dist.Bernoulli(0.3))
    mean = cond(there == 1, lambda: sample("mean", dist.Normal(0.0, 2.0)), lambda: 0.0)
    with plate("i", len(y)):
        sample("y", dist.Normal(mean, 1.0), obs=y)


def guess(current, y):
    sample("mean", dist.Normal(jnp.mean(y), 0.7))


Y = np.array([0.9, 0.1, 1.2, -0.3, 0.8])


def log_marginal(y, prior_sd, sd):
    """Log evidence of normal data about one mean, by the density of the vector."""
    y = np.asarray(y)
    return stats.multivariate_normal.logpdf(y, np.zeros(len(y)), sd**2 * np.eye(len(y)) + prior_sd**2)


def share(draws):
    """Mean of indicators (chain, draw), and its standard error from the means of the chains."""
    means = np.asarray(draws, float).mean(axis=1)
    return means.mean(), means.std(ddof=1) / np.sqrt(len(means))


@pytest.mark.slow
@pytest.mark.tier3
def test_a_mean_is_present_as_often_as_its_evidence_says():
    kernel = kernels.cycle(
        kernels.jump("there", (0, 1), auxiliary=guess), kernels.on(["there"], kernels.mh(kernels.independence()))
    )
    result = inference.mcmc(present, kernel, chains=64, warmup=20, draws=600)(jax.random.key(3), Y)
    logits = [np.log(0.7) + stats.norm.logpdf(Y).sum(), np.log(0.3) + log_marginal(Y, 2.0, 1.0)]
    exact = np.exp(logits[1] - special.logsumexp(logits))
    found, error = share(result.posterior["there"] == 1)
    assert error < 0.006
    assert abs(found - exact) < 5 * error  # two-sided 7e-6 of a t with 63 degrees of freedom
    means = np.asarray(result.posterior["mean"])[np.asarray(result.posterior["there"]) == 1]
    precision = len(Y) + 0.25
    assert abs(means.mean() - Y.sum() / precision) < 0.03 and abs(means.std() - precision**-0.5) < 0.03


# ---- change points of a level, by split and merge with a Jacobian

STEPS = np.array([0.2, -0.4, 0.3, 1.6, 1.1, 1.4, 1.2, -0.9])
N, TAU, SD = len(STEPS), 1.5, 0.6
WHERE = jnp.full(N - 1, 1 / (N - 1))


def changes(y):
    """No change point or one: its place is uniform, and levels are apart by it."""
    k = sample("k", dist.Bernoulli(0.5))
    left = sample("left", dist.Normal(0.0, TAU))

    def one():
        at = sample("at", dist.Categorical(WHERE))
        right = sample("right", dist.Normal(0.0, TAU))
        return jnp.where(jnp.arange(N) <= at, left, right)

    level = cond(k == 1, one, lambda: jnp.full(N, left))
    with plate("i", N):
        sample("y", dist.Normal(level, SD), obs=y)


def cut(current):
    sample("at", dist.Categorical(WHERE))
    sample("gap", dist.Normal(0.0, 1.0))


def weights(at):
    return (at + 1.0) / N, (N - 1.0 - at) / N


def split(x, u):
    """The mean of both levels, weighted by their lengths, stays."""
    before, after = weights(u["at"])
    return {"left": x["left"] - after * u["gap"], "right": x["left"] + before * u["gap"], "at": u["at"]}, {}


def merge(x, u):
    before, after = weights(x["at"])
    return {"left": before * x["left"] + after * x["right"]}, {"at": x["at"], "gap": x["right"] - x["left"]}


CHANGE = kernels.jump("k", (0, 1), split, merge, auxiliary=cut)


@pytest.mark.slow
@pytest.mark.tier0b
def test_a_split_of_levels_is_what_it_has_to_be_and_a_wrong_jacobian_is_seen(monkeypatch):
    def scaled(x, u):
        kept, aux = split(x, u)
        return {**kept, "right": x["left"] + 3 * (kept["right"] - x["left"])}, aux

    def unscaled(x, u):
        return merge({**x, "right": (x["right"] + 2 * x["left"]) / 3}, u)

    assert involution(CHANGE, changes, STEPS).passed
    assert involution(kernels.jump("k", (0, 1), scaled, unscaled, auxiliary=cut), changes, STEPS).status == "failed"
    right = jacobian_module.log_abs_det
    monkeypatch.setattr(jacobian_module, "log_abs_det", lambda matrix: right(matrix) + 0.3)
    assert involution(CHANGE, changes, STEPS).status == "failed"


@pytest.mark.tier1
@pytest.mark.slow
def test_exact_draws_of_both_models_stay_exact_draws():
    assert invariant(CHANGE, changes, STEPS, n=2_000, steps=(1, 5)).passed


@pytest.mark.tier3
@pytest.mark.slow
def test_change_points_have_their_exact_probabilities():
    moves = kernels.cycle(CHANGE, kernels.on(["left"], kernels.random_walk(0.5)), kernels.mh())
    result = inference.mcmc(changes, moves, chains=64, warmup=50, draws=800)(jax.random.key(5), STEPS)
    none = np.log(0.5) + log_marginal(STEPS, TAU, SD)
    one = [np.log(0.5 / (N - 1)) + log_marginal(STEPS[: a + 1], TAU, SD) + log_marginal(STEPS[a + 1 :], TAU, SD)
           for a in range(N - 1)]  # fmt: skip
    exact = np.exp(np.array([none, *one]) - special.logsumexp([none, *one]))
    k, at = (np.asarray(result.posterior[name]) for name in ("k", "at"))
    for value in range(N):
        found, error = share(k == 0 if value == 0 else (k == 1) & (at == value - 1))
        assert error < 0.02
        assert abs(found - exact[value]) < 5 * error + 1e-4, (value, found, exact[value])


# ---- what does not fit


def one_site():
    k = sample("k", dist.Bernoulli(0.5))
    a = sample("a", dist.Normal(0.0, 1.0))
    cond(k == 1, lambda: sample("b", dist.Normal(a, 1.0)), lambda: 0.0)


def draws_b(current):
    sample("b", dist.Normal(0.0, 1.0))


def draws_d(current):
    sample("d", dist.Normal(0.0, 1.0))


def nothing(x, u):
    return {}, {}


def gives(value):
    return lambda x, u: ({"b": value(x, u)}, {})


MISFITS = [
    (("z", (0, 1), None, None, draws_b), "'z' is no site of the program"),
    (("a", (0, 1), None, None, draws_b), "'a' is not one integer that always runs"),
    (("k", (0, 1), None, None, draws_d), "gives 'd', which is not a site of that model"),
    (("k", (0, 1), nothing, nothing, draws_d), "does not give 'b'"),
    (("k", (0, 1), gives(lambda x, u: u["d"]), nothing, draws_d), "does not give 'd'"),
    (("k", (0, 1), gives(lambda x, u: x["b"]), nothing, draws_d), "reads 'b', which does not run"),
    (("k", (0, 1), gives(lambda x, u: x["a"]), nothing, None), "1 continuous coordinates at one"),
    (("k", (0, 1), gives(lambda x, u: jnp.ones(2)), nothing, draws_d), r"'b' the shape \(2,\)"),
    (("k", (0, 1), lambda x, u: x, lambda x, u: x, draws_d), "expected two dictionaries"),
    (("k", (0, 0), None, None, draws_b), "two different values"),
    (("k", (0, 1), nothing, None, draws_b), "both forth and back"),
    (("k", (0, 1), None, None, None), "expected an auxiliary program"),
]


@pytest.mark.parametrize(("arguments", "words"), MISFITS)
def test_a_jump_that_does_not_fit_is_refused_by_name(arguments, words):
    *positional, auxiliary = arguments
    with pytest.raises(LawfulError, match=words):
        kernels.jump(*positional, auxiliary=auxiliary).build(trace(one_site))


def test_sites_that_run_by_several_choices_are_refused():
    def nested():
        k, c = sample("k", dist.Bernoulli(0.5)), sample("c", dist.Bernoulli(0.5))
        cond((k == 1) & (c == 1), lambda: sample("b", dist.Normal(0.0, 1.0)), lambda: 0.0)

    with pytest.raises(UnsupportedProgramError, match="of other choices, so its models have no fixed sites"):
        kernels.jump("k", (0, 1), auxiliary=draws_b).build(trace(nested))


@pytest.mark.slow
def test_a_way_that_is_no_inverse_is_told():
    def off(x, u):
        return {}, {"d": x["b"] + 0.1}

    kernel = kernels.jump("k", (0, 1), lambda x, u: ({"b": u["d"]}, {}), off, auxiliary=draws_d)
    assert involution(kernel, one_site).status == "failed"
    result = inference.mcmc(one_site, kernels.cycle(kernel, kernels.mh()), chains=2, warmup=0, draws=20)(0)
    assert "NO_RETURN" in {f.code for f in result.reasons}
