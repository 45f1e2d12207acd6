"""Claims: keys and shares by id, an account for a suite, and fresh keys for runs that validate rates."""

import subprocess
import sys
import textwrap

import jax
import pytest

from lawful.inference.check import ALPHA, Registry, key_of
from lawful.inference.check.pytest_plugin import told
from lawful.inference.check.statistics.claims import SUITE, claim
from lawful.inference.check.statistics.keys import FRESH, key_words


@pytest.fixture
def suite():
    registry = Registry()
    token = SUITE.set(registry)
    yield registry
    SUITE.reset(token)


def test_a_suite_counts_what_takes_its_share_and_nothing_else(suite):
    claim("a"), claim("a"), claim("b"), claim("a", jax.random.key(1)), claim("c", alpha=0.01)
    assert len(suite.ids) == 3
    assert told(suite).startswith("false alarms: 3 statistical checks of at most 1.95e-09 each, together 5.86e-09")


def test_a_fresh_seed_changes_every_key_and_no_rate():
    given = jax.random.key(1)
    before = [claim("a"), claim("a", given)]
    token = FRESH.set(7)
    try:
        after = [claim("a"), claim("a", given)]
        assert key_words(key_of("a")) == after[0].words
    finally:
        FRESH.reset(token)
    assert not {c.words for c in before} & {c.words for c in after}
    assert {c.alpha for c in (*before, *after)} == {ALPHA}


SUITE_OF_A_USER = """
    import jax
    import jax.numpy as jnp
    from lawful.inference.check import unbiased

    def coin(keys):
        return jnp.where(jax.vmap(jax.random.bernoulli)(keys), jnp.log(3.0), 0.0)

    def test_a_coin():
        report = unbiased(coin, jnp.log(2.0), n=200)
        assert report.passed

    def test_of_ones_own(false_alarm):
        assert 0 < false_alarm < 2e-9
"""


@pytest.mark.slow
def test_a_users_suite_prints_its_account_over_all_workers(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["lawful.inference.check.pytest_plugin"]\n')
    (tmp_path / "test_mine.py").write_text(textwrap.dedent(SUITE_OF_A_USER))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "--validate-fresh", "3", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "false alarms: 2 statistical checks" in done.stdout and "fresh seed 3" in done.stdout
