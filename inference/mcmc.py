"""Markov chain Monte Carlo: many chains of one kernel in one compiled loop.

Law: the kernel keeps the posterior; the chains start at prior draws of finite density, and warm-up draws are never
posterior draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful import handlers
from lawful.addresses import Address, show_address
from lawful.analysis import without_dead_code
from lawful.emitter import emit
from lawful.errors import LawfulError, NoFiniteStartError
from lawful.form import Form, Plate
from lawful.given import lookup
from lawful.interpose import score
from lawful.lift import lift
from lawful.messages import Handler, Message, SampleMessage, only
from lawful.record import Choice, choices_of, dims_of, record

from .broken import describe, first_broken
from .chain_loop import ChainLoop, chain_loop, loop_form
from .check.contracts import Contract
from .collect import from_chains
from .densities import log_densities
from .eager.chains import EagerChainPlan
from .eager.plans import Mode, checked_mode, refuse
from .enumerate_sites import Sites
from .faults import OnFault, checked_policy
from .findings import Finding, never_moved
from .kernels.base import KernelForm, initial_state, unweighed
from .kernels.gradient import with_gradient
from .kernels.mh import as_kernel, mh
from .map_findings import map_findings
from .parts import is_own
from .plan import Builder, Prepared, Told, environment, masked, one_key, timed, times
from .recovery import EnumeratedPlan
from .representations.conditional import without_factors
from .result import Result, Warmup
from .running.chain_runs import iterate_chains, resume_chains, run_chains
from .running.driver import Chunk
from .running.options import RunOptions, checked_options, without_checkpoint
from .running.resuming import header_of
from .starts import TRIES, drawn, drawn_around, spread, state_at
from .tuned_loop import TunedLoop, needs_tuned_loop, tuned_loop

if TYPE_CHECKING:
    from .running.checkpoints import Checkpoint


@dataclass(frozen=True)
class _Built:
    kernel: KernelForm
    loop: ChainLoop | TunedLoop
    run: Callable[..., Any]
    start: Callable[..., Any]
    state_at: Callable[..., list[jax.Array]]
    named: Callable[..., Any] | None
    named_choices: tuple[Choice, ...]
    form: Form
    log_densities: Callable[..., Any] | None
    whole: bool  # whether a state has a value for every choice of the program
    steps: dict[int | None, Any] = field(default_factory=dict)  # compiled for portions, by the most steps of a call


class Drawn(NamedTuple):
    """What chains left: states of warm-up and draws, (step, chain, ...), and numbers of all steps, (step, chain)."""

    early: Sequence[Any]
    late: Sequence[Any]
    numbers: Sequence[Any]
    warm: int
    last: Sequence[Any]
    tuned: Mapping[str, Any]


class ChainPlan:
    """A Markov chain method built from a model: call it with a key and the model's arguments."""

    def __init__(
        self, model: Any, kernel: Any, settings: dict[str, Any], init: Any, run: RunOptions | None = None
    ) -> None:
        """Keep the parts; nothing is traced before the first call."""
        self.kernel, self.settings, self.init, self.run = kernel, settings, init, run
        self.recipe = "mcmc", {**settings, "kernel": kernel}
        self.contract: Contract = kernel.contract
        self.prepare = Builder(model, self._build)

    def __call__(self, key: Any, *args: Any) -> Result:
        """Run the chains.

        Raises:
            NoFiniteStartError: no start of finite density was found, naming the sites; with on_fault="flag" the result
                has no draw, and says so.
            ObservationError: the data do not fit their sites.
        """
        prepared = self.prepare(args)
        start_key, run_key = _two_keys(one_key(key))
        try:
            state = self._start(prepared, start_key)
        except NoFiniteStartError as error:
            if self.settings["on_fault"] == "raise":
                raise
            return self._without_draws(prepared, error)
        if self.run is not None:
            return run_chains(self, prepared, (run_key, state), self.run)
        out, seconds = timed(prepared.built.run, run_key, prepared.inputs, state)
        return self._collect(prepared, _whole(prepared.built.loop, out), times(seconds), (run_key, state))

    def iterate(self, key: Any, *args: Any) -> Iterator[Chunk]:
        """Run the chains chunk by chunk, as the options of the run say, and give each chunk; nothing is kept.

        Chunks of "warmup" come first, then those of "sampling"; together they are the draws of a call, bit for bit.

        Raises: NoFiniteStartError where no start of finite density was found.
        """
        prepared = self.prepare(args)
        start_key, run_key = _two_keys(one_key(key))
        return iterate_chains(self, prepared, (run_key, self._start(prepared, start_key)), self.run or RunOptions())

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""
        return header_of(prepared, self.settings, self.recipe)

    def resumed(self, found: Checkpoint, options: RunOptions, args: tuple[Any, ...]) -> Result:
        """Go on from a checkpoint; see `inference.resume`."""
        return resume_chains(self, self.prepare(args), found, options)

    def sampler(self, *args: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function that JAX can map, compile or combine with others.

        Returns: takes a key and the arrays among the arguments; gives draws by name, (chains * draws, ...), those of a
            chain side by side. Draws of a chain that found no start of finite density are NaN.
        """
        built: _Built = self.prepare(args).built
        choices = built.kernel.choices

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            start_key, run_key = _two_keys(key)
            state = built.start(start_key, inputs) if self.init is None else self._given_state(built, inputs, start_key)
            late = built.loop.parts(built.loop(run_key, inputs, state)["kept"])[1]
            flat = [jnp.moveaxis(x, 1, 0).reshape(-1, *x.shape[2:]) for x in late]
            flags = dict(zip((c.name for c in choices if c.conditional), flat[len(choices) : -1], strict=True))
            started = jnp.repeat(jnp.isfinite(state[-1]), self.settings["draws"])
            broken = {c.name: started for c in choices if jnp.issubdtype(c.dtype, jnp.floating)}
            draws = dict(zip((c.name for c in choices), flat, strict=False))
            return _shown(masked(masked(draws, broken), flags), choices)

        return draw

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
        sizes = tuple(self.settings[name] for name in ("chains", "warmup", "draws", "thin"))
        loop: ChainLoop | TunedLoop
        states = initial_state(form)
        if needs_tuned_loop(self.kernel):
            loop = tuned_loop(self.kernel, form, *sizes)
            kernel, algorithm = loop.kernel, loop.form
            states = with_gradient(self.kernel, form, states)
        else:
            kernel = unweighed(self.kernel.build(form), "mcmc")
            states = states if kernel.states is None else without_factors(kernel.states)
            loop = chain_loop(kernel, *sizes)
            algorithm = loop_form(loop)
        start = emit(lift(states, Plate("chain", sizes[0]), [False] * len(form.inputs)).form)
        whole = {c.address for c in choices_of(form)} <= {c.address for c in kernel.choices}
        named = record(form, ("deterministic",))
        named_choices = named.choices if whole else ()
        function = _deterministics(named.form, named.own) if named_choices else None
        return _Built(
            kernel,
            loop,
            jax.jit(loop),
            jax.jit(partial(drawn, start)),
            self._state_at(form, kernel, states),
            function,
            named_choices,
            algorithm,
            log_densities(form) if kernel.incremental else None,
            whole,
        )

    def _start(self, prepared: Prepared, key: jax.Array) -> list[jax.Array]:
        """Draw starts from the prior until every chain has one of finite density."""
        built: _Built = prepared.built
        if self.init is not None:
            return self._given_start(prepared, built, key)
        state: list[jax.Array] = built.start(key, prepared.inputs)
        if bool((~jnp.isfinite(state[-1])).any()):
            raise self._no_start(prepared, state)
        return state

    def _without_draws(self, prepared: Prepared, error: NoFiniteStartError) -> Result:
        """Report that no chain could start."""
        choices: tuple[Choice, ...] = prepared.built.kernel.choices
        sites = tuple(show_address(address) for address in error.fields["sites"])
        return from_chains(
            {c.name: np.empty((self.settings["chains"], 0, *c.full_shape), c.dtype) for c in choices},
            observed=prepared.observed,
            model=self.prepare.model,
            args=prepared.args,
            found=(Finding("NO_FINITE_START", str(error), sites, TRIES),),
            form=prepared.form,
            dims=dims_of(choices),
            run=environment(self.settings, 0.0),
        )

    def _given_start(self, prepared: Prepared, built: _Built, key: jax.Array) -> list[jax.Array]:
        state = self._given_state(built, prepared.inputs, key)
        if not bool(jnp.isfinite(state[-1]).all()):
            raise self._no_start(prepared, state, given=True)
        return state

    def _state_at(self, form: Form, kernel: KernelForm, states: Form) -> Callable[..., list[jax.Array]]:
        """Compile `(key, inputs, init) -> state`; where an algorithm is a part of it, what is not given is drawn."""
        chains = self.settings["chains"]
        if self.init is not None and (kernel.states is not None or any(map(is_own, kernel.choices))):
            return drawn_around(states, self.init, chains)
        found = state_at(form)
        return lambda key, inputs, init: found(inputs, spread(kernel.choices, init, chains))

    def _given_state(self, built: _Built, inputs: Sequence[Any], key: jax.Array) -> list[jax.Array]:
        return built.state_at(key, inputs, self.init)

    def _no_start(self, prepared: Prepared, state: list[jax.Array], given: bool = False) -> NoFiniteStartError:
        """Name the sites whose log density is not finite at the last try."""
        choices = prepared.built.kernel.choices
        chain = int(np.argmax(~np.isfinite(np.asarray(state[-1]))))
        values = {c.address: np.asarray(state[i])[chain] for i, c in enumerate(choices)}
        bad, named = self._infinite(prepared, values)
        at = ", ".join(f"{c.name} = {np.asarray(values[c.address])!s}" for c in choices[:5])
        tries = "the given start" if given else f"{TRIES} tries from the prior"
        return NoFiniteStartError(
            f"no start of finite log density in {tries}. {named or 'total or its gradient is not finite'}. At: {at}. "
            "Fix: give init={name: value}, or check the observations and the supports of these sites.",
            sites=tuple(bad), values=values,
        )  # fmt: skip

    def _infinite(self, prepared: Prepared, values: Mapping[Address, Any]) -> tuple[dict[Address, float], str]:
        """Find the sites whose log density is not finite in a state, and tell of the first."""
        if not prepared.built.whole:
            return {}, "the estimate of a filter is zero or no number"
        with only(_At(values)):
            traced = handlers.trace(prepared.form)(*prepared.args)
        bad = {a: float(p) for a, p in traced.log_probs.items() if not np.isfinite(float(p))}
        return bad, "; ".join(
            f"site '{show_address(a)}' ({traced.sources[a]}): log density {p}" for a, p in list(bad.items())[:5]
        )

    def _part(self, prepared: Prepared, states: list[np.ndarray], numbers: Mapping[str, np.ndarray]) -> Warmup:
        """Give some draws, NaN where an arm did not run, with the values named at each, and the numbers of each."""
        built: _Built = prepared.built
        choices = built.kernel.choices
        values = dict(zip((c.name for c in choices), states, strict=False))
        flags = dict(zip((c.name for c in choices if c.conditional), states[len(choices) : -1], strict=True))
        draws = _shown(masked(values, flags), choices)
        if built.named is not None:
            extra = built.named(prepared.inputs, list(values.values()))
            draws |= {c.name: np.asarray(x) for c, x in zip(built.named_choices, extra, strict=True)}
        lp = states[-1]
        if built.log_densities is not None and lp.size:  # differences were added up: compute it anew
            columns = [v.reshape(lp.size, *v.shape[2:]) for v in values.values()]
            lp = np.asarray(built.log_densities(prepared.inputs, columns)).reshape(lp.shape)
        return Warmup(draws, {"lp": lp, **numbers})

    def _collect(
        self, prepared: Prepared, out: Drawn, run: Mapping[str, Any], begun: tuple[jax.Array, Any], **fields: Any
    ) -> Result:
        """Make the result; `run` holds times, and `fields` what else is known of it."""
        built: _Built = prepared.built
        kernel, warm = built.kernel, out.warm
        early, late = ([_chains_first(x) for x in part] for part in (out.early, out.late))
        numbers = {name: _chains_first(x) for name, x in zip(kernel.info, out.numbers, strict=True)}
        kept = self._part(prepared, late, {k: self._thinned(k, v[:, warm:]) for k, v in numbers.items()})
        first = self._part(prepared, early, {k: v[:, :warm] for k, v in numbers.items()}) if warm else None
        names = [c.name for c in kernel.choices]
        told = numbers.get("n_nonfinite")
        if isinstance(built.loop, TunedLoop) and told is not None:  # a warm-up tries steps that are too long
            told = np.where(np.arange(told.shape[1]) < warm, 0, told)
        found = (
            *fields.pop("found", ()),
            *self._broken(prepared, out, told, begun),
            *map_findings(numbers),
            *never_moved(names, [np.asarray(x)[:, None] for x in begun[1][:-1]], early[:-1], late[:-1]),
        )
        return from_chains(
            kept.posterior,
            stats=kept.stats,
            warmup=first,
            observed=prepared.observed,
            model=self.prepare.model,
            args=prepared.args,
            found=found,
            state=list(out.last),
            form=prepared.form,
            dims=dims_of((*kernel.choices, *built.named_choices)),
            run={
                **environment(self.settings, 0.0),
                **run,
                **{k: np.asarray(v) for k, v in out.tuned.items()},
                "plan": Told(lambda: self.plan(*prepared.args)),
            },
            **fields,
        )

    def _thinned(self, name: str, values: np.ndarray) -> np.ndarray:
        """Give a number of every step one value for each draw: counts add up, of others the last step tells."""
        thin = self.settings["thin"]
        grouped = values.reshape(len(values), values.shape[1] // thin, thin)
        return np.sum(grouped, axis=-1) if name.startswith("n_") else grouped[..., -1]

    def _broken(
        self, prepared: Prepared, out: Drawn, counts: np.ndarray | None, begun: tuple[jax.Array, Any]
    ) -> tuple[Finding, ...]:
        """Report proposals whose log density was not a number, with the place of the first."""
        count = 0 if counts is None else int(np.sum(counts))
        if counts is None or not count:
            return ()
        message = f"{count} proposals had a log density that is not a number; they were rejected, so the chains target "
        message += "the posterior restricted to the rest"
        built: _Built = prepared.built
        run, loop, place = (prepared.inputs, begun[1], (out.early, out.late)), built.loop, None
        if isinstance(loop, ChainLoop) and built.whole:
            place = first_broken(prepared.form, prepared.args, self.kernel, loop, begun[0], run, counts.T)
        if place is None:
            return (Finding("NONFINITE_DENSITY", f"{message}.", (), count, 0),)
        text = f"{message}: {describe(place)}. Fix: guard the model's arithmetic there."
        return (Finding("NONFINITE_DENSITY", text, (place.site,), count, 0),)


def _whole(loop: ChainLoop | TunedLoop, out: Mapping[str, Any]) -> Drawn:
    """Read what the whole loop gave."""
    early, late = loop.parts(out["kept"])
    return Drawn(early, late, out["numbers"], loop.warmup, out["last"], out.get("tuned", {}))


def _shown[T](values: Mapping[str, T], choices: Sequence[Choice]) -> dict[str, T]:
    """Leave out what an algorithm inside the program drew, as the noise of a filter."""
    own = {c.name for c in choices if is_own(c)}
    return {name: value for name, value in values.items() if name not in own}


class _At(Handler):
    """Gives every choice the value that it has in a state, unchecked: a start may lie outside a support."""

    def __init__(self, values: Mapping[Address, Any]) -> None:
        self.values = values

    def process(self, message: Message) -> None:
        if isinstance(message, SampleMessage) and message.value is None:
            message.value = lookup(self.values, message.address)


@jax.jit
def _two_keys(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Derive the key of the starts and that of the run, in one call."""
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)


