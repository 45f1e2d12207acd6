"""Gates: weights of the experts at x, from the scores s_i(x) = beta1_i' x + beta0_i.

| kind | weights |
| --- | --- |
| "softmax" | exp(s_i) / sum_l exp(s_l) |
| "topk" | the same over the top_k largest scores ("full") or slopes beta1_i' x ("slope"), exactly 0 for the others |
| "temperature" | softmax(s_i / tau) |
| "activated" | softmax((act(beta1_i' x) + beta0_i) / tau) |

Law: weights are at least 0 and add up to 1. Ties of a top-K gate go to the smaller index.

References: Nguyen, Akbarian, Yan and Ho (2023), arXiv 2309.13850; Nguyen, Akbarian and Ho (2024), arXiv 2401.13875.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lawful.errors import LawfulError

from .parameters import Parameters

__all__ = ["ACTIVATIONS", "KINDS", "SELECTIONS", "Gate", "active_experts", "log_weights", "scores", "selected_scores"]

KINDS = ("softmax", "topk", "temperature", "activated")
SELECTIONS = ("full", "slope")
ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "logistic": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "gelu": partial(jax.nn.gelu, approximate=False),
}


@dataclass(frozen=True)
class Gate:
    """How weights are made of scores.

    Args:
        kind: "softmax", "topk", "temperature" or "activated".
        top_k: number of experts that have a weight, of the kind "topk" alone.
        selection: what ranks them: the "full" score, or its "slope" beta1_i' x alone.
        activation: act of the kind "activated": "logistic", "tanh" or "gelu".

    Raises: LawfulError for a setting that is not known.

    >>> Gate("topk", top_k=1)
    Gate(kind='topk', top_k=1, selection='full', activation='logistic')
    """

    kind: str = "softmax"
    top_k: int | None = None
    selection: str = "full"
    activation: str = "logistic"

    def __post_init__(self) -> None:
        """Check the settings."""
        choices = {"kind": KINDS, "selection": SELECTIONS, "activation": tuple(ACTIVATIONS)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise LawfulError(f"Gate: {name}={getattr(self, name)!r}. Fix: give one of {', '.join(known)}.")
        whole = isinstance(self.top_k, (int, np.integer)) and not isinstance(self.top_k, bool) and self.top_k >= 1
        if not (whole if self.kind == "topk" else self.top_k is None):
            raise LawfulError(
                f"Gate: kind={self.kind!r} with top_k={self.top_k}. Fix: give top_k, 1 or more, with kind='topk', and "
                "with no other kind."
            )
        for name, value, kind, usual in (
            ("selection", self.selection, "topk", "full"),
            ("activation", self.activation, "activated", "logistic"),
        ):
            if value != usual and self.kind != kind:
                raise LawfulError(f"Gate: {name}={value!r} with kind={self.kind!r}. Fix: give kind={kind!r} with it.")

    @property
    def linear(self) -> bool:
        """Whether a shift of all scores by a linear function of x changes nothing."""
        return self.kind != "activated"

    @property
    def affine(self) -> bool:
        """Whether covariates may be centred: a gate that ranks by slopes has an origin, as an activated one has."""
        return self.linear and self.selection == "full"


def scores(gate: Gate, parameters: Parameters, x: Float[Array, "d n"]) -> Float[Array, "k n"]:
    """Give what the softmax of the gate is taken of, rows of the data along the last axis.

    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0], tau=2.0)
    >>> scores(Gate("temperature"), told, jnp.array([[0.32, 1.0]])).tolist()
    [[0.0, 8.5], [0.0, 0.0]]
    """
    slope = parameters.beta1 @ x
    if gate.kind == "activated":
        return (ACTIVATIONS[gate.activation](slope) + parameters.beta0[:, None]) / parameters.tau
    full = slope + parameters.beta0[:, None]
    return full / parameters.tau if gate.kind == "temperature" else full


def active_experts(gate: Gate, parameters: Parameters, x: Float[Array, "d n"]) -> Bool[Array, "k n"]:
    """Say which experts have a weight: those that fewer than top_k others come before.

    >>> told = Parameters.of([1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0] * 3, [0.0] * 3, [1.0] * 3)
    >>> active_experts(Gate("topk", top_k=2), told, jnp.array([[-1.0, 1.0]])).astype(int).tolist()
    [[0, 1], [1, 1], [1, 0]]
    """
    ranked = parameters.beta1 @ x
    if gate.selection == "full":
        ranked = ranked + parameters.beta0[:, None]
    k = len(ranked)
    one, other = ranked[:, None], ranked[None]
    index = jnp.arange(k)
    tied_before = (one == other) & (index[:, None] > index[None])[..., None]
    before = jnp.sum((other > one) | tied_before, axis=1)
    return before < (k if gate.top_k is None else gate.top_k)


def selected_scores(gate: Gate, parameters: Parameters, x: Float[Array, "d n"]) -> Float[Array, "k n"]:
    """Give the scores of the experts that are active, -inf of the others: logs of the weights, but for a constant."""
    found = scores(gate, parameters, x)
    return jnp.where(active_experts(gate, parameters, x), found, -jnp.inf) if gate.kind == "topk" else found


def log_weights(gate: Gate, parameters: Parameters, x: Float[Array, "d n"]) -> Float[Array, "k n"]:
    """Give the logs of the weights, -inf where an expert has none.

    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0])
    >>> log_weights(Gate("topk", top_k=1), told, jnp.array([[0.3, 0.4]])).tolist()
    [[-inf, 0.0], [0.0, -inf]]
    """
    return jax.nn.log_softmax(selected_scores(gate, parameters, x), axis=0)
