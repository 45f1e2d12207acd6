"""Sequential Monte Carlo and importance sampling: finish . (resample . advance)^T . spawn, and spawn alone.

Law: both are properly weighted: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the integral of f, for every f.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lawful.analysis import without_dead_code
from lawful.emitter import emit
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.record import Choice, dims_of, record
from lawful.simplify import simplified

from .check.contracts import Contract
from .collect import from_population
from .laws import ResampleLaw
from .numerics.resampling import scheme as scheme_named
from .plan import Builder, Prepared, environment, masked, one_key, timed
from .representations.population import Population
from .representations.sequential import sequential
from .result import Result
from .stages import joined, weight_findings
from .transformer import Transformer
from .transformers import Advance, EssBelow, Finish, push_evidence_with, repeat_to_end, resample, spawn

type Keep = Literal["paths", "last"]
type NonFinite = Literal["error", "dead", "flag"]

PROPERLY_WEIGHTED = Contract("properly_weighted", target="the program's measure", parametric=True)


def particle_filter(particles: int, scheme: Any, when: Any, nonfinite: NonFinite = "error") -> Transformer:
    """The composition: spawn, then at every pause resample and advance, then finish.

    >>> particle_filter(10, scheme_named("systematic"), EssBelow(0.5)).contract.kind
    'preserves_measure'
    """
    push = push_evidence_with(nonfinite)
    step = resample(scheme, when) >> Advance >> push
    return spawn(particles) >> push >> repeat_to_end(step) >> Finish >> push_evidence_with(nonfinite, again=False)


@dataclass(frozen=True)
class _Built:
    run: Callable[..., Any]
    names: tuple[str, ...]
    conditional: tuple[str, ...]
    stats: tuple[str, ...]
    choices: tuple[Choice, ...]
    form: Form


class PopulationPlan:
    """A population method built from a model: call it with a key and the model's arguments."""

    contract = PROPERLY_WEIGHTED

    def __init__(self, name: str, model: Any, transformer: Transformer, settings: dict[str, Any], cut: bool) -> None:
        """Keep the parts; nothing is traced before the first call."""
        self.name, self.transformer, self.settings, self.cut = name, transformer, settings, cut
        self.prepare = Builder(model, self._build)

    def __call__(self, key: Any, *args: Any) -> Result:
        """Run: the result holds equal-weight draws, weighted particles, and the evidence of every run.

        Raises:
            NonFiniteError: a weight is NaN (by default) or +inf.
            ObservationError: the data do not fit their sites.
        """
        prepared = self.prepare(args)
        out, seconds = timed(prepared.built.run, one_key(key), prepared.inputs)
        return self._collect(prepared, out, seconds)

    def plan(self, *args: Any) -> str:
        """Say what will be done, for the given arguments."""
        prepared = self.prepare(args)
        lines = [f"{self.name}: {self.transformer.name}"]
        lines += [f"  {c.name}: drawn from its prior" for c in prepared.built.choices if c.kind == "sample"]
        return "\n".join(lines)

    def form(self, *args: Any) -> Form:
        """Return the algorithm itself as a Form."""
        return self.prepare(args).built.form

    def __repr__(self) -> str:
        """Show name and composition."""
        return f"{self.name}({self.transformer.name})"

    def _build(self, form: Form) -> _Built:
        paths = self.settings["keep"] == "paths"
        recorded = record(form) if paths else record(form, ())
        own = recorded.own
        source = recorded.form
        if paths:
            source = replace(source, outputs=source.outputs[own:])
            names = tuple(c.name for c in recorded.choices)
        else:
            names = _returned_names(form)
        population: Population = self.transformer(sequential(source) if self.cut else source)
        block, plate = population.block, population.plate
        assert population.weight is not None
        law = ResampleLaw(self.settings["scheme"], plate.size, plate.size, str(population.weight.dtype))
        draws = block.site(population.address("draws"), law, (population.weight,))
        values = tuple(_spread(block, v, plate) for v in population.values)
        stats = population.trail.stats
        outputs = (*values, population.log_weight, draws, *stats.values())
        algorithm = without_dead_code(simplified(block.form(population.inputs, outputs)))
        conditional = tuple(c.name for c in recorded.choices if c.conditional) if paths else ()
        return _Built(
            _runner(algorithm, self.settings["runs"]), names, conditional, tuple(stats), recorded.choices, algorithm
        )

    def _collect(self, prepared: Prepared, out: Any, seconds: float) -> Result:
        built: _Built = prepared.built
        outputs, log_evidence = [np.asarray(x) for x in out[0]], np.asarray(out[1], dtype=np.float64)
        n, k = len(built.names), len(built.conditional)
        values = dict(zip(built.names, outputs[:n], strict=True))
        active = dict(zip(built.conditional, outputs[n : n + k], strict=True))
        values = masked(values, active)
        log_weight, index = outputs[n + k : n + k + 2]
        stats = joined(dict(zip(built.stats, outputs[n + k + 2 :], strict=True)))
        found = weight_findings(prepared.form, log_evidence, stats, self.settings["nonfinite"], self.cut)
        rows = np.arange(len(index))[:, None]
        draws = {name: array[rows, index] for name, array in values.items()}
        increments = stats["log_evidence_increment"]
        gone = np.isneginf(increments) | np.isnan(increments)
        gone[:, -1] |= np.isneginf(log_evidence) | np.isnan(log_evidence)  # by a weight that all particles share
        dead_at = np.where(gone.any(axis=1), gone.argmax(axis=1), -1)
        return from_population(
            values,
            log_weight,
            log_evidence,
            draws=draws,
            stats=stats,
            dead_at=dead_at,
            observed=prepared.observed,
            sampler=self.name,
            found=found,
            form=prepared.form,
            dims=dims_of(built.choices),
            run=environment(self.settings, seconds),
        )


