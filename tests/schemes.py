"""The resampling schemes, as the parameters of tests."""

from typing import Any

import pytest

SCHEMES = ("multinomial", "residual", "stratified", "systematic")


def schemes_and_thresholds(below: float) -> list[Any]:
    """Pairs (scheme, resample_below): below a threshold one, at each step the others; in the slow tier all."""
    once = [(scheme, None if scheme != "systematic" else below) for scheme in SCHEMES]
    rest = [(scheme, below if scheme != "systematic" else None) for scheme in SCHEMES]
    return [*once, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in rest)]
