"""Chain: scores of T variables with K states each, along a line, and which of its steps are there.

Law: the scores define an unnormalised measure on paths x_0, ..., x_{T-1},

    gamma(x) = exp(sum_t node[t, x_t] + sum_{t >= 1} transition_t[x_{t-1}, x_t]),

in which nothing need be normalised, and minus infinity is a hard zero. A step that is masked out is an identity
message: its state is that of the step before it, at no score. So a short sequence, padded and masked, has the measure
of its own steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lawful.errors import LawfulError, NonFiniteError

from .sums import Total, total

METHODS = ("auto", "sequential", "associative", "logs")
FEW_STATES = 32  # beyond them T K^3 operations cost more than the depth of log T saves


class Chain(NamedTuple):
    """Scores of a chain; made by `chain`, which checks them.

    Attributes:
        node: log scores of the states (T, K); the initial scores are part of the first row.
        transition: log scores from a state to the next (K, K), the same for all steps, or (T - 1, K, K).
        live: which steps are there (T,), or None where all are.
    """

    node: Float[Array, "T K"]
    transition: Float[Array, "*S K K"]
    live: Bool[Array, " T"] | None

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return self.node.shape[0]

    @property
    def states(self) -> int:
        """Number of states K."""
        return self.node.shape[1]

    @property
    def shared(self) -> bool:
        """Whether all steps have one transition matrix."""
        return self.transition.ndim == 2

    def moves(self) -> Float[Array, "S K K"]:
        """Transition scores of every step after the first; where a step is masked out, those of the identity."""
        moves = jnp.broadcast_to(self.transition, (max(self.steps - 1, 0), self.states, self.states))
        if self.live is None:
            return moves
        same = jnp.where(jnp.eye(self.states, dtype=bool), 0.0, -jnp.inf).astype(moves.dtype)
        return jnp.where(self.live[1:, None, None], moves, same)

    def evidence(self) -> Float[Array, "T K"]:
        """Node scores, zero where a step after the first is masked out."""
        if self.live is None:
            return self.node
        return jnp.concatenate([self.node[:1], jnp.where(self.live[1:, None], self.node[1:], 0)])

    def method(self, method: str) -> str:
        """Resolve a method: step by step on CPUs, and where the states are many; else by products of matrices.

        >>> chain(jnp.zeros((3, 2)), jnp.zeros((2, 2))).method("associative")
        'associative'
        """
        if method not in METHODS:
            raise LawfulError(f"chain: method: expected one of {METHODS}, got {method!r}.", given=method)
        if method != "auto":
            return method
        return "associative" if jax.default_backend() != "cpu" and self.states <= FEW_STATES else "sequential"


def chain(node: Any, transition: Any, initial: Any | None = None, mask: Any | None = None) -> Chain:
    """Make a chain of scores, or say what is wrong with them.

    Args:
        node: log scores of the states at each step (T, K), such as log p(y_t | x_t).
        transition: log scores of moves, from the state in the first axis to that in the second: (K, K) for all steps,
            or (T - 1, K, K), where the matrix t scores the move from step t to step t + 1.
        initial: log scores of the first state (K,); none are zeros.
        mask: which steps are there (T,); none are all. The score of a step that is masked out counts as zero, also in
            derivatives; `initial` stays. Pad at the end: a move leads into every step that is there but step 0.

    Returns: a Chain, in float64 if one of the scores is, else in float32.

    Raises:
        LawfulError: shapes that do not fit.
        NonFiniteError: a score that is NaN or plus infinity, where the scores are known.

    >>> two = chain(jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.2]])), jnp.log(jnp.array([[0.8, 0.2], [0.3, 0.7]])))
    >>> two.steps, two.states, two.shared
    (2, 2, True)
    >>> chain(jnp.zeros((3, 2)), jnp.zeros((3, 2, 2)))
    Traceback (most recent call last):
    ...
    lawful.errors.LawfulError: chain: transition: expected shape (2, 2) or (2, 2, 2), got (3, 2, 2). Fix: ...
    """
    scores = {"node": node, "transition": transition} | ({} if initial is None else {"initial": initial})
    for name, value in scores.items():
        _check_values(name, value)
    scores = {name: jnp.asarray(value) for name, value in scores.items()}
    wide = any(value.dtype == jnp.float64 for value in scores.values())
    scores = {name: value.astype(jnp.float64 if wide else jnp.float32) for name, value in scores.items()}
    _check_shapes({name: value.shape for name, value in scores.items()})
    node, transition = scores["node"], scores["transition"]
    live = None if mask is None else jnp.asarray(mask)
    if live is not None:
        if live.shape != node.shape[:1] or live.dtype != bool:
            raise LawfulError(
                f"chain: mask: expected {node.shape[0]} booleans, one a step, got {live.dtype.name} {live.shape}. "
                "Fix: give True for steps that are there."
            )
        node = jnp.where(live[:, None], node, 0)
    if initial is not None and node.shape[0]:
        node = node.at[0].add(scores["initial"])
    return Chain(node, transition, live)


def _check_shapes(shapes: dict[str, tuple[int, ...]]) -> None:
    node, transition = shapes["node"], shapes["transition"]
    if len(node) != 2 or not node[1]:
        raise LawfulError(f"chain: node: expected shape (steps, states), got {node}. Fix: give a row for each step.")
    steps, states = node
    each = (max(steps - 1, 0), states, states)
    if transition not in (each, each[1:]):
        raise LawfulError(
            f"chain: transition: expected shape {each[1:]} or {each}, got {transition}. Fix: give one matrix for all "
            "moves, or one for each move from a step to the next, so one less than there are steps."
        )
    if shapes.get("initial", (states,)) != (states,):
        raise LawfulError(
            f"chain: initial: expected shape {(states,)}, got {shapes['initial']}. Fix: give a score for each state."
        )


def _check_values(name: str, value: Any) -> None:
    """Refuse known scores that are none; by NumPy, as inside a trace JAX would not know them."""
    if isinstance(value, jax.core.Tracer):
        return
    value = np.asarray(value)
    wrong = ~(value < np.inf)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise NonFiniteError(
            f"chain: {name}: expected log scores below infinity, got {value[place]} at {place}. Fix: hard zeros are "
            "minus infinity; look for what made this score.",
            place=place,
        )


def path_score(given: Chain, path: Int[Array, " T"]) -> Total:
    """Log score of one path.

    >>> given = chain(jnp.array([[0.0, 1.0], [2.0, 0.0]]), jnp.array([[0.0, 0.0], [0.5, 0.0]]))
    >>> path_score(given, jnp.array([1, 0])).high.item()
    3.5
    """
    at = jnp.arange(given.steps)
    nodes = given.evidence()[at, path]
    if given.steps < 2:
        return total(nodes)
    before, after = path[:-1], path[1:]
    moves = given.transition[before, after] if given.shared else given.transition[at[:-1], before, after]
    if given.live is not None:
        moves = jnp.where(given.live[1:], moves, jnp.where(before == after, 0, -jnp.inf))
    return total(jnp.concatenate([nodes, moves]))
