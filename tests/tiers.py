"""Which cases of a dear test run every time, and which in the slow tier alone."""

from collections.abc import Iterable
from typing import Any

import pytest


def rest_slow(cases: Iterable[Any], first: int = 1) -> list[Any]:
    """Mark all but the first cases as slow; `make slow` runs them."""
    return [case if i < first else _slow(case) for i, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
