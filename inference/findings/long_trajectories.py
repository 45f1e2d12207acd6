"""Long trajectories: remarks on those that take many leapfrogs because a diagonal mass does not see correlations.

Law: a remark reads draws and settings of a run and changes none; without long trajectories nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lawful.form import Form
from lawful.form.choices import choices_of

from .diagnostics import variables_of
from .findings import Finding

LONG = 100  # leapfrogs of a draw, in the mean
UNLIKE = 100.0  # largest eigenvalue of the correlations over the smallest: ways are as long as its root
NOTHING = 1e-12  # an eigenvalue of what is no coordinate, as the sum of a simplex
MOST = 200  # elements whose correlations are looked at


def long_ways(
    posterior: Mapping[str, Any], stats: Mapping[str, Any], run: Mapping[str, Any], form: Any = None
) -> Iterator[Finding]:
    """Recommend a dense mass where draws are strongly correlated, trajectories long, and the tuned mass diagonal.

    The statistics have `n_steps`, the settings `inverse_mass`; with a form its choices alone are looked at.

    >>> line = np.random.default_rng(0).normal(size=(1, 400, 1)) + [0.0, 0.0]
    >>> near = {"x": line + 0.01 * np.random.default_rng(1).normal(size=(1, 400, 2))}
    >>> steps, mass = {"n_steps": np.full((1, 400), 300)}, {"inverse_mass": np.ones(2)}
    >>> [finding.code for finding in long_ways(near, steps, mass)], list(long_ways(near, {"n_steps": 7}, mass))
    (['LONG_TRAJECTORIES'], [])
    """
    mass, steps = np.asarray(run.get("inverse_mass", ())), np.asarray(stats.get("n_steps", 0))
    if mass.ndim != 1 or mass.size < 2 or not steps.size or steps.mean() < LONG:
        return
    names = {c.name for c in choices_of(form)} if isinstance(form, Form) else set(posterior)
    drawn = {name: x for name, x in posterior.items() if name in names}
    draws = [v.draws.reshape(-1, len(v.places)) for v in variables_of(drawn)]
    if not 2 <= sum(x.shape[1] for x in draws) <= MOST:
        return
    flat = np.concatenate(draws, axis=1)
    values = np.linalg.eigvalsh(np.corrcoef(flat.T))
    ratio = values[-1] / np.min(values[values > NOTHING])
    if ratio > UNLIKE:
        yield Finding(
            "LONG_TRAJECTORIES",
            f"a draw takes {steps.mean():.0f} leapfrogs in the mean, as the draws are strongly correlated (eigenvalues "
            f"of their correlations differ by a factor of {ratio:.0e}), which a diagonal mass does not follow. Fix: "
            'kernels.nuts(inverse_mass="dense"), or inference.mcmc without a kernel, which takes that by itself.',
            value=float(steps.mean()),
            limit=LONG,
        )
