"""SMC, sequential Monte Carlo: finish . (resample . advance)^T . spawn.

Law: it is properly weighted: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the integral of f, for every f.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..contract import Transformer
from ..kernels.particles.move import move as move_with
from ..plans.refusals import EAGER
from ..plans.setting_types import Cuts, Kernel, NonFinite, Proposal
from ..representations.population import Advance
from ..transformers.pauses import Finish, repeat_to_end, spawn
from ..transformers.resample import push_evidence_with, resample
from .method import Filters, call, method


def particle_filter(
    particles: int, scheme: Any, when: Any, nonfinite: NonFinite = "error", kernel: Any = None
) -> Transformer:
    """The composition: spawn, then at every pause resample, move if there is a kernel, and advance; then finish.

    >>> from lawful.inference.laws.resampling_schemes import scheme
    >>> particle_filter(10, scheme("systematic"), None).contract.kind
    'preserves_measure'
    """
    renew = resample(scheme, when)
    push, push_last = push_evidence_with(nonfinite), push_evidence_with(nonfinite, again=False)
    step = (renew if kernel is None else renew >> move_with(kernel)) >> Advance >> push
    start, filtered = spawn(particles), repeat_to_end(step)
    return start >> push >> filtered >> Finish >> push_last


@method("smc")
@dataclass(frozen=True, kw_only=True)
class Smc(Filters):
    """Build a particle filter that pauses at every step of the model's loops (Gordon, Salmond and Smith 1993).

    Args:
        model: a program, whose sequences are `lawful.scan` (or `jax.lax.scan`); where it is not weighed in a loop it
            pauses between a factor or observation and the next draw.
        mode: "staged" compiles the program; "eager" runs it in plain Python, whatever its structure, and pauses at
            every observation and factor. Then `result.traces` holds the runs, and a choice that a run did not make is
            NaN.
        proposal: what to draw from in place of the prior, a program or several (see `propose`): guided SMC.
        cuts: further pauses: "factors" after every factor and observation outside loops, "draws" before every draw that
            follows one, or a sequence of their names; "loops" pauses in weighed loops alone.
        move: a kernel of `inference.kernels`, applied to every particle at every pause between resampling and the next
            step, with the program up to the pause as its target: resample-move (Gilks and Berzuini 2001). Each move
            scores the whole past again. In a loop, the sites of later steps do not run yet: a kernel that refuses such
            sites is given the names of others.
        run: how the run is divided, watched and kept, as for `mcmc`; None: one compiled call. A chunk is some stages of
            one of the runs, which follow each other; where the program has no loop it is one of the runs.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
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

    proposal: Proposal | None = None
    cuts: Cuts | None = field(default=None, metadata={EAGER: (None,)})
    move: Kernel | None = field(default=None, metadata={EAGER: (None,)})

    runs_eagerly: ClassVar[bool] = True

    def program(self, model: Any) -> Any:
        """Draw from the proposal."""
        return model if self.proposal is None else self.proposal(model)

    def compose(self) -> Transformer:
        """Resample, move and advance at every pause."""
        return particle_filter(self.particles, self.scheme, self.when, self.nonfinite, self.move)


smc = call(Smc)
