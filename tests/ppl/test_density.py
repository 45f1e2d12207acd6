"""One density: the eager run, the Form, its compiled function and its vmap give the same number."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import handlers, plate, sample, scan
from lawful.backends.xla import compile
from lawful.errors import LawfulError
from lawful.form.choices import choices_of
from lawful.passes.record import record
from tests.tiers import rest_slow

from .families import FAMILIES
from .programs import PROGRAMS

SEEDS = range(3)


def eager(name, seed):
    program, args = PROGRAMS[name]
    return handlers.trace(handlers.seed(program, jax.random.key(seed)))(*args)


def full(form, run):
    """All choices of a form as whole arrays; steps and arms that did not run are zero."""
    values = {c.address: np.zeros(c.full_shape, c.dtype) for c in choices_of(form)}
    for address, value in run.choices.items():
        names = tuple(part for part in address if isinstance(part, str))
        values[names][address[len(names) :]] = value
    return values


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("seed", rest_slow(SEEDS))
def test_eager_and_staged_density_are_equal(name, seed):
    program, args = PROGRAMS[name]
    run = eager(name, seed)
    assert np.isfinite(run.log_density)
    form = lawful.trace(program, *args)
    np.testing.assert_allclose(form.log_density(run.choices, *args), run.log_density, rtol=1e-12)
    np.testing.assert_allclose(form.log_density(full(form, run), *args), run.log_density, rtol=1e-12)
    np.testing.assert_allclose(handlers.log_density(program, run.choices)(*args), run.log_density, rtol=1e-14)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_form_run_eagerly_has_the_density_of_its_program(name):
    program, args = PROGRAMS[name]
    run = eager(name, 0)
    again = handlers.trace(handlers.replay(lawful.trace(program, *args), run))(*args)
    assert set(again.choices) == set(run.choices) and set(again.deterministics) == set(run.deterministics)
    np.testing.assert_allclose(again.log_density, run.log_density, rtol=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_eager_and_compiled_runs_draw_the_same_values(name):
    program, args = PROGRAMS[name]
    recorded = record(lawful.trace(program, *args), ("sample",))
    outputs, _ = compile(recorded.form)(jax.random.key(0), *args)
    values = {c.address: outputs[recorded.own + i] for i, c in enumerate(recorded.choices)}
    for address, value in eager(name, 0).choices.items():
        names = tuple(part for part in address if isinstance(part, str))
        np.testing.assert_allclose(values[names][address[len(names) :]], value, rtol=1e-9)


@pytest.mark.parametrize("name", ["chain", "moving support", "branches"])
def test_in_32_bits_the_density_is_the_same_to_rounding(name):
    program, args = PROGRAMS[name]
    run = eager(name, 0)
    with jax.enable_x64(False):
        types = [np.float32 if np.issubdtype(np.asarray(a).dtype, np.floating) else np.int32 for a in args]
        args = [np.asarray(a, kind) for a, kind in zip(args, types, strict=True)]
        narrow = lawful.trace(program, *args).log_density(
            {a: np.asarray(v, np.float32) for a, v in run.choices.items()}, *args
        )
        assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, run.log_density, rtol=1e-5)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_jit_and_vmap_keep_the_density(name):
    program, args = PROGRAMS[name]
    form = lawful.trace(program, *args)
    records = [eager(name, seed) for seed in SEEDS]
    names = [c.address for c in choices_of(form)]
    stacked = {a: np.stack([full(form, run)[a] for run in records]) for a in names}
    jitted = jax.jit(lambda values: form.log_density(values, *args))
    one = jitted({a: x[0] for a, x in stacked.items()})
    np.testing.assert_allclose(one, records[0].log_density, rtol=1e-12)
    many = jax.vmap(jitted, axis_size=len(records))(stacked) if names else [one] * len(records)
    np.testing.assert_allclose(many, [run.log_density for run in records], rtol=1e-12)


def test_a_density_that_is_first_asked_for_inside_jit_can_be_asked_for_outside():
    form = lawful.trace(lambda: sample("x", dist.Normal(0.0, 1.0)))
    inside = jax.jit(lambda x: form.log_density({"x": x}))(0.5)
    assert inside == form.log_density({"x": 0.5}) == form.log_density({"x": 0.5})


def test_the_steps_of_a_loop_are_scored_one_by_one_under_jit_too():
    form = lawful.trace(lambda: scan(lambda c, _: (sample("x", dist.Normal(c, 1.0)),) * 2, 0.0, length=3))
    steps = {("x", 0): 0.1, ("x", 1): -0.4, ("x", 2): 1.0}
    whole = form.log_density({"x": jnp.array([0.1, -0.4, 1.0])})
    assert form.log_density(steps) == whole
    assert jax.jit(form.log_density)(steps) == whole
    assert jax.vmap(lambda x: form.log_density({**steps, ("x", 1): x}))(jnp.array([-0.4]))[0] == whole
    with pytest.raises(LawfulError, match=r"site 'x\[1\]' .*given shape \(1,\), expected \(\)"):
        form.log_density({**steps, ("x", 1): jnp.zeros(1)})


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_value_outside_the_support_has_density_zero(name):
    family = FAMILIES[name]

    def program():
        return sample("x", family.make())

    form = lawful.trace(program)
    assert np.isfinite(form.log_density({"x": family.inside}))
    for value in (family.inside, *family.outside):
        staged = form.log_density({"x": value})
        np.testing.assert_allclose(handlers.log_density(program, {"x": value})(), staged, rtol=1e-12)
    assert all(form.log_density({"x": value}) == -jnp.inf for value in family.outside)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if np.ndim(family.inside) == 0])
def test_one_element_outside_the_support_makes_a_plate_impossible(name):
    family = FAMILIES[name]

    def program():
        with plate("a", 2):
            sample("x", family.make())

    form = lawful.trace(program)
    good = np.asarray(family.inside)
    single = lawful.trace(lambda: sample("x", family.make())).log_density({"x": good})
    np.testing.assert_allclose(form.log_density({"x": np.stack([good, good])}), 2 * single, rtol=1e-12)
    for value in family.outside:
        assert form.log_density({"x": np.stack([good, np.asarray(value, good.dtype)])}) == -jnp.inf


def test_densities_are_those_of_an_independent_library():
    def program():
        sample("n", dist.Normal(1.0, 2.0))
        sample("g", dist.Gamma(2.0, 3.0))
        sample("p", dist.Poisson(2.5))
        sample("b", dist.Beta(2.0, 3.0))
        sample("k", dist.Binomial(5, 0.3))
        sample("t", dist.StudentT(3.0, 0.5, 2.0))

    values = {"n": 0.3, "g": 0.7, "p": 4, "b": 0.2, "k": 2, "t": -1.0}
    expected = (
        stats.norm(1, 2).logpdf(0.3)
        + stats.gamma(2, scale=1 / 3).logpdf(0.7)
        + stats.poisson(2.5).logpmf(4)
        + stats.beta(2, 3).logpdf(0.2)
        + stats.binom(5, 0.3).logpmf(2)
        + stats.t(3, 0.5, 2).logpdf(-1.0)
    )
    np.testing.assert_allclose(lawful.trace(program).log_density(values), expected, rtol=1e-12)


def test_the_density_is_differentiable_in_choices_and_arguments():
    def program(y):
        sample("y", dist.Normal(sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    form = lawful.trace(program, 0.0)
    slopes = jax.grad(lambda x, y: form.log_density({"x": x}, y), argnums=(0, 1))(0.5, 2.0)
    np.testing.assert_allclose(slopes, (-0.5 + 1.5, -1.5), rtol=1e-15)


def walk():
    return scan(lambda c, _: (c, sample("x", dist.Normal(0.0, 1.0))), 0.0, length=2)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, r"site 'x' \(.*test_density\.py:\d+\).*choices\['x'\] of shape \(2,\)"),
        ({("x", 0): 1.0}, "site 'x'"),
        ({"x": 1.0}, r"given shape \(\), expected \(2,\)"),
        ({"x": [1.0, 2.0], "y": 1.0}, "no latent site has the name y; the program has: x"),
    ],
)
def test_choices_that_do_not_fit_are_named(choices, message):
    with pytest.raises(LawfulError, match=message):
        lawful.trace(walk).log_density(choices)


def test_a_choice_of_the_arm_that_runs_is_required_and_no_other():
    program, args = PROGRAMS["branches"]
    form = lawful.trace(program, *args)
    choices = {"b": 0, "x": 0.0, "k": 1}
    with pytest.raises(LawfulError, match="site 'only'.*is active"):
        form.log_density(choices, *args)
    assert np.isfinite(form.log_density(choices | {"b": 1}, *args))
