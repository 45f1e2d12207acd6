"""The sequential rule of Gandy and Scott: stages of fresh draws until the verdict is clear.

Law: for any valid p-value, also a conservative one, the false-alarm rate is at most alpha. With beta = alpha / k and
gamma = beta ** (1 / k), stage i fails at or below beta / gamma ** (i - 1), so the failure probability R_i from stage i
on obeys R_i <= beta_i + gamma R_{i+1}, and R_1 <= k beta = alpha.

Reference: Gandy and Scott (2020), Unit testing for MCMC and other Monte Carlo methods, arXiv 2001.06465.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lawful.errors import LawfulError


class Verdict(NamedTuple):
    """What the stages said: whether the check failed, the last stage, its p-value, the draws of all stages."""

    failed: bool
    stage: int
    p_value: float
    n_used: int


@dataclass(frozen=True)
class SequentialRule:
    """Thresholds of a test in stages.

    Attributes:
        alpha: bound on the false-alarm rate.
        stages: largest number of stages.
        n: draws of the first stage.
        growth: draws of a stage as a multiple of the stage before.

    >>> rule = SequentialRule(alpha=1e-6, stages=5)
    >>> [f"{t:.2e}" for t in rule.fail_at]
    ['2.00e-07', '4.37e-06', '9.56e-05', '2.09e-03', '4.57e-02']
    """

    alpha: float
    stages: int = 5
    n: int = 10_000
    growth: int = 2

    def __post_init__(self) -> None:
        """Refuse parameters without meaning."""
        if not 0 < self.alpha < 1 or self.stages < 1 or self.n < 1 or self.growth < 1:
            raise LawfulError(
                "SequentialRule: expected 0 < alpha < 1 and stages, n, growth of at least 1, "
                f"got alpha={self.alpha}, stages={self.stages}, n={self.n}, growth={self.growth}."
            )

    @property
    def beta(self) -> float:
        """Share of alpha of one stage."""
        return self.alpha / self.stages

    @property
    def gamma(self) -> float:
        """Probability that a true law needs another stage."""
        return self.beta ** (1 / self.stages)

    @property
    def fail_at(self) -> tuple[float, ...]:
        """For each stage, the p-value at or below which the check fails."""
        return tuple(self.beta / self.gamma**stage for stage in range(self.stages))

    @property
    def pass_above(self) -> tuple[float, ...]:
        """For each stage, the p-value above which the check passes; in the last stage, whatever does not fail."""
        return (*(self.gamma + beta for beta in self.fail_at[:-1]), self.fail_at[-1])

    @property
    def draws(self) -> tuple[int, ...]:
        """For each stage, its number of draws."""
        return tuple(self.n * self.growth**stage for stage in range(self.stages))

    def decide(self, stage: int, p_value: float) -> Literal["fail", "pass", "continue"]:
        """Say what follows from the p-value of a stage, counted from 1.

        >>> SequentialRule(alpha=1e-6, stages=5).decide(1, 0.01)
        'continue'
        """
        if p_value <= self.fail_at[stage - 1]:
            return "fail"
        return "pass" if p_value > self.pass_above[stage - 1] or stage == self.stages else "continue"

    def run(self, p_value: Callable[[int, int], float]) -> Verdict:
        """Run stages until one decides.

        Args: p_value: `(stage, n) -> p`, from n fresh independent draws; stages count from 1.

        >>> SequentialRule(alpha=1e-6, stages=3, n=100).run(lambda stage, n: 0.5)
        Verdict(failed=False, stage=1, p_value=0.5, n_used=100)
        """
        used = 0
        for stage, n in enumerate(self.draws, start=1):
            used += n
            p = p_value(stage, n)
            decision = self.decide(stage, p)
            if decision != "continue":
                break
        return Verdict(decision == "fail", stage, p, used)
