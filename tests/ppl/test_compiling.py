"""Quick compilation is chosen for a whole process: all but slow tests run so, and those as users do."""

import os

import jax
import jax.numpy as jnp
import pytest

from lawful.backends.compile_options import PLAIN_EMITTER, QUICK, UNFUSED


def fused():
    """Whether XLA makes a fusion, and so a kernel by MLIR, of a single operation."""
    return "fusion(" in jax.jit(jnp.sin).lower(jnp.ones(3)).compile().as_text()


def test_the_plain_emitter_is_used_where_it_was_chosen():
    assert fused() == (PLAIN_EMITTER not in os.environ.get("XLA_FLAGS", ""))


@pytest.mark.slow
@pytest.mark.optimised
def test_what_is_compiled_as_for_users_is_fused():
    assert PLAIN_EMITTER not in os.environ.get("XLA_FLAGS", "")
    assert fused()


def test_operations_are_joined_but_where_that_is_left_out():
    def joined(options):
        made = jax.jit(lambda x: jnp.sin(x) + x * jnp.cos(x), compiler_options=options).lower(jnp.ones(3)).compile()
        return "fused_computation" in made.as_text()

    assert joined(QUICK) and not joined(UNFUSED)
