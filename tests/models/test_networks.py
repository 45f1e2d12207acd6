"""The network of the sprinkler is the sum over its table."""

import itertools

import numpy as np
import pytest

from lawful import inference
from lawful.models import networks


def table():
    for rain, on in itertools.product((0, 1), repeat=2):
        wet = {(0, 0): 0.0, (0, 1): 0.9, (1, 0): 0.8, (1, 1): 0.98}[rain, on]
        switch = (0.1 if rain else 0.4) if on else (0.9 if rain else 0.6)
        yield rain, (0.3 if rain else 0.7) * switch, wet


@pytest.mark.parametrize("wet", [0, 1])
def test_enumeration_is_the_sum_over_the_table(wet):
    mass = {rain: sum(p * (q if wet else 1 - q) for r, p, q in table() if r == rain) for rain in (0, 1)}
    exact = inference.enumerate(networks.sprinkler)(wet)
    assert abs(np.exp(exact.log_evidence) - sum(mass.values())) < 1e-12
    assert abs(exact.marginal("rain")[1] - mass[1] / sum(mass.values())) < 1e-12
