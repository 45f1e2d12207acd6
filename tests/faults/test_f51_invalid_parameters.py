"""Row 51: parameters outside their constraints are refused before the run, or make its result not ok; never silent."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, inference, sample, scan
from lawful.distributions.law import law_of
from lawful.errors import NonFiniteError, ParameterError
from lawful.inference import Status, kernels

KEY = jax.random.key(51)


@dataclass(frozen=True)
class Case:
    """A family at parameters outside its constraint, and a value of its support."""

    make: Any  # a function of the parameter
    bad: tuple[float, ...]
    good: float
    value: Any = 1


CASES = {
    "Bernoulli": Case(lambda p: dist.Bernoulli(p), (1.5, -0.5, np.nan), 0.4),
    "Bernoulli by logits": Case(lambda p: dist.Bernoulli(logits=p), (np.nan,), 0.4),
    "Categorical": Case(lambda p: dist.Categorical(jnp.stack([p, 0.5])), (2.0, -0.5, np.nan), 0.5),
    "Categorical by logits": Case(lambda p: dist.Categorical(logits=jnp.stack([p, 0.5])), (np.nan,), 0.5),
    "Binomial": Case(lambda p: dist.Binomial(3, p), (1.5, np.nan), 0.4),
    "Geometric": Case(lambda p: dist.Geometric(p), (1.5, -0.5), 0.4),
    "Poisson": Case(lambda p: dist.Poisson(p), (-1.0, np.nan), 1.0),
    "NegativeBinomial2": Case(lambda p: dist.NegativeBinomial2(2.0, p), (-1.5, np.nan), 1.0),
    "Normal by scale": Case(lambda p: dist.Normal(0.0, p), (-1.0, np.nan), 1.0, 0.5),
    "Normal by loc": Case(lambda p: dist.Normal(p, 1.0), (np.nan,), 1.0, 0.5),
    "LogNormal": Case(lambda p: dist.LogNormal(0.0, p), (-1.0, np.nan), 1.0, 0.5),
    "StudentT": Case(lambda p: dist.StudentT(p, 0.0, 1.0), (-3.0, np.nan), 3.0, 0.5),
    "Laplace": Case(lambda p: dist.Laplace(0.0, p), (-1.0,), 1.0, 0.5),
    "Exponential": Case(lambda p: dist.Exponential(p), (-1.0, np.nan), 1.0, 0.5),
    "Gamma": Case(lambda p: dist.Gamma(p, 1.0), (-1.5, np.nan), 1.0, 0.5),
    "Beta": Case(lambda p: dist.Beta(p, 1.0), (-0.5, np.nan), 1.0, 0.5),
    "Uniform": Case(lambda p: dist.Uniform(p, 1.0), (2.0, np.nan), 0.0, 0.5),
    "HalfNormal": Case(lambda p: dist.HalfNormal(p), (-1.0, np.nan), 1.0, 0.5),
    "TruncatedNormal": Case(lambda p: dist.TruncatedNormal(0.0, p, low=0.0), (-1.0, np.nan), 1.0, 0.5),
    "Dirichlet": Case(lambda p: dist.Dirichlet(jnp.stack([p, 1.0])), (-1.0, np.nan), 1.0, np.array([0.5, 0.5])),
    "VonMises": Case(lambda p: dist.VonMises(0.0, p), (-1.0, np.nan), 1.0, 0.5),
    "a normal by a covariance": Case(
        lambda p: dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2) + p * (1.0 - jnp.eye(2))),
        (2.0, np.nan), 0.5, np.array([0.5, 0.5]),
    ),
    "independent elements": Case(
        lambda p: dist.Poisson(jnp.stack([1.0, p])).to_event(1), (-1.0,), 1.0, np.array([1, 1])
    ),
    "a mixture": Case(
        lambda p: dist.MixtureSameFamily(dist.Categorical(jnp.array([0.5, 0.5])), dist.Gamma(jnp.stack([p, 1.0]), 1.0)),
        (-1.5,), 1.0, 0.5,
    ),
}  # fmt: skip


@pytest.mark.rest_slow
@pytest.mark.fault(51)
@pytest.mark.kills("66b", name="Categorical")
@pytest.mark.parametrize("name", CASES)
def test_f51_every_value_of_what_is_no_law_scores_nan(name):
    case = CASES[name]

    def look(parameter):
        law, parameters = law_of(case.make(parameter))
        return jnp.any(law.flaws(*parameters)), law.log_prob(jnp.asarray(case.value), *parameters)

    broken, scores = jax.jit(jax.vmap(look))(jnp.array([case.good, *case.bad]))
    assert broken.tolist() == [False] + [True] * len(case.bad)
    assert np.isnan(scores).tolist() == broken.tolist()


def test_f51_what_rounding_alone_reaches_is_a_law():
    near = 1 + 4 * np.finfo(float).eps
    for law in (
        dist.Normal(0.0, jnp.array([0.0, jnp.inf]), validate_args=False),
        dist.Bernoulli(jnp.array([0.0, 1.0, near]), validate_args=False),
        dist.Categorical(jnp.array([near / 2, 0.5]), validate_args=False),
        dist.Poisson(0.0),
        dist.Gamma(jnp.exp(-jnp.array(1e6)), 1.0, validate_args=False),
    ):
        made, parameters = law_of(law)
        assert not np.any(made.flaws(*parameters)), law


def one_way(make, parameters):
    """A choice whose parameter is bad in one of two cases; what follows reads it by a comparison alone."""

    def program(parameters):
        k = sample("k", dist.Bernoulli(0.5))
        z = sample("z", make(parameters[k]))
        sample("y", dist.Normal(jnp.where(jnp.sum(jnp.asarray(z, float)) > 0.3, 1.0, -1.0), 1.0), obs=0.3)

    return program


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["Bernoulli", "Normal by loc", "Uniform"])
def test_f51_a_particle_that_drew_from_no_law_is_found_with_its_site(name):
    case = CASES[name]
    program = one_way(case.make, None)
    run = inference.importance(program, particles=200, nonfinite="flag")
    for bad in case.bad:
        result = run(KEY, jnp.array([case.good, bad]))
        (finding,) = [f for f in result.reasons if f.code == "INVALID_PARAMETER"]
        assert not result.ok and finding.sites == ("z",) and "make no law" in finding.message
    assert run(KEY, jnp.array([case.good, case.good])).ok
    with pytest.raises(NonFiniteError, match="site 'z'.*make no law"):
        inference.importance(program, particles=200)(KEY, jnp.array([case.good, case.bad[0]]))


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["Bernoulli", "Categorical"])
def test_f51_exact_methods_refuse_what_they_would_sum(name):
    case = CASES[name]
    program = one_way(case.make, None)
    for bad in case.bad:
        given = jnp.array([case.good, bad])
        for mode in ("auto", "staged"):
            with pytest.raises(NonFiniteError, match="site 'z'.*takes 'probs'"):
                inference.enumerate(program, mode=mode)(given)
        with pytest.raises(NonFiniteError, match=r"p\(z\)"):
            inference.bp(program).beliefs(given)
        # NaN in an argument is told by the argument.
        with pytest.raises(NonFiniteError if np.isnan(bad) else ParameterError, match="probs"):
            inference.enumerate(program, mode="eager")(given)


# A generator: three coins with tables of probabilities, some of them no probabilities.


def three_coins(p, q, r):
    a = sample("a", dist.Bernoulli(p[0]))
    b = sample("b", dist.Bernoulli(q[a]))
    c = cond(b == 1, lambda: sample("c", dist.Bernoulli(r[a, 1])), lambda: sample("c", dist.Bernoulli(r[a, 0])))
    sample("y", dist.Normal(1.0 * a + 0.5 * b - c, 1.0), obs=0.3)


def tables(rng):
    """Draw tables of which about one entry is bad, and about a third zero or one."""
    p, q, r = (rng.choice([0.0, 1.0, *rng.uniform(0.2, 0.8, 4)], size) for size in (1, 2, (2, 2)))
    for table in (q, r):
        table[rng.random(table.shape) < 0.2] = rng.choice([1.5, -0.5, np.nan])
    return p, q, r


def by_hand(p, q, r):
    """The log evidence, and whether a bad entry has mass, by loops in Python."""
    total, reached = 0.0, False
    for a in (0, 1):
        first = p[0] if a else 1 - p[0]
        if first == 0:
            continue
        reached |= not 0 <= q[a] <= 1
        for b in (0, 1):
            second = first * (q[a] if b else 1 - q[a])
            if second == 0 or reached:
                continue
            reached |= not 0 <= r[a, b] <= 1
            for c in (0, 1):
                third = second * (r[a, b] if c else 1 - r[a, b])
                total += third * np.exp(-0.5 * (0.3 - (a + 0.5 * b - c)) ** 2) / np.sqrt(2 * np.pi)
    return np.log(total) if total else -np.inf, reached


@pytest.mark.slow
@pytest.mark.fault(51)
@pytest.mark.kills("66")
def test_f51_random_tables_are_told_where_a_bad_entry_has_mass_and_only_there(programs=24):
    rng = np.random.default_rng(51)
    exact = inference.enumerate(three_coins, mode="staged")
    draw = inference.importance(three_coins, particles=2000, nonfinite="flag")
    seen = {True: 0, False: 0}
    for _ in range(programs):
        given = tables(rng)
        log_evidence, reached = by_hand(*given)
        seen[reached] += 1
        result = draw(KEY, *map(jnp.asarray, given))
        assert ("INVALID_PARAMETER" in [f.code for f in result.reasons]) == reached, given
        if reached:
            with pytest.raises(NonFiniteError, match="site '[bc]'"):
                exact(*map(jnp.asarray, given))
        else:
            assert abs(exact(*map(jnp.asarray, given)).log_evidence - log_evidence) < 1e-12
    assert min(seen.values()) > programs // 6


# Where it is, and how often


def walk(jump):
    """From step 2 on the probability is none where the state is large."""

    def step(x, t):
        x = sample("x", dist.Normal(x, 1.0))
        z = sample("z", dist.Bernoulli(jnp.where((t >= 2) & (x > 0.5), jump, 0.5)))
        sample("y", dist.Normal(jnp.where(z == 1, 1.0, 0.0), 1.0), obs=0.3)
        return x, None

    scan(step, 0.0, jnp.arange(4))


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", [inference.smc, inference.importance])
def test_f51_site_and_step_are_named(method):
    result = method(walk, particles=200, nonfinite="flag")(KEY, 1.5)
    (finding,) = [f for f in result.reasons if f.code == "INVALID_PARAMETER"]
    assert finding.sites == ("z",) and "first at step 2" in finding.message
    assert Status.NONFINITE_WEIGHT in result.status and not result.ok
    assert np.isnan(result.log_evidence[0])


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", [inference.importance, inference.smc])
def test_f51_rounds_of_a_bounded_loop_are_named(method):
    def program(jump):
        def again(n):
            return sample("go", dist.Bernoulli(jnp.where(n >= 1, jump, 0.6))) == 1

        n = lawful.bounded_loop(again, lambda n: n + 1, 0, max_steps=3)
        sample("y", dist.Normal(jnp.where(n > 0, 1.0, 0.0), 1.0), obs=0.3)

    for jump in (1.5, np.nan):
        result = method(program, particles=100, nonfinite="flag")(KEY, jump)
        (finding,) = [f for f in result.reasons if f.code == "INVALID_PARAMETER"]
        assert not result.ok and finding.sites == ("go",) and "first at step 1" in finding.message
    with pytest.raises(NonFiniteError, match="site 'go'"):
        inference.enumerate(program, mode="staged")(1.5)


def filtered(y, jump):
    """A sequence whose choices, drawn by inner filters, may have no law where the parameter is large."""
    p = sample("p", dist.Normal(0.0, 1.0))

    def step(z, y):
        z = sample("z", dist.Bernoulli(jnp.where((z == 1) & (p > 0.5), jump, 0.5)))
        sample("y", dist.Normal(jnp.where(z == 1, p, 0.0), 1.0), obs=y)
        return z, None

    scan(step, jnp.asarray(0), y)


SEQUENCE = jnp.array([1.0, 0.2, -0.3])


@pytest.mark.slow
@pytest.mark.parametrize("jump", [np.nan, 1.5])
def test_f51_inner_filters_of_smc2_tell_of_their_draws(jump):
    run = inference.smc2(filtered, kernels.random_walk(0.8), ["p"], particles=40, inner=10, nonfinite="flag")
    result = run(KEY, SEQUENCE, jump)
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_WEIGHT"]
    assert not result.ok and "z" in finding.sites and "at step 1" in finding.message
    assert np.isnan(result.log_evidence[0])
    assert np.isfinite(run(KEY, SEQUENCE, 0.4).log_evidence).all()


@pytest.mark.slow  # as those of smc2
@pytest.mark.parametrize("jump", [1.5, np.nan])
def test_f51_inner_filters_of_pmmh_tell_of_their_draws(jump):
    run = inference.pmmh(filtered, kernels.random_walk(0.8), ["p"], particles=10, chains=2, warmup=0, draws=50)
    result = run(KEY, SEQUENCE, jump)
    assert not result.ok and "NONFINITE_DENSITY" in [f.code for f in result.reasons]
    assert "NONFINITE_DENSITY" not in [f.code for f in run(KEY, SEQUENCE, 0.4).reasons]


def test_f51_read_as_dead_they_are_counted_and_the_rest_is_the_measure():
    program = one_way(CASES["Bernoulli"].make, None)
    given = jnp.array([0.4, 1.5])
    result = inference.importance(program, particles=4000, nonfinite="dead")(KEY, given)
    (finding,) = [f for f in result.reasons if f.code == "INVALID_PARAMETER"]
    assert finding.value == int(result.stats["n_nonfinite"].sum()) and not result.ok
    density = np.exp(-0.5 * (0.3 - np.array([-1.0, 1.0])) ** 2) / np.sqrt(2 * np.pi)
    truth = np.log(0.5 * density @ [0.6, 0.4])
    assert abs(result.log_evidence[0] - truth) < 0.1  # six standard deviations


def test_f51_without_paths_the_sites_that_draw_are_named():
    def program(bad):
        one_way(CASES["Bernoulli"].make, None)(bad)
        return 1.0

    with pytest.raises(NonFiniteError, match="'y' or 'z'"):
        inference.importance(program, particles=200, keep="last")(KEY, jnp.array([0.4, 1.5]))


def test_f51_predictions_are_refused_where_they_would_be_drawn_from_no_law():
    with pytest.raises(NonFiniteError, match="predictive: site 'z'.*first at step 2"):
        inference.predictive(None, walk, 1.5, draws=100)


def by_scale(y):
    sd = sample("sd", dist.Normal(1.0, 1.0))
    x = sample("x", dist.Normal(0.0, sd))
    sample("y", dist.Normal(jnp.where(x > 0, 1.0, -1.0), 1.0), obs=y)


@pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(kernels.random_walk(1.0), id="walk", marks=pytest.mark.slow),
        pytest.param(kernels.mh(kernels.single_site()), id="sites"),
    ],
)
def test_f51_chains_count_moves_to_where_no_law_is(kernel):
    result = inference.mcmc(by_scale, kernel, chains=2, warmup=0, draws=200)(KEY, 0.3)
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]
    assert not result.ok and finding.sites == ("x",) and "scale = -" in finding.message
    assert np.all(np.asarray(result.posterior["sd"]) >= 0)


@pytest.mark.slow  # the weights are those of the other populations
def test_f51_tempering_tells_of_draws_from_the_prior():
    with pytest.raises(NonFiniteError, match="'x'"):
        inference.tempered_smc(by_scale, particles=100)(KEY, 0.3)


# Before the run


def test_f51_a_constant_is_refused_when_the_program_is_traced():
    def program():
        sample("z", dist.Bernoulli(1.5))

    with pytest.raises(ParameterError, match="site 'z'.*'probs' is 1.5, not in the unit interval"):
        lawful.trace(program)
    (finding,) = lawful.check_program(program)
    assert finding.code == "invalid-parameter" and finding.site == ("z",)


@pytest.mark.fault(51)
@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        (dist.Bernoulli, 1.5, "'probs' is 1.5"),
        (dist.Bernoulli, np.nan, "'probs' is nan"),
        (dist.Categorical, np.array([2.0, 1.0]), "divide probabilities by their sum"),
        (dist.Poisson, -1.0, "'rate' is -1"),
    ],
)
def test_f51_what_the_arguments_decide_is_refused_before_the_run(make, given, told):
    def program(parameter):
        z = sample("z", make(parameter))
        sample("y", dist.Normal(jnp.where(z > 0, 1.0, -1.0), 1.0), obs=0.3)

    for plan in (inference.importance(program, particles=10), inference.mcmc(program, chains=1, warmup=1, draws=1)):
        with pytest.raises(ParameterError, match=told):
            plan(KEY, jnp.asarray(given))


# No alarm


def quiet(program, *args, method=inference.importance, particles=100):
    result = method(program, particles=particles)(KEY, *args)
    assert Status.NONFINITE_WEIGHT not in result.status and np.isfinite(result.log_evidence).all()
    return result


def test_f51_an_arm_that_does_not_run_may_have_any_parameter():
    def program(bad):
        k = sample("k", dist.Bernoulli(0.5))
        z = cond(k == 2, lambda: sample("z", dist.Bernoulli(bad)), lambda: 1)
        sample("y", dist.Normal(1.0 * z, 1.0), obs=0.3)

    quiet(program, 1.5)
    quiet(program, 1.5, method=inference.smc)
    assert np.isfinite(inference.enumerate(program, mode="staged")(1.5).log_evidence)


def test_f51_an_observation_that_is_masked_may_have_any_parameter():
    def program(rates, there):
        sd = sample("sd", dist.Exponential(1.0))
        with lawful.plate("item", 3):
            sample("y", dist.Poisson(rates * sd), obs=jnp.array([1, 2, 3]), obs_mask=there)

    quiet(program, jnp.array([1.0, np.nan, 2.0]), jnp.array([True, False, True]))


def test_f51_a_choice_that_is_masked_may_have_any_parameter():
    def choose(p):
        with lawful.plate("item", 2):
            return sample("z", dist.Bernoulli(p))

    def program(p):
        z = lawful.handlers.mask(choose, np.array([True, False]))(p)
        sample("y", dist.Normal(1.0 * z[0], 1.0), obs=0.3)

    density = np.exp(-0.5 * (0.3 - np.arange(2)) ** 2) / np.sqrt(2 * np.pi)
    truth = np.log(2 * density @ [0.6, 0.4])  # a masked choice counts its two values
    for bad in (np.nan, 1.5, 0.5):
        assert abs(inference.enumerate(program, mode="staged")(jnp.array([0.4, bad])).log_evidence - truth) < 1e-12
    quiet(program, jnp.array([0.4, np.nan]))


def test_f51_a_factor_that_shuts_a_region_out_shuts_its_parameters_out():
    def program(y):
        sd = sample("sd", dist.Normal(1.0, 1.0))
        lawful.factor("positive", jnp.where(sd > 0, 0.0, -jnp.inf))
        x = sample("x", dist.Normal(0.0, sd))
        sample("y", dist.Normal(jnp.where(x > 0, 1.0, -1.0), 1.0), obs=y)

    quiet(program, 0.3)
    quiet(program, 0.3, method=inference.smc)


def test_f51_scales_that_underflow_and_overflow_are_no_alarm():
    def program(y):
        log_sd = sample("log_sd", dist.Normal(0.0, 500.0))
        x = sample("x", dist.Normal(0.0, jnp.exp(log_sd)))
        sample("y", dist.Normal(jnp.where(x > 0, 1.0, -1.0), 1.0), obs=y)

    quiet(program, 0.3)


def test_f51_a_masked_count_with_a_valid_number_of_trials_keeps_its_finite_support():
    """Its number of trials stays a number, so that the site can be summed out."""

    def model():
        lawful.handlers.mask(lambda: sample("n", dist.Binomial(2, jnp.array([0.3, 0.6]))), np.array([True, False]))()

    (site,) = lawful.trace(model).sites()
    assert site.law.atoms == 9
