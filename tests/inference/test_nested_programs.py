"""Random programs in which constructs stand inside others: all methods give one measure, or refuse."""

import pytest

from .agreement import METHODS, disagreements

SEEDS = 500
BATCH = 20
CHEAP = ("enumerate, eager", "bp", "in the program", "by a graph")


@pytest.mark.rest_slow
@pytest.mark.kills("41d", "41e", seed=1)
@pytest.mark.kills("41f", seed=17)
@pytest.mark.tier0
@pytest.mark.parametrize("seed", [1, 15, 17])
def test_a_nested_program_has_one_measure(seed):
    """In the second a row makes no law."""
    assert not disagreements(seed, CHEAP)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_all_methods_agree_on_500_nested_programs(first):
    found = {seed: disagreements(seed, METHODS) for seed in range(first, first + BATCH)}
    assert not {seed: off for seed, off in found.items() if off}
