"""Parallel tempering: copies of a program at several powers of its likelihood; the draws are those at power 1.

Law: the chain on all copies keeps their product measure, whose marginal at power 1 is the posterior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import choices_of, dims_of
from lawful.tracing.trace import trace

from ..checkpoints.checkpoints import Checkpoint
from ..devices.mesh import checked_mesh
from ..kernels.combine.mh import as_kernel
from ..kernels.particles.replica_exchange import Tempering, replicated
from ..plans.chains.chain_plan import ChainPlan
from ..plans.plan import Builder, Prepared
from ..representations.densities_of import refuse_improper
from ..results.log_densities import scored_draws
from ..results.record import Warmup
from ..results.result import Result
from ..running.default_bar import with_bar
from ..running.options import RunOptions, checked_options, not_in_chunks
from .mcmc import mcmc


class TemperedPlan:
    """Markov chains on the copies of a program: call it with a key and the model's arguments."""

    def __init__(
        self, model: Any, kernel: Any, powers: tuple[float, ...], settings: Mapping[str, Any],
        run: RunOptions | None = None, mesh: Mesh | None = None,
    ) -> None:  # fmt: skip
        """Keep the parts; nothing is traced before the first call."""
        self.run, self.mesh = run, mesh
        self.model, self.kernel, self.powers, self.settings = model, kernel, powers, dict(settings)
        self.contract = Tempering(model, kernel, powers).contract
        self.prepare = Builder(model, self._build)

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run the chains.

        Raises: NoFiniteStartError where no start of finite density was found.
        """
        prepared = self.prepare(args, key, named)
        return self._told(prepared, lambda: self._chains(prepared)(key, *prepared.inputs))

    def resumed(self, found: Checkpoint, options: RunOptions, args: tuple[Any, ...]) -> Result:
        """Go on from a checkpoint; see `inference.resume`."""
        prepared = self.prepare(args)
        return self._told(prepared, lambda: self._chains(prepared).resumed(found, options, tuple(prepared.inputs)))

    def sampler(self, *args: Any, **named: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function of a key and arrays that JAX can map; gives draws at power 1 by name."""
        prepared = self.prepare(args, named=named)
        inner = self._chains(prepared).sampler(*prepared.inputs)
        return lambda key, *inputs: {name: draws[:, -1] for name, draws in inner(key, *inputs).items()}

    def plan(self, *args: Any, **named: Any) -> str:
        """Say which site is moved how."""
        prepared = self.prepare(args, named=named)
        return str(self._chains(prepared).plan(*prepared.inputs))

    def form(self, *args: Any, **named: Any) -> Form:
        """Return the algorithm on all copies as a Form."""
        prepared = self.prepare(args, named=named)
        return self._chains(prepared).form(*prepared.inputs)

    def __repr__(self) -> str:
        """Show kernel and powers."""
        return f"parallel_tempering({self.kernel!r}, {[round(p, 4) for p in self.powers]})"

    def _build(self, form: Form) -> Any:
        if self.powers[0] == 0:  # the copy at power 0 has the prior for its target
            refuse_improper(form, "parallel_tempering with the power 0")
        tempering = Tempering(form, self.kernel, self.powers)
        chains: Any = mcmc(replicated(form, self.powers), tempering, mesh=self.mesh, **self._started())
        settings = {
            name: value for name, value in self.settings.items() if name != "init"
        }  # a checkpoint has the start
        chains.recipe = "parallel_tempering", {"kernel": self.kernel, "powers": list(self.powers), **settings}
        return chains

    def _chains(self, prepared: Prepared) -> ChainPlan:
        chains: ChainPlan = prepared.built
        chains.run = self.run
        return chains

    def _started(self) -> dict[str, Any]:
        """Give every copy the start of its chain."""
        init, chains = self.settings["init"], self.settings["chains"]
        if init is None:
            return self.settings
        given = {
            name: np.broadcast_to(np.asarray(v), (chains, len(self.powers), *np.shape(v))) for name, v in init.items()
        }
        return {**self.settings, "init": given}

    def _told(self, prepared: Prepared, run: Callable[[], Result]) -> Result:
        """Give the copy at power 1 of what the chains leave, also where a callback or memory ended them."""
        try:
            return self._cold(prepared, run())
        except LawfulError as error:
            if isinstance(error.result, Result):
                error.result = self._cold(prepared, error.result)
            raise

    def _cold(self, prepared: Prepared, result: Result) -> Result:
        """Keep the copy at power 1, with the log density of the program."""
        form = trace(self.model, *prepared.args)
        names = [c.name for c in choices_of(form)]

        def kept(draws: Mapping[str, Any]) -> dict[str, np.ndarray]:
            return {name: np.asarray(x)[:, :, -1] for name, x in draws.items()}

        def stats(draws: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
            columns = [
                np.nan_to_num(draws[name]).astype(c.dtype) for name, c in zip(names, choices_of(form), strict=True)
            ]
            return {**numbers, "lp": scored_draws(form, prepared.inputs, columns)}

        posterior = kept(result._posterior)
        warmup = result.warmup
        if warmup is not None:
            early = kept(warmup.posterior)
            warmup = Warmup(early, stats(early, warmup.stats))
        observed = {"observed_data": prepared.observed} if prepared.observed else {}
        more = result.more
        return replace(
            result, _posterior=posterior, stats=stats(posterior, result.stats), warmup=warmup, form=form,
            model=self.model, args=prepared.args, dims=dims_of(choices_of(form, ("sample", "deterministic"))),
            groups={**result.groups, **observed}, run={**result.run, "powers": list(self.powers)},
            found=(*result.found, *prepared.unread),
            more=None if more is None else lambda draws: self._cold(prepared, more(draws)),
        )  # fmt: skip


def parallel_tempering(
    model: Any,
    kernel: Any = None,
    *,
    powers: Sequence[float] = (0.0, 0.1, 0.3, 0.6, 1.0),
    chains: int = 4,
    warmup: int = 500,
    draws: int = 1000,
    thin: int = 1,
    init: Mapping[str, Any] | None = None,
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> TemperedPlan:
    """Build Markov chains on copies of a program at several powers of its likelihood, which change places.

    Copies at small powers cross where the posterior has no way; what they find wanders to power 1. A step moves every
    copy, swaps even pairs of neighbours, moves again, and swaps odd pairs. `stats["swap_0_1"]` holds the probability of
    a swap between the first two powers at each step, and so on: a pair below 0.2 or so asks for a power in between.

    Args:
        model: a program.
        kernel: moves a copy, a kernel or a bare proposal; default: single-site moves.
        powers: increasing, from 0 or more to 1: the prior has power 0, the posterior 1.
        chains: number of chains, each of them with a copy for each power.
        warmup: steps before the first draw.
        draws: number of draws per chain.
        thin: steps per draw.
        init: a start by site name, the same for all copies and chains. Default: prior draws of finite density.
        run: how the run is divided, watched and kept, as for `mcmc`, without a store; None: one compiled call.
        progress: a bar, as for `mcmc`.
        mesh: the devices that share the chains, all copies of a chain on one, as for `mcmc`; None: one device.

    Returns: a plan; `plan(key, *args)` gives a `Result` of the draws at power 1.

    Reference: Swendsen and Wang (1986); Syed, Bouchard-Cote, Deligiannidis and Doucet (2022).

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def two_modes():
    ...     x = lawful.sample("x", dist.Normal(0.0, 5.0))
    ...     lawful.sample("y", dist.Normal(jnp.abs(x), 0.1), obs=4.0)
    >>> plan = parallel_tempering(two_modes, kernels.random_walk(0.5), chains=2, warmup=10, draws=20)
    >>> plan(0).posterior["x"].shape
    (2, 20)
    """
    given = tuple(float(p) for p in powers)
    if (
        len(given) < 2
        or given[-1] != 1.0
        or given[0] < 0
        or any(a >= b for a, b in zip(given, given[1:], strict=False))
    ):
        raise LawfulError(
            f"parallel_tempering: expected two powers or more, increasing from 0 or more to 1, got {list(given)}."
        )
    checked_options(run)
    checked_mesh(mesh, chains=chains)
    not_in_chunks("parallel_tempering", run, mesh)
    run = with_bar(run, progress, mesh)
    if run is not None and run.store is not None:
        raise LawfulError(
            "parallel_tempering: store: the chains have draws at all powers, and those at power 1 are picked at the "
            "end. Fix: leave out store=, and write the result, result.save('draws.zarr').",
            option="store",
        )
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "thin": thin, "init": init}
    return TemperedPlan(model, as_kernel(kernel), given, settings, run, mesh)
