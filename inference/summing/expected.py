"""Expected: the log density of a summed program at a new point, its summed sites averaged by their law at an old one.

Law: Q(new | old) is the log density L with the log of each sum over states replaced by its tangent at the old point. It
lies below, for the log of a sum of exponentials is convex: Q(new | old) <= L(new), and both are equal, with equal
slopes, where new is old. So a step that raises Q raises L, by as much or more: expectation maximisation.

Reference: Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm, J. R. Stat.
Soc. B 39; Neal and Hinton (1998), A view of the EM algorithm that justifies incremental, sparse, and other variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from lawful.form import Det, Form, Plate, Var
from lawful.form.builder import Tupled
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import with_operations
from lawful.passes.add_plate import lift
from lawful.passes.thread_sites import Given, interpose

from ..laws.log_sum import log_sum
from .tables import SumOver

POINTS = Plate("old and new point", 2)


def expected(form: Form) -> Form | None:
    """Write Q(new | old) of a program some of whose sites are summed; None where no sum is written in it.

    Inputs are the program's, then for each choice its old and new value, stacked; the output is L(old), Q(new | old).

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.backends.xla import emit
    >>> from lawful.inference import marginalise
    >>> def model():
    ...     level = lawful.sample("level", dist.Normal(0.0, 1.0))
    ...     z = lawful.sample("z", dist.Bernoulli(0.5))
    ...     lawful.sample("y", dist.Normal(level * z, 1.0), obs=1.0)
    >>> form = marginalise()(lawful.trace(model))
    >>> old, below = emit(expected(form))(jax.random.key(0), jnp.array([0.0, 0.5]))[0][0]
    >>> round(float(below - old), 6)  # half of (1 - 0.25) / 2, and the prior - 0.125
    0.0625
    """
    with jax.ensure_compile_time_eval():
        scored = interpose(form, Given(), apart=False)
    density = without_dead_code(replace(scored.form, outputs=scored.parts.sums[:1]))
    count = len(form.inputs)
    twice = lift(density, POINTS, [number >= count for number in range(len(density.inputs))]).form
    found = with_operations(twice, _with_tangent)
    return None if found is twice else found


@dataclass(frozen=True)
class Tangent:
    """The log of a sum over states at the old point, and its tangent there at the new one.

    >>> Tangent(log_sum)(jnp.array([[0.0, 0.0], [1.0, -1.0]])).tolist() == [jnp.log(2.0), jnp.log(2.0)]
    True
    """

    over: Callable[[jax.Array], jax.Array]

    def __call__(self, tables: jax.Array) -> jax.Array:
        """Sum."""
        old = jax.lax.stop_gradient(tables[0])
        log, gain = jax.jvp(self.over, (old,), (jnp.where(jnp.isneginf(old), 0.0, tables[1] - old),))
        return jnp.stack([log, log + gain])


def _with_tangent(node: Det, _: Mapping[Var, Det]) -> Det:
    """Replace a sum over states that both points have."""
    over = node.function.function if isinstance(node.function, Tupled) else None
    if POINTS not in node.plates or not (over is log_sum or isinstance(over, SumOver)):
        return node
    plates = tuple(plate for plate in node.plates if plate != POINTS)
    return replace(node, function=Tupled(Tangent(over)), plates=plates)
