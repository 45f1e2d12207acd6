"""Markov chain Monte Carlo: many chains of one kernel in one compiled loop.

Law: the kernel keeps the posterior; the chains start at prior draws of finite density, and warm-up draws are never
posterior draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful import handlers
from lawful.addresses import Address, show_address
from lawful.analysis import without_dead_code
from lawful.block import Block
from lawful.emitter import emit
from lawful.errors import LawfulError, NoFiniteStartError
from lawful.form import Form, Plate
from lawful.interpose import score
from lawful.lift import lift
from lawful.messages import Handler, Message, SampleMessage, only
from lawful.record import Choice, dims_of, record
from lawful.scoring import gather_choices

from .check.contracts import Contract
from .collect import from_chains
from .findings import Finding
from .kernels.base import KernelForm, initial_state, state_size
from .kernels.mh import MH, mh
from .plan import Builder, Prepared, environment, masked, one_key, timed
from .result import Result, Warmup

TRIES = 100


def chains_form(kernel: KernelForm, chains: int, steps: int) -> Form:
    """Write the loop of a kernel over many chains as one Form.

    Inputs: the program's, then the state of each chain. Outputs: the last state, then every state and the kernel's
    numbers stacked along the steps.
    """
    plate = Plate("chain", chains)
    n_state = kernel.size
    n_inputs = len(kernel.form.inputs) - n_state
    plated = [False] * n_inputs + [True] * n_state
    carried = [True] * n_state + [False] * len(kernel.info)
    body = lift(kernel.form, plate, plated, carried=carried).form
    inner = Block()
    outputs = inner.splice(body, body.inputs)
    closed = inner.form(body.inputs, (*outputs[:n_state], *outputs))
    block = Block()
    constants = tuple(v.like() for v in body.inputs[:n_inputs])
    init = tuple(v.like() for v in body.inputs[n_inputs:])
    last, ys = block.loop(closed, steps, constants, init, ())
    return block.form((*constants, *init), (*last, *ys))


@dataclass(frozen=True)
class _Built:
    kernel: KernelForm
    run: Callable[..., Any]
    start: Callable[..., Any]
    named: Callable[..., Any] | None
    named_choices: tuple[Choice, ...]
    form: Form


class ChainPlan:
    """A Markov chain method built from a model: call it with a key and the model's arguments."""

    def __init__(self, model: Any, kernel: Any, settings: dict[str, Any], init: Any) -> None:
        """Keep the parts; nothing is traced before the first call."""
        self.kernel, self.settings, self.init = kernel, settings, init
        self.contract: Contract = kernel.contract
        self.prepare = Builder(model, self._build)

    def __call__(self, key: Any, *args: Any) -> Result:
        """Run the chains.

        Raises:
            NoFiniteStartError: no start of finite density was found, naming the sites.
            ObservationError: the data do not fit their sites.
        """
        prepared = self.prepare(args)
        start_key, run_key = (jax.random.fold_in(one_key(key), part) for part in range(2))
        state = self._start(prepared, start_key)
        out, seconds = timed(prepared.built.run, run_key, prepared.inputs, state)
        return self._collect(prepared, out, seconds)

    def plan(self, *args: Any) -> str:
        """Say which site is moved how, for the given arguments."""
        prepared = self.prepare(args)
        return "\n".join([f"mcmc: {self.kernel!r}", *(f"  {line}" for line in self.kernel.plan(prepared.form))])

    def form(self, *args: Any) -> Form:
        """Return the algorithm itself as a Form."""
        return self.prepare(args).built.form

    def __repr__(self) -> str:
        """Show the kernel."""
        return f"mcmc({self.kernel!r})"

    def _build(self, form: Form) -> _Built:
        kernel = self.kernel.build(form)
        chains = self.settings["chains"]
        steps = self.settings["warmup"] + self.settings["draws"] * self.settings["thin"]
        algorithm = chains_form(kernel, chains, steps)
        run = emit(algorithm)
        start = emit(lift(initial_state(form), Plate("chain", chains), [False] * len(form.inputs)).form)
        named = record(form, ("deterministic",))
        function = _deterministics(named.form, named.own) if named.choices else None
        return _Built(
            kernel,
            jax.jit(lambda key, inputs, state: run(key, *inputs, *state)[0]),
            jax.jit(lambda key, inputs: start(key, *inputs)[0]),
            function,
            named.choices,
            algorithm,
        )

    def _start(self, prepared: Prepared, key: jax.Array) -> list[jax.Array]:
        """Draw starts from the prior until every chain has one of finite density."""
        built: _Built = prepared.built
        if self.init is not None:
            return self._given_start(prepared, built)
        state = built.start(key, prepared.inputs)
        for attempt in range(1, TRIES):
            bad = ~jnp.isfinite(state[-1])
            if not bool(bad.any()):
                return state
            fresh = built.start(jax.random.fold_in(key, attempt), prepared.inputs)
            state = [
                jnp.where(bad.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)
                for old, new in zip(state, fresh, strict=True)
            ]
        if bool((~jnp.isfinite(state[-1])).any()):
            raise self._no_start(prepared, state)
        return state

    def _given_start(self, prepared: Prepared, built: _Built) -> list[jax.Array]:
        chains = self.settings["chains"]
        values, _ = gather_choices(built.kernel.choices, self.init)
        scoring = score(prepared.form)
        outputs, _ = emit(without_dead_code(scoring.form))(jax.random.key(0), *prepared.inputs, *values)
        prior, likelihood, *flags = outputs[scoring.own :]
        state = [*values, *flags, prior + likelihood]
        state = [jnp.broadcast_to(x, (chains, *jnp.shape(x))) for x in state]
        if not bool(jnp.isfinite(state[-1]).all()):
            raise self._no_start(prepared, state, given=True)
        return state

    def _no_start(self, prepared: Prepared, state: list[jax.Array], given: bool = False) -> NoFiniteStartError:
        """Name the sites whose log density is not finite at the last try."""
        choices = prepared.built.kernel.choices
        chain = int(np.argmax(~np.isfinite(np.asarray(state[-1]))))
        values = {c.address: np.asarray(state[i])[chain] for i, c in enumerate(choices)}
        with only(_At(values)):
            traced = handlers.trace(prepared.form)(*prepared.args)
        bad = {a: float(p) for a, p in traced.log_probs.items() if not np.isfinite(float(p))}
        named = "; ".join(
            f"site '{show_address(a)}' ({traced.sources[a]}): log density {p}" for a, p in list(bad.items())[:5]
        )
        at = ", ".join(f"{c.name} = {np.asarray(values[c.address])!s}" for c in choices[:5])
        tries = "the given start" if given else f"{TRIES} tries from the prior"
        return NoFiniteStartError(
            f"no start of finite log density in {tries}. {named or 'total is not finite'}. At: {at}. "
            "Fix: give init={name: value}, or check the observations and the supports of these sites.",
            sites=tuple(bad), values=values,
        )  # fmt: skip

    def _named(self, prepared: Prepared, values: Any, flags: Any, part: slice) -> dict[str, np.ndarray]:
        """Give a part of the draws, NaN where an arm did not run, with the named values computed at each draw."""
        built: _Built = prepared.built
        chosen = {name: array[:, part] for name, array in values.items()}
        draws = masked(chosen, {name: array[:, part] for name, array in flags.items()})
        if built.named is not None:
            extra = built.named(prepared.inputs, list(chosen.values()))
            draws |= {c.name: np.asarray(x) for c, x in zip(built.named_choices, extra, strict=True)}
        return draws

    def _collect(self, prepared: Prepared, out: Any, seconds: float) -> Result:
        built: _Built = prepared.built
        kernel, warm, thin = built.kernel, self.settings["warmup"], self.settings["thin"]
        n = state_size(kernel.choices)
        stacked = [np.asarray(x) for x in out[n:]]
        names = [c.name for c in kernel.choices]
        conditional = [c.name for c in kernel.choices if c.conditional]
        values = dict(zip(names, stacked[: len(names)], strict=True))
        flags = dict(zip(conditional, stacked[len(names) : n - 1], strict=True))
        stats = {"lp": stacked[n - 1], **dict(zip(kernel.info, stacked[n:], strict=True))}
        early, late = slice(0, warm), slice(warm + thin - 1, None, thin)
        first = self._named(prepared, values, flags, early), {k: v[:, early] for k, v in stats.items()}
        kept = self._named(prepared, values, flags, late)
        kept_stats = {k: v[:, late] for k, v in stats.items()}
        return from_chains(
            kept,
            stats=kept_stats,
            warmup=Warmup(*first) if warm else None,
            observed=prepared.observed,
            found=_counted(stats),
            state=list(out[:n]),
            form=prepared.form,
            dims=dims_of((*kernel.choices, *built.named_choices)),
            run=environment(self.settings, seconds),
        )


