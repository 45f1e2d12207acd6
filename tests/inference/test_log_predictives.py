"""Log predictives: each step's data given those before, which are differences of the evidence of more and more data."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import (
    enumeration,
    information,
    integrate_normals,
    leave_one_out,
    log_predictives,
    marginalise,
    robust_errors,
    scores,
)
from lawful.inference.results.collect import from_chains
from tests.inference.linear_programs import arrays_of, dense, program_of, random_kind

RNG = np.random.default_rng(20263)


def check_normals(seed):
    """Compare a random linear Gaussian program with dense algebra on its data up to each step."""
    kind = random_kind(seed)
    program, at = program_of(kind), arrays_of(kind, 1000 * seed)
    found = log_predictives(program, at, enumerate=integrate_normals())
    parts, steps = found.parts({}), np.arange(kind.steps)
    order, whole = steps[::-1] if kind.backwards else steps, jax.jit(lambda at: dense(kind, at)[0])
    seen = [np.isin(steps, order[:t])[:, None] for t in range(kind.steps + 1)]
    past = [whole({**at, "seen": at["seen"] & early}) for early in seen]
    np.testing.assert_allclose(parts.elements[order], np.diff(past), rtol=0, atol=1e-10, err_msg=str(kind))
    np.testing.assert_allclose(parts.likelihood, past[-1], rtol=1e-11, atol=1e-11)
    marginal = enumeration(lawful.trace(program, at), integrate_normals()).marginal
    np.testing.assert_allclose(parts.joint, marginal.log_density({}, at), rtol=1e-12, atol=1e-12)


@pytest.mark.kills("42h", seed=18)
@pytest.mark.parametrize("seed", [18, pytest.param(8, marks=pytest.mark.slow)])
def test_steps_of_normals_are_differences_of_dense_algebra(seed):
    check_normals(seed)


@pytest.mark.slow
def test_steps_of_random_programs_are_differences_of_dense_algebra():
    apart = [seed for seed in range(40) if not random_kind(seed).shared]
    assert len(apart) >= 15
    for seed in apart:
        check_normals(seed)


def switching(y):
    """A hidden state of each of three series, which starts from one that is seen as well."""
    stay, gap = lawful.sample("stay", dist.Beta(2.0, 1.0)), lawful.sample("gap", dist.Normal(0.0, 1.0))
    with lawful.plate("series", 3):
        z = lawful.sample("first", dist.Bernoulli(0.4))
        lawful.sample("seen", dist.Normal(gap * z, 1.0), obs=jnp.array([0.7, -0.2, 1.0]))

    def step(z, row):
        with lawful.plate("series", 3):
            z = lawful.sample("z", dist.Categorical(jnp.array([[0.6, 0.4], [1.0 - stay, stay]])[z]))
            lawful.sample("y", dist.Normal(gap * z, 1.0), obs=row)
        return z, None

    lawful.scan(step, z, y)


def classes(y):
    """A class that all steps read, beside a state of each step alone."""
    stay, gap = lawful.sample("stay", dist.Beta(2.0, 1.0)), lawful.sample("gap", dist.Normal(0.0, 1.0))
    own = lawful.sample("class", dist.Bernoulli(stay))
    lawful.sample("seen", dist.Normal(gap * own, 1.0), obs=0.7)

    def step(before, row):
        z = lawful.sample("z", dist.Bernoulli(0.3))
        lawful.sample("y", dist.Normal(0.2 * before + gap * own + z, 1.0), obs=row[0])
        return row[0], None

    lawful.scan(step, 0.0, y)


AT = {"stay": 0.7, "gap": 1.3}


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.kills("42i", program=switching)
@pytest.mark.parametrize("program", [switching, classes], ids=lambda program: program.__name__)
def test_steps_of_hidden_states_are_differences_of_the_evidence(program):
    y = RNG.normal(size=(5, 3))
    parts = log_predictives(program, y, enumerate="all").parts(AT)
    past = [enumeration(lawful.trace(program, y[:t])).marginal.log_density(AT, y[:t]) for t in range(6)]
    np.testing.assert_allclose(parts.elements, np.diff(past), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose([parts.outside + parts.prior, parts.joint], [past[0], past[-1]], rtol=1e-12)
    prior = dist.Beta(2.0, 1.0).log_prob(0.7) + dist.Normal(0.0, 1.0).log_prob(1.3)
    np.testing.assert_allclose(parts.prior, prior, rtol=1e-12)


def level(y):
    """A level that moves."""
    drift, noise = lawful.sample("drift", dist.HalfNormal(1.0)), lawful.sample("noise", dist.HalfNormal(1.0))

    def step(x, row):
        x = lawful.sample("x", dist.Normal(x, drift))
        lawful.sample("y", dist.Normal(x, noise), obs=row)
        return x, None

    lawful.scan(step, 0.0, y)


def test_no_step_is_left_out_of_those_after_it():
    found, at = log_predictives(level, np.zeros(2), enumerate=integrate_normals(["x"])), {"drift": 1.0, "noise": 1.1}
    with pytest.raises(LawfulError, match="leave_one_out: a step cannot be left out of those after it.*Fix"):
        leave_one_out(found, at)
    result = from_chains({name: np.full((1, 4), x) for name, x in at.items()})
    assert result.to_datatree(log_likelihood=found)["log_likelihood"]["y"].dims == ("chain", "draw", "step")
    with pytest.raises(LawfulError, match="loo: a step cannot be left out"):
        result.loo(log_likelihood=found)


@pytest.mark.slow
def test_scores_of_steps_add_up_to_the_gradient_of_the_evidence():
    y = np.cumsum(RNG.normal(size=60)) + RNG.normal(size=60)
    found, at = log_predictives(level, y, enumerate=integrate_normals(["x"])), {"drift": 1.0, "noise": 1.1}
    marginal = enumeration(lawful.trace(level, y), integrate_normals(["x"])).marginal
    rows = np.column_stack(list(scores(found, at).values()))
    slopes = jax.jit(jax.grad(lambda values: marginal.log_density(values, y)))(at)
    exact = [slopes[name] + x for name, x in at.items()]  # without the prior
    np.testing.assert_allclose(rows.sum(0), exact, rtol=0, atol=1e-10)
    variance = 1.0 + 1.1**2  # of the first step
    first = [y[0] ** 2 * x / variance**2 - x / variance for x in at.values()]
    np.testing.assert_allclose(rows[0], first, rtol=1e-10)


@pytest.mark.slow
def test_information_of_steps_is_the_curvature_of_the_evidence_and_gives_robust_errors():
    y = np.cumsum(RNG.normal(size=60)) + RNG.normal(size=60)
    found, at = log_predictives(level, y, enumerate=integrate_normals(["x"])), {"drift": 1.0, "noise": 1.1}
    marginal = enumeration(lawful.trace(level, y), integrate_normals(["x"])).marginal
    curves = jax.jit(jax.hessian(lambda values: marginal.log_density(values, y)))(at)
    exact = -np.array([[curves[a][b] for b in at] for a in at]) - np.eye(2)  # without the prior
    np.testing.assert_allclose(information(found, at), exact, rtol=1e-9)
    rows, bread = np.column_stack(list(scores(found, at).values())), np.linalg.inv(exact)
    np.testing.assert_allclose(robust_errors(found, at).covariance, bread @ rows.T @ rows @ bread, rtol=1e-8)


@pytest.mark.slow
def test_states_of_many_numbers_that_start_known_have_scores_of_finite_differences():
    """A seasonal pattern: a covariance of rank one among twelve numbers, at first of none."""

    def seasons(y):
        drift = lawful.sample("drift", dist.HalfNormal(1.0))

        def step(x, row):
            new = lawful.sample("new", dist.Normal(-jnp.sum(x[:11]), drift))
            lawful.sample("y", dist.Normal(new, 0.5), obs=row)
            return jnp.concatenate([new[None], x[:11]]), None

        lawful.scan(step, jnp.zeros(12), y)

    y = RNG.normal(size=30)
    found = log_predictives(seasons, y, enumerate=integrate_normals(["new"]))
    near = [np.asarray(found({"drift": 0.8 + n * 1e-3})) for n in (1, -1, 2, -2)]
    exact = (8 * (near[0] - near[1]) - (near[2] - near[3])) / 12e-3
    np.testing.assert_allclose(scores(found, {"drift": 0.8})["drift"], exact, rtol=1e-6, atol=1e-8)
    marginal = enumeration(lawful.trace(seasons, y), integrate_normals(["new"])).marginal
    whole = marginal.log_density({"drift": 0.8}, y)
    np.testing.assert_allclose(found.parts({"drift": 0.8}).joint, whole, rtol=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("series", [1, 2])
def test_normals_of_each_step_alone_are_integrated_step_by_step(series):
    def effects(y):
        spread = lawful.sample("spread", dist.HalfNormal(1.0))

        def step(_, row):
            with lawful.plate("series", series):
                x = lawful.sample("x", dist.Normal(0.0, spread))
                lawful.sample("y", dist.Normal(x, 1.0), obs=row)
            return _, None

        lawful.scan(step, 0.0, y)

    y = RNG.normal(size=(4, series))
    parts = log_predictives(effects, y, enumerate=integrate_normals(["x"])).parts({"spread": 0.9})
    exact = dist.Normal(0.0, np.sqrt(1.0 + 0.9**2)).log_prob(y).sum(1)
    np.testing.assert_allclose(parts.elements, exact, rtol=1e-12)
    marginal = enumeration(lawful.trace(effects, y), integrate_normals(["x"])).marginal
    np.testing.assert_allclose(parts.joint, marginal.log_density({"spread": 0.9}, y), rtol=1e-12)


def test_a_series_without_latent_states_has_its_terms_and_what_has_no_law_of_its_state_is_refused():
    def follows(y):
        slope = lawful.sample("slope", dist.Normal(0.0, 1.0))

        def step(before, row):
            lawful.sample("y", dist.Normal(slope * before, 1.0), obs=row)
            return row, None

        lawful.scan(step, 0.0, y)

    y = RNG.normal(size=4)
    elements = log_predictives(follows, y)({"slope": 0.5})
    np.testing.assert_allclose(elements, dist.Normal(0.5 * np.append(0.0, y[:-1])).log_prob(y), rtol=1e-14)
    with pytest.raises(UnsupportedProgramError, match="'x' .* of the loop stays.*Fix: sum it out"):
        log_predictives(level, y)
    with pytest.raises(LawfulError, match="sums through a factor graph.*Fix: leave out"):
        log_predictives(switching, np.zeros((2, 3)), enumerate=marginalise(method="graph"))

    def twice(y):
        def step(states, row):
            one, two = states
            z = lawful.sample("z", dist.Bernoulli(jnp.where(one == two, 0.3, 0.6)))
            lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=row)
            return (z, one), None

        lawful.scan(step, (0, 0), y)

    with pytest.raises(UnsupportedProgramError, match="more than the step's own sites, so that its steps have no fact"):
        log_predictives(twice, y, enumerate="all")

    def summed(y):
        def step(x, _):
            x = lawful.sample("x", dist.Normal(x, 1.0))
            return x, x

        xs = lawful.scan(step, 0.0, jnp.zeros(3))[1]
        lawful.sample("y", dist.Normal(jnp.sum(xs) * jnp.ones(2), 1.0).to_event(1), obs=y)

    with pytest.raises(
        UnsupportedProgramError, match="in a loop, and are not seen to be the steps of a chain. Fix: let"
    ):
        log_predictives(summed, y[:2], enumerate=integrate_normals(["x"]))
    kind = random_kind(7)  # whose steps share a coefficient
    with pytest.raises(UnsupportedProgramError, match="not apart: all steps read .* Fix: carry the site in"):
        log_predictives(program_of(kind), arrays_of(kind, 0), enumerate=integrate_normals())
    with pytest.raises(LawfulError, match="expected one lawful.scan with sites, .* got 0. Fix"):
        log_predictives(lambda: lawful.sample("x", dist.Normal(0.0, 1.0), obs=0.0))
