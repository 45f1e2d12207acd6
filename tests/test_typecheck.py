"""The library's annotations are checked while tests run: arguments, what dataclasses are made of, and shapes."""

import os

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from lawful.addresses import as_address, key_at
from lawful.form import Plate
from lawful.inference.laws.resampling_schemes import ess
from lawful.inference.laws.systematic_resampling import push_stratified


@pytest.mark.slow
@pytest.mark.skipif("LAWFUL_CHECK_TYPES" not in os.environ, reason="types are checked where LAWFUL_CHECK_TYPES is set")
@pytest.mark.parametrize(
    "call",
    [
        lambda: key_at(1, ("x",)),
        lambda: Plate(3, 4),
        lambda: as_address(2),
        lambda: ess(jnp.zeros((2, 2))),
        lambda: push_stratified(jnp.zeros(3, jnp.uint32), jnp.ones(4), 5),  # three uniforms for five offspring
    ],
    ids=["function", "dataclass", "union", "rank", "axes of one name"],
)
def test_a_wrong_type_is_an_error(call):
    with pytest.raises(TypeCheckError):
        call()