class _At(Handler):
    """Gives every choice the value that it has in a state, unchecked: a start may lie outside a support."""

    def __init__(self, values: Mapping[Address, Any]) -> None:
        self.values = values

    def process(self, message: Message) -> None:
        if isinstance(message, SampleMessage) and message.value is None:
            message.value = handlers.lookup(self.values, message.address)


def _counted(stats: dict[str, np.ndarray]) -> tuple[Finding, ...]:
    count = int(np.sum(stats.get("n_nonfinite", 0)))
    if not count:
        return ()
    message = f"{count} proposals had a NaN density; they were rejected, so the target is restricted to the rest."
    return (Finding("NONFINITE_DENSITY", message, (), count, 0),)


def _deterministics(form: Form, own: int) -> Callable[..., Any]:
    """Compute the named values again at every draw; they are never replayed."""
    answered = score(form)
    wanted = replace(answered.form, outputs=answered.form.outputs[own : answered.own])
    run = emit(without_dead_code(wanted))

    def one(inputs: Any, values: Any) -> Any:
        return run(jax.random.key(0), *inputs, *values)[0]

    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (None, 0)))


def mcmc(
    model: Any,
    kernel: Any = None,
    *,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 1000,
    thin: int = 1,
    init: Any = None,
) -> ChainPlan:
    """Build Markov chains of a kernel.

    Args:
        model: a program.
        kernel: a kernel, as `kernels.mh(kernels.random_walk(0.5))`; a bare proposal is wrapped in `mh`; default:
            single-site moves.
        chains: number of chains, run side by side in one program.
        warmup: steps before the first draw; kept apart in `result.warmup`.
        draws: number of draws per chain.
        thin: steps per draw.
        init: a start by site name, the same for all chains; default: prior draws of finite density.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> walk = kernels.mh(kernels.random_walk(1.0))
    >>> result = mcmc(model, walk, chains=2, warmup=10, draws=20)(jax.random.key(0), 0.3)
    >>> result.posterior["mu"].shape
    (2, 20)
    """
    if kernel is None:
        kernel = mh()
    if hasattr(kernel, "propose"):
        kernel = MH(kernel)
    for name, value, least in (("chains", chains, 1), ("warmup", warmup, 0), ("draws", draws, 0), ("thin", thin, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise LawfulError(f"{name}: expected an integer of {least} or more, got {value!r}.")
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "thin": thin, "kernel": repr(kernel)}
    return ChainPlan(model, kernel, settings, init)
