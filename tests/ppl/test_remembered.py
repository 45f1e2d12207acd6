"""Results of pure steps are remembered, and a remembered result is the result."""

import numpy as np

from lawful.form.pipeline import cache_of
from lawful.language.run_form import LARGEST, REMEMBERED, remembered


class Owner:
    """Something that steps belong to."""


def doubled(calls):
    def compute(arrays):
        calls.append(arrays[0].copy())
        return [2 * arrays[0]]

    return compute


def test_equal_operands_are_computed_once_and_share_one_read_only_result():
    owner, calls = Owner(), []
    first = remembered(owner, "double", (np.arange(3),), doubled(calls))
    again = remembered(owner, "double", (np.arange(3),), doubled(calls))
    assert first[0] is again[0] and len(calls) == 1 and not first[0].flags.writeable


def test_types_shapes_functions_and_owners_are_told_apart():
    owner, calls = Owner(), []
    for where, what, operand in [
        (owner, "a", np.zeros(2)), (owner, "a", np.zeros((2, 1))), (owner, "a", np.zeros(2, int)),
        (owner, "b", np.zeros(2)), (Owner(), "a", np.zeros(2)),
    ]:  # fmt: skip
        remembered(where, what, (operand,), doubled(calls))
    assert len(calls) == 5


def test_an_operand_that_changes_is_seen_also_through_a_read_only_view():
    for view in (lambda x: x, lambda x: np.broadcast_to(x, (2, 3))):
        owner, calls, base = Owner(), [], np.arange(3)
        operand = view(base)
        before = remembered(owner, None, (operand,), doubled(calls))[0].copy()
        base[0] = 7
        after = remembered(owner, None, (operand,), doubled(calls))[0]
        assert before.ravel()[0] == 0 and after.ravel()[0] == 14


def test_large_operands_are_not_kept_and_memory_is_bounded():
    owner, calls = Owner(), []
    for _ in range(2):
        remembered(owner, None, (np.zeros(LARGEST + 1),), doubled(calls))
    assert len(calls) == 2
    for number in range(2 * REMEMBERED):
        remembered(owner, None, (np.int64(number),), doubled([]))
        assert len(cache_of(owner)) <= REMEMBERED
