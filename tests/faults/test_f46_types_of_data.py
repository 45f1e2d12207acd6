"""Row 46: data of any numeric type keep their value, or are refused with the reason."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lawful
from lawful import handlers, inference, sample
from lawful.errors import LawfulError, ObservationError

FAMILIES = {
    "Normal": dist.Normal(0.5, 2.0),
    "Gamma": dist.Gamma(2.0, 1.0),
    "Bernoulli": dist.Bernoulli(0.25),
    "Categorical": dist.Categorical(probs=np.array([0.35, 0.15, 0.3, 0.2])),
    "Poisson": dist.Poisson(100.0),
    "Binomial": dist.Binomial(200, 0.5),
    "NegativeBinomial": dist.NegativeBinomial2(50.0, 3.0),
}
TYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "bfloat16", "python"),
]


def typed(value, kind):
    if kind == "python":
        return value
    if kind == "bfloat16":
        return jnp.asarray(value, jnp.bfloat16)
    return np.asarray(value).astype(kind)


def density(law, value):
    """Eager and staged; both must say the same."""

    def program():
        sample("y", law, obs=value)

    eager = float(handlers.trace(program)().log_density)
    staged = float(lawful.trace(program).log_density({}))
    assert eager == staged or np.isclose(eager, staged, rtol=1e-12)
    return staged


@pytest.mark.fault(46)
@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(FAMILIES)), st.sampled_from(TYPES), st.integers(0, 255))
def test_f46_a_value_counts_as_itself_or_is_refused(family, kind, number):
    law = FAMILIES[family]
    value = typed(number % 2 if kind == "bool" else number, kind)
    meant = float(np.asarray(value, np.float64))
    discrete = law.support.is_discrete
    allowed = bool(law.support(int(meant) if discrete else meant)) and (kind != "bool" or family == "Bernoulli")
    if not allowed:
        with pytest.raises(ObservationError, match="site 'y'"):
            density(law, value)
        return
    expected = float(law.log_prob(jnp.asarray(int(meant) if discrete else meant)))
    assert density(law, value) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_f46_an_integer_becomes_a_float_only_where_it_is_exact(number):
    law = dist.Normal(0.0, 1e18)
    if int(float(number)) == number:
        expected = float(law.log_prob(float(number)))
        assert density(law, np.int64(number)) == pytest.approx(expected, rel=1e-12)
    else:
        with pytest.raises(ObservationError, match=rf"integer {number}, expected one that float64 holds exactly"):
            density(law, np.int64(number))


def test_f46_without_wide_types_integers_beyond_them_are_refused():
    with jax.enable_x64(False):
        for law, number in [(dist.Normal(0.0, 1e9), 2**24 + 1), (dist.Poisson(1e9), 2**31)]:
            with pytest.raises(ObservationError, match=rf"the integer {number}, .*jax_enable_x64"):
                handlers.trace(lambda law=law, number=number: sample("y", law, obs=np.int64(number)))()
        run = handlers.trace(lambda: sample("y", dist.Normal(0.0, 1e9), obs=np.int64(2**24 + 2)))()
        assert run.observations[("y",)].dtype == jnp.float32


def test_f46_unsigned_bytes_do_not_wrap():
    law = dist.Poisson(200.0)
    assert density(law, np.uint8(255)) == pytest.approx(float(law.log_prob(255)), rel=1e-12)


@pytest.mark.parametrize("value", ["a", 1 + 2j, None, b"x"])
def test_f46_what_is_no_number_is_refused(value):
    if value is None:
        with pytest.raises(ObservationError, match="the observation is None"):
            handlers.condition(lambda: sample("y", dist.Normal(0.0, 1.0)), {"y": None})()
        return
    with pytest.raises(ObservationError, match=r"site 'y' .*got data of type .*expected numbers.*Fix:"):
        density(dist.Normal(0.0, 1.0), value)


def test_f46_truth_values_are_for_bernoulli_alone():
    assert density(dist.Bernoulli(0.25), True) == pytest.approx(np.log(0.25), rel=1e-12)
    for family in ("Normal", "Poisson", "Categorical"):
        with pytest.raises(ObservationError, match=r"truth values, expected numbers.*y\.astype\(int\)"):
            density(FAMILIES[family], np.array(True))


@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int32", "float32", "float64"])
def test_f46_arguments_of_compiled_programs_follow_the_rule(kind):
    def model(y):
        x = sample("x", dist.Bernoulli(0.5))
        sample("y", dist.Bernoulli(jnp.where(x == 1, 0.75, 0.25)), obs=y)

    y = np.asarray(1).astype(kind)
    assert inference.enumerate(model)(y).marginal("x")[1] == pytest.approx(0.75, rel=1e-6)


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_f46_an_argument_beyond_the_type_of_integers_is_refused(number):
    """It would come to the program as another number."""

    def model(y):
        sample("y", dist.Poisson(jnp.full(2, 1e9)), obs=y)

    with (
        jax.enable_x64(False),
        pytest.raises(LawfulError, match=rf"argument y holds the integer {number}, which int32"),
    ):
        lawful.trace(model, np.array([0, number]))
    with jax.enable_x64(False):
        lawful.trace(model, np.array([0, 2**31 - 1], np.uint64))


def test_f46_values_keep_their_place_in_arrays():
    y = np.array([0, 3, 1], np.uint16)
    law = FAMILIES["Categorical"].expand([3])
    assert density(law, y) == pytest.approx(float(law.log_prob(y.astype(int)).sum()), rel=1e-12)


def test_f46_choices_that_are_given_follow_the_rule_too():
    run = handlers.trace(handlers.substitute(lambda: sample("x", dist.Normal(0.0, 1.0)), {"x": np.int8(2)}))()
    assert run.choices[("x",)].dtype == jnp.result_type(float)
