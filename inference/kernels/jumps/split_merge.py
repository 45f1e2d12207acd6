"""Split-merge: two items of a mixture are taken; their cluster is split between them, or their two clusters are merged.

Law: a split into one of m spare labels, with the members dealt out with probability q, is undone by one merge, and the
other way round; so the ratio is pi(x') / (pi(x) q / m) for a split, and pi(x') (q / m) / pi(x) for a merge. With scans
the members are dealt out by a Gibbs scan that is restricted to the two labels, from a launch state with one law in both
directions.

Reference: Jain and Neal (2004), A split-merge Markov chain Monte Carlo procedure for the Dirichlet process mixture
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.distributions.law import law_of
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.markov_blanket import Blanket, reached

from ...contract import Contract
from ...laws.picks import CoinLaw, UniformIndexLaw
from ...registered import stored_as
from ...representations.kernel_form import Proposed, State
from ...representations.naming import named_sites
from ..base.base import INVARIANT
from ..base.redraw import PREFIX, RedrawLaw
from ..base.rescore import reached_score, rescored


@stored_as("kernels.split_merge")
@dataclass(frozen=True)
class SplitMerge:
    """Splits and merges of the clusters of a site's labels; see `split_merge`."""

    site: Any
    scans: int = 0
    ordered: bool = False
    contract: Contract = INVARIANT

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the pair, what is dealt out, and both densities."""
        place = self._place(choices)
        z, labels = state.values[place], _labels(choices[place])
        n = choices[place].full_shape[0]
        count = block.constant(np.asarray(n * (n - 1), np.int32))
        pair = block.site((PREFIX, "pair"), UniformIndexLaw(n * (n - 1)), (count,))
        split, members, room, i, j = block.det(_Opening(labels), pair, z, label="split or merge?")
        spares = block.det(_Spares(self.ordered), split, room, label="spare labels")
        spare = block.site((PREFIX, "spare"), UniformIndexLaw(labels), (spares,))
        ends = block.det(_Ends(labels, self.ordered), split, spare, z, i, j, label="labels of the pair")
        dealt = _Dealt(self, block, program, inputs, choices, state, place, (split, members, i, j, *ends))
        new, log_q = dealt.by_coins() if not self.scans else dealt.by_scans(self.scans)
        new = block.det(_Merged(self.ordered), split, members, new, z, i, j, label="new labels")
        values = (*state.values[:place], new, *state.values[place + 1 :])
        reach = dealt.reach
        there = rescored(block, program, reach, inputs, state.values, state.log_density, values)
        ratio = block.det(_Ratio(self.ordered), there.after, there.before, log_q, split, room, label="log ratio")
        return Proposed(State(values, there.flags, there.log_density), ratio, there.leave)

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        choices = choices_of(program)
        place = self._place(choices)
        said = "clusters are split and merged, " + (
            f"by {self.scans + 1} restricted scans" if self.scans else "at random"
        )
        return [f"{c.name}: {said if k == place else 'not moved'}" for k, c in enumerate(choices)]

    def _place(self, choices: Sequence[Choice]) -> int:
        """Find the site, and refuse one whose values are no labels."""
        (address,) = named_sites(choices, [self.site], "split_merge")
        (place,) = (k for k, c in enumerate(choices) if c.address == address)
        choice = choices[place]
        if len(choice.full_shape) != 1 or choice.full_shape[0] < 2 or choice.conditional or _labels(choice) < 2:
            raise UnsupportedProgramError(
                f"split_merge: site '{choice.name}' ({choice.source}) of shape {choice.full_shape} is no row of labels "
                "0, 1, ..., K - 1 of two items or more that always runs. Fix: name the site of the labels, as "
                "Categorical in a plate or in a scan.",
                site=choice.address,
            )
        return place

    def __repr__(self) -> str:
        """Show the settings."""
        shown = [repr(self.site), *([f"scans={self.scans}"] if self.scans else []), *(["ordered=True"] * self.ordered)]
        return f"split_merge({', '.join(shown)})"


def split_merge(site: Any, *, scans: int = 0, ordered: bool = False) -> SplitMerge:
    """Propose to split a cluster of labels into two, or to merge two into one.

    Two items are taken at random. Where they have one label, the one item gets a spare label and the other members of
    the cluster are dealt out between both; where they have two, their clusters are merged. All other choices stay, so
    the components' parameters are best integrated out of the program.

    Args:
        site: name of the labels, values 0, 1, ..., K - 1 of n items, in a plate or in a scan.
        scans: 0 deals the members out by fair coins. Otherwise by a Gibbs scan restricted to the two labels, after this
            many scans that lead to its start; every scan scores what the labels reach 2 n times.
        ordered: whether the program has labels in the order of their first appearance only, as a sequential Chinese
            restaurant process: then the proposal is brought into that order.

    Raises: when the kernel is built, LawfulError where there is no such site; UnsupportedProgramError where its values
        are no labels.

    Reference: Jain and Neal (2004), A split-merge Markov chain Monte Carlo procedure for the Dirichlet process mixture
        model.

    >>> from lawful.inference import kernels
    >>> kernels.mh(split_merge("z")), split_merge("z", scans=3, ordered=True)
    (mh(split_merge('z')), split_merge('z', scans=3, ordered=True))
    """
    if not isinstance(scans, int | np.integer) or scans < 0:
        raise LawfulError(f"split_merge: expected scans as an integer of 0 or more, got {scans!r}.")
    return SplitMerge(site, int(scans), bool(ordered))


def _labels(choice: Choice) -> int:
    """Number of labels; 0 where the values are none."""
    values = choice.law.element_values
    return len(values) if values is not None and (values == np.arange(len(values))).all() else 0


def in_order(z: jax.Array) -> jax.Array:
    """Number labels by their first appearance.

    >>> in_order(jnp.array([3, 1, 3, 0])).tolist()
    [0, 1, 0, 2]
    """
    first = jnp.argmax(z[:, None] == z[None, :], axis=1)
    opens = first == jnp.arange(z.shape[0])
    return (jnp.cumsum(opens)[first] - 1).astype(z.dtype)


class _Dealt:
    """The members of the two clusters, dealt out; `setting` holds split?, members, the pair and its two labels."""

    def __init__(
        self, kernel: SplitMerge, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice],
        state: State, place: int, setting: Sequence[Var],
    ) -> None:  # fmt: skip
        self.kernel, self.block, self.program, self.inputs = kernel, block, program, inputs
        self.choices, self.state, self.place = choices, state, place
        self.split, self.members, self.i, self.j, self.first, self.second = setting
        self.reach: Blanket = reached(program, [choices[place].address])

    def by_coins(self) -> tuple[Var, Var]:
        """Append fair coins; gives the labels and log q."""
        sides = self._coins("side", self.block.det(jnp.logical_and, self.split, self.members, label="dealt out?"))
        new = self.block.det(_Sided(), sides, *self._marks(), label="dealt out")
        return new, self.block.det(_fair, self.members, label="log q")

    def by_scans(self, scans: int) -> tuple[Var, Var]:
        """Append a launch state and restricted scans; gives the labels and log q of the last scan."""
        block = self.block
        sides = self._coins("launch", self.members)
        z = block.det(_Sided(), sides, *self._marks(), label="launch state")
        goal = self.state.values[self.place]
        free = block.constant(np.zeros((), bool))
        for scan in range(scans):
            z, _ = self._scan(f"scan {scan}", z, goal, free)
        return self._scan("last scan", z, goal, block.det(jnp.logical_not, self.split, label="merge?"))

    def _marks(self) -> tuple[Var, ...]:
        return (self.members, self.state.values[self.place], self.i, self.j, self.first, self.second)

    def _coins(self, name: str, wanted: Var) -> Var:
        """Append a fair coin for each item where it is wanted."""
        shape, dtype = self.choices[self.place].full_shape, jnp.result_type(float)
        law, parameters = law_of(dist.Bernoulli(np.full(shape, 0.5, dtype)))
        constants = [self.block.constant(p) for p in parameters]
        none = self.block.constant(np.zeros(law.shape, law.dtype))
        return self.block.site((PREFIX, name), RedrawLaw(law), (wanted, none, *constants))

    def _scan(self, name: str, z: Var, goal: Var, forced: Var) -> tuple[Var, Var]:
        """Append one restricted Gibbs scan; where it is forced, it leads to the goal, whose log q it gives."""
        scoring, _ = reached_score(self.program, self.reach)
        n, inner = self.choices[self.place].full_shape[0], Block()
        fixed = (*self.inputs, *self.state.values, self.members, self.first, self.second, goal, forced)
        given = tuple(v.like() for v in fixed)
        inputs, values = given[: len(self.inputs)], given[len(self.inputs) : -5]
        members, first, second, aim, force = given[-5:]
        now, log_q, item = z.like(), Var((), jnp.result_type(float)), Var((), jnp.dtype("int32"))
        scores, options = [], []
        for label in (first, second):
            option = inner.det(_Put(), now, item, label, label="one label")
            fitted = inner.det(in_order, option, label="in order") if self.kernel.ordered else option
            full = [*values[: self.place], fitted, *values[self.place + 1 :]]
            scores.append(scoring.spliced(inner, [*inputs, *full]).sums[0])
            options.append(option)
        logit, shown = inner.det(_chance, *scores, members, item, aim, first, force, label="chance of the first")
        coin = inner.site((PREFIX, name), CoinLaw(str(shown.dtype)), (shown,))
        after, q = inner.det(_taken, coin, now, *options, log_q, logit, members, item, label="taken")
        body = inner.form((*given, now, log_q, item), (after, q))
        zero = self.block.constant(np.zeros((), jnp.result_type(float)))
        items = self.block.constant(np.arange(n, dtype=np.int32))
        carry, _ = self.block.loop(body, n, fixed, (z, zero), (items,))
        return carry[0], carry[1]


@dataclass(frozen=True)
class _Opening:
    """From a pair and the labels: split?, the other members of the pair's clusters, occupied labels, the pair."""

    labels: int

    def __call__(self, pair: jax.Array, z: jax.Array) -> tuple[jax.Array, ...]:
        n = z.shape[0]
        i, rest = pair // (n - 1), pair % (n - 1)
        j = rest + (rest >= i)
        items = jnp.arange(n)
        members = ((z == z[i]) | (z == z[j])) & (items != i) & (items != j)
        used = jnp.sum(jnp.any(z[:, None] == jnp.arange(self.labels, dtype=z.dtype), axis=0), dtype=jnp.int32)
        return z[i] == z[j], members, jnp.int32(self.labels) - used, i, j


