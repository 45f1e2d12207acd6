"""Factor scores: the growth factors of each person as reports have them, given the class, or with classes summed out.

Law: a linear change of the factors of the curve's basis, so that a person's curve is the same in both; over classes the
moments are those of the mixture by memberships.

Source: specification sections 3.1, 3.2, 7 and 8.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from .density import factor_scores
from .panels import panel
from .reports import changes_of

if TYPE_CHECKING:
    from .fitted import FittedMixture

__all__ = ["scores_of"]


def scores_of(fit: FittedMixture, mixed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Give means and covariances of persons' growth factors.

    Args:
        fit: a fit.
        mixed: whether classes are summed out.

    Returns: (n, K, Q) and (n, K, Q, Q), or (n, Q) and (n, Q, Q).
    """
    at, model = fit.parameters, fit.model
    seen = panel(fit.data.y, fit.data.t, fit.data.gate, fit.data.growth, fit.data.varying)
    wide = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], at)
    mean, cov = factor_scores(wide, seen, model, fit.problem.width * fit.scaling.t_scale)
    own = int(model.intrinsic)
    centre = np.concatenate([np.zeros((model.n_classes, own)), at.mean], axis=1)
    told, change = (np.asarray(each) for each in changes_of(jax.tree.map(jnp.asarray, at), model))
    told = np.concatenate([told, at.shape[:, :own]], axis=1)
    mean = told[:, None] + np.einsum("kab,knb->kna", change, np.asarray(mean) - centre[:, None])
    cov = np.einsum("kab,knbc,kdc->knad", change, np.asarray(cov), change)
    mean, cov = np.swapaxes(mean, 0, 1), np.swapaxes(cov, 0, 1)
    if not mixed:
        return mean, cov
    w = fit.class_probabilities()
    middle = np.einsum("nk,nka->na", w, mean)
    apart = mean - middle[:, None]
    return middle, np.einsum("nk,nkab->nab", w, cov + apart[..., None] * apart[..., None, :])
