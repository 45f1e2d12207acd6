"""The guard over keys stands over the tests of this folder (see conftest.py)."""

import jax
import pytest


def double(key):
    return jax.random.normal(key) + jax.random.normal(key)


def test_f15_a_key_that_is_consumed_twice_fails_here():
    with pytest.raises(jax.errors.KeyReuseError):
        jax.jit(double)(jax.random.key(0))


@pytest.mark.reuses_keys
def test_f15_a_test_may_say_that_it_means_it():
    assert jax.jit(double)(jax.random.key(0)) == double(jax.random.key(0))
