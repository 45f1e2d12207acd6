"""Certificates of loopy runs: what can be proved from the potentials before a message is sent.

Law: where `contracts` holds, parallel belief propagation has one fixed point and reaches it from every start. Where
`attractive` holds, the Bethe log Z of any fixed point is at most log Z.

Reference: Mooij and Kappen (2007), Sufficient conditions for convergence of the sum-product algorithm, theorem 4;
Ruozzi (2012), The Bethe partition function of log-supermodular graphical models.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..model.potentials import Potentials
from ..model.structure import Group, Structure

STEPS = 200
SHIFT = 0.1
ROUNDING = 1e-9


def pairs(structure: Structure, potentials: Potentials) -> Iterator[tuple[Group, np.ndarray]]:
    """List the groups of factors of two variables, with their tables (G or 1, K, L)."""
    for group, tables in zip(structure.groups, potentials.tables, strict=True):
        if group.arity == 2 and group.size:
            yield group, np.asarray(tables, float)


def contracts(structure: Structure, potentials: Potentials) -> bool:
    """Tell whether the spectral radius of the bound on how messages react to messages is below one.

    The radius lies between the least and the largest growth of any positive vector (Collatz and Wielandt), so a yes is
    a proof; factors of more than two variables are not covered, and give no.
    """
    if structure.counted or any(group.arity > 2 for group in structure.groups):
        return False
    found = [(g.scopes, np.broadcast_to(_strength(t), (g.size,))) for g, t in pairs(structure, potentials)]
    if not found:
        return True
    scopes, strength = np.concatenate([s for s, _ in found]), np.concatenate([n for _, n in found])
    source, target = np.concatenate([scopes, scopes[:, ::-1]]).T  # the directed edges, each reverse half a length on
    strength = np.tile(strength, 2)
    x = np.ones(len(source))
    for _ in range(STEPS):
        arriving = np.bincount(target, strength * x, structure.size)
        after = arriving[source] - np.roll(strength * x, len(x) // 2)
        after = np.maximum(after, 0.0)
        least, most = np.min(after / x), np.max(after / x)
        if most < 1 - ROUNDING or least >= 1:
            return bool(most < 1)
        x = after + SHIFT * x
        x = np.maximum(x / x.max(), 1e-12)
    return False


def attractive(structure: Structure, potentials: Potentials) -> bool:
    """Tell whether all variables are binary, in pairs that prefer equal states: a log-supermodular measure."""
    several = any(group.arity > 2 for group in structure.groups)
    if structure.counted or several or set(structure.counts) - {1, 2}:
        return False
    with np.errstate(invalid="ignore"):
        return all(
            bool(np.all(t[:, 0, 0] + t[:, 1, 1] >= t[:, 0, 1] + t[:, 1, 0]))
            for _, t in pairs(structure, potentials)
            if t.shape[1:] == (2, 2)
        )


def _strength(tables: np.ndarray) -> np.ndarray:
    """Give tanh of a quarter of the largest log odds ratio of each table; one where it has an exclusion."""
    with np.errstate(invalid="ignore"):
        apart = tables[:, :, None, :] - tables[:, None, :, :]
        largest = np.max(np.max(apart, axis=3) - np.min(apart, axis=3), axis=(1, 2))
    return np.tanh(np.where(np.isnan(largest), np.inf, largest) / 4)
