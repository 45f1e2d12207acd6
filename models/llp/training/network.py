"""The network that all methods share: a small multilayer perceptron from rows to log odds, fitted to a loss of bags.

Law: a fit is a pure function of rows, bags, recipe and seed: one compiled program for all its steps. Every epoch visits
every bag once, in an order of its own; no label and no held-out bag is looked at. The parameters after every epoch are
kept, so that rules of selection can be compared afterwards; the last ones are the fit.

The last layer starts near zero with the base rate as its bias: bag losses are flat far from the marginal rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import ObservationError
from lawful.inference import LongStep

from ..bags.bags import Bags
from ..bags.blocks import blocks_of
from .network_program import Loss, Parameters, Plan, advanced, begun, forward

__all__ = ["Network", "Recipe", "fit_network"]

CHUNK = 1 << 16  # rows that are scored at once


@dataclass(frozen=True)
class Recipe:
    """How a net is made and fitted.

    Attributes:
        hidden: widths of the hidden layers.
        learning_rate: at the start; it falls along a cosine over all steps.
        weight_decay: of AdamW.
        rows: that a batch of whole bags has at most, if it has more than one.
        epochs: see below.
        bag_head: width of the hidden layer of a second output, for whole bags; 0 for none.
        last_rate: share of the rate that is left at the end; with 1 it stays as it is.

    `epochs=None` takes 10 for bags of 32 and fewer on average, 20 below 512 and 40 from there: the fewer the bags, the
    fewer the steps of an epoch.

    The second output is one of the mean of the last hidden layer over the members, rectified, through a hidden layer
    with logistic units.
    """

    hidden: tuple[int, ...] = (64, 32)
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    rows: int = 1024
    epochs: int | None = None
    bag_head: int = 0
    last_rate: float = 0.0

    def epochs_for(self, size: float) -> int:
        """Return the number of epochs for bags of this mean size.

        >>> [Recipe().epochs_for(size) for size in (8.0, 128.0, 2048.0)]
        [10, 20, 40]
        """
        if self.epochs is not None:
            return self.epochs
        return 10 if size <= 32 else 20 if size < 512 else 40


@dataclass(frozen=True)
class Network:
    """A fitted net; `history` has the parameters after each epoch on a leading axis, `losses` the mean loss of each.

    `heads` has those of the output for bags, where there is one.
    """

    history: Parameters
    losses: np.ndarray
    heads: Parameters = ()

    @property
    def parameters(self) -> Parameters:
        """The parameters after the last epoch."""
        return jax.tree.map(lambda leaf: leaf[-1], self.history)

    def logits(self, X: np.ndarray, epoch: int = -1) -> np.ndarray:
        """Return the log odds of each row (n,) as float32, after an epoch (the last)."""
        return self._rows(X, epoch, len(self.history))

    def hidden(self, X: np.ndarray, epoch: int = -1, layer: int = -1) -> np.ndarray:
        """Return a hidden layer (the last) of each row (n, width), after an epoch (the last): the learned embedding."""
        return self._rows(X, epoch, range(1, len(self.history))[layer])

    def _rows(self, X: np.ndarray, epoch: int, layers: int) -> np.ndarray:
        X = np.asarray(X, np.float32)
        parameters = jax.tree.map(lambda leaf: leaf[epoch], self.history)
        if len(X) <= CHUNK:
            return np.asarray(forward(parameters, X, layers))
        return np.concatenate([forward(parameters, X[at : at + CHUNK], layers) for at in range(0, len(X), CHUNK)])


def fit_network(
    X: np.ndarray,
    bags: Bags,
    loss: Loss,
    *,
    recipe: Recipe = Recipe(),
    seed: int = 0,
    told: np.ndarray | None = None,
    used: np.ndarray | None = None,
) -> Network:
    """Fit a net to the counts of bags.

    Args:
        X: rows (n, d).
        bags: the bags of these rows, with counts of ones; those without a known count are left out.
        loss: from a `Batch` of bags to `Terms`; one object for one loss, since it is compiled for each.
        recipe: sizes, rates and epochs.
        seed: of the weights and of the order of bags.
        told: numbers of the rows that the loss may read (n, t).
        used: bags that are fitted to, a mask (n_b,), by default all; the others weigh nothing, and one compiled program
            serves any choice.

    Raises:
        ObservationError: rows and bags do not fit, or no bag has a count of ones.

    Reference: He, Zhang, Ren, Sun (2015), Delving deep into rectifiers (the weights); Loshchilov and Hutter (2019),
    Decoupled weight decay regularization (AdamW).
    """
    X = np.asarray(X, np.float32)
    if X.ndim != 2 or len(X) != bags.n_rows:
        raise ObservationError(
            f"fit_network: X of shape {X.shape} and bags of {bags.n_rows} rows. Fix: give X (n, d) with these rows."
        )
    used = np.ones(bags.n_bags, bool) if used is None else np.asarray(used, bool)
    told = np.zeros((len(X), 0), np.float32) if told is None else np.asarray(told, np.float32)
    blocks = blocks_of(bags)
    sizes = np.concatenate([block.sizes for block in blocks])
    rate = np.clip(
        bags.take(used).base_rate, 0.5 / sizes.sum(), 1 - 0.5 / sizes.sum()
    )  # all zeros or all ones have a logit too
    plan = Plan(
        tuple(min(max(1, recipe.rows // block.members.shape[1]), len(block.members)) for block in blocks),
        recipe.epochs_for(float(sizes.mean())),
        recipe.hidden,
        recipe.bag_head,
    )
    arrays = tuple(map(jax.device_put, blocks))
    weights = tuple(jax.device_put(used[block.numbers]) for block in blocks)
    numbers = [jnp.float32(value) for value in (rate, recipe.learning_rate, recipe.last_rate, recipe.weight_decay)]
    key = jax.random.key(seed)
    inputs = key, jax.device_put(X), jax.device_put(told), arrays, weights, *numbers
    step = LongStep.of("net", (inputs, loss, plan))
    training = step.taken_up(begun(key, numbers[0], columns=X.shape[1], plan=plan))
    for until in step.portions(int(training.done), plan.epochs):
        training = advanced(training, jnp.int32(until), *inputs, loss=loss, plan=plan)
        step.keep(training)
    history, heads = jax.tree.map(np.asarray, training.history)
    return Network(history, np.asarray(training.losses), heads)