def _chains_first(x: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(x), 1, 0)


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
    on_fault: OnFault = "raise",
    mode: Mode = "staged",
    enumerate: Sites = None,
    run: RunOptions | None = None,
) -> ChainPlan | EagerChainPlan | EnumeratedPlan:
    """Build Markov chains of a kernel.

    Args:
        model: a program.
        kernel: a kernel, as `kernels.mh(kernels.random_walk(0.5))`; a bare proposal is wrapped in `mh`; default:
            single-site moves.
        chains: number of chains, run side by side in one program.
        warmup: steps before the first draw; kept apart in `result.warmup`.
        draws: number of draws per chain.
        thin: steps per draw.
        init: a start by site name; a value with the chains as a further first axis has an entry for each, any other is
            the same for all (in mode "eager" all are). Default: prior draws of finite density.
        on_fault: "raise" an error where no chain can start, or "flag": a result without draws that is not ok.
        mode: "staged" compiles the program; "eager" runs it in plain Python, whatever its structure, and moves one
            choice at a time. Then `result.traces` holds the runs, and a choice that a run did not make is NaN.
        enumerate: names of finite sites to sum out exactly, or "all": the kernel moves the others, on the marginal, and
            the result holds draws of the summed sites from their exact conditional (see `enumerate_sites`). Or a
            transformer that sums sites, as `marginalise()`.
        run: how the run is divided, watched and kept; then Ctrl-C ends it with what is finished. None: one compiled
            call, with the same draws.

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
    checked_policy(on_fault)
    checked_options(run)
    kernel = as_kernel(kernel)
    for name, value, least in (("chains", chains, 1), ("warmup", warmup, 0), ("draws", draws, 0), ("thin", thin, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise LawfulError(f"{name}: expected an integer of {least} or more, got {value!r}.")
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "thin": thin, "kernel": repr(kernel)}
    settings["on_fault"] = on_fault
    if enumerate is not None:
        without_checkpoint("mcmc", run)
        refuse("mcmc", {"enumerate": (enumerate if checked_mode(mode) == "eager" else None, (None,))})
        given = {
            "chains": chains, "warmup": warmup, "draws": draws, "thin": thin, "init": init, "on_fault": on_fault,
            "run": run,
        }  # fmt: skip
        return EnumeratedPlan(model, enumerate, partial(mcmc, kernel=kernel, **given))
    if checked_mode(mode) == "eager":
        refuse("mcmc", {"kernel": (kernel, (kernel if kernel == mh() else mh(),)), "on_fault": (on_fault, ("raise",))})
        refuse("mcmc", {"run": (run, (None,))})
        return EagerChainPlan(model, settings, init)
    return ChainPlan(model, kernel, settings, init, run)
