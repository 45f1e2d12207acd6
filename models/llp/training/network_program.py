"""The network program, compiled, which fits a net: epochs, from a key and arrays of bags to the parameters after each.

Law: an epoch visits every bag once, in an order of its own; a bag that is not used weighs nothing. Numbers are
arguments, so one program serves all rows, bags and rates of its shapes, and any number of epochs at a time: a fit in
portions is the fit at once, bit by bit.

The loss of a batch is the sum of the totals over the sum of the weights, so a bag that fills a batch up, with weight 0,
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lawful.errors import LawfulError

from ..bags.blocks import Block

__all__ = ["Batch", "Loss", "Parameters", "Plan", "Terms", "Training", "advanced", "begun", "forward"]

Parameters = Any  # a tuple of (weights, biases), one pair a layer


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


class Plan(NamedTuple):
    """What is compiled in: bags a batch for each block, epochs, hidden widths, and that of the head for bags."""

    together: tuple[int, ...]
    epochs: int
    hidden: tuple[int, ...]
    bag_head: int = 0


class Training(NamedTuple):
    """A fit after some epochs.

    Attributes:
        parameters: of the layers and of the head for bags.
        optimiser: its state.
        history: the parameters after each epoch, on a leading axis of all epochs.
        losses: the mean loss of each (epochs,).
        done: number of epochs that were run.
    """

    parameters: Parameters
    optimiser: Any
    history: Parameters
    losses: Float[Array, " epochs"]
    done: Int[Array, ""]


@partial(jax.jit, static_argnames=("columns", "plan"))
def begun(key: jax.Array, rate: Float[Array, ""], *, columns: int, plan: Plan) -> Training:
    """Start a fit.

    Args:
        key: as for `advanced`.
        rate: base rate.
        columns: of the rows.
        plan: what is compiled in.
    """
    start, _ = jax.random.split(key)
    head = (plan.hidden[-1], plan.bag_head, 1) if plan.bag_head else ()
    layers = _initial(start, (columns, *plan.hidden, 1), rate)
    parameters = layers, _initial(jax.random.fold_in(start, len(layers)), head, rate)
    history = jax.tree.map(lambda leaf: jnp.zeros((plan.epochs, *leaf.shape), leaf.dtype), parameters)
    state = _optimiser(1.0, 1.0, 0.0, 1).init(parameters)  # zeros, whatever the rates
    return Training(parameters, state, history, jnp.zeros(plan.epochs, jnp.float32), jnp.int32(0))


@partial(jax.jit, static_argnames=("loss", "plan"))
def advanced(
    training: Training,
    until: Int[Array, ""],
    key: jax.Array,
    X: Float[Array, "n d"],
    told: Float[Array, "n t"],
    blocks: tuple[Block, ...],
    used: tuple[Bool[Array, " bags"], ...],
    rate: Float[Array, ""],
    learning_rate: Float[Array, ""],
    last_rate: Float[Array, ""],
    weight_decay: Float[Array, ""],
    *,
    loss: Loss,
    plan: Plan,
) -> Training:
    """Run the epochs up to a number; how they are cut into calls changes nothing, as all are runs of one program.

    Args:
        training: the fit so far.
        until: number of epochs that are then done.
        key: of the weights and of the order of bags.
        X: rows.
        told: numbers of the rows that the loss may read.
        blocks: the bags, put together by size.
        used: of each block, the bags that are fitted to.
        rate: base rate.
        learning_rate: at the start.
        last_rate: share of it at the end.
        weight_decay: of AdamW.
        loss: from a batch to terms.
        plan: what is compiled in.
    """
    _, order = jax.random.split(key)
    keys = jax.random.split(order, plan.epochs)
    batches = [-(-len(block.members) // k) for block, k in zip(blocks, plan.together, strict=True)]
    optimiser = _optimiser(learning_rate, weight_decay, last_rate, plan.epochs * sum(batches))

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
        return (_optax().apply_updates(parameters, updates), state), value

    def epoch(at: jax.Array, so_far: Training) -> Training:
        carry = so_far.parameters, so_far.optimiser
        (parameters, state), values = jax.lax.scan(step, carry, _shuffled(keys[at], blocks, plan.together, batches))
        history = jax.tree.map(lambda kept, leaf: kept.at[at].set(leaf), so_far.history, parameters)
        return Training(
            parameters, state, history, so_far.losses.at[at].set(jnp.mean(values).astype(jnp.float32)), at + 1
        )

    return jax.lax.fori_loop(training.done, until, epoch, training)


def _optimiser(learning_rate: Any, weight_decay: Any, last_rate: Any, steps: int) -> Any:
    """Make AdamW, whose rate falls along a cosine over all steps."""
    schedule = _optax().cosine_decay_schedule(1.0, steps, last_rate)
    return _optax().adamw(lambda step: learning_rate * schedule(step), weight_decay=weight_decay)


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
    z = forward(layers, X[own.reshape(-1)], len(layers)).reshape(members.shape)
    bag = None
    if head:
        hidden = forward(layers, X[own.reshape(-1)], len(layers) - 1).reshape((*members.shape, -1))
        mean = jnp.sum(jnp.where(real[..., None], hidden, 0), axis=1) / block.sizes[at][:, None]
        bag = _of_bags(head, mean)
    terms = loss(Batch(z, real, block.counts[at], block.sizes[at], block.log_weights[at], rate, told[own], bag))
    total = jnp.sum(jnp.where(there, terms.total, 0))
    weight = jnp.sum(jnp.where(there, terms.weight, 0))
    return total / jnp.where(weight == 0, 1, weight)


@partial(jax.jit, static_argnames="layers")
def forward(parameters: Parameters, X: Float[Array, "n d"], layers: int) -> Float[Array, "n ..."]:
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