@dataclass(frozen=True)
class _Spares:
    """How many spare labels a split chooses from."""

    ordered: bool

    def __call__(self, split: jax.Array, room: jax.Array) -> jax.Array:
        return jnp.ones((), jnp.int32) if self.ordered else jnp.where(split, room, 1).astype(jnp.int32)


@dataclass(frozen=True)
class _Ends:
    """The two labels between which members are dealt out: for a split a spare one and the old one, else the old two."""

    labels: int
    ordered: bool

    def __call__(self, split: jax.Array, spare: jax.Array, z: jax.Array, i: jax.Array, j: jax.Array) -> Any:
        free = ~jnp.any(z[:, None] == jnp.arange(self.labels, dtype=z.dtype), axis=0)
        rank = jnp.cumsum(free.astype(jnp.int32)) - 1
        new = jnp.asarray(self.labels, z.dtype) if self.ordered else jnp.argmax(free & (rank == spare)).astype(z.dtype)
        return jnp.where(split, new, z[i]), z[j]


@dataclass(frozen=True)
class _Sided:
    """The labels when each member takes a side."""

    def __call__(
        self, sides: jax.Array, members: jax.Array, z: jax.Array, i: jax.Array, j: jax.Array, first: Any, second: Any
    ) -> jax.Array:
        dealt = jnp.where(members, jnp.where(sides == 1, first, second), z)
        return dealt.at[i].set(first).at[j].set(second)


