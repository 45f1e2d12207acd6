"""The studies of rates of Gaussian mixtures of experts: truths, what is fitted to them, and where fits start.

The truth has one covariate, uniform on [0, 1], and two experts whose gate has its middle at 0.32. With the last gate
pinned at 0 their parameters are the same in all studies but the activated one, whose activation lies in (0, 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lawful.models.gaussian_moe import Gate, GaussianMoE, Mixture, Parameters, Settings

__all__ = ["ACTIVATED", "LINEAR", "QUICK", "SIZES", "STUDIES", "Study", "in_order"]

SIZES = (100, 316, 1000, 3162, 10_000, 31_623, 100_000)
QUICK = (100, 464, 2154, 10_000)

LINEAR = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
ACTIVATED = Parameters.of([25.0, 0.0], [-0.4, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16], tau=0.25)


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        title: what it is.
        truth: where data are from.
        model: what is fitted.
        settings: arguments of `rate_study`.
        columns: the errors that are shown.
        judged: smallest n that a bar reads; None where no bar does.
        most: largest n of interest.
    """

    title: str
    truth: Mixture
    model: GaussianMoE
    settings: Mapping[str, Any]
    columns: tuple[str, ...]
    judged: int | None = None
    most: int = SIZES[-1]


EXACT = ("loss", "unit_loss", "hellinger", "boundary", "beta1_1", "b_1", "b_2", "a_1", "a_2", "nu_1", "nu_2")
FOUND = ("reached", "loss", "hellinger", "iterations", "steps")
RAW = ("raw_beta1", "raw_beta0", "raw_tau", "beta1_1", "beta0_1", "hellinger")
SOFT, HARD = Mixture(Gate(), LINEAR), Mixture(Gate("topk", top_k=1), LINEAR)
EM = Settings(newton_most=0)
SHORT_EM = Settings(em_most=30)  # of over-specified fits, which Newton's method finishes
LONG_EM = Settings(em_most=200)  # the same from far away
SHORT_TOP_K = Settings(em_most=100, em_gain=1e-4)  # the gate's steps stop where the selection of a row changes


def _split(expert: int) -> tuple[str, ...]:
    errors = ("beta1", "b", "worst_beta1", "worst_b", "a", "nu", "spread", "least_share")
    return ("loss", "hellinger", *(f"{name}_{expert}" for name in errors))


STUDIES: Mapping[str, Study] = {
    "softmax": Study("plain gate, two experts", SOFT, GaussianMoE(2), {"order": (0, 1)}, EXACT, 100),
    "softmax-split-1": Study(
        "plain gate, three experts, two of them start near expert 1",
        SOFT, GaussianMoE(3), {"order": (0, 0, 1), "starts": 5, "settings": SHORT_EM}, _split(1), 1000,
    ),
    "softmax-split-2": Study(
        "plain gate, three experts, two of them start near expert 2",
        SOFT, GaussianMoE(3), {"order": (0, 1, 1), "starts": 5, "settings": SHORT_EM}, _split(2), 1000,
    ),
    "softmax-four": Study(
        "plain gate, four experts, two of them near each",
        SOFT, GaussianMoE(4), {"order": (0, 0, 1, 1), "starts": 5, "settings": SHORT_EM}, _split(1),
    ),
    "softmax-anywhere": Study(
        "plain gate, two experts, EM alone from ten random starts",
        SOFT, GaussianMoE(2), {"starts": 10, "anywhere": True, "settings": EM}, FOUND, most=10_000,
    ),
    "softmax-three-anywhere": Study(
        "plain gate, three experts, EM and Newton from ten random starts",
        SOFT, GaussianMoE(3), {"starts": 10, "anywhere": True, "settings": LONG_EM}, FOUND, most=10_000,
    ),
    "top-1": Study("top-1 gate, two experts, solved exactly", HARD, GaussianMoE(2, "topk", top_k=1), {}, EXACT, 100),
    "top-2-split-1": Study(
        "top-2 gate, three experts, for a truth with a top-1 gate",
        HARD, GaussianMoE(3, "topk", top_k=2), {"order": (0, 0, 1), "starts": 5, "settings": SHORT_TOP_K}, _split(1),
    ),
    "temperature": Study(
        "linear gate with a free temperature, two experts, starts with relative noise 0.5 in the gate",
        Mixture(Gate("temperature"), LINEAR), GaussianMoE(2, "temperature", tau="free"), {"spread": 0.5}, RAW, 100,
    ),
    "activated": Study(
        "activated gate, two experts, starts with relative noise 0.5 in the gate",
        Mixture(Gate("activated"), ACTIVATED), GaussianMoE(2, "activated"), {"spread": 0.5}, RAW, 100,
    ),
    "activated-split-1": Study(
        "activated gate, three experts, two of them start near expert 1",
        Mixture(Gate("activated"), ACTIVATED), GaussianMoE(3, "activated"), {"order": (0, 0, 1)}, _split(1),
    ),
}  # fmt: skip


def in_order(names: Iterable[str], sizes: Sequence[int]) -> list[tuple[str, int]]:
    """List studies and sizes: those that a bar reads first, the largest first of these and of the others.

    >>> in_order(["softmax-four", "softmax-split-1"], [100, 1000])
    [('softmax-split-1', 1000), ('softmax-four', 1000), ('softmax-four', 100), ('softmax-split-1', 100)]
    """
    cells = [(name, n) for name in names for n in sizes if n <= STUDIES[name].most]

    def place(cell: tuple[str, int]) -> tuple[bool, int]:
        name, n = cell
        judged = STUDIES[name].judged
        return judged is None or n < judged, -n

    return sorted(cells, key=place)
