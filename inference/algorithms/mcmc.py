"""MCMC, Markov chain Monte Carlo: many chains of one kernel in one compiled loop.

Law: that of `ChainPlan`; in mode "eager", and with sites summed out, that of the same chains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from lawful.errors import LawfulError

from ..devices.mesh import checked_mesh
from ..kernels.combine.mh import as_kernel, mh
from ..kernels.default_kernel import default_kernel
from ..plans.chains.chain_plan import ChainMethod, ChainPlan
from ..plans.chains.chosen_plan import ChosenPlan, chosen_chains
from ..plans.enumerated_plan import EnumeratedPlan, starts_beside
from ..running.default_bar import with_bar
from ..running.faults import OnFault, checked_policy
from ..running.options import RunOptions, checked_options, not_in_chunks, without_sums
from ..summing.enumerate_sites import Enumeration, Sites
from .eager.chains import EagerChainPlan
from .eager.courses import without_files
from .eager.plans import Mode, checked_mode, refuse


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
    progress: bool | None = None,
    mesh: Mesh | None = None,
    chain_method: ChainMethod = "vectorized",
) -> ChainPlan | ChosenPlan | EagerChainPlan | EnumeratedPlan:
    """Build Markov chains of a kernel.

    Args:
        model: a program.
        kernel: a kernel, as `kernels.mh(kernels.random_walk(0.5))`; a bare proposal is wrapped in `mh`. Default: chosen
            by the program, once its arguments are known: NUTS for continuous sites with a gradient; beside it finite
            sites are summed out where that is cheap, else drawn from exact conditionals; what is left moves one part at
            a time. The plan says what was chosen, and why.
        chains: number of chains, run side by side in one program.
        warmup: steps before the first draw; kept apart in `result.warmup`.
        draws: number of draws per chain.
        thin: steps per draw.
        init: a start by site name; a value with the chains as a further first axis has an entry for each, any other is
            the same for all (in mode "eager" all are). A site without a value is drawn from the prior, until the
            density is finite. Default: so for all sites; for kernels along gradients, and where the prior is flat,
            starts near where draws are expected (`lawful.backends.initial_values`).
        on_fault: "raise" an error where no chain can start, or "flag": a result without draws that is not ok.
        mode: "staged" compiles the program; "eager" runs it in plain Python, whatever its structure, and moves one
            choice at a time. Then `result.traces` holds the runs, and a choice that a run did not make is NaN.
        enumerate: names of finite sites to sum out exactly, or "all": the kernel moves the others, on the marginal, and
            the result holds draws of the summed sites from their exact conditional (see `enumerate_sites`). Or a
            transformer that sums sites, as `marginalise()`. Default: what the kernel asks for; [] sums nothing.
        run: how the run is divided, watched and kept; then Ctrl-C ends it with what is finished. None: one compiled
            call, with the same draws.
        progress: None shows a bar in a terminal or a notebook, once a run has taken 3 s: there it goes in chunks, and
            Ctrl-C ends it with what is finished; True shows it at once; False never.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the chains evenly; None: one device. Draws are
            those of one device, up to rounding. With `run` its devices are those of one process.
        chain_method: "vectorized" runs the chains side by side; "sequential" one after the other, each with a key of
            its own, in the memory of one; not together with `run`.

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
    kernel = None if kernel is None else as_kernel(kernel)
    if not (init is None or isinstance(init, Mapping)):
        raise LawfulError(f"init: expected values by site name, as {{'x': 0.0}}, got {init!r}.")
    for name, value, least in (("chains", chains, 1), ("warmup", warmup, 0), ("draws", draws, 0), ("thin", thin, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise LawfulError(f"{name}: expected an integer of {least} or more, got {value!r}.")
    if chain_method not in ("vectorized", "sequential"):
        raise LawfulError(f"chain_method: expected 'vectorized' or 'sequential', got {chain_method!r}.")
    if mesh is not None and chain_method == "sequential":
        raise LawfulError(
            "mcmc: the devices of a mesh run chains side by side. Fix: leave out mesh=, or chain_method='sequential'."
        )
    checked_mesh(mesh, chains=chains)
    not_in_chunks("mcmc", run, mesh, chain_method == "sequential")
    run = with_bar(run, progress, mesh, one_by_one=chain_method == "sequential")
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "thin": thin, "on_fault": on_fault}

    def built(about: Any, kernel: Any, init: Any = init) -> ChainPlan:
        return ChainPlan(about, kernel, {**settings, "kernel": repr(kernel)}, init, run, mesh, chain_method)

    if enumerate is not None:
        without_sums("mcmc", run)
        refuse("mcmc", {"enumerate": (enumerate if checked_mode(mode) == "eager" else None, (None,))})

        def inner(summed: Enumeration) -> ChainPlan:
            form, start = summed.marginal, starts_beside(summed, init)
            if kernel is not None:
                return built(form, kernel, start)
            return chosen_chains(built, form, default_kernel(form, sums=False), start)

        return EnumeratedPlan(model, enumerate, inner, run)
    if checked_mode(mode) == "eager":
        one_by_one = mh() if kernel is None or kernel == mh() else kernel
        refuse("mcmc", {"kernel": (one_by_one, (one_by_one if one_by_one == mh() else mh(),))})
        refuse("mcmc", {"on_fault": (on_fault, ("raise",))})
        refuse("mcmc", {"mesh": (mesh, (None,)), "chain_method": (chain_method, ("vectorized",))})
        without_files("mcmc", run)
        return EagerChainPlan(model, {**settings, "kernel": repr(one_by_one)}, init, run)
    return ChosenPlan(model, built, init, run) if kernel is None else built(model, kernel)
