"""Random programs whose sequence is a Python loop: sites, observations, factors, branches, reads of earlier steps."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import cond, deterministic, factor, sample

KINDS = ("latent", "latent", "observed", "factor", "named", "branch")


@dataclass(frozen=True)
class Statement:
    """One statement of a step: what it reads is (statement, steps back, coefficient)."""

    kind: str
    bias: float
    slope: float
    data: bool
    root: float
    reads: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class Unrolled:
    """A program of `steps` equal steps; `finite` ones have sites of two values."""

    statements: tuple[Statement, ...]
    steps: int
    finite: bool
    total: bool

    def law(self, location):
        return dist.Bernoulli(logits=location) if self.finite else dist.Normal(location, 0.7)

    def step(self, i, y, root, history):
        values = []
        for j, s in enumerate(self.statements):
            location = s.bias + s.root * root + s.slope * i + (y[i] if s.data else 0.0)
            for k, back, weight in s.reads:
                seen = values if back == 0 else history[i - back] if i >= back else None
                location = location + weight * (seen[k] if seen is not None else root)
            name = f"{s.kind}{j}_{i}"
            if s.kind == "latent":
                value = sample(name, self.law(location))
            elif s.kind == "observed":
                value = sample(name, self.law(location), obs=jnp.where(y[i] > 0, 1, 0) if self.finite else y[i])
            elif s.kind == "factor":
                factor(name, 0.1 * location)
                value = location
            elif s.kind == "named":
                value = deterministic(name, jnp.tanh(location))
            else:
                value = cond(
                    location > 0,
                    lambda location=location, name=name: 1.0 * sample(name, self.law(location)),
                    lambda location=location: location,
                )
            values.append(value)
        return values

    def __call__(self, y):
        root = sample("root", self.law(0.3))
        history = []
        for i in range(self.steps):
            history.append(self.step(i, y, root, history))
        if self.total:
            return sum(1.0 * value for values in history for value in values)
        return tuple(value for values in history for value in values), root

    @property
    def latents(self):
        return 1 + self.steps * sum(s.kind in ("latent", "branch") for s in self.statements)


def random_unrolled(seed, steps, finite, most=6, kinds=KINDS):
    """Draw a program; a finite one has at most `most` choices."""
    rng = np.random.default_rng(seed)
    while True:
        statements = []
        for j in range(rng.integers(1, 4)):
            kind = "latent" if j == 0 else str(rng.choice(kinds))
            reads = [
                (int(rng.integers(0, 1 if back else j)), int(back), float(rng.choice([-1.0, 0.5])))
                for back in rng.choice(3, size=rng.integers(0, 3), replace=False)
                if back or j
            ]
            slope = float(rng.choice([0.0, 0.0, 0.1]))
            data, root = bool(rng.integers(2)), float(rng.choice([0.0, 0.4]))
            statements.append(Statement(kind, round(float(rng.normal()), 2), slope, data, root, tuple(reads)))
        found = Unrolled(tuple(statements), steps, finite, bool(rng.integers(2)))
        if not finite or found.latents <= most:
            return found


def traced(program):
    """The form of a program, and its data."""
    y = jnp.linspace(-1.0, 1.0, program.steps)
    return lawful.trace(program, y), y
