"""Strategies: random finite programs for Hypothesis.

Law: every program is finite, within its limits, and runs eagerly and staged; a failing one shrinks towards fewer
statements, two values, uniform rows and factors of 1.
"""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any

from .programs.grammar import generate
from .programs.limits import Limits
from .programs.programs import FiniteProgram

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def finite_programs(**limits: Any) -> SearchStrategy[FiniteProgram]:
    """Return a strategy of finite programs.

    Args: limits: fields of `lawful.inference.check.Limits`, as `loops="exactly one"` or `include=["branch"]`.

    Raises: ImportError when Hypothesis is not installed.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, database=None, derandomize=True, deadline=None)
    ... @given(finite_programs(statements=3))
    ... def test_paths_are_counted(program):
    ...     assert program.path_count() <= 4096
    >>> test_paths_are_counted()
    """
    strategies = _hypothesis_strategies()
    checked = Limits(**limits)

    @strategies.composite
    def programs(draw: Any) -> FiniteProgram:
        # A type checker at run time may use `random` to look into containers; Hypothesis must not take that for a draw.
        state = random.getstate()
        try:
            return generate(
                lambda n: draw(strategies.integers(0, n - 1)) if n > 1 else 0,
                checked,
                lambda make: draw(strategies.builds(make)),
            )
        finally:
            random.setstate(state)

    return programs()


def _hypothesis_strategies() -> Any:
    try:
        return importlib.import_module("hypothesis.strategies")
    except ImportError as error:
        raise ImportError(
            "finite_programs needs Hypothesis. Fix: pip install 'lawful[check]', or use random_program(seed)."
        ) from error
