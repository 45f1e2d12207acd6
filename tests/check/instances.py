"""Fixed finite instances with known answers, and small algorithms written by hand in the eager language."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import numpyro.distributions as dist

from lawful import factor, sample
from lawful.inference.check import decision

INITIAL = np.array([1 / 2, 1 / 3, 1 / 6])
TRANSITION = np.array([[1 / 2, 1 / 4, 1 / 4], [1 / 5, 3 / 5, 1 / 5], [1 / 3, 1 / 3, 1 / 3]])
EMISSION = np.array([[3 / 4, 1 / 4], [1 / 3, 2 / 3], [1, 0]])
DATA = (0, 1, 1)
HMM3_EVIDENCE = Fraction(29077, 345600)
HMM3_LAST_STATE = Fraction(659, 9600)


def hmm3():
    """A hidden Markov model with three states and three observations; returns the path."""
    path = []
    for step, datum in enumerate(DATA):
        rows = INITIAL if step == 0 else TRANSITION[path[-1]]
        path.append(sample(f"x{step}", dist.Categorical(probs=rows)))
        sample(f"y{step}", dist.Categorical(probs=EMISSION[path[-1]]), obs=np.int64(datum))
    return tuple(path)


def hmm3_paths(steps=3):
    """The measure of the paths by the definition, in fractions."""
    exact = [[[Fraction(p).limit_denominator(100) for p in row] for row in table] for table in (TRANSITION, EMISSION)]
    initial = [Fraction(p).limit_denominator(100) for p in INITIAL]
    measure = {}
    for path in product(range(3), repeat=steps):
        weight = initial[path[0]] * math.prod(
            (exact[0][a][b] for a, b in zip(path, path[1:], strict=False)), start=Fraction(1)
        )
        measure[path] = weight * math.prod(exact[1][x][y] for x, y in zip(path, DATA, strict=False))
    return measure


class Ancestors:
    """A joint law of ancestors as a list of values and probabilities: what an algorithm's site looks like."""

    def __init__(self, values, probabilities):
        self.values, self.probabilities = values, probabilities

    def enumerate_choices(self):
        return self.values, self.probabilities

    def log_prob(self, value):
        return math.log(self.probabilities[self.values.index(value)])


def systematic(weights):
    """Systematic resampling by the exact partition of its uniform."""
    n, total = len(weights), sum(weights)
    ends = [sum(weights[: i + 1]) / total * n for i in range(n)]
    cuts = sorted({0.0, 1.0, *(end - math.floor(end + 1e-12) for end in ends)})
    cells = [(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b - a > 1e-12]
    values = [tuple(sum(slot + (a + b) / 2 > end for end in ends) for slot in range(n)) for a, b in cells]
    return Ancestors(values, [b - a for a, b in cells])


def smc(scheme="multinomial", particles=2, steps=3, threshold=None, broken=None):
    """Sequential Monte Carlo on HMM3, particle by particle; returns the path of one particle picked by its weight.

    `broken="no reset"` forgets the division by the number of particles when weights are reset.
    """

    def program():
        paths, weights = [() for _ in range(particles)], [1 / particles] * particles
        for step, datum in enumerate(DATA[:steps]):
            total = sum(weights)
            if step and total > 0 and _resample_now(weights, threshold, step):
                paths = [paths[a] for a in _ancestors(scheme, step, weights)]
                weights = [total if broken == "no reset" else total / particles] * particles
            for i in range(particles):
                rows = TRANSITION[paths[i][-1]] if step else INITIAL
                paths[i] = (*paths[i], sample(f"x{step}_{i}", dist.Categorical(probs=rows)))
                weights[i] = weights[i] * EMISSION[paths[i][-1], datum]
        total = sum(weights)
        factor("evidence", math.log(total) if total > 0 else -math.inf)
        if total == 0:
            return paths[0]
        return paths[sample("pick", dist.Categorical(probs=np.array(weights) / total))]

    return program


def _resample_now(weights, threshold, step):
    if threshold is None:
        return True
    ess = sum(weights) ** 2 / sum(weight**2 for weight in weights)
    return decision(f"resample at {step}", ess < threshold * len(weights))


def _ancestors(scheme, step, weights):
    if scheme == "systematic":
        return sample(f"a{step}", systematic(weights))
    rows = np.array(weights) / sum(weights)
    return [sample(f"a{step}_{i}", dist.Categorical(probs=rows)) for i in range(len(weights))]


MH4_TARGET = np.array([1, 3, 2, 4]) / 10
MH4_PROPOSAL = np.array(
    [[0, 1 / 2, 1 / 4, 1 / 4], [1 / 3, 0, 1 / 3, 1 / 3], [1 / 2, 1 / 4, 1 / 8, 1 / 8], [1 / 5, 2 / 5, 2 / 5, 0]]
)


def metropolis(start, correct=True):
    """One Metropolis-Hastings step on MH4, its acceptance a coin; without `correct` it forgets the proposal ratio."""

    def program():
        new = sample("proposal", dist.Categorical(probs=MH4_PROPOSAL[start]))
        ratio = MH4_TARGET[new] / MH4_TARGET[start]
        if correct:
            ratio = ratio * MH4_PROPOSAL[new, start] / MH4_PROPOSAL[start, new]
        accepted = sample("accept", dist.Bernoulli(probs=min(1.0, ratio)))
        return new if decision("accept", accepted == 1) else start

    return program


GIBBS2 = np.array([[1, 2], [4, 3]]) / 10


def gibbs(start):
    """One systematic scan over the two variables of GIBBS2."""

    def program():
        x = sample("x", dist.Categorical(probs=GIBBS2[:, start[1]] / GIBBS2[:, start[1]].sum()))
        y = sample("y", dist.Categorical(probs=GIBBS2[x] / GIBBS2[x].sum()))
        return (x, y)

    return program
