"""The tree of a mixture with too many experts: the two that are nearest are merged, again and again, down to one.

Mixtures are measures with an atom (beta1, a, b, nu) for each expert, whose mass pi is its mean weight over the rows. In
units of the data in which covariates have mean 0 and variance 1, two atoms are as far apart as

    d(i, j) = pi_i pi_j / (pi_i + pi_j) (abs(d beta1)^2 + d b^2 + abs(d a) + abs(d nu)),

squares where experts that share a cell are learned at n^{-1/(2r)}, first powers where at n^{-1/r}. The merged atom has
the moments of both: with shares q of their masses, and means of beta1 and b,

    a* = sum_l q_l (a_l + (beta1_l - beta1*) (b_l - b*)),    nu* = sum_l q_l (nu_l + (b_l - b*)^2),

since d^2/(d beta1 d b) of exp(beta1' x) N(y; a' x + b, nu) is its d/da, and d^2/db^2 twice its d/dnu. The distance at
which k atoms become k - 1 is the height h_k. With l_k the mean log likelihood of k atoms, the number of experts is that
with the least `-(h_k + log(n) l_k)`, k 2 or more: heights of superfluous experts go to 0, and too few cost likelihood.

Law: copies of an expert merge at height 0 into it. Nothing changes with the order of the experts, a shift of the gate,
or the units of the data.

References: Do, Do, McKinley, Terhorst and Nguyen (2024), arXiv 2403.01684; Hai et al. (2025), arXiv 2510.12744.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from ..pictures import axes_or_new
from .density import Mixture
from .gates import Gate
from .parameters import Parameters, Units, standardised, unstandardised
from .reading import columns_of, data
from .voronoi import mixture_of

__all__ = ["MergeTree", "merge_tree"]


@dataclass(frozen=True, eq=False)
class MergeTree:
    """Mixtures of K, K - 1, ..., 1 experts, each of which merges two of the one before.

    Attributes:
        mixtures: by number of experts, in the units of the data.
        heights: h_k by number of experts k, 2 or more.
        log_likelihoods: of all rows, by number of experts.
        rows: number of rows.
        linkage: the merges as `scipy.cluster.hierarchy` has them (K - 1, 4).
    """

    mixtures: dict[int, Mixture]
    heights: dict[int, float]
    log_likelihoods: dict[int, float]
    rows: int
    linkage: np.ndarray

    @property
    def criterion(self) -> dict[int, float]:
        """`-(h_k + log(n) l_k)` by number of experts k, 2 or more."""
        return {
            k: -(height + np.log(self.rows) * self.log_likelihoods[k] / self.rows) for k, height in self.heights.items()
        }

    @property
    def best(self) -> int:
        """The number of experts with the least criterion, which cannot tell one from two."""
        return min(self.criterion, key=self.criterion.__getitem__)

    @property
    def table(self) -> Any:
        """A frame of pandas: height, log likelihood and criterion by number of experts."""
        import pandas

        columns = {"height": self.heights, "log_likelihood": self.log_likelihoods, "criterion": self.criterion}
        return pandas.DataFrame(columns).rename_axis("experts").sort_index()

    def plot(self, ax: Any = None) -> Any:
        """Show the tree; experts are numbered as in the fit.

        Args:
            ax: axes of matplotlib; new ones by default.

        Returns: the axes.
        """
        from scipy.cluster.hierarchy import dendrogram

        ax = axes_or_new(ax)
        dendrogram(self.linkage, ax=ax)
        ax.set(xlabel="expert", ylabel="height")
        return ax


def merge_tree(fit: Any, X: Any, y: Any) -> MergeTree:
    """Merge the experts of a fit, two by two.

    Args:
        fit: a fitted `GaussianMoE`, a `Mixture` or `Parameters`, with a gate that is a softmax, of two experts or more.
        X: covariates of the rows (n, d), which tell masses and units.
        y: their answers (n,).

    Raises: LawfulError for another gate or a single expert, and what `reading.data` refuses.

    >>> x = np.linspace(0.0, 1.0, 40)
    >>> y = np.where(x < 0.4, 1.0, 3.0) + 0.1 * np.sin(400 * x)
    >>> fit = Parameters.of([9.0, 0.0, 0.0], [-3.6, -0.7, -0.7], [0.0] * 3, [3.0, 1.0, 1.01], [0.01] * 3)
    >>> tree = merge_tree(fit, x[:, None], y)
    >>> tree.best, {k: round(height, 4) for k, height in tree.heights.items()}
    (2, {3: 0.0, 2: 2.7008})
    """
    mixture = mixture_of(fit)
    if mixture.gate.kind not in ("softmax", "temperature") or mixture.parameters.n_experts < 2:
        raise LawfulError(
            f"merge_tree: {mixture.parameters.n_experts} experts with the gate {mixture.gate.kind!r}. Fix: give two "
            "experts or more, with gate='softmax' or 'temperature'."
        )
    x, answers = data(X, y, 1, "merge_tree")
    columns_of(x, mixture.parameters.a.shape[1])
    units = Units.of(x, answers)
    beta1, beta0, *rest, tau = mixture.parameters
    inside = standardised(Parameters(beta1 / tau, beta0 / tau, *rest), units)
    atoms = Parameters(*(np.asarray(value, float) for value in inside))
    mass = np.asarray(mixture.weights(x)).mean(axis=0)
    names, members = list(range(len(mass))), [1] * len(mass)

    def look(atoms: Parameters) -> tuple[Mixture, float]:
        found = Mixture(Gate(), unstandardised(atoms, units))
        return found, float(found.log_density(x, answers).sum())

    found, heights, merges = {len(mass): look(atoms)}, {}, []
    for k in range(len(mass), 1, -1):
        apart = _distances(atoms, mass)
        i, j = (int(v) for v in np.unravel_index(np.argmin(apart), apart.shape))
        heights[k] = float(apart[i, j])
        size = members[i] + members[j]
        merges.append([*sorted((names[i], names[j])), heights[k], size])
        atoms, mass = _merged(atoms, mass, i, j), np.delete(_put(mass, i, mass[i] + mass[j]), j)
        names[i], members[i] = len(mixture.parameters.b) + len(merges) - 1, size
        del names[j], members[j]
        found[k - 1] = look(atoms)
    mixtures = {k: mixture for k, (mixture, _) in found.items()}
    values = {k: value for k, (_, value) in found.items()}
    return MergeTree(mixtures, heights, values, len(answers), np.array(merges, float))


def _distances(atoms: Parameters, mass: np.ndarray) -> np.ndarray:
    """Give the distances of all pairs i < j, and infinity elsewhere (k, k)."""
    gap = Parameters(*(value[:, None] - value[None] for value in atoms[:5]))
    apart = (gap.beta1**2).sum(axis=2) + gap.b**2 + np.sqrt((gap.a**2).sum(axis=2)) + np.abs(gap.nu)
    shared = mass[:, None] * mass[None] / np.maximum(mass[:, None] + mass[None], np.finfo(float).tiny)
    return np.where(np.triu(np.ones_like(apart, bool), 1), shared * apart, np.inf)


def _merged(atoms: Parameters, mass: np.ndarray, i: int, j: int) -> Parameters:
    """Put the atom with the moments of atoms i and j in the place of i."""
    pair, total = [i, j], mass[i] + mass[j]
    q = mass[pair] / total if total > 0 else np.full(2, 0.5)
    beta1, b = q @ atoms.beta1[pair], q @ atoms.b[pair]
    gap1, gap_b = atoms.beta1[pair] - beta1, atoms.b[pair] - b
    new = Parameters(
        beta1=beta1,
        beta0=np.logaddexp(*atoms.beta0[pair]),
        a=q @ (atoms.a[pair] + gap1 * gap_b[:, None]),
        b=b,
        nu=q @ (atoms.nu[pair] + gap_b**2),
    )
    kept = [np.delete(_put(old, i, value), j, axis=0) for old, value in zip(atoms[:5], new[:5], strict=True)]
    return Parameters(*kept)._replace(tau=atoms.tau)


def _put(values: np.ndarray, i: int, value: Any) -> np.ndarray:
    found = values.copy()
    found[i] = value
    return found