def _spread(block: Any, value: Any, plate: Any) -> Any:
    """Repeat a value that all particles share."""
    if plate in value.plates:
        return value
    size = plate.size
    return block.det(lambda x: jnp.broadcast_to(x, (size, *x.shape)), value, label="repeat", adds=(plate,))


def _returned_names(form: Form) -> tuple[str, ...]:
    if form.out_tree is None:
        return tuple(f"returned_{i}" for i in range(len(form.outputs)))
    paths = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(form.out_tree, range(form.out_tree.num_leaves)))[0]
    names = [".".join(str(getattr(p, "key", getattr(p, "idx", p))) for p in path) for path, _ in paths]
    return tuple(name if name and not name.isdigit() else f"returned{name and '_'}{name}" for name in names)


def _runner(algorithm: Form, runs: int) -> Callable[..., Any]:
    run = emit(algorithm)

    @jax.jit
    def many(key: jax.Array, inputs: list[jax.Array]) -> Any:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(runs))
        if runs == 1:
            return jax.tree.map(lambda x: x[None], run(keys[0], *inputs))
        return jax.lax.map(lambda k: run(k, *inputs), keys)

    return many


def _check(particles: int, runs: int, keep: str, nonfinite: str) -> None:
    for name, value in (("particles", particles), ("runs", runs)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise LawfulError(f"{name}: expected an integer of 1 or more, got {value!r}.")
    if keep not in ("paths", "last"):
        raise LawfulError(f"keep: expected 'paths' or 'last', got {keep!r}.")
    if nonfinite not in ("error", "dead", "flag"):
        raise LawfulError(f"nonfinite: expected 'error', 'dead' or 'flag', got {nonfinite!r}.")


def smc(
    model: Any,
    *,
    particles: int,
    runs: int = 1,
    resampling: str | Any = "systematic",
    resample_below: float | None = 0.5,
    keep: Keep = "paths",
    nonfinite: NonFinite = "error",
) -> PopulationPlan:
    """Build a particle filter that pauses after every step of the model's loop (Gordon, Salmond and Smith 1993).

    Args:
        model: a program whose sequence is a `lawful.scan` (or `jax.lax.scan`); without a loop it is importance
            sampling.
        particles: number of particles.
        runs: number of independent runs; they are ArviZ's chains and give the error of the evidence.
        resampling: "multinomial", "systematic", "stratified", "residual", or a scheme object.
        resample_below: resample when the effective sample size is below this fraction of the particles; None: at every
            step.
        keep: "paths" gives every choice with its history; "last" gives only what the program returns, in memory
            O(particles).
        nonfinite: what a NaN weight means: "error"; "dead", weight zero and counted; "flag", a result that is not ok.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def walk(y):
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, 1.0))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     return lawful.scan(step, 0.0, y)[0]
    >>> result = smc(walk, particles=100, runs=2)(jax.random.key(0), jnp.array([0.5, 1.0]))
    >>> result.posterior["x"].shape, result.log_evidence.shape
    ((2, 100, 2), (2,))
    """
    _check(particles, runs, keep, nonfinite)
    scheme = scheme_named(resampling) if isinstance(resampling, str) else resampling
    when = None if resample_below is None else EssBelow(resample_below)
    settings = {
        "particles": particles, "runs": runs, "scheme": scheme, "resample_below": resample_below, "keep": keep,
        "nonfinite": nonfinite,
    }  # fmt: skip
    return PopulationPlan("smc", model, particle_filter(particles, scheme, when, nonfinite), settings, cut=True)


def importance(
    model: Any, *, particles: int, runs: int = 1, keep: Keep = "paths", nonfinite: NonFinite = "error"
) -> PopulationPlan:
    """Build importance sampling from the prior: spawn alone.

    Args: as for `smc`.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def coin():
    ...     p = lawful.sample("p", dist.Beta(1.0, 1.0))
    ...     lawful.sample("heads", dist.Bernoulli(p), obs=1)
    >>> result = importance(coin, particles=1000, runs=2)(jax.random.key(0))
    >>> bool(abs(result.log_evidence_pooled - jnp.log(0.5)) < 0.1)
    True
    """
    _check(particles, runs, keep, nonfinite)
    settings = {
        "particles": particles, "runs": runs, "scheme": scheme_named("systematic"), "keep": keep,
        "nonfinite": nonfinite,
    }  # fmt: skip
    transformer = spawn(particles) >> push_evidence_with(nonfinite)
    return PopulationPlan("importance", model, transformer, settings, cut=False)