@dataclass(frozen=True)
class _Put:
    """The labels with one of them replaced."""

    def __call__(self, z: jax.Array, item: jax.Array, label: jax.Array) -> jax.Array:
        return z.at[item].set(label)


@dataclass(frozen=True)
class _Merged:
    """The proposal: for a split what was dealt out, for a merge all members with the label of the second item."""

    ordered: bool

    def __call__(
        self, split: jax.Array, members: jax.Array, dealt: jax.Array, z: jax.Array, i: jax.Array, j: jax.Array
    ) -> jax.Array:
        new = jnp.where(split, dealt, jnp.where(members, z[j], z).at[i].set(z[j]))
        return in_order(new) if self.ordered else new


@dataclass(frozen=True)
class _Ratio:
    """The log ratio; a split without a spare label is no move."""

    ordered: bool

    def __call__(
        self, after: jax.Array, before: jax.Array, log_q: jax.Array, split: jax.Array, room: jax.Array
    ) -> jax.Array:
        spares = jnp.where(split, room, room + 1)
        log_q = log_q - (0.0 if self.ordered else jnp.log(jnp.maximum(spares, 1) * 1.0))
        ratio = after - before + jnp.where(split, -log_q, log_q)
        return jnp.where(split & (room == 0), -jnp.inf, ratio)


def _fair(members: jax.Array) -> jax.Array:
    return -jnp.log(2.0) * jnp.sum(members)


def _chance(
    first: jax.Array, second: jax.Array, members: jax.Array, item: jax.Array, goal: jax.Array, label: Any, forced: Any
) -> tuple[jax.Array, jax.Array]:
    """The logit of the first label given all others, and the chance of the coin: sure where the scan is forced."""
    logit = jnp.where(jnp.isnan(first - second), 0.0, first - second)
    chance = jax.nn.sigmoid(logit)
    sure = (goal[item] == label).astype(chance.dtype)
    return logit, jnp.where(members[item], jnp.where(forced, sure, chance), 1.0)


def _taken(
    coin: jax.Array, z: jax.Array, first: jax.Array, second: jax.Array, log_q: jax.Array, logit: jax.Array,
    members: jax.Array, item: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    q = jax.nn.log_sigmoid(jnp.where(coin, logit, -logit))
    there = members[item]
    return jnp.where(there, jnp.where(coin, first, second), z), log_q + jnp.where(there, q, 0.0)
