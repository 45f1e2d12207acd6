"""Kernel rows: kernels that a row can run on any finite program, whatever its sites are called.

Law: each of them claims what the kernel that it builds claims; names are read from the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import cond, deterministic, factor, plate, sample, scan, switch
from lawful.errors import UnsupportedProgramError, WidthError
from lawful.form import Form
from lawful.form.choices import choices_of

from ...contract import PRESERVES, Contract
from ...graphs import count
from ...kernels import (
    block_gibbs,
    cycle,
    delayed_acceptance,
    gibbs,
    independence,
    involutive,
    jump,
    mh,
    mixture,
    on,
    redraw,
    refresh,
    smcp3,
)
from ...kernels.base.base import INVARIANT
from ...kernels.default_kernel import default_kernel
from ...kernels.particles.replica_exchange import Tempering
from ...laws.symmetric_mixture import SymmetricMixture
from ...representations.kernel_form import KernelForm
from ...transformers.nested import nested as nested_filter
from ...transformers.propose.guide import Guide
from ...transformers.propose.start_from import start_from

# Of NumPy, so that it has the precision in use when the kernel is built, not when this file is imported.
_SHIFT = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
# Of a site with two values, each of which is reached from the other, forth and back.
_FORTH = np.array([[0.1, 0.9], [0.4, 0.6]])
_BACK = np.array([[0.7, 0.3], [0.2, 0.8]])
BUDGETS = (2, 4, 9, 27, 81)  # of blocks so small that a row scans several of them


@dataclass(frozen=True)
class Named:
    """A kernel made for a program, with the name under which a row shows it."""

    label: str
    make: Callable[[Form], Any]
    contract: Contract = INVARIANT

    def build(self, program: Form) -> KernelForm:
        """Make the kernel, and build it."""
        built: KernelForm = self.make(program).build(program)
        return built

    def plan(self, program: Form) -> list[str]:
        """Say what it is."""
        return [self.label]

    def __repr__(self) -> str:
        return self.label


def mixed(kernel: Any) -> Any:
    """Mix a kernel of some sites with moves of all; None stands for a kernel of no site."""
    return mh() if kernel is None else mixture([2, 1], kernel, mh())


def _first(program: Form, number: int = 2) -> list[str]:
    """Name the first of the sites that always run."""
    return [choice.name for choice in choices_of(program) if not choice.conditional][:number]


def _conditionals(program: Form) -> Any:
    """Draw the sites that have a conditional from it."""
    names: list[str] = []
    for choice in choices_of(program):
        if not choice.conditional and _is_built(on([*names, choice.name], gibbs()), program, UnsupportedProgramError):
            names.append(choice.name)
    return mixed(on(names, gibbs()) if names else None)


def _small_blocks(program: Form) -> Any:
    """Draw blocks by the smallest budget under which the program has one."""
    kernels = (block_gibbs(width_budget=budget) for budget in BUDGETS)
    return next((kernel for kernel in kernels if _is_built(kernel, program, WidthError)), block_gibbs())


def _is_built(kernel: Any, program: Form, refusal: type[Exception]) -> bool:
    try:
        kernel.build(program)
    except refusal:
        return False
    return True


def _shift(names: list[str], table: np.ndarray = _SHIFT) -> Any:
    """Draw new values of some sites, by a table of the old ones; values out of the support have density zero."""

    def shift(current: Mapping[str, Any]) -> None:
        for name in names:
            sample(name, dist.Categorical(jnp.asarray(table)[current[name]]))

    return shift


def _exchange(names: list[str]) -> Any:
    """Exchange some sites with auxiliary values that a table of the old ones proposes."""

    def fresh(current: Mapping[str, Any]) -> None:
        for name in names:
            sample(f"new.{name}", dist.Categorical(jnp.asarray(_SHIFT)[current[name]]))

    def swap(choices: Mapping[str, Any], auxiliary: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        there = {name: auxiliary[f"new.{name}"].astype(choices[name].dtype) for name in names}
        return there, {f"new.{name}": choices[name].astype(auxiliary[f"new.{name}"].dtype) for name in names}

    return involutive(swap, fresh)


def _halves(program: Form) -> tuple[list[str], list[str]]:
    names = [choice.name for choice in choices_of(program)]
    middle = (len(names) + 1) // 2
    return names[:middle], names[middle:] or names


PROGRAM = Named(
    "mixture([2, 1], on(first, mh(program)), mh(single_site()))",
    lambda program: mixed(on(names, mh(_shift(names))) if (names := _first(program)) else None),
)
INVOLUTIVE = Named(
    "mixture([2, 1], involutive(swap of the first), mh(single_site()))",
    lambda program: mixed(_exchange(names) if (names := _first(program)) else None),
)
ON = Named(
    "mixture([1, 2], on(first, mh(single_site())), on(second, mh(single_site())))",
    lambda program: mixture([1, 2], *map(on, _halves(program))),
)
CYCLE = Named(
    "cycle(on(first, mh(single_site())), on(second, mh(single_site())))",
    lambda program: cycle(*map(on, _halves(program))),
    cycle(mh(), mh()).contract,
)
CONDITIONALS = Named(
    "mixture([2, 1], on(sites with a conditional, gibbs()), mh(single_site()))",
    _conditionals,
    mixed(gibbs()).contract,
)
SMALL_BLOCKS = Named("block_gibbs(width_budget=least)", _small_blocks, block_gibbs().contract)
CHOSEN = Named(  # on a finite program no site is summed out
    "default_kernel",
    lambda program: default_kernel(program).kernel,
    Contract("invariant_kernel", target="the program's posterior", parametric=True),
)
INDEPENDENCE = mh(independence())
SMCP3 = Named(
    "smcp3 of the first site, by another table back than forth",
    lambda program: smcp3(_shift(names, _FORTH), _shift(names, _BACK)) if (names := _first(program, 1)) else mh(),
    PRESERVES,
)


def models() -> None:
    """Three models: nothing, `a`, or `a` and a `b` that depends on it; `shared` runs in all."""
    k = sample("k", dist.Categorical(jnp.array([0.3, 0.5, 0.2])))
    shared = sample("shared", dist.Bernoulli(0.4))

    def one() -> Any:
        return sample("a", dist.Bernoulli(0.3))

    def two() -> Any:
        a = one()
        return a + sample("b", dist.Bernoulli(0.2 + 0.5 * a))

    total = switch(k, [lambda: 0, one, two])
    factor("weight", 0.3 * total * shared - 0.5 * (k == 1))


def _born_a(current: Mapping[str, Any]) -> None:
    sample("a", dist.Bernoulli(0.6 - 0.4 * current["shared"]))


def _born_b(current: Mapping[str, Any]) -> None:
    sample("b", dist.Bernoulli(0.3 + 0.2 * current["a"]))


JUMPS = cycle(mixture([1, 2], jump("k", (0, 1), auxiliary=_born_a), jump("k", (1, 2), auxiliary=_born_b)), on("shared"))


def clusters() -> None:
    """Labels of three items with unequal weights, two of which a factor ties together."""
    with plate("i", 3):
        z = sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    factor("together", 0.7 * (z[0] == z[2]) - 0.2 * z[1])


def classes() -> None:
    """Two exchangeable classes, each with a place and a flag that depends on it."""
    with plate("class", 2):
        place = sample("place", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        flag = sample("flag", dist.Bernoulli(0.2 + 0.3 * place))
    factor("apart", 0.9 * (place[0] != place[1]) - 0.4 * jnp.sum(place * flag))


def _class_anew(current: Mapping[str, Any]) -> None:
    """Draw one class, by what all are now."""
    place = sample("place", dist.Categorical(jnp.array([0.3, 0.3, 0.4])))
    sample("flag", dist.Bernoulli(0.3 + 0.1 * place + 0.1 * jnp.sum(current["flag"])))


REDRAWN = mh(redraw("class")), mh(redraw("class", _class_anew))


def places() -> None:
    """The same with a place alone."""
    with plate("class", 2):
        place = sample("place", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    factor("apart", 0.9 * (place[0] != place[1]) - 0.4 * jnp.sum(place))


# Two ends, in each of which one class is where another is not.
_NEAR = np.array([[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], [[0.2, 0.6, 0.2], [0.5, 0.4, 0.1]]])
MIXTURE = SymmetricMixture(
    np.log([0.6, 0.4]), dist.CategoricalProbs(_NEAR), dist.CategoricalProbs(np.array([0.25, 0.35, 0.4])),
    sites=(("place", 1),),
)  # fmt: skip
START = start_from(MIXTURE)


def taken() -> tuple[Any, Any]:
    """Finite sites alone, in a plate and in a loop, which depend on each other."""
    a = sample("a", dist.Bernoulli(0.3))
    with plate("i", 2):
        z = sample("z", dist.Categorical(jnp.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])[a]))

    def step(before: Any, weight: Any) -> tuple[Any, None]:
        s = sample("s", dist.Bernoulli(jnp.where(before == 1, 0.8, 0.4)))
        factor("seen", weight * s)
        return s, None

    last, _ = scan(step, a, jnp.array([0.7, -0.5]))
    factor("apart", 0.9 * (z[0] != z[1]) - 0.4 * last * z[0])
    return a, last


_TABLES: dict[str, Any] = {"a": [0.2, 0.8], "z": [[0.5, 0.2, 0.3], [0.1, 0.4, 0.5]], "s": [[0.6, 0.4], [0.3, 0.7]]}
GUIDED = start_from(Guide(None, (), {name: np.log(table) for name, table in _TABLES.items()}))


def ballots() -> None:
    """A bag whose count is known, with neighbours in it, and one whose count is seen with noise."""
    with plate("i", 4):
        z = sample("z", dist.Bernoulli(jnp.array([0.3, 0.6, 0.5, 0.8])))
    count("known", z[:2], obs=jnp.array(1))
    count("seen", z[2:], noise=jnp.array([0.4, -0.3, 0.2]))
    factor("alike", 0.9 * (z[0] == z[1]) - 0.5 * (z[1] == z[2]))


def shared_ballots() -> None:
    """Two bags that share a member."""
    with plate("i", 3):
        z = sample("z", dist.Categorical(jnp.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.1, 0.3, 0.6]])))
    count("first", (z[:2] == 1).astype(jnp.int32), obs=jnp.array(1))
    count("second", (z[1:] == 2).astype(jnp.int32), noise=jnp.array([0.4, -0.3, 0.1]))
    factor("unlike", -0.7 * (z[0] == z[2]))


def rough() -> None:
    """The sites of `nested` with other laws and another weight."""
    a = sample("a", dist.Bernoulli(0.7))

    def inner() -> Any:
        c = sample("c", dist.Bernoulli(0.5))
        return cond(c == 1, lambda: sample("d", dist.Bernoulli(0.3)), lambda: 0)

    factor("weight", cond(a == 1, inner, lambda: sample("e", dist.Bernoulli(0.5))) * 0.3)


DELAYED = delayed_acceptance(rough)


def guarded() -> None:
    """A site that decides whether another runs, with a likelihood."""
    b = sample("b", dist.Bernoulli(0.3))
    w = cond(b == 1, lambda: sample("w", dist.Bernoulli(0.6)), lambda: 0)
    factor("weight", 1.2 * w - 0.9 * b)


TEMPERING = Tempering(mh(), (0.25, 1.0))


def nested() -> None:
    """A branch in a branch: the move of a site inside changes how many of them are active."""
    a = sample("a", dist.Bernoulli(0.4))

    def inner() -> Any:
        c = sample("c", dist.Bernoulli(0.3))
        return cond(c == 1, lambda: sample("d", dist.Bernoulli(0.6)), lambda: 0)

    factor("weight", cond(a == 1, inner, lambda: sample("e", dist.Bernoulli(0.9))) * -0.5)


def nested_steps() -> None:
    """A loop whose steps draw one site or two, depending on the step before and on a site of their own."""

    def step(z: Any, y: Any) -> tuple[Any, None]:
        def two() -> Any:
            more = sample("more", dist.Bernoulli(0.6))
            return cond(more == 1, lambda: sample("extra", dist.Bernoulli(0.5)), lambda: 0)

        z = cond(z == 1, two, lambda: sample("z", dist.Bernoulli(0.2)))
        sample("y", dist.Bernoulli(0.2 + 0.6 * z), obs=y)
        return z, None

    scan(step, jnp.asarray(1), jnp.array([1, 0]))


def labels() -> None:
    """A mixture: labels in a plate, a choice that all of them share, and two that a factor ties together."""
    p = sample("p", dist.Bernoulli(0.3))
    with plate("pairs", 2):
        pair = sample("pair", dist.Bernoulli(0.4))
    with plate("i", 2):
        z = sample("z", dist.Bernoulli(0.2 + 0.5 * p))
        sample("y", dist.Normal(2.0 * z - p + pair[0], 1.0), obs=jnp.array([0.3, -1.0]))
    factor("both", -0.9 * pair[0] * pair[1])


def hidden() -> None:
    """A hidden chain that is read after its end, too."""

    def step(z: Any, y: Any) -> tuple[Any, Any]:
        z = sample("z", dist.Categorical(jnp.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]])[z]))
        sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
        return z, z

    last, path = scan(step, jnp.asarray(0), jnp.array([0.3, 1.2]))
    factor("end", -0.3 * last + 0.1 * jnp.sum(path))


def two_steps() -> None:
    """A hidden chain of two states and two steps, which populations of two particles can be enumerated on."""

    def step(z: Any, y: Any) -> tuple[Any, None]:
        z = sample("z", dist.Bernoulli(0.3 + 0.4 * z))
        sample("y", dist.Bernoulli(0.2 + 0.5 * z), obs=y)
        return z, None

    scan(step, jnp.asarray(0), jnp.array([1, 0]))


def known_steps() -> None:
    """The same with a parameter."""
    _steps(sample("p", dist.Bernoulli(0.4)))


def _steps(p: Any) -> None:
    def step(z: Any, y: Any) -> tuple[Any, None]:
        z = sample("z", dist.Bernoulli(0.3 + 0.4 * z - 0.2 * p))
        sample("y", dist.Bernoulli(0.2 + 0.5 * z), obs=y)
        return z, None

    scan(step, jnp.asarray(0), jnp.array([1, 0]))


def _flip(current: Mapping[str, Any]) -> None:
    sample("p", dist.Bernoulli(0.3 + 0.3 * current["p"]))


REFRESH = refresh(_flip, ["p"])
PMMH = refresh(_flip, ["p"], keep="named")


def filtered() -> None:
    """The program with its parameter, whose states a filter inside draws."""
    p = sample("p", dist.Bernoulli(0.4))
    deterministic("z", nested_filter(_steps, particles=2, resample_below=0.95)(p)["z"])


def filtered_alone() -> None:
    """The program without a parameter, by a filter."""
    deterministic("z", nested_filter(two_steps, particles=2)()["z"])
