"""Chain plan: a kernel on a program, the compiled program of its chains, and how a run becomes a result.

Law: the kernel keeps the posterior; the chains start where `starts` says, and warm-up draws are never posterior draws.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lawful.addresses import show_address
from lawful.backends.initial_values import TRIES
from lawful.distributions.sampling.threefry import fold_in
from lawful.errors import NoFiniteStartError
from lawful.form import Form
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import Choice, choices_of, dims_of, is_own
from lawful.form.operations.device import device_array
from lawful.passes.fill_absent import guarded_choices
from lawful.passes.record import record

from ...checkpoints.checkpoint_folder import Checkpoint
from ...devices.mesh import readable, replicated, spread_over
from ...devices.watch import watched
from ...findings.findings import Finding, idle_device, map_findings, never_moved, restart_findings
from ...representations.absent_elements import form_for
from ...representations.kernel_form import KernelForm
from ...results.batches import in_one_row
from ...results.collect import from_chains
from ...results.copies import Told
from ...results.log_densities import log_densities
from ...results.record import Warmup, masked
from ...results.result import Result
from ...running.chunks import Chunk
from ...running.environment import timed
from ...running.memory import Need, memory_for
from ...running.options import RunOptions
from ..plan import Prepared, told_of
from ..resuming import header_of
from .chain_loop import ChainLoop, Drawn, chain_loop
from .chain_result import BROKEN, Rows, Tally, deterministics, parts_of
from .chain_runs import iterate_chains, resume_chains, run_chains
from .nan_proposals import broken_findings
from .no_start import no_start
from .starts import GIVEN, Begun, Start, drawn_starts, first_states, onward, starts_at
from .warm_up import RESTARTS

type ChainMethod = Literal["vectorized", "sequential"]


@dataclass(frozen=True, eq=False)
class Chains:
    """Markov chains of a kernel, written and compiled for the form of a program.

    Attributes:
        plan: the plan that they are of.
        moves: the kernel.
        reasons: why it was chosen, where the program decided.
        kernel: the kernel, written for the program.
    """

    plan: Any
    moves: Any
    reasons: tuple[str, ...]
    kernel: KernelForm
    loop: ChainLoop
    run: Callable[..., Any]
    drawn_start: Callable[..., Any]
    given_start: Callable[[tuple[Any, ...]], Start]  # of the names of what is given
    onward: Callable[..., list[jax.Array]] | None  # from where chains begin to a state of the kernel, if that is more
    rows: Rows
    form: Form
    whole: bool  # whether a state has a value for every choice of the program
    steps: dict[int | None, Any] = field(default_factory=dict)  # compiled for portions, by the most steps of a call

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the run, as results and checkpoints tell them."""
        told: dict[str, Any] = self.plan.method.told()
        given = getattr(self.plan.method, "kernel", None) is self.moves
        return told if given else {**told, "kernel": repr(self.moves)}

    @property
    def mesh(self) -> Mesh | None:
        """The devices that share the chains."""
        found: Mesh | None = self.plan.method.mesh
        return found

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Run the chains.

        Raises: NoFiniteStartError: no start of finite density was found, naming the sites; with on_fault="flag" the
            result has no draw, and says so.
        """
        if self.plan.run is not None and self.plan.run.store is not None:  # memory holds a piece of the draws
            return self._run(prepared, key)
        with memory_for(self.need, self.plan.method.devices):
            return self._run(prepared, key)

    def _run(self, prepared: Prepared, key: Any) -> Result:
        start_key, run_key = _two_keys(one_key(key))
        try:
            begun = self._begun(prepared, start_key, run_key)
        except NoFiniteStartError as error:
            if self.plan.method.on_fault == "raise":
                raise
            return self._without_draws(prepared, error)
        if self.plan.run is not None:
            return run_chains(self, prepared, begun, self.plan.run)
        if self.mesh is None:
            out, run = timed(self.run, run_key, prepared.inputs, begun.state)
        else:
            with watched(self.mesh):
                shared = replicated(self.mesh, (run_key, prepared.inputs))
                out, run = timed(self.run, *shared, spread_over(self.mesh, begun.state))
                out = readable(self.mesh, out)
        return self.collected(prepared, self.loop.drawn(out), run, begun)

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Run the chains chunk by chunk."""
        start_key, run_key = _two_keys(one_key(key))
        return iterate_chains(self, prepared, self._begun(prepared, start_key, run_key), options)

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""
        devices = self.plan.method.devices
        return header_of(prepared, self.settings, self.plan.asked, devices if devices > 1 else None)

    def resumed(self, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
        """Go on from a checkpoint."""
        return resume_chains(self, prepared, found, options)

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give draws by name as a function of a key and the inputs; NaN of a chain without a start."""
        choices, draws, latent = self.kernel.choices, self.plan.method.draws, self._latent(prepared)

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            start_key, run_key = _two_keys(one_key(key))
            state = self._state(start_key, inputs)[0]
            late = self.loop.parts(self.loop(run_key, inputs, state)["kept"])[1]
            values, flags, _ = parts_of(choices, [in_one_row(jnp.moveaxis(x, 1, 0)) for x in late])
            started = jnp.repeat(jnp.isfinite(state[-1]), draws)
            broken = {c.name: started for c in choices if jnp.issubdtype(c.dtype, jnp.floating)}
            drawn = masked(masked(values, broken), flags)
            return {name: value for name, value in drawn.items() if name in latent}

        return draw

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes that a run takes at its peak."""
        return self.need.peak

    def lines(self, prepared: Prepared) -> list[str]:
        """Say which site is moved how."""
        why = ("chosen by the program:", *(f"  {reason}" for reason in self.reasons)) if self.reasons else ()
        lines = (*why, *self.moves.plan(prepared.form))
        return [f"{self.plan.asked.name}: {self.moves!r}", *(f"  {line}" for line in lines)]

    def algorithm(self, prepared: Prepared) -> Form:
        """Give the chains as a Form."""
        return self.form

    @cached_property
    def need(self) -> Need:
        """What a run takes: all states and numbers, one step of the chains, and the values named at each draw."""
        method = self.plan.method
        chains, warmup, draws, thin = method.chains, method.warmup, method.draws, method.thin
        kept, peak = self.loop.memory
        named = sum(int(np.prod(c.full_shape)) * np.dtype(c.dtype).itemsize for c in self.rows.named_choices)
        return Need(
            f"{self.plan.asked.name}: {chains} chains of {warmup + draws * thin} steps",
            peak + named * chains * (warmup + draws),
            kept // max(1, warmup + draws),
            lambda free, chunk: (
                f"about {max(1, draws * free // (2 * max(peak, 1)))} draws, a larger thin, fewer chains, or "
                f"run=RunOptions(store=PATH, chunk={chunk}), which writes the draws to files"
            ),
        )

    def _idle(self, device: str) -> tuple[Finding, ...]:
        """Remark that an accelerator has too little to do, where more chains would be taken side by side."""
        if device == "cpu" or self.loop.after_each_other:
            return ()
        kept, peak = self.loop.memory
        return idle_device(device, "chains", (peak - kept) // self.plan.method.devices)

    def _begun(self, prepared: Prepared, start_key: jax.Array, run_key: jax.Array) -> Begun:
        """Find where every chain begins.

        Raises: NoFiniteStartError where the density or its gradient is not finite there.
        """
        state, origin = self._state(start_key, prepared.inputs)
        if not np.isfinite(np.asarray(state[-1])).all():
            raise no_start(prepared, self.kernel.choices, state, whole=self.whole, origin=origin)
        return Begun(run_key, state, origin)

    def _state(self, key: jax.Array, inputs: Sequence[Any]) -> tuple[list[jax.Array], jax.Array]:
        """Give a state of each chain, and what it is from."""
        method = self.plan.method
        if not method.init:
            return self.start(key, inputs)
        origin = device_array(np.tile(np.array([GIVEN, 0], np.int32), (method.chains, 1)))
        state = self.given_start(tuple(method.init))(key, inputs, method.init)
        return state if self.onward is None else self.onward(inputs, state), origin

    def start(self, key: jax.Array, inputs: Sequence[Any]) -> tuple[list[jax.Array], jax.Array]:
        """Draw a state of each chain, where none is given, with what it is from."""
        state, origin = self.drawn_start(key, inputs)
        return state if self.onward is None else self.onward(inputs, state), origin

    def _latent(self, prepared: Prepared) -> set[str]:
        """Name the latent sites that a state has values for; the path of a filter inside is one of named values."""
        own = {c.name for c in choices_of(prepared.subject.form)}
        return {c.name for c in self.kernel.choices if not is_own(c) and (c.kind == "sample" or c.name in own)}

    def _without_draws(self, prepared: Prepared, error: NoFiniteStartError) -> Result:
        """Report that no chain could start."""
        choices = tuple(c for c in self.kernel.choices if c.name in self._latent(prepared))
        sites = tuple(show_address(address) for address in error.fields["sites"])
        return from_chains(
            {c.name: np.empty((self.plan.method.chains, 0, *c.full_shape), c.dtype) for c in choices},
            sampler=self.plan.asked.name,
            observed=prepared.observed,
            model=prepared.subject.model,
            args=prepared.args,
            found=(Finding("NO_FINITE_START", str(error), sites, TRIES),),
            form=prepared.subject.form,
            dims=dims_of(choices),
            run=told_of(self.settings, prepared.seed),
        )

    def collected(self, prepared: Prepared, out: Drawn, run: Mapping[str, Any], begun: Begun, **fields: Any) -> Result:
        """Make the result; `run` holds times, and `fields` what else is known of it."""
        kept, first, tally = self.rows.all_of(prepared.inputs, out, begun.state)
        return self.made(prepared, (kept, first), tally, (out.last, out.tuned), run, begun, **fields)

    def made(
        self, prepared: Prepared, parts: tuple[Warmup, Warmup | None], tally: Tally, ended: tuple[Any, Any],
        run: Mapping[str, Any], begun: Begun, **fields: Any,
    ) -> Result:  # fmt: skip
        """Make the result of draws and warm-up, of what was seen of them, and of the last state and the settings."""
        (kept, first), (last, tuned), kernel = parts, ended, self.kernel
        state = list(last)
        if self.rows.scored is not None and state:  # of the last row, which is that state
            lp = kept.stats["lp"] if first is None or kept.stats["lp"].shape[1] else first.stats["lp"]
            state[-1] = np.asarray(lp[:, -1])
        (model, form, observed), latent = prepared.subject, self._latent(prepared)
        dims = dims_of((*kernel.choices, *self.rows.named_choices))
        if form is not prepared.form:
            dims |= dims_of(choices_of(form, ("sample", "deterministic")))
        told = {**told_of(self.settings, prepared.seed, self.mesh), **run}
        restarts = [np.asarray(tuned.get(name, ())) for name in RESTARTS]
        broken = int(tally.counts.get(BROKEN, 0))
        names, moved = _moved(kernel.choices, latent, tally)
        found = (
            *fields.pop("found", ()),
            *(broken_findings(prepared, broken, parts, begun.state, last) if broken else ()),
            *(map_findings(tally.counts) if any(tally.counts.values()) else ()),
            *(restart_findings(*restarts) if np.any(restarts[0] >= 0) else ()),
            *prepared.unread,
            *(() if moved.all() else never_moved(names, moved, int(tally.rows), tuned.get("step_size", 1.0))),
            *self._idle(told["device"]),
        )
        return from_chains(
            kept.posterior,
            stats=kept.stats,
            warmup=first,
            observed=observed,
            model=model,
            args=prepared.args,
            found=found,
            state=state,
            form=form,
            dims=dims,
            sampler=self.plan.asked.name,
            run={
                **told,
                **{k: np.asarray(v) for k, v in tuned.items()},
                "starts": begun.words,
                "plan": Told(lambda: self.plan.plan(*prepared.args)),
            },
            **fields,
        )


def chains(plan: Any, form: Form, moves: Any, reasons: tuple[str, ...] = ()) -> Chains:
    """Write the chains of a kernel for the form of a program.

    Args:
        plan: the plan that they are of, with the settings.
        form: the program.
        moves: the kernel.
        reasons: why it was chosen, where the program decided.
    """
    method = plan.method
    form, count = form_for(moves, form) if guarded_choices(form) else form, method.chains
    one_by_one = method.chain_method == "sequential"
    loop = chain_loop(moves, form, count, method.warmup, method.draws, method.thin, one_by_one=one_by_one)
    assert loop.memory  # what is too large for an index is refused here
    kernel = loop.kernel
    shown = [c for c in kernel.choices if not is_own(c)]
    states = cache(lambda: first_states(kernel, form))
    given_start = cache(lambda names: starts_at(form, states(), shown, dict.fromkeys(names), count))
    if method.init:
        given_start(tuple(method.init))  # a name that no site has is refused before anything runs
    choices = choices_of(form)
    whole = {c.address for c in choices} <= {c.address for c in kernel.choices}
    named = record(form, ("deterministic",))
    named_choices = named.choices if whole else ()
    naming = deterministics(named.form, named.own) if named_choices else None
    scored = log_densities(form) if kernel.enter is None and kernel.leave is not None else None
    return Chains(
        plan,
        moves,
        reasons,
        kernel,
        loop,
        jax.jit(loop),
        drawn_starts(loop.slopes, kernel, form, states, count),
        given_start,
        None if kernel.begin is None else onward(kernel.begin, form, count),
        Rows(
            kernel.choices, len(choices_of(form)), kernel.info, method.thin, loop.learns, named_choices, naming, scored
        ),
        loop.form,
        whole,
    )


def _moved(choices: Sequence[Choice], latent: Container[str], tally: Tally) -> tuple[list[str], np.ndarray]:
    """Name the sites, and tell of each chain and site whether it moved; one that may be absent moves as its chain."""
    shown = [i for i, c in enumerate(choices) if 0 not in c.full_shape and c.name in latent]
    moved = tally.moved[:, shown] | (
        np.array([choices[i].conditional for i in shown], bool) & tally.moved.any(axis=1)[:, None]
    )
    return [choices[i].name for i in shown], moved


@jax.jit
def _two_keys(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Derive the key of the starts and that of the run, in one call."""
    starts, run = fold_in(key, np.arange(2))
    return starts, run
