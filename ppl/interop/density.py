"""Density: the log density of a program in coordinates without bounds, for samplers and optimisers from elsewhere.

Law: exp(logp(u)) du is the measure of the program carried to the coordinates, Jacobian included; its gradient is
exact. A support that depends on other choices moves with them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .. import handlers
from ..addresses import Address, show_address
from ..backends.initial_values import TRIES, Start, found_start, prior_coordinates
from ..backends.log_density import gather_choices, log_density
from ..backends.unchain_loops import UNCHAINED
from ..backends.xla import emit
from ..errors import LawfulError, NoFiniteStartError
from ..form import Det, Form, Var
from ..form.arguments.arrays import split_arguments
from ..form.arguments.calls import positional
from ..form.builder import Block
from ..form.choices import Choice, choices_of, dims_of
from ..form.labels import fitting, labels_of
from ..form.operations.permutation import Permutation
from ..form.operations.stacks import Cut
from ..inspection.lint.observed_data import checked_data
from ..passes.rolling.roll import Folded, folded
from ..passes.unconstrain import (
    first_and_values,
    free_parts,
    in_coordinates,
    refuse_conditional,
    refuse_discrete,
    to_coordinates,
)
from ..tracing.trace import trace
from .nutpie_model import nutpie_of

type Position = Mapping[str, Any]


def density(program: Callable[..., Any] | Form, *args: Any, **named: Any) -> Density:
    """Export the log density of a program at given arguments.

    Args:
        program: a program or a Form.
        args: its arguments, data among them.
        named: arguments by name.

    Returns: a `Density`, whose `logp` takes a dict from site names to arrays without bounds.

    Raises:
        UnsupportedProgramError: a site is discrete, is a point mass, or exists in one arm of a branch only.
        ObservationError: the data do not fit their sites.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     sigma = lawful.sample("sigma", dist.HalfNormal(1.0))
    ...     lawful.sample("y", dist.Normal(0.0, sigma), obs=y)
    >>> d = lawful.density(model, 0.5)
    >>> u = {"sigma": jax.numpy.zeros(())}
    >>> float(d.constrain(u)["sigma"]), round(float(d.logp(u)), 4), round(float(jax.grad(d.logp)(u)["sigma"]), 4)
    (1.0, -1.7697, -0.75)
    """
    args = positional(program, args, named)
    form = trace(program, *args)
    inputs, _, _ = split_arguments(args)
    checked_data(form, inputs)
    refuse_discrete(folded(form))
    refuse_conditional(form)
    return Density(form, tuple(args), tuple(inputs))


@dataclass(frozen=True, eq=False)
class Density:
    """The log density of a form at fixed arguments, in constrained and in unconstrained coordinates."""

    form: Form
    args: tuple[Any, ...]
    inputs: tuple[Any, ...]

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The latent sites, in the order of evaluation."""
        return choices_of(self.form)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latent sites, in the order of evaluation."""
        return tuple(choice.name for choice in self.choices)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each site's value, loops first."""
        return {choice.name: choice.full_shape for choice in self.choices}

    @property
    def dtypes(self) -> dict[str, Any]:
        """Type of each site's value."""
        return {choice.name: choice.dtype for choice in self.choices}

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Names of the axes of each site's value."""
        return dims_of(self.choices)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels of the elements of each axis, by its name, as a plate or the arguments give them; else 0, 1, ...

        Raises: LawfulError where one name has two lengths.
        """
        found: dict[str, tuple[str, int]] = {}
        for name, dims in self.dims.items():
            for dim, size in zip(dims, self.shapes[name], strict=True):
                other, length = found.setdefault(dim, (name, size))
                if length != size:
                    raise LawfulError(
                        f"the axis '{dim}' has length {length} at site '{other}' and {size} at site '{name}'. Fix: "
                        "name the axes apart, by plates of different names.",
                        sites=(other, name), dim=dim,
                    )  # fmt: skip
        counted = {dim: np.arange(size) for dim, (_, size) in found.items()}
        return counted | fitting(labels_of(self.form, self.args), self.shapes, self.dims)

    def log_density(self, choices: Mapping[Any, Any]) -> jax.Array:
        """Score values in their own space, without Jacobian; see `Form.log_density`."""
        return log_density(self.form, choices, *self.args)

    def logp(self, position: Position) -> jax.Array:
        """Score coordinates without bounds, Jacobian included."""
        return self._run(self._flat(position))[0]

    def logp_vector(self, vector: jax.Array) -> jax.Array:
        """Score all coordinates without bounds in one vector, in the order of `ravel`, Jacobian included.

        A program of very many small sites compiles much faster by this function than by `logp`, whose position has an
        entry for each.
        """
        return self._run_vector(vector)

    def constrain(self, position: Position) -> dict[str, jax.Array]:
        """Map coordinates without bounds to values of the sites."""
        return dict(zip(self.names, self._run(self._flat(position))[1], strict=True))

    def unconstrain(self, choices: Mapping[Any, Any]) -> dict[str, jax.Array]:
        """Map values of the sites to coordinates without bounds, the inverse of `constrain`.

        Args:
            choices: values by name, as `log_density` takes them. `jax.vmap` maps those of many chains.

        Raises: LawfulError for a missing site, an unknown name or a wrong shape, and for a value that has no
            coordinates, as one outside its support or on its edge; under `jax.jit` or `jax.vmap` these are not finite.

        >>> import numpyro.distributions as dist, lawful
        >>> d = density(lambda: lawful.sample("p", dist.Beta(2.0, 2.0)))
        >>> float(d.unconstrain({"p": 0.5})["p"]), float(d.constrain({"p": 0.0})["p"])
        (0.0, 0.5)
        """
        values, _ = gather_choices(self.choices, choices)
        position = dict(zip(self.names, self._back(values), strict=True))
        known = [c for c in self.choices if not isinstance(position[c.name], jax.core.Tracer)]
        bad = [c for c in known if not np.isfinite(position[c.name]).all()]
        if bad:
            named = ", ".join(f"'{c.name}' ({c.source})" for c in bad)
            raise LawfulError(
                f"values of {named} have no finite coordinates: they lie outside the support of the site, or on its "
                f"edge; {bad[0].name} = {values[self.choices.index(bad[0])]}. Fix: give values inside the support.",
                sites=tuple(c.address for c in bad),
            )
        return position

    def ravel(self, position: Position | None = None) -> tuple[jax.Array, Callable[[jax.Array], dict[str, jax.Array]]]:
        """Return a position as one vector (default: the origin), and the function from vectors to positions."""
        if position is None:
            shapes, types = self._free_shapes, self.dtypes
            position = {name: jnp.zeros(shape, types[name]) for name, shape in shapes.items()}
        return ravel_pytree(dict(position))

    def initial(self, key: jax.Array) -> dict[str, jax.Array]:
        """Find a position where chains can begin: at the height of draws, of finite log density and gradient.

        The best of some candidates, uniform in the cube (-2, 2) and draws from the prior, climbs as far as where draws
        are expected; see `lawful.backends.initial_values`. Under `jax.vmap` or `jax.jit` one that is not found is
        NaN.

        Raises: NoFiniteStartError where none of 100 candidates is finite, naming the sites whose log density is not.

        >>> import jax, numpyro.distributions as dist, lawful
        >>> d = density(lambda: lawful.sample("x", dist.Normal(1e3, 1.0)))
        >>> starts = jax.vmap(d.initial)(jax.random.split(jax.random.key(0), 4))
        >>> bool((abs(starts["x"] - 1e3) < 3).all())
        True
        """
        _, unravel = self.ravel()
        start = self._find(key)
        found = start.candidate >= 0
        if isinstance(found, jax.core.Tracer):
            return unravel(jnp.where(found, start.vector, jnp.nan))
        if not found:
            raise self._no_start(unravel(start.vector))
        return unravel(start.vector)

    def to_blackjax(self, key: jax.Array) -> tuple[Callable[[Position], jax.Array], dict[str, jax.Array]]:
        """Give what the samplers of BlackJAX start from.

        Args:
            key: a key for the start.

        Returns: `logp`, and a position of finite log density and gradient; `constrain` maps positions that are drawn
        to values of the sites.

        Raises: NoFiniteStartError as `initial`.

        >>> import jax, numpyro.distributions as dist, lawful
        >>> d = density(lambda: lawful.sample("x", dist.Gamma(2.0, 1.0)))
        >>> logdensity, position = d.to_blackjax(jax.random.key(0))
        >>> bool(jax.numpy.isfinite(logdensity(position)))
        True
        """
        return self.logp, self.initial(key)

    def to_flowmc(self, key: jax.Array, chains: int) -> tuple[Callable[[jax.Array, Any], jax.Array], jax.Array]:
        """Give what the samplers of flowMC start from.

        Args:
            key: a key for the starts.
            chains: number of chains.

        Returns: a function of a vector and of flowMC's data, of which it reads none; and starts (chain, coordinate) of
        finite log density and gradient. `ravel()[1]` makes positions of vectors, and `constrain` values of positions.

        Raises: NoFiniteStartError as `initial`; LawfulError where `chains` is no integer of 1 or more.

        >>> import jax, numpyro.distributions as dist, lawful
        >>> d = density(lambda: lawful.sample("x", dist.Gamma(2.0, 1.0)))
        >>> logpdf, starts = d.to_flowmc(jax.random.key(0), chains=3)
        >>> starts.shape, bool(jax.numpy.isfinite(logpdf(starts[0], {})))
        ((3, 1), True)
        """
        if not isinstance(chains, int | np.integer) or chains < 1:
            raise LawfulError(f"to_flowmc: chains: expected an integer of 1 or more, got {chains!r}.")
        starts = [self.ravel(self.initial(jax.random.fold_in(key, chain)))[0] for chain in range(chains)]
        return lambda vector, data: self.logp_vector(vector), jnp.stack(starts)

    def to_nutpie(self) -> Any:
        """Make a model for `nutpie.sample`, whose result is a DataTree of the values of the sites.

        Raises: LawfulError where nutpie is not installed (the extra `nutpie`), or floats have 32 bits.

        >>> import numpyro.distributions as dist, lawful
        >>> d = density(lambda: lawful.sample("x", dist.Gamma(2.0, 1.0)))
        >>> d.to_nutpie().n_dim  # doctest: +SKIP
        1
        """
        return nutpie_of(self)

    @cached_property
    def _find(self) -> Callable[[jax.Array], Start]:
        origin, _ = self.ravel()
        prior, target = self._prior, jax.value_and_grad(self.logp_vector)
        return jax.jit(lambda key: found_start(target, len(origin), origin.dtype, key, prior))

    @property
    def _prior(self) -> Callable[[jax.Array], jax.Array] | None:
        """What draws a vector from the prior; None for a flat prior."""
        found = folded(self.form)
        drawn, order = prior_coordinates(found.form), _order(found)
        if drawn is None:
            return None
        run, dtype = emit(drawn, UNCHAINED), self.ravel()[0].dtype

        def draw(key: jax.Array) -> jax.Array:
            parts, _ = run(key, *self.inputs)
            return jnp.concatenate([jnp.ravel(x).astype(dtype) for x in parts])[order]

        return draw

    @cached_property
    def _free_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of the coordinates of each site, loops first."""
        shapes = free_parts(self.form)
        return {c.name: (*c.loops, *shapes[c.address]) for c in self.choices}

    @cached_property
    def _run(self) -> Callable[[Sequence[jax.Array]], tuple[jax.Array, list[jax.Array]]]:
        run = emit(first_and_values(in_coordinates(self.form)), UNCHAINED)

        def score(free: Sequence[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            (score, *values), _ = run(jax.random.key(0), *self.inputs, *free)
            return score, values

        return jax.jit(score)

    @cached_property
    def _back(self) -> Callable[[Sequence[jax.Array]], list[jax.Array]]:
        run = emit(to_coordinates(self.form), UNCHAINED)
        return jax.jit(lambda values: run(jax.random.key(0), *self.inputs, *values)[0])

    @cached_property
    def _run_vector(self) -> Callable[[jax.Array], jax.Array]:
        found = folded(self.form)
        if len({choice.dtype for choice in self.choices}) != 1:
            _, unravel = self.ravel()
            return jax.jit(lambda vector: self.logp(unravel(vector)))
        block, vector, free = _coordinates(found)
        inputs, answered = tuple(v.like() for v in self.form.inputs), in_coordinates(found.form)
        score = answered.spliced(block, [*inputs, *free]).sums[0]
        run = emit(block.form((*inputs, vector), [score]), UNCHAINED)
        return jax.jit(lambda vector: run(jax.random.key(0), *self.inputs, vector)[0][0])

    def _flat(self, position: Position) -> list[jax.Array]:
        if set(position) != set(self.names):
            raise LawfulError(
                f"position: expected the sites {', '.join(self.names)}, got {', '.join(map(str, position))}.",
                expected=self.names,
            )
        arrays = []
        for choice, (name, shape) in zip(self.choices, self._free_shapes.items(), strict=True):
            array = jnp.asarray(position[name], choice.dtype)
            if array.shape != shape:
                raise LawfulError(
                    f"position: site '{name}' has {shape} coordinates without bounds, got shape {array.shape}.",
                    site=name,
                )
            arrays.append(array)
        return arrays

    def _no_start(self, position: Position) -> NoFiniteStartError:
        values = {c.address: value for c, value in zip(self.choices, self.constrain(position).values(), strict=True)}
        record = handlers.trace(handlers.replay(self.form, values))(*self.args)
        bad = {a: float(p) for a, p in record.log_probs.items() if not np.isfinite(float(p))}
        named = "; ".join(f"site '{show_address(a)}' ({record.sources[a]}): log density {p}" for a, p in bad.items())
        at = ", ".join(f"{show_address(a)} = {np.asarray(v)}" for a, v in values.items())
        return NoFiniteStartError(
            f"{TRIES} starts in the cube (-2, 2) and from the prior, none with finite log density and gradient. At the "
            f"last, {at}: {named or 'the gradient is not finite'}. Fix: start from a position of your own, or check "
            "these sites.",
            sites=tuple(bad), values=values,
        )  # fmt: skip


def _pieces(found: Folded) -> dict[Address, tuple[int, ...]]:
    """Give the shapes of the coordinates of all choices, in the order of the form."""
    shapes = free_parts(found.form)
    return {
        address: (*c.loops[c.address in found.steps :], *shapes[c.address])
        for c in choices_of(found.form)
        for address in found.names(c.address)
    }


def _starts(pieces: Mapping[Address, tuple[int, ...]], order: Iterable[Address]) -> dict[Address, int]:
    """Tell where each begins, one after the other."""
    order = list(order)
    return dict(zip(order, itertools.accumulate((math.prod(pieces[a]) for a in order), initial=0), strict=False))


def _order(found: Folded) -> np.ndarray:
    """Tell where the numbers of one vector, which has the order of `ravel`, stand in the order of the form."""
    pieces = _pieces(found)
    starts = _starts(pieces, pieces)
    runs = [starts[a] + np.arange(math.prod(pieces[a])) for a in sorted(pieces, key=show_address)]
    return np.concatenate([np.zeros(0, int), *runs])


def _coordinates(found: Folded) -> tuple[Block, Var, list[Var]]:
    """Write how the coordinates of each choice are read from one vector, which has the order of `ravel`."""
    pieces, choices = _pieces(found), choices_of(found.form)
    starts = _starts(pieces, sorted(pieces, key=show_address))
    vector = Var((sum(map(math.prod, pieces.values())),), choices[0].dtype)
    block, values = Block(), vector
    rows = [[starts[a] for a in found.names(c.address)] for c in choices]
    if any(np.any(np.diff(row) != math.prod(pieces[c.address])) for c, row in zip(choices, rows, strict=True)):
        order = [range(starts[a], starts[a] + math.prod(piece)) for a, piece in pieces.items()]
        values, starts = vector.like(), _starts(pieces, pieces)
        block.nodes.append(Det(Permutation(tuple(itertools.chain(*order))), (vector,), (values,), "coordinates"))
    free = []
    for c in choices:
        names = found.names(c.address)
        shape = (*[len(names)][: c.address in found.steps], *pieces[names[0]])
        free.append(Var(shape, vector.dtype))
        block.nodes.append(Det(Cut(starts[names[0]], shape), (values,), (free[-1],), "coordinates"))
    return block, vector, free
