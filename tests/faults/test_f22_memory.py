"""Row 22: where memory is missing, the error says how much was asked for and what fits, and holds what is finished."""

import pytest

from lawful.errors import MemoryLimitError
from tests.inference.running.test_driver import KEY, PLAN, Y, assert_prefix, run, whole

__all__ = ["KEY", "whole"]


def test_f22_the_error_says_how_much_and_what_fits(whole, monkeypatch):
    (steps,) = PLAN.prepare((Y,)).built.steps.values()
    take, calls = type(steps).take, []

    def fails(self, *args):
        calls.append(args)
        if len(calls) == 4:
            raise MemoryError
        return take(self, *args)

    monkeypatch.setattr(type(steps), "take", fails)
    with pytest.raises(MemoryLimitError, match="bytes") as caught:
        run(PLAN)
    assert_prefix(caught.value.result, whole, 4)
    assert caught.value.needed > 0 and caught.value.chunk >= 1
