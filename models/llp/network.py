"""The net that all methods share: a small multilayer perceptron from rows to log odds, fitted to a loss of whole bags.

Law: a fit is a pure function of rows, bags, recipe and seed: one compiled program for all its steps. Every epoch visits
every bag once, in an order of its own; no label and no held-out bag is looked at. The parameters after every epoch are
kept, so that rules of selection can be compared afterwards; the last ones are the fit.

The last layer starts near zero with the base rate as its bias: bag losses are flat far from the marginal rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lawful.errors import LawfulError, ObservationError

from .bags import Bags
from .blocks import Block, blocks_of

Parameters = Any  # a tuple of (weights, biases), one pair a layer
CHUNK = 1 << 16  # rows that are scored at once


class Terms(NamedTuple):
    """What a loss says about each bag of a batch: a sum and the weight to divide it by, each (bags,)."""

    total: Float[Array, " bags"]
    weight: Float[Array, " bags"]


class Batch(NamedTuple):
    """What a loss is told: log odds `z` and which members are `real` (bags, W), the counts and the base rate."""

    z: Float[Array, "bags W"]
    real: Bool[Array, "bags W"]
    counts: Float[Array, " bags"]
    sizes: Float[Array, " bags"]
    log_weights: Float[Array, "bags S"]  # of the counts 0..W
    rate: Float[Array, ""]
    told: Float[Array, "bags W t"] | None = None  # numbers of the members, where the fit was given some
    bag: Float[Array, " bags"] | None = None  # log odds of the bags themselves, where the recipe has a head for them


Loss = Callable[[Batch], Terms]


@dataclass(frozen=True)
class Recipe:
    """How a net is made and fitted.

    `epochs=None` takes 10 for bags of 32 and fewer on average, 20 below 512 and 40 from there: the fewer the bags, the
    fewer the steps of an epoch. The rate falls from `learning_rate` to 0 along a cosine over all steps; a batch has as
    many whole bags as fit into `rows`, at least one.

    With `bag_head` the net has a second output, of whole bags: of the mean of the last hidden layer over the members,
    rectified, through a hidden layer of this width with logistic units.
    """

    hidden: tuple[int, ...] = (64, 32)
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    rows: int = 1024
    epochs: int | None = None
    bag_head: int = 0

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

    def hidden(self, X: np.ndarray) -> np.ndarray:
        """Return the last hidden layer of each row (n, width): the learned embedding."""
        return self._rows(X, -1, len(self.history) - 1)

    def _rows(self, X: np.ndarray, epoch: int, layers: int) -> np.ndarray:
        X = np.asarray(X, np.float32)
        parameters = jax.tree.map(lambda leaf: leaf[epoch], self.history)
        if len(X) <= CHUNK:
            return np.asarray(_forward(parameters, X, layers))
        return np.concatenate([_forward(parameters, X[at : at + CHUNK], layers) for at in range(0, len(X), CHUNK)])


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
    plan = _Plan(
        tuple(min(max(1, recipe.rows // block.members.shape[1]), len(block.members)) for block in blocks),
        recipe.epochs_for(float(sizes.mean())),
        recipe.hidden,
        recipe.bag_head,
    )
    arrays = tuple(jax.tree.map(jnp.asarray, block) for block in blocks)
    weights = tuple(jnp.asarray(used[block.numbers]) for block in blocks)
    numbers = [jnp.float32(value) for value in (rate, recipe.learning_rate, recipe.weight_decay)]
    (history, heads), losses = _fit(
        jax.random.key(seed), jnp.asarray(X), jnp.asarray(told), arrays, weights, *numbers, loss=loss, plan=plan
    )
    history, heads = jax.tree.map(np.asarray, (history, heads))
    return Network(history, np.asarray(losses), heads)


class _Plan(NamedTuple):
    """What is compiled in: bags a batch for each block, epochs, hidden widths, and that of the head for bags."""

    together: tuple[int, ...]
    epochs: int
    hidden: tuple[int, ...]
    bag_head: int = 0


@partial(jax.jit, static_argnames=("loss", "plan"))
def _fit(
    key: jax.Array,
    X: Float[Array, "n d"],
    told: Float[Array, "n t"],
    blocks: tuple[Block, ...],
    used: tuple[Bool[Array, " bags"], ...],
    rate: Float[Array, ""],
    learning_rate: Float[Array, ""],
    weight_decay: Float[Array, ""],
    *,
    loss: Loss,
    plan: _Plan,
) -> tuple[Parameters, Float[Array, " epochs"]]:
    optax = _optax()
    start, order = jax.random.split(key)
    head = (plan.hidden[-1], plan.bag_head, 1) if plan.bag_head else ()
    layers = _initial(start, (X.shape[1], *plan.hidden, 1), rate)
    parameters = layers, _initial(jax.random.fold_in(start, len(layers)), head, rate)
    batches = [-(-len(block.members) // k) for block, k in zip(blocks, plan.together, strict=True)]
    steps = plan.epochs * sum(batches)
    schedule = optax.cosine_decay_schedule(1.0, steps)
    optimiser = optax.adamw(lambda step: learning_rate * schedule(step), weight_decay=weight_decay)

    def branch(which: int) -> Callable[..., Any]:
        def value(parameters: Parameters, chosen: jax.Array) -> jax.Array:
            return _batch_loss(
                parameters, X, told, blocks[which], used[which], chosen[: plan.together[which]], rate, loss
            )

        return jax.value_and_grad(value)

    branches = [branch(which) for which in range(len(blocks))]

    def step(carry: Any, batch: Any) -> Any:
        parameters, state = carry
        which, chosen = batch
        value, slope = (
            branches[0](parameters, chosen) if len(blocks) == 1 else jax.lax.switch(which, branches, parameters, chosen)
        )
        updates, state = optimiser.update(slope, state, parameters)
        return (optax.apply_updates(parameters, updates), state), value

    def epoch(carry: Any, key: jax.Array) -> Any:
        carry, values = jax.lax.scan(step, carry, _shuffled(key, blocks, plan.together, batches))
        return carry, (carry[0], jnp.mean(values))

    return jax.lax.scan(epoch, (parameters, optimiser.init(parameters)), jax.random.split(order, plan.epochs))[1]


def _initial(key: jax.Array, widths: tuple[int, ...], rate: Float[Array, ""]) -> Parameters:
    layers = []
    for number, (fan_in, fan_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        last = number == len(widths) - 2
        scale = (0.1 if last else 1.0) * (2 / fan_in) ** 0.5
        weights = scale * jax.random.normal(jax.random.fold_in(key, number), (fan_in, fan_out), jnp.float32)
        bias = jnp.zeros(fan_out, jnp.float32)
        layers.append((weights, bias + jnp.log(rate) - jnp.log1p(-rate) if last else bias))
    return tuple(layers)


def _shuffled(
    key: jax.Array, blocks: tuple[Block, ...], together: tuple[int, ...], batches: list[int]
) -> tuple[Int[Array, " steps"], Int[Array, "steps most"]]:
    """Cut each block's bags into batches in a new order (-1 fills the last one up), and mix the blocks' batches."""
    most, chosen = max(together), []
    for number, (block, k, count) in enumerate(zip(blocks, together, batches, strict=True)):
        order = jax.random.permutation(jax.random.fold_in(key, number), len(block.members)).astype(jnp.int32)
        cut = jnp.pad(order, (0, count * k - len(order)), constant_values=-1).reshape(count, k)
        chosen.append(jnp.pad(cut, ((0, 0), (0, most - k)), constant_values=-1))
    which = jnp.asarray(np.repeat(np.arange(len(blocks), dtype=np.int32), batches))
    if len(blocks) == 1:
        return which, chosen[0]
    mixed = jax.random.permutation(jax.random.fold_in(key, len(blocks)), len(which))
    return which[mixed], jnp.concatenate(chosen)[mixed]


def _batch_loss(
    parameters: Parameters,
    X: jax.Array,
    told: jax.Array,
    block: Block,
    used: jax.Array,
    chosen: jax.Array,
    rate: jax.Array,
    loss: Loss,
) -> Float[Array, ""]:
    at = jnp.where(chosen >= 0, chosen, 0)
    there = (chosen >= 0) & used[at]
    members = block.members[at]
    real = members >= 0
    own = jnp.where(real, members, 0)
    layers, head = parameters
    z = _forward(layers, X[own.reshape(-1)], len(layers)).reshape(members.shape)
    bag = None
    if head:
        hidden = _forward(layers, X[own.reshape(-1)], len(layers) - 1).reshape((*members.shape, -1))
        mean = jnp.sum(jnp.where(real[..., None], hidden, 0), axis=1) / block.sizes[at][:, None]
        bag = _of_bags(head, mean)
    terms = loss(Batch(z, real, block.counts[at], block.sizes[at], block.log_weights[at], rate, told[own], bag))
    total = jnp.sum(jnp.where(there, terms.total, 0))
    weight = jnp.sum(jnp.where(there, terms.weight, 0))
    return total / jnp.where(weight == 0, 1, weight)


@partial(jax.jit, static_argnames="layers")
def _forward(parameters: Parameters, X: Float[Array, "n d"], layers: int) -> Float[Array, "n ..."]:
    """Apply the first layers; the last of all has no rectifier and one output."""
    for number, (weights, bias) in enumerate(parameters[:layers]):
        X = X @ weights + bias[None]
        X = X[:, 0] if number == len(parameters) - 1 else jax.nn.relu(X)
    return X


def _of_bags(head: Parameters, mean: Float[Array, "bags width"]) -> Float[Array, " bags"]:
    """Give log odds of bags from the mean of the last hidden layer over their members."""
    (inner, shift), (outer, bias) = head
    return (jax.nn.sigmoid(jax.nn.relu(mean) @ inner + shift[None]) @ outer + bias[None])[:, 0]


def _optax() -> Any:
    try:
        import optax
    except ImportError as error:
        raise LawfulError(
            "nets are fitted by optax, which is not installed. Fix: pip install 'lawful[llp]'."
        ) from error
    return optax
