"""Trees: proposals from loopy beliefs that a row can make for any finite program, whatever its sites are called.

Law: the beliefs are taken at numbers that have nothing to do with the program's, or follow its sites; either way the
moves keep the posterior and the weighted draws the measure, since the proposal has a density and a floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.form import Form
from lawful.form.choices import choices_of, finite_sites

from ...contract import PRESERVES, Transformer
from ...graphs.reading.tree_proposal import tree_proposal
from ...kernels import mh
from ...transformers.propose.propose import propose
from .kernel_rows import Named, mixed


def _proposed(form: Form, loops: bool) -> list[str]:
    """List the finite sites that always run; those of loops only where all steps can be drawn at once."""
    found = [c for c in finite_sites(form) if not c.conditional and (loops or not c.loops)]
    return [c.name for c in found if c.law.element_values is not None]


def _moves(form: Form) -> Any:
    """Move by beliefs that follow the sites which they do not propose."""
    names = _proposed(form, loops=True)
    return mixed(mh(tree_proposal(form, sites=names, follow=True, floor=0.1)) if names else None)


TREE_MOVES = Named("mixture([2, 1], mh(tree_proposal), mh(single_site()))", _moves, mixed(mh()).contract)


def _weighted(form: Form) -> Form:
    names = _proposed(form, loops=False)
    if not names:
        return form
    halves: list[Any] = [np.full(v.shape, 0.5).astype(v.dtype) for v in form.inputs]
    given = {c.name: np.zeros(c.full_shape, c.dtype) for c in choices_of(form) if c.name not in names}
    return propose(tree_proposal(form, *halves, sites=names, given=given, floor=0.1))(form)


TreeWeights = Transformer("propose(tree_proposal)", _weighted, PRESERVES)
