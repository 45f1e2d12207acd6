"""Quick checks refuse what NumPyro refuses, and leave its classes as they were."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import sample
from lawful.tracing.fast_checks import quick_checks
from tests.structure.programs import equations


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (lambda x: dist.Normal(x, -1.0), "scale"),
        (lambda x: dist.Normal(jnp.nan, x), "loc"),
        (lambda x: dist.Gamma(-1.0, x), "concentration"),
    ],
)
def test_a_known_parameter_out_of_range_is_refused_also_beside_a_traced_one(bad, what):
    with pytest.raises((ValueError, lawful.LawfulError), match=what):
        lawful.trace(lambda x: sample("y", bad(x)), 1.0)
    with quick_checks(), pytest.raises(ValueError, match=f"distribution got invalid {what} parameter"):
        jax.make_jaxpr(lambda x: bad(x).mean)(1.0)


def test_a_check_of_a_traced_parameter_leaves_no_operation():
    with quick_checks():
        traced = jax.make_jaxpr(lambda x: dist.Normal(x, 1.0).loc)(1.0)
    assert not [e for e in equations(traced) if e.primitive.name in ("eq", "ne", "and", "lt", "gt")]
    with quick_checks(), pytest.raises(RuntimeError, match="inside jitted code"):
        jax.make_jaxpr(lambda x: dist.Normal(x, 1.0).validate_args())(1.0)


def test_the_class_is_left_as_it_was_also_after_an_error():
    before = dist.Distribution.validate_args
    with pytest.raises(KeyError), quick_checks(), quick_checks():
        raise KeyError
    assert dist.Distribution.validate_args is before
