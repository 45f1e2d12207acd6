"""Programs without a bound on their structure, each with its exact evidence and an exact posterior probability.

Sums that have no end are cut off where what follows is below 1e-15; why it is stands beside each.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro.distributions as dist
from scipy import stats

import lawful
from lawful.models import dynamic

COST = math.log(0.8)


@dataclass(frozen=True)
class Case:
    """A program, its evidence, and the posterior probability of an event of a run."""

    program: Callable[[], Any]
    evidence: float
    event: Callable[[Any], bool]
    probability: float

    def __repr__(self):
        return self.program.__name__


# ---- a recursion that pays for every level


def levels():
    if lawful.sample("success", dynamic.coin(0.5)) == 1:
        return 0
    lawful.factor("cost", COST)
    with lawful.scope("again"):
        return 1 + levels()


# The posterior of the level is geometric again: each further level has weight 0.5 * 0.8.
LEVELS = Case(levels, 0.5 / (1 - 0.4), lambda run: run.value <= 2, 1 - 0.4**3)


# ---- a list of random length, whose sum is seen through noise

TOTAL, NOISE = 1.5, 3.0


def noisy_list():
    items = dynamic.random_list(0.5, lambda: 1 + int(lawful.sample("two", dynamic.coin(0.25))))
    total = float(sum(items))
    lawful.factor("total", -0.5 * ((TOTAL - total) / NOISE) ** 2)
    return items


@functools.cache
def _lists():
    # Factors are at most 1, so lists of more than 60 items weigh at most 0.5**61 < 1e-18 together.
    weights, sums = [], np.ones(1)
    for length in range(61):
        values = length + np.arange(len(sums))
        weights.append(0.5 ** (length + 1) * float(sums @ np.exp(-0.5 * ((TOTAL - values) / NOISE) ** 2)))
        sums = np.convolve(sums, [0.75, 0.25])
    return np.array(weights)


NOISY_LIST = Case(noisy_list, _lists().sum(), lambda run: len(run.value) <= 3, _lists()[:4].sum() / _lists().sum())


# ---- draws from a Dirichlet process, whose atoms are coins

CONCENTRATION, HIGH, LOW = 0.25, 0.9, 0.7


def coins_of_a_process():
    draw = dynamic.dirichlet_process(CONCENTRATION, lambda: lawful.sample("high", dynamic.coin(0.5)))
    coins = [draw("first"), draw("second")]
    for name, high in zip(("x0", "x1"), coins, strict=True):
        lawful.factor(name, math.log(HIGH if high else LOW))
    return [int(high) for high in coins]


# Two draws are one atom with probability 1 / (1 + concentration), otherwise two independent ones.
_EQUAL = (HIGH**2 + LOW**2) / 2 / (1 + CONCENTRATION) + (HIGH**2 + LOW**2) / 4 * CONCENTRATION / (1 + CONCENTRATION)
_OTHER = HIGH * LOW / 2 * CONCENTRATION / (1 + CONCENTRATION)
PROCESS = Case(
    coins_of_a_process, _EQUAL + _OTHER, lambda run: run.value[0] == run.value[1], _EQUAL / (_EQUAL + _OTHER)
)


# ---- a random function, seen through noise at points of which one returns

POINTS, SEEN, RIGHT = (3, 5, 3), (1, 0, 1), 0.55


def noisy_function():
    bias = 0.9 if lawful.sample("mostly", dynamic.coin(0.75)) == 1 else 0.6
    f = dynamic.random_function(lambda x: int(lawful.sample("f", dynamic.coin(bias))))
    for place, (point, seen) in enumerate(zip(POINTS, SEEN, strict=True)):
        lawful.factor(f"y{place}", math.log(RIGHT if f(point) == seen else 1 - RIGHT))
    return f


def _function():
    whole = either = 0.0
    for weight, bias in ((0.75, 0.9), (0.25, 0.6)):
        for at3, at5 in ((0, 0), (0, 1), (1, 0), (1, 1)):
            p = weight * (bias if at3 else 1 - bias) * (bias if at5 else 1 - bias)
            p *= (RIGHT if at3 else 1 - RIGHT) ** 2 * (1 - RIGHT if at5 else RIGHT)
            whole, either = whole + p, either + p * (at3 or at5)
    return whole, either / whole


FUNCTION = Case(noisy_function, _function()[0], lambda run: run.value(3) == 1 or run.value(5) == 1, _function()[1])


# ---- a grammar whose sentence has a length that is seen through noise

ONE_LETTER = np.int64(1)
RULES = {"S": [(0.15, ["S", "S"]), (0.85, ["a"])]}


def noisy_sentence():
    words = dynamic.words_of(dynamic.derivation(RULES))
    lawful.sample("letters", poisson(len(words)), obs=ONE_LETTER)
    return words


@functools.cache
def poisson(length):
    return dist.Poisson(0.8 + 0.2 * length)


@functools.cache
def _sentences():
    # There are Catalan(n - 1) <= 4**(n - 1) derivations of n words, so they have probability at most
    # 0.85 * (4 * 0.15 * 0.85)**(n - 1), and those of more than 150 words at most 2 * 0.51**150 < 1e-43.
    catalan = [math.comb(2 * n, n) // (n + 1) for n in range(150)]
    return np.array(
        [
            float(c) * 0.15**n * 0.85 ** (n + 1) * stats.poisson(0.8 + 0.2 * (n + 1)).pmf(1)
            for n, c in enumerate(catalan)
        ]
    )


SENTENCE = Case(
    noisy_sentence, _sentences().sum(), lambda run: len(run.value) <= 3, _sentences()[:3].sum() / _sentences().sum()
)

CASES = (LEVELS, NOISY_LIST, PROCESS, FUNCTION, SENTENCE)
