"""Keys that are derived together are those that each address has by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.addresses import key_at
from lawful.backends.site_keys import keys_of, row_keys, step_keys
from lawful.backends.xla import emit
from lawful.distributions.sampling.threefry import fold_in

ROOT = jax.random.key(7)
ADDRESSES = [("x",), ("scope", "y"), ("x", 2), ("z", 0, 3), ("y", 5), ("x",)]


def same(left, right):
    return bool((jax.random.key_data(left) == jax.random.key_data(right)).all())


def test_each_key_is_that_of_its_address():
    keys = keys_of(ROOT, ADDRESSES)
    assert list(dict.fromkeys(keys)) == list(keys) and set(keys) == set(ADDRESSES)
    assert all(same(key, key_at(ROOT, address)) for address, key in keys.items())
    assert keys_of(ROOT, []) == {}


def test_each_step_folds_its_number_into_the_key_of_each_site():
    keys = keys_of(ROOT, ADDRESSES) | {("row",): jax.random.split(ROOT, 4)}
    rows, unstack = step_keys(keys, jnp.arange(3))
    for step in range(3):
        at = unstack([row[step] for row in rows])
        assert set(at) == set(keys)
        assert all(same(at[a], fold_in(key, jnp.asarray(step))) for a, key in keys.items())


def test_a_rolled_loop_has_the_keys_that_its_steps_had():
    rows = {("a",): [("a1",), ("a2",), ("a3",)], ("b",): [("b1",), ("b2",), ("b3",)]}
    keys = row_keys(ROOT, rows)
    for site, steps in rows.items():
        assert all(same(key, key_at(ROOT, step)) for key, step in zip(keys[site], steps, strict=True))


@pytest.mark.parametrize("sites", [2, 4, 20])
def test_a_program_of_many_sites_derives_their_keys_in_one_pass(sites):
    """The number of threefry passes does not grow with the sites but by their own draws."""

    def program():
        def step(x, _):
            for i in range(sites):
                x = x + lawful.sample(f"step_{i}", dist.Normal(0.0, 1.0))
            return x, None

        first = sum(lawful.sample(f"site_{i}", dist.Normal(0.0, 1.0)) for i in range(sites))
        return lawful.scan(step, first, None, length=3)[0]

    text = str(jax.make_jaxpr(emit(lawful.trace(program)))(ROOT))
    rolled = sites > 7  # into a loop with a row of keys, at the top and in the step
    assert text.count("random_fold_in") == 0
    assert text.count("random_wrap") == (4 if rolled else 2)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_numbers_are_folded_into_keys_one_by_one(impl):
    data = jax.random.key_data(jax.random.split(jax.random.key(3, impl=impl), 3))
    numbers = np.array([0, 5, 2**31, 2**32 - 1], np.uint32)
    found = fold_in(jax.random.wrap_key_data(data[:, None], impl=impl), numbers)
    assert found.shape == (3, 4) and str(jax.random.key_impl(found)) == impl
    words = jax.random.key_data(found)
    for i, j in np.ndindex(3, 4):
        key = jax.random.fold_in(jax.random.wrap_key_data(data[i], impl=impl), numbers[j])
        np.testing.assert_array_equal(words[i, j], jax.random.key_data(key))
