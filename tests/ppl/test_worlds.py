"""Enumeration of every value of every site at once: how many worlds it needs, and what they add up to."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, sample, trace
from lawful.backends.enumeration import count_worlds, emit_worlds
from lawful.errors import PathLimitError
from lawful.inference.check import preserves
from lawful.inference.contract import PRESERVES, Transformer

READ = Transformer("read", lambda form: form, PRESERVES)


def small():
    return sample("small", dist.Bernoulli(0.3))


def large():
    a = sample("a", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    factor("weight", -0.5 * cond(a == 1, lambda: sample("b", dist.Bernoulli(0.6)), lambda: 0))
    return a


def branches():
    coin = sample("coin", dist.Bernoulli(0.4))
    value = cond(coin == 1, small, large)
    factor("after", 0.25 * value)
    return value


def test_the_arms_of_a_branch_share_their_worlds():
    assert count_worlds(trace(small)) == 2
    assert count_worlds(trace(large)) == 3 * 2
    assert count_worlds(trace(branches)) == 2 * max(2, 3 * 2)
    assert preserves(READ, branches).measure_error < 1e-15


@pytest.mark.slow
def test_worlds_that_an_arm_does_not_need_have_no_mass():
    worlds = emit_worlds(trace(branches))()
    assert worlds.log_mass.shape == (12,)
    assert np.exp(worlds.log_probability).sum() == pytest.approx(1, abs=1e-15)
    # 2 for the small arm, and 2 + 1 + 1 for the large one, whose inner branch draws for one of three values.
    assert int((worlds.log_mass > -jnp.inf).sum()) == 2 + 4


@pytest.mark.slow
def test_a_decision_inside_an_arm_counts_only_the_runs_that_meet_it():
    (seen,) = emit_worlds(trace(branches))().decisions.values()
    outer, inner = np.array([0.6, 0.4]), np.array([0.6 * 0.5, 0.6 * 0.5])
    np.testing.assert_allclose(seen, outer + inner, atol=1e-15)


def test_a_term_of_an_arm_is_blamed_only_where_the_arm_runs():
    def broken():
        coin = sample("coin", dist.Bernoulli(0.4))

        def bad():
            factor("nan", jnp.where(sample("x", dist.Bernoulli(0.5)) == 1, jnp.nan, 0.0))
            return 0

        return cond(coin == 1, bad, large)

    worlds = emit_worlds(trace(broken), blame=True)()
    counts = {name: int(flags.sum()) for name, flags in worlds.broken.items()}
    assert [count for name, count in counts.items() if "'nan'" in name] == [1]
    assert sum(counts.values()) == 1


def test_a_program_beyond_the_budget_says_how_many_worlds_it_needs():
    with pytest.raises(PathLimitError, match="12 worlds, more than the budget of 11"):
        emit_worlds(trace(branches), max_worlds=11)
