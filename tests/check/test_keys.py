import subprocess
import sys

import jax
import pytest

from lawful.errors import LawfulError
from lawful.inference.check import ALPHA, CAPACITY, SUITE_ALPHA, Registry, key_of, stage_keys
from lawful.inference.check.statistics.keys import id_code, key_words


def test_each_check_has_an_equal_share_of_the_false_alarm_rate():
    assert CAPACITY == 512
    assert pytest.approx(SUITE_ALPHA / 512, rel=1e-15) == ALPHA
    assert Registry().capacity * ALPHA == pytest.approx(1e-6, rel=1e-15)


@pytest.mark.slow
def test_a_key_is_the_same_in_every_process():
    code = "from lawful.inference.check.statistics.keys import key_of, key_words; print(key_words(key_of('a check')))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == str(key_words(key_of("a check")))


def test_stages_and_fresh_seeds_give_different_keys():
    key = key_of("a check")
    words = [key_words(k) for stage in range(3) for k in stage_keys(key, stage, 4)]
    words += [key_words(key_of("a check", fresh=seed)) for seed in range(3)]
    assert len(set(words)) == len(words)


def test_registering_again_changes_nothing():
    registry = Registry()
    assert registry.register("a") == registry.register("a") == ALPHA
    assert registry.ids == ("a",)


def test_two_ids_with_one_key_are_refused():
    # A collision of crc32 in eight letters.
    first, second = "plumless", "buckeroo"
    assert id_code(first) == id_code(second)
    assert (jax.random.key_data(key_of(first)) == jax.random.key_data(key_of(second))).all()
    registry = Registry()
    registry.register(first)
    with pytest.raises(LawfulError, match="same key"):
        registry.register(second)


def test_more_checks_than_the_capacity_are_refused():
    registry = Registry(capacity=3)
    for name in "abc":
        registry.register(name)
    with pytest.raises(LawfulError, match="capacity is 3"):
        registry.register("d")
