"""A process that runs many tests keeps mappings for what it compiles next."""

import gc
import weakref

import jax
import jax.numpy as jnp
import pytest

from tests import mappings
from tests.mappings import EVERY

pytestmark = pytest.mark.skipif(not mappings.LIMIT.exists(), reason="the system does not limit mappings")


def compiled_and_frozen():
    """Give a weak reference to a compiled function that a cycle keeps, which no search for garbage looks at."""

    class Holder:
        pass

    holder = Holder()
    holder.own = holder
    holder.run = jax.jit(lambda x: jnp.sin(x) + 1.0)
    holder.run(1.0)
    gc.freeze()
    return weakref.ref(holder)


@pytest.mark.parametrize(
    ("compilations", "most", "kept"),
    # The first lets all go that the process has compiled, which later tests compile again.
    [pytest.param(EVERY, 0, False, marks=pytest.mark.slow), (EVERY - 1, 0, True), (EVERY, 10**9, True)],
)
def test_what_was_compiled_is_let_go_above_the_limit_and_after_enough_compilations(
    compilations, most, kept, monkeypatch
):
    holder = compiled_and_frozen()
    monkeypatch.setattr(mappings, "_compiled", compilations)
    mappings.mind(most)
    assert (holder() is not None) == kept
    assert mappings._compiled == (compilations if compilations < EVERY else 0)


def test_compilations_are_counted_and_mappings_too(monkeypatch):
    monkeypatch.setattr(mappings, "_compiled", 0)
    jax.jit(lambda x: jnp.cos(x) * 3.0)(2.0)
    assert mappings._compiled >= 1
    assert 100 < mappings.in_use() < int(mappings.LIMIT.read_text())
