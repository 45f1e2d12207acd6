"""Delayed acceptance: a kernel of a cheap program proposes, and the program itself is scored only where it moved.

Law: a kernel that is reversible for the cheap density c proposes y with c(x) Q(x, y) = c(y) Q(y, x); accepted with
min(1, pi(y) c(x) / (pi(x) c(y))) the whole is reversible for pi, however bad the cheap program is.

Reference: Christen and Fox (2005), Markov chain Monte Carlo using an approximation; Liu (2001), Monte Carlo Strategies
in Scientific Computing, section 9.4.3, for several cheap steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.form.operations.sums import signed
from lawful.passes.thread_sites import score
from lawful.tracing.trace import trace

from ...contract import Contract
from ...representations.kernel_form import KernelForm, exact, scoped, scored, state_inputs
from ..base.acceptance import INFO, accept
from ..base.base import INVARIANT, finished
from ..jumps.taken import Taken, taken
from .compose import repeat
from .mh import as_kernel


@dataclass(frozen=True)
class DelayedAcceptance:
    """A kernel on a cheap program, corrected; see `delayed_acceptance`."""

    cheap: Callable[..., Any]
    kernel: Any
    steps: int = 1
    contract: Contract = INVARIANT

    def build(self, program: Form) -> KernelForm:
        """Write the cheap steps, the score where they moved, and the coin."""
        choices = choices_of(program)
        cheap = self._cheap(program)
        moves = self.kernel if self.steps == 1 else repeat(self.kernel, self.steps)
        built = exact(moves.build(cheap), "delayed_acceptance")
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        given = self._taken(program).values(inputs)[: len(cheap.inputs)]
        before, _ = scored(block, cheap, given, state.values)
        start = (*state.values, *state.flags, before)
        outs = block.splice(scoped(built.form, ("~cheap",)), [*given, *start])
        there, numbers = outs[: built.size], dict(zip(built.info, outs[built.size :], strict=True))
        after = there[-1]
        moved = block.det(_differs, *start[:-1], *there[:-1], label="moved?")
        log_density, *flags = self._scored_where(block, program, inputs, moved, there, state.log_density)
        ratio = signed(block, (log_density, before), (state.log_density, after), "log ratio")
        if flags:
            ratio = block.det(_same_sites, ratio, *there[len(choices) : -1], *flags, label="same sites?")
        probability, coin, broken = accept(block, ratio)
        probability = block.det(
            jnp.multiply, probability, block.det(_number, moved, label="moved?"), label="acceptance"
        )
        pairs = zip((*there[:-1], log_density), state.flat, strict=True)
        new = [block.det(jnp.where, coin, y, x, label="accept?") for y, x in pairs]
        accepted = block.det(jnp.logical_and, coin, moved, label="accepted?")
        counted = {"n_scored": block.det(_count, moved, label="n_scored")}
        counted |= {f"cheap_{n}": numbers[n] for n in ("acceptance_rate",) if n in numbers}
        if "n_nonfinite" in numbers:
            broken = block.det(_either, broken, numbers["n_nonfinite"], before, label="n_nonfinite")
        form = block.form((*inputs, *state.flat), (*new, probability, accepted, broken, *counted.values()))
        return KernelForm(finished(form), choices, (*INFO, *counted))

    def plan(self, program: Form) -> list[str]:
        """Say what the cheap kernel moves."""
        lines = self.kernel.plan(self._cheap(program))
        return [f"{line}, on {self._name}, then accepted by the program" for line in lines]

    @property
    def _name(self) -> str:
        return str(getattr(self.cheap, "__name__", "a form"))

    def _scored_where(
        self, block: Block, program: Form, inputs: Sequence[Var], moved: Var, there: Sequence[Var], old: Var
    ) -> tuple[Var, ...]:
        """Append the log density of the program, and its flags, in a branch that runs where something moved."""
        still, scoring = Block(), Block()
        operands = (*inputs, *there[:-1], old)
        kept, given = (tuple(v.like() for v in operands) for _ in range(2))
        n, values = len(inputs), len(choices_of(program))
        log_density, flags = scored(scoring, program, given[:n], given[n : n + values])
        arms = (
            still.form(kept, (kept[-1], *kept[n + values : -1])),
            scoring.form(given, (log_density, *flags)),
        )
        index = block.det(_count, moved, label="moved?")
        return block.branch(index, arms, operands, (old, *there[values:-1]), label="moved?")

    def _taken(self, program: Form) -> Taken:
        """Read what the cheap program takes of the arguments of the program."""
        return taken(self.cheap, 0, program, "delayed_acceptance")

    def _cheap(self, program: Form) -> Form:
        """Trace the cheap program on the arguments of the program, and compare the sites.

        Raises: LawfulError where these differ.
        """
        arrays = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.inputs]
        by_place, named = self._taken(program).given(arrays)
        form = trace(self.cheap, *by_place, **named)
        wanted, found = (
            [(c.name, c.full_shape, c.dtype, c.conditional) for c in choices_of(f)] for f in (program, form)
        )
        if sorted(map(str, wanted)) != sorted(map(str, found)):
            shown = [", ".join(f"{name} {shape}" for name, shape, _, _ in group) or "none" for group in (found, wanted)]
            raise LawfulError(
                f"delayed_acceptance: the sites of {self._name} are {shown[0]}; expected those of the program, "
                f"{shown[1]}. Fix: give the cheap program the same sites, and let it differ in laws, observations and "
                "factors."
            )
        return _in_order(form, [c.address for c in choices_of(program)])

    def __repr__(self) -> str:
        """Show program and kernel."""
        return f"delayed_acceptance({self._name}, {self.kernel!r}{f', steps={self.steps}' if self.steps > 1 else ''})"


def delayed_acceptance(cheap: Callable[..., Any], kernel: Any = None, *, steps: int = 1) -> DelayedAcceptance:
    """Move by a cheap program, and score the program itself only where that moved.

    The kernel runs on the cheap program; the step as a whole is accepted by the ratio of the two densities, so the
    posterior is the program's whatever the cheap one is. `stats["n_scored"]` counts how often the program was scored:
    one chain alone skips the other times, chains side by side do so where none of them moved.

    Args:
        cheap: a program with the same sites: an approximation in its laws, observations or factors, as on a part of the
            data. It takes the arrays among the model's arguments, or the first of them, or arguments by name, as a
            proposal of `mh`.
        kernel: a reversible kernel or a bare proposal, for the cheap program; default: single-site moves.
        steps: cheap steps between two scores of the program.

    Raises: LawfulError for a kernel that does not claim to be reversible; when the kernel is built, for other sites.

    Reference: Christen and Fox (2005), Markov chain Monte Carlo using an approximation.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def rough(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y[:1])
    >>> delayed_acceptance(rough, kernels.random_walk(0.5), steps=3)
    delayed_acceptance(rough, mh(random_walk(0.5)), steps=3)
    """
    made = as_kernel(kernel)
    if not made.contract.reversible:
        raise LawfulError(
            f"delayed_acceptance: {made!r} does not claim to be reversible, and only then is the ratio of densities "
            "right. Fix: give a mixture of reversible kernels instead of a cycle."
        )
    if not isinstance(steps, int | np.integer) or steps < 1:
        raise LawfulError(f"delayed_acceptance: expected steps as an integer of 1 or more, got {steps!r}.")
    return DelayedAcceptance(cheap, made, int(steps))


def _in_order(form: Form, addresses: Sequence[Any]) -> Form:
    """Return a form whose choices stand in the given order, or refuse it."""
    own = [c.address for c in choices_of(form)]
    if own != list(addresses):
        raise LawfulError(
            "delayed_acceptance: the cheap program has the sites of the program in another order: "
            f"{', '.join('.'.join(map(str, a)) for a in own)}. Fix: sample them in the program's order."
        )
    assert score(form).choices == choices_of(form)
    return form


def _differs(*values: jax.Array) -> jax.Array:
    n = len(values) // 2
    found = [jnp.any(a != b) for a, b in zip(values[:n], values[n:], strict=True)]
    return jnp.any(jnp.stack(found))


def _same_sites(ratio: jax.Array, *flags: jax.Array) -> jax.Array:
    """No ratio where other sites run in the cheap program than in the program."""
    n = len(flags) // 2
    same = [jnp.all(a == b) for a, b in zip(flags[:n], flags[n:], strict=True)]
    return jnp.where(jnp.all(jnp.stack(same)), ratio, jnp.nan)


def _number(flag: jax.Array) -> jax.Array:
    return flag.astype(jnp.result_type(float))


def _count(flag: jax.Array) -> jax.Array:
    return flag.astype(jnp.int32)


def _either(flag: jax.Array, count: jax.Array, before: jax.Array) -> jax.Array:
    """Add what the cheap steps counted; from where the cheap density is zero they count every place."""
    return flag.astype(jnp.int32) + jnp.where(before > -jnp.inf, count.astype(jnp.int32), 0)
