"""A failing random program is made as small as Hypothesis can, beginning with the smallest and ending at itself."""

import re

import numpy as np
import pytest
from hypothesis import given

from lawful.inference.check import Limits, random_program, strategies
from lawful.inference.check.exact.measure import Measure, Trace, differences, show_outcome
from lawful.inference.check.exact.shrinking import smallest_failure
from lawful.inference.check.exact.suite import Instance, Needs, blamed, instances_of
from lawful.inference.check.programs.grammar import generate, picks

NEEDS = Needs(particles=1, max_paths=200)


def found(failing, start, **settings):
    text = smallest_failure(start, NEEDS, failing, **settings)
    return int(re.match(r"(?:smallest )?failing program, of (\d+) site", text)[1]), text


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("feature", "sites"),
    [
        ("site", 1),
        ("dependence", 2),
        ("guard", 2),
        ("branch", 3),
        ("plate", 1),
        ("call", 2),
        ("switch", 3),
        ("repeat", 2),
    ],
)
def test_a_fault_of_one_construct_is_shown_on_little_else(feature, sites):
    start = next(one for one in instances_of(60, particles=1, max_paths=200) if feature in one.features)
    count, text = found(lambda one: "it is there" if feature in one.features else "", start)
    assert count <= sites
    assert text.startswith("smallest failing program") and "\nit is there\n@reproduce_failure(" in text


@pytest.mark.slow
def test_a_fault_of_one_program_alone_is_shown_on_that():
    """No search would meet it again, so it has to begin where it was met."""
    large = [one for one in instances_of(12, particles=1, max_paths=200) if one.finite.site_count > 3]
    start = min(large, key=lambda one: len(one.name))
    count, text = found(lambda one: "this one" if one.finite == start.finite else "", start)
    assert count == start.finite.site_count
    assert text.startswith("smallest failing program") and "@reproduce_failure(" in text


def test_the_same_failure_has_the_same_text():
    start = instances_of(3, particles=1, max_paths=200)[-1]
    texts = {found(lambda one: "many sites" * (one.finite.site_count > 2), start)[1] for _ in range(2)}
    assert len(texts) == 1


def test_no_more_programs_are_checked_than_asked_for():
    start, checked = instances_of(3, particles=1, max_paths=200)[-1], []

    def failing(one):
        checked.append(one)
        return "always"

    found(failing, start, tried=5)
    assert len({one.name for one in checked}) <= 5 + 1


def test_a_check_that_breaks_off_on_a_smaller_program_has_not_failed_there():
    start = next(one for one in instances_of(60, particles=1, max_paths=200) if "branch" in one.features)

    def failing(one):
        if "plate" not in one.features and "branch" not in one.features:
            raise RuntimeError("this check needs a branch")
        return "a branch" if "branch" in one.features else ""

    assert found(failing, start)[0] == 3


def test_a_program_that_was_not_drawn_is_shown_as_it_is():
    start = Instance(lambda: 0, (), "a program of one's own")
    assert smallest_failure(start, NEEDS, lambda one: "wrong") == (
        "failing program, of 0 sites:\na program of one's own\nwrong"
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_integers_of_a_seed_give_its_program_again(seed):
    limits = Limits(statements=5)
    rest = iter(picks(seed, limits))
    assert generate(lambda n: next(rest) if n > 1 else 0, limits) == random_program(seed, statements=5)
    assert not list(rest)


@given(strategies.finite_programs(extreme=True))
def test_what_is_shown_of_the_tables_is_read_to_the_bit(program):
    scope = {}
    exec(repr(program), scope)
    expected = program.default_tables()
    assert scope["tables"].keys() == expected.keys()
    for name, array in expected.items():
        assert scope["tables"][name].dtype == array.dtype
        np.testing.assert_array_equal(scope["tables"][name], array, strict=True)


def test_what_breaks_off_says_on_which_program():
    (one,) = instances_of(1, particles=1)
    with pytest.raises(ZeroDivisionError) as caught, blamed(one):
        raise ZeroDivisionError
    assert one.name in caught.value.__notes__[0]


# ---- what differs


def test_outcomes_that_differ_are_shown_with_both_weights_the_largest_difference_first():
    x = [Trace(frozenset({(("x", 0), k), (("b",), 1 - k)}), (k,)) for k in range(2)]
    ours, truth = Measure({x[0]: 0.25, x[1]: 0.5}), Measure({x[0]: 0.5, x[1]: 0.5 + 1e-15, "other": 0.5})
    assert differences(ours, truth, 1e-12) == [
        "outcome 'other': 0 instead of 0.5",
        "b = 1, x[0] = 0, returns (0,): 0.25 instead of 0.5",
    ]
    assert show_outcome(Trace(frozenset(), None)) == "no choice"


def test_many_outcomes_are_counted_and_far_weights_keep_their_unit():
    ours, truth = Measure({k: 1.0 for k in range(9)}, -700.0), Measure({k: 0.5 for k in range(9)}, -700.0)
    shown = differences(ours, truth, 1e-12)
    assert shown[0] == "outcome 0: 1 instead of 0.5"
    assert shown[6:] == ["and 3 more", "(in units of exp(-700))"]
    assert differences(ours, ours, 1e-12) == []
