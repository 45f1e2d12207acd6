"""Nets: a net on a loss of bags, shown as `Fitted`."""

from __future__ import annotations

import numpy as np

from lawful.models.llp import Bags
from lawful.models.llp.training.fitted import Fitted, check_rows
from lawful.models.llp.training.network import Recipe, fit_network
from lawful.models.llp.training.network_program import Loss


def fit_net(X: np.ndarray, bags: Bags, loss: Loss, recipe: Recipe, seed: int) -> Fitted:
    """Fit a net and show it as a fitted method; `details["network"]` is the net."""
    network = fit_network(check_rows(X, bags, "fit"), bags, loss, recipe=recipe, seed=seed)
    return Fitted(network.logits, network.logits, {"network": network, "losses": network.losses})
