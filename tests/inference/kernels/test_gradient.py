"""Gradient kernels keep exact draws, alone and inside other kernels, and refuse what has no gradient."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import geweke, invariant
from lawful.inference.kernels.base.frame import frame_of
from lawful.inference.kernels.gradient.hmc import involution
from lawful.inference.kernels.gradient.trajectories import Phase, energy
from tests.check.test_invariance import Y, chain, positive, switch
from tests.tiers import rest_slow

pytestmark = pytest.mark.tier1
MALA, HMC, NUTS = kernels.mala(0.7), kernels.hmc(0.3, 4), kernels.nuts(0.4, max_depth=4)
DENSE = kernels.hmc(0.5, 3, inverse_mass=[[1.0, 0.4], [0.4, 0.8]])
SMALL = {"n": 2_000, "steps": (1, 10)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "model"),
    [(MALA, positive), (HMC, positive), (NUTS, positive), (DENSE, chain), (NUTS, chain)],
    ids=["mala", "hmc", "nuts", "hmc with a dense mass in a loop", "nuts in a loop"],
)
def test_exact_draws_are_kept(kernel, model):
    report = invariant(kernel, model, Y, **SMALL)
    assert report.passed, report
    assert report.alpha_spent == 1e-6 / 512 and report.detects(0.2)


@pytest.mark.slow
@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("kernel", rest_slow([NUTS, MALA, HMC]), ids=repr)
def test_exact_draws_are_kept_in_single_precision(kernel):
    report = invariant(kernel, positive, np.float32(Y), **SMALL)
    assert report.passed, report
    assert report.environment["dtype"] == "float32"


def labelled(y):
    """A mixture: a label for each datum beside means that have gradients."""
    mean = lawful.sample("mean", dist.Normal(0.0, 2.0))
    share = lawful.sample("share", dist.Beta(2.0, 2.0))
    with lawful.plate("i", 2):
        z = lawful.sample("z", dist.Bernoulli(share))
        lawful.sample("y", dist.Normal(mean + 2.0 * z, 1.0), obs=y)


SITES = kernels.on(["mean", "share"], NUTS)
LABELS = kernels.on(["z"], kernels.gibbs())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    [
        kernels.cycle(SITES, LABELS),
        pytest.param(kernels.mixture([2, 1], kernels.on(["mean", "share"], HMC), LABELS), marks=pytest.mark.slow),
        pytest.param(
            kernels.repeat(kernels.cycle(kernels.on(["mean"], MALA), kernels.on(["share"], HMC), LABELS), 2),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["cycle", "mixture", "repeat"],
)
def test_moves_of_some_sites_beside_discrete_ones_keep_exact_draws(kernel):
    report = invariant(kernel, labelled, Y, n=2_000, steps=(1, 5))
    assert report.passed, report


@pytest.mark.slow
def test_moves_in_turn_with_new_data_keep_the_joint_law():
    report = geweke(chain, kernels.cycle(HMC, kernels.mh()), Y, n=1_000, steps=3)
    assert report.passed, report


@pytest.mark.slow
def test_the_flow_and_its_coin_balance_densities_at_every_point():
    """Log pi(x) + log N(p) + log a(x, p) is the same at both ends: the identity of Metropolis on the phase space."""
    frame = frame_of(lawful.trace(positive, Y), "test")
    target = jax.jit(lambda x: frame.value_and_grad((jnp.asarray(Y),), x))
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, p = (jnp.asarray(rng.normal(size=1)) for _ in range(2))
        here = Phase(x, p, *target(x))
        there, _ = involution(target, jnp.ones(1), jnp.array(0.1), here, 3)
        back, _ = involution(target, jnp.ones(1), jnp.array(0.1), there, 3)
        ratio = float(energy(here) - energy(there))
        left, right = -float(energy(here)) + min(0.0, ratio), -float(energy(there)) + min(0.0, -ratio)
        assert left == pytest.approx(right, abs=1e-10)
        np.testing.assert_allclose(back.position, x, atol=1e-10)


def test_values_are_found_again_from_their_coordinates():
    form = lawful.trace(chain, Y)
    frame = frame_of(form, "test")
    x = jnp.array([0.3, -0.8])
    value, gradient = frame.value_and_grad((jnp.asarray(Y),), x)
    exact = lawful.density(form, Y)
    assert float(value) == pytest.approx(float(exact.logp({"x": x})), rel=1e-12)
    np.testing.assert_allclose(gradient, jax.grad(exact.logp)({"x": x})["x"], rtol=1e-10)
    forward = jax.jvp(lambda u: frame.log_density((jnp.asarray(Y),), u), (x,), (jnp.array([1.0, 0.0]),))[1]
    assert float(forward) == pytest.approx(float(gradient[0]), rel=1e-10)


@pytest.mark.slow
def test_the_log_density_of_a_state_is_that_of_its_values():
    """Not that of the coordinates: the Jacobian is taken out."""
    result = inference.mcmc(positive, NUTS, chains=2, warmup=5, draws=20)(0, Y)
    scale, lp = result.posterior["scale"], result.stats["lp"]
    expected = dist.Gamma(2.0, 1.0).log_prob(scale) + sum(dist.Normal(0.0, scale).log_prob(y) for y in Y)
    np.testing.assert_allclose(lp, expected, rtol=1e-10)


@pytest.mark.slow
def test_statistics_have_the_names_of_arviz():
    result = inference.mcmc(positive, NUTS, chains=2, warmup=5, draws=20)(0, Y)
    stats = result.to_datatree(log_likelihood=False, log_prior=False)["sample_stats"]
    wanted = {"acceptance_rate", "diverging", "energy", "step_size", "n_steps", "tree_depth", "lp"}
    assert wanted <= set(stats.data_vars)
    short = inference.mcmc(positive, kernels.nuts(0.01, max_depth=2), chains=2, warmup=0, draws=20)(0, Y)
    assert short.stats["reached_max_treedepth"].mean() > 0.9 and not stats["reached_max_treedepth"].values.all()
    np.testing.assert_array_equal(short.stats["reached_max_treedepth"], short.stats["tree_depth"] == 2)
    depth, steps = (np.asarray(stats[name]) for name in ("tree_depth", "n_steps"))
    assert (steps >= 2**depth - 1).all() and (steps < 2 ** (depth + 1)).all() and depth.max() <= 4
    assert np.asarray(stats["step_size"]) == pytest.approx(0.4)


def test_sites_without_a_gradient_are_refused_with_the_ways_out():
    with pytest.raises(UnsupportedProgramError, match=r"nuts: site 'z' \(.*test_gradient.py:\d+\) is discrete") as told:
        inference.mcmc(labelled, kernels.nuts())(0, Y)
    assert "cycle(on(['mean', 'share'], nuts(...)), on(['z'], gibbs()))" in str(told.value)
    assert "enumerate=" in str(told.value)

    def arms():
        b = lawful.sample("b", dist.Normal(0.0, 1.0))
        lawful.cond(b > 0, lambda: lawful.sample("left", dist.Normal(0.0, 1.0)), lambda: 0.0)

    with pytest.raises(UnsupportedProgramError, match=r"hmc: site 'left' .* in one arm of a branch only"):
        inference.mcmc(arms, HMC)(0)
    with pytest.raises(UnsupportedProgramError, match="discrete"):
        invariant(MALA, switch, Y, level="statistical")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kernels.nuts(-1.0), "positive number as step_size"),
        (lambda: kernels.hmc(0.1, 0), "n_steps: expected an integer of 1 or more, got 0"),
        (lambda: kernels.nuts(max_depth=50), "from 1 to 20, got 50"),
        (lambda: kernels.mala(0.1, inverse_mass="full"), "'diagonal', 'dense', a number or an array"),
        (lambda: kernels.mala(0.1, inverse_mass=[1.0, -1.0]), "positive variances"),
        (lambda: kernels.nuts(target_acceptance=1.0), "between 0 and 1"),
    ],
)
def test_wrong_settings_are_told(make, message):
    with pytest.raises(LawfulError, match=re.escape(message)):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("mass", [2.0, 2, np.float32(2.0), jnp.asarray(2.0)])
def test_a_number_is_the_variance_of_every_coordinate(mass):
    def pair():
        lawful.sample("x", dist.Normal(jnp.zeros(2), 1.0).to_event(1))

    def draws(mass):
        return inference.mcmc(pair, kernels.hmc(0.3, 2, inverse_mass=mass), chains=1, warmup=1, draws=3)(0)

    np.testing.assert_array_equal(draws(mass).posterior["x"], draws([2.0, 2.0]).posterior["x"])
    with pytest.raises(LawfulError, match="expected positive variances"):
        kernels.nuts(inverse_mass=-1.0)


def test_settings_that_nothing_tunes_are_told():
    with pytest.raises(LawfulError, match="nothing tunes the step size or the inverse mass here"):
        invariant(kernels.nuts(), positive, Y)
    with pytest.raises(LawfulError, match=r"inverse_mass of shape \(2,\) for 1 coordinates"):
        inference.mcmc(positive, kernels.nuts(0.1, inverse_mass=[1.0, 1.0]))(0, Y)


def test_the_kernel_is_a_form_whose_randomness_is_made_of_sites():
    built = HMC.build(lawful.trace(positive, Y))
    assert {site.address for site in built.form.sites()} == {("~gradient", "momentum"), ("~mh", "accept")}
    built = NUTS.build(lawful.trace(positive, Y))
    assert {site.address for site in built.form.sites()} == {("~gradient", "momentum"), ("~gradient", "point")}
    with pytest.raises(UnsupportedProgramError, match="drawn from, not enumerated"):
        next(s for s in built.form.sites() if s.address[-1] == "point").law.enumerate()


@pytest.mark.slow
def test_moves_side_by_side_are_those_of_each_alone():
    """The lanes of a trajectory's law do not mix: the same coins give each lane what it has without the others."""
    law = next(s for s in NUTS.build(lawful.trace(positive, Y)).form.sites() if s.address[-1] == "point").law
    key, rng = jax.random.key(3), np.random.default_rng(1)
    frame = law.frame
    x, p = (jnp.asarray(rng.normal(size=(5, 1))) for _ in range(2))
    scores, slopes = jax.vmap(lambda u: frame.value_and_grad((jnp.asarray(Y),), u))(x)
    shared = jnp.array(0.4), jnp.ones(1)
    flags = (False, True, True, True, True, False, False)
    together = law.draw_side_by_side(key, 5, flags, jnp.asarray(Y), x, scores, slopes, p, *shared)
    first = law.draw_side_by_side(key, 1, flags, jnp.asarray(Y), *(v[:1] for v in (x, scores, slopes, p)), *shared)
    np.testing.assert_allclose(together[0], first[0], rtol=1e-12)
    assert len(np.unique(np.asarray(together)[:, 0])) == 5


