"""Metropolis-Hastings kernels: propose, then accept with the probability that keeps the target.

Law: pi K = pi, and K is reversible: pi(dx) K(x, dy) is symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from lawful.analysis import without_dead_code
from lawful.block import Block
from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Var
from lawful.interpose import interpose
from lawful.record import Choice, choices_of

from ..check.contracts import Contract
from ..laws import CoinLaw, UniformIndexLaw
from .base import INVARIANT, KernelForm, State, flag_per_choice, scored, state_inputs
from .redraw import PREFIX, Redraw, ScoreKept, units


@dataclass(frozen=True)
class Proposed:
    """A proposal: the new state, and the log of the Hastings ratio."""

    state: State
    log_ratio: Var


class Proposal(Protocol):
    """Something that proposes a new state."""

    @property
    def contract(self) -> Contract:
        """What the kernel built on the proposal claims."""

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the nodes of the proposal."""

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""


def acceptance(log_ratio: jax.Array) -> jax.Array:
    """Metropolis acceptance min(1, ratio); a NaN ratio rejects.

    >>> acceptance(jnp.log(jnp.array([0.5, 2.0]))).tolist(), float(acceptance(jnp.array(jnp.nan)))
    ([0.5, 1.0], 0.0)
    """
    return jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))


@dataclass(frozen=True)
class MH:
    """The kernel of a proposal."""

    proposal: Any

    @property
    def contract(self) -> Contract:
        """What the proposal allows to claim."""
        return self.proposal.contract

    def build(self, program: Form) -> KernelForm:
        """Write proposal, coin and choice as one Form."""
        choices = choices_of(program)
        if not choices:
            raise UnsupportedProgramError("mcmc: the program has no latent site to move.")
        block = Block()
        inputs = tuple(v.like() for v in program.inputs)
        state = state_inputs(choices)
        proposed = self.proposal.propose(block, program, inputs, choices, state)
        probability = block.det(acceptance, proposed.log_ratio, label="acceptance")
        coin = block.site((PREFIX, "accept"), CoinLaw(str(probability.dtype)), (probability,))
        pairs = zip(proposed.state.flat, state.flat, strict=True)
        new = [block.det(jnp.where, coin, there, here, label="accept?") for there, here in pairs]
        broken = block.det(jnp.isnan, proposed.log_ratio, label="not finite?")
        form = block.form((*inputs, *state.flat), (*new, probability, coin, broken))
        return KernelForm(without_dead_code(form), choices, ("acceptance_rate", "accepted", "n_nonfinite"))

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        return self.proposal.plan(program)

    def __repr__(self) -> str:
        """Show the proposal."""
        return f"mh({self.proposal!r})"


def mh(proposal: Any = None) -> MH:
    """Metropolis-Hastings with a proposal; without one, single-site moves from the prior.

    >>> mh()
    mh(single_site())
    """
    return MH(single_site() if proposal is None else proposal)


@dataclass(frozen=True)
class SingleSite:
    """Draw one part again from its prior, chosen uniformly among the active ones.

    A part is one element of a site's batch at one step of its loops. Parts that become active are drawn from the prior
    too. In the ratio stay only the parts that are kept, the likelihood, and the numbers of active parts.

    Reference: Wingate, Stuhlmueller and Goodman (2011), Lightweight implementations of probabilistic programming
    languages.
    """

    contract: Contract = INVARIANT

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append selection, new draws and ratio."""
        flags = flag_per_choice(block, choices, state.flags)
        active = [_active(block, c, f) for c, f in zip(choices, flags, strict=True)]
        count = block.det(count_active, *active, label="active parts")
        parts = sum(_size(c) for c in choices)
        index = block.site((PREFIX, "part"), UniformIndexLaw(parts), (count,))
        again = block.det(_select(choices), index, *active, label="which part")
        redraw = interpose(program, Redraw())
        given = [v for i in range(len(choices)) for v in (state.values[i], flags[i], again[i])]
        outputs = block.splice(redraw.form, [*inputs, *given])
        names = dict(zip(redraw.form.outputs, outputs, strict=True))
        kept_new, likelihood_new = outputs[redraw.own : redraw.own + 2]
        new = [names[pair[0]] for pair in redraw.outputs]
        kept = [names[pair[1]] for pair in redraw.outputs]
        new_flags = tuple(names[v] for v in redraw.flags)
        old = interpose(program, ScoreKept())
        before = [v for i in range(len(choices)) for v in (state.values[i], kept[i])]
        kept_old, likelihood_old = block.splice(old.form, [*inputs, *before])[old.own : old.own + 2]
        after = [_active(block, c, f) for c, f in zip(choices, flag_per_choice(block, choices, new_flags), strict=True)]
        new_count = block.det(count_active, *after, label="active parts")
        ratio = block.det(
            hastings_ratio, kept_new, likelihood_new, kept_old, likelihood_old, count, new_count, label="log ratio"
        )
        log_density, _ = scored(block, program, inputs, new)
        return Proposed(State(tuple(new), new_flags, log_density), ratio)

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        return [f"{c.name}: one part at a time, proposed from its prior" for c in choices_of(program)]

    def __repr__(self) -> str:
        """Show the name."""
        return "single_site()"


def single_site() -> SingleSite:
    """Single-site moves from the prior, for programs of any kind of site, branches included."""
    return SingleSite()


def hastings_ratio(
    kept_new: jax.Array,
    likelihood_new: jax.Array,
    kept_old: jax.Array,
    likelihood_old: jax.Array,
    count_old: jax.Array,
    count_new: jax.Array,
) -> jax.Array:
    """Log Hastings ratio of a single-site move: the draws from the prior cancel, n / n' stays."""
    target = (kept_new + likelihood_new) - (kept_old + likelihood_old)
    return target + jnp.log(count_old * 1.0) - jnp.log(count_new * 1.0)


def count_active(*active: jax.Array) -> jax.Array:
    """Count the active parts of all sites."""
    return sum((jnp.sum(a, dtype=jnp.int32) for a in active), jnp.zeros((), jnp.int32))


def _size(choice: Choice) -> int:
    size = 1
    for n in (*choice.loops, *units(choice)):
        size *= n
    return size


def _active(block: Block, choice: Choice, flag: Var) -> Var:
    shape = (*choice.loops, *units(choice))

    def spread(flag: jax.Array) -> jax.Array:
        return jnp.broadcast_to(flag.reshape(flag.shape + (1,) * (len(shape) - flag.ndim)), shape)

    return block.det(spread, flag, label="active?")


def _select(choices: Sequence[Choice]) -> Any:
    """Mark the part whose rank among the active ones is the index."""

    def select(index: jax.Array, *active: jax.Array) -> tuple[jax.Array, ...]:
        flat = jnp.concatenate([a.reshape(-1) for a in active])
        rank = jnp.cumsum(flat.astype(jnp.int32)) - 1
        chosen = flat & (rank == index)
        out, start = [], 0
        for a in active:
            out.append(chosen[start : start + a.size].reshape(a.shape))
            start += a.size
        return tuple(out)

    return select
