"""The resampling schemes, as the parameters of tests."""

from typing import Any

import pytest

SCHEMES = ("multinomial", "residual", "stratified", "systematic")


def schemes_and_thresholds(below: float) -> list[Any]:
    """Pairs (scheme, resample_below): all at each step; below a threshold one, in the slow tier all."""
    adaptive = [pytest.param(s, below, marks=() if s == "systematic" else pytest.mark.slow) for s in SCHEMES]
    return [*((scheme, None) for scheme in SCHEMES), *adaptive]