@pytest.mark.slow
def test_a_population_takes_gradient_moves(false_alarm):
    """Conjugate: a normal mean; between the steps of a filter and on a path of temperatures."""
    y = np.array([0.9, 1.7, 0.4])

    def model(y):
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        with lawful.plate("i", 3):
            lawful.sample("y", dist.Normal(mu, 1.0), obs=y)

    exact = float(dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3) + 1.0).log_prob(jnp.asarray(y)))
    plan = inference.tempered_smc(model, particles=200, kernel=NUTS, ladder=[0.3, 1.0], steps=2, runs=60)
    ratio = np.exp(np.asarray(plan(0, y).log_evidence) - exact)
    assert abs(ratio.mean() - 1) < 6 * ratio.std(ddof=1) / np.sqrt(60)
    plan = inference.smc(model, particles=200, move=HMC, cuts="factors", runs=60)
    ratio = np.exp(np.asarray(plan(1, y).log_evidence) - exact)
    assert abs(ratio.mean() - 1) < 6 * ratio.std(ddof=1) / np.sqrt(60)


def test_emitting_needs_no_more_than_the_form():
    """The kernel of a form runs by the XLA back end, as any other program."""
    form = lawful.trace(positive, Y)
    built = NUTS.build(form)
    state = jax.jit(emit(lawful.inference.kernels.base.base.initial_state(form)))(jax.random.key(0), jnp.asarray(Y))[0]
    outputs, weight = jax.jit(emit(built.form))(jax.random.key(1), jnp.asarray(Y), *state)
    assert len(outputs) == built.size + len(built.info) and float(weight) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [kernels.nuts(), kernels.hmc()], ids=repr)
def test_a_tuned_kernel_that_stands_alone_is_built_once_and_named_once(kernel, monkeypatch):
    built, named = [], []
    build, name = type(kernel).build, type(kernel).__repr__
    monkeypatch.setattr(type(kernel), "build", lambda self, program: built.append(program) or build(self, program))
    monkeypatch.setattr(type(kernel), "__repr__", lambda self: named.append(1) or name(self))
    result = inference.mcmc(positive, kernel, chains=2, warmup=5, draws=5)(0, Y)
    assert len(built) == 1 and len(named) == 1
    assert result.run["kernel"] == name(kernel) and np.ndim(result.run["step_size"]) == 0
