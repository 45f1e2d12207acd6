"""The statements of the language: what they announce, what they return, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, factor, handlers, plate, program, sample, scan, scope
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.tracing.trace import Rewritten

KEY = jax.random.key(0)


def record(model, *args):
    return handlers.trace(handlers.seed(model, KEY))(*args)


def test_a_site_without_a_value_names_itself_and_the_remedy():
    with pytest.raises(LawfulError, match=r"site 'x' .*test_language\.py:\d+.* has no value.*handlers\.seed"):
        sample("x", dist.Normal(0.0, 1.0))


def test_a_form_that_runs_without_a_key_names_its_site_and_the_remedy():
    def model():
        x = sample("x", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(x - 1.0, 1.0), obs=0.5)

    form = lawful.trace(model)
    for run in (form, handlers.condition(form, {}), Rewritten(model, lambda form: form)):
        with pytest.raises(LawfulError, match=r"site 'x' .*test_language\.py:\d+.* has no value.*handlers\.seed"):
            run()
    given = handlers.trace(handlers.condition(form, {"x": 1.0}))()
    assert not given.choices and float(given.log_density) == pytest.approx(2 * -0.9189385 - 0.5 - 0.125)


def test_a_site_needs_a_distribution():
    with pytest.raises(LawfulError, match=r"site 'x' .*expected a distribution .* got float"):
        record(lambda: sample("x", 1.0))


def test_a_site_needs_a_name():
    with pytest.raises(LawfulError, match="non-empty string"):
        record(lambda: sample("", dist.Normal(0.0, 1.0)))


def test_an_observation_is_returned_as_it_is():
    run = record(lambda: sample("y", dist.Normal(0.0, 1.0), obs=1.5))
    assert float(run.value) == 1.5
    assert list(run.observations) == [("y",)] and not run.choices


def test_scopes_stand_before_the_names_and_end_with_their_block():
    def model():
        with scope("a"), scope("b"):
            sample("x", dist.Normal(0.0, 1.0))
        factor("f", 0.0)
        with scope("a"):
            deterministic("d", 1.0)

    run = record(model)
    assert list(run.choices) == [("a", "b", "x")]
    assert list(run.log_probs) == [("a", "b", "x"), ("f",)]
    assert list(run.deterministics) == [("a", "d")]


def test_a_program_called_twice_in_two_scopes_draws_independently():
    def part():
        return sample("x", dist.Normal(0.0, 1.0))

    def model():
        with scope("left"):
            left = part()
        with scope("right"):
            return left, part()

    left, right = record(model).value
    assert left != right


def test_a_factor_sums_its_weights():
    run = record(lambda: factor("f", jnp.log(jnp.array([0.5, 0.25]))))
    assert np.isclose(float(run.log_density), np.log(0.125), rtol=1e-15)


def test_a_deterministic_value_has_no_density():
    run = record(lambda: deterministic("d", jnp.arange(3)))
    assert run.deterministics[("d",)].tolist() == [0, 1, 2]
    assert float(run.log_density) == 0.0


def test_the_mark_of_a_program_changes_nothing():
    def model():
        return sample("x", dist.Normal(0.0, 1.0))

    assert program(model) is model


def test_plates_take_the_next_free_axis_from_the_right():
    def model():
        with plate("a", 2) as a, plate("b", 3) as b:
            assert a.shape == (2,) and b.shape == (3,)
            return sample("x", dist.Normal(0.0, 1.0))

    assert record(model).value.shape == (3, 2)


def test_a_plate_takes_the_axis_that_it_names():
    def model():
        with plate("a", 2, dim=-2):
            x = sample("x", dist.Normal(0.0, 1.0))
            with plate("b", 3):
                return x, sample("y", dist.Normal(x, 1.0))

    x, y = record(model).value
    assert x.shape == (2, 1) and y.shape == (2, 3)


def test_a_plate_adds_no_axis_where_the_parameters_have_it():
    def model():
        with plate("a", 3):
            return sample("x", dist.Normal(jnp.zeros(3), 1.0))

    assert record(model).value.shape == (3,)


def test_the_elements_of_a_plate_are_independent_given_the_outside():
    def model():
        with plate("a", 1000):
            return sample("x", dist.Normal(0.0, 1.0))

    assert len(np.unique(record(model).value)) == 1000


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (3, {"dim": 0}, "must be negative"),
        (-1, {}, "size of 0 or more"),
    ],
)
def test_a_plate_needs_a_size_and_a_negative_axis(size, options, message):
    with pytest.raises(LawfulError, match=message), plate("a", size, **options):
        pass


def test_two_plates_never_share_an_axis():
    with pytest.raises(LawfulError, match=r"axis -1 is taken.*\[-1\]"), plate("a", 2), plate("b", 3, dim=-1):
        pass


@pytest.mark.parametrize("name", ["chain", "draw", "sample", "stage", "particle", "pred_id"])
def test_the_names_of_results_are_reserved(name):
    with pytest.raises(LawfulError, match="reserved"), plate(name, 2):
        pass


def test_parameters_of_another_size_are_never_stretched():
    def model():
        with plate("a", 3):
            sample("x", dist.Normal(jnp.zeros(2), 1.0))

    with pytest.raises(LawfulError, match=r"site 'x' in plate 'a' \(axis -1, size 3\).*batch shape is \(2,\)"):
        record(model)


def test_scan_is_the_loop_and_the_steps_end_the_addresses():
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        factor("f", x * y)
        return x, 2 * x

    run = record(lambda: scan(step, 0.0, jnp.array([1.0, 2.0])))
    last, doubled = run.value
    assert list(run.choices) == [("x", 0), ("x", 1)]
    assert float(last) == float(run.choices[("x", 1)])
    assert doubled.tolist() == [2 * float(run.choices[("x", i)]) for i in range(2)]
    assert list(run.log_probs)[1::2] == [("f", 0), ("f", 1)]


def test_nested_scans_count_from_the_outside_in():
    def inner(carry, _):
        return carry, sample("x", dist.Normal(0.0, 1.0))

    def outer(carry, _):
        return scan(inner, carry, length=2)

    run = record(lambda: scan(outer, 0.0, length=3)[1])
    assert list(run.choices) == [("x", i, j) for i in range(3) for j in range(2)]
    assert run.value.shape == (3, 2)


def test_a_scan_of_no_steps_keeps_the_carry_and_the_shapes():
    def step(carry, x):
        return carry, (sample("x", dist.Normal(jnp.zeros(2), 1.0)), x.astype(int))

    run = record(lambda: scan(step, 7.0, jnp.zeros((0, 3))))
    carry, (draws, xs) = run.value
    assert carry == 7.0 and draws.shape == (0, 2) and xs.shape == (0, 3)
    assert xs.dtype == jnp.result_type(int)
    assert not run.choices


@pytest.mark.parametrize("options", [{}, {"xs": jnp.zeros(2), "length": 3}, {"xs": (jnp.zeros(2), jnp.zeros(3))}])
def test_a_scan_needs_one_number_of_steps(options):
    with pytest.raises(LawfulError, match="one number of steps"):
        record(lambda: scan(lambda c, x: (c, x), 0.0, **options))


def test_a_scan_stands_outside_plates():
    def model():
        with plate("a", 2):
            scan(lambda c, x: (c, c), 0.0, length=2)

    with pytest.raises(UnsupportedProgramError, match="inside plate 'a'"):
        record(model)


@pytest.mark.parametrize("truth", [0, 1])
def test_cond_runs_the_sites_of_one_arm(truth):
    def model():
        def yes(scale):
            return sample("yes", dist.Normal(0.0, scale))

        def no(scale):
            return sample("no", dist.Normal(0.0, scale))

        return cond(truth == 1, yes, no, 2.0)

    assert list(record(model).choices) == [(("no", "yes")[truth],)]


def test_cond_refuses_to_run_eagerly_on_a_traced_value():
    def model(p):
        return cond(p > 0, lambda: sample("x", dist.Normal(0.0, 1.0)), lambda: 0.0)

    with pytest.raises(UnsupportedProgramError, match=r"lawful\.trace"):
        jax.jit(lambda p: record(model, p).value)(1.0)
