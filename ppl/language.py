"""The language: the statements that a probabilistic program is written with.

A program is a plain Python function of its arguments. It denotes an unnormalised measure: the product of the densities
of its sites and of its factors. Law: eager runs and the traced Form denote the same measure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .addresses import Address, show_address
from .errors import LawfulError, UnsupportedProgramError
from .messages import (
    DeterministicMessage,
    FactorMessage,
    PlateFrame,
    SampleMessage,
    Surroundings,
    caller,
    is_staged,
    placed,
    send,
    surroundings,
)
from .observations import checked_observation

RESERVED = ("chain", "draw", "sample", "stage", "particle", "pred_id")


def program[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as a probabilistic program; optional, since every function that uses `sample` is one.

    >>> import numpyro.distributions as dist
    >>> @program
    ... def coin():
    ...     return sample("heads", dist.Bernoulli(0.5))
    >>> coin.__name__
    'coin'
    """
    return function


def sample(name: str, distribution: Any, obs: Any = None) -> Any:
    """Make a random choice, or observe one.

    Args:
        name: the name of the site, unique in its scope; scopes and loops are added to its address.
        distribution: one of `numpyro.distributions`.
        obs: an observed value of exactly the site's shape (batch shape, then event shape), or None.

    Returns: the value, of the site's shape; `obs` itself when observed.

    Raises:
        ObservationError: the observation has another shape, is NaN, or lies outside the support.
        DuplicateSiteError: the address was used before.
        LawfulError: no handler gives the site a value.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> x = handlers.seed(lambda: sample("x", dist.Normal(0.0, 1.0)), jax.random.key(0))()
    >>> x.shape
    ()
    """
    place, source = surroundings(), caller()
    address = _address(name, place)
    if not hasattr(distribution, "log_prob"):
        raise LawfulError(
            f"site '{show_address(_names(name, place))}' ({source}): expected a distribution of numpyro.distributions, "
            f"got {type(distribution).__name__}.",
            site=address,
        )
    distribution = _in_plates(distribution, address, place.plates, source)
    value = None
    if obs is not None:
        value = checked_observation(obs, distribution, address, place.plates, source)
    message = SampleMessage(address, distribution, value, obs is not None, place.plates, source)
    send(message)
    if message.value is None:
        raise LawfulError(
            f"site '{show_address(_names(name, place))}' ({source}) has no value: wrap the program in "
            "handlers.seed(program, key), or call an inference with a key.",
            site=address,
        )
    return message.value


def factor(name: str, log_weight: Any) -> None:
    """Multiply the density by exp(log_weight); an array of weights is summed.

    Args:
        name: the name of the factor.
        log_weight: natural logarithm of the weight; -inf makes the run impossible.

    >>> import jax
    >>> from lawful import handlers
    >>> def program():
    ...     factor("half", jnp.log(0.5))
    >>> float(handlers.trace(program)().log_density)
    -0.69...
    """
    place = surroundings()
    if isinstance(log_weight, np.ndarray | np.generic | float):
        total: Any = np.sum(np.asarray(log_weight, np.result_type(log_weight, float)))
    else:
        weight = jnp.asarray(log_weight)
        total = jnp.sum(weight, dtype=jnp.result_type(weight, float))
    send(FactorMessage(_address(name, place), total, caller()))


def deterministic(name: str, value: Any) -> Any:
    """Record a named function of the choices; it appears in results and has no density."""
    message = DeterministicMessage(_address(name, surroundings()), value, caller())
    send(message)
    return message.value


@contextlib.contextmanager
def plate(name: str, size: int, *, dim: int | None = None) -> Iterator[jax.Array]:
    """Declare a batch axis of independent elements, given the variables outside.

    Args:
        name: the name of the axis, which becomes a dimension of the results.
        size: its length; 0 is legal and leaves the prior.
        dim: its position from the right, negative; default: the next free one from the right.

    Yields: the indices 0..size-1.

    Raises: LawfulError for a position taken by another plate, or a reserved name.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def schools():
    ...     with plate("school", 8):
    ...         return sample("theta", dist.Normal(0.0, 1.0))
    >>> handlers.seed(schools, jax.random.key(0))().shape
    (8,)
    """
    place, source = surroundings(), caller()
    if name in RESERVED:
        raise LawfulError(f"plate '{name}' ({source}): the name is reserved for results; choose another.", plate=name)
    if not isinstance(size, int | np.integer) or size < 0:
        raise LawfulError(f"plate '{name}' ({source}): expected a size of 0 or more, got {size!r}.", plate=name)
    taken = {frame.dim for frame in place.plates}
    if dim is None:
        dim = next(d for d in range(-1, -len(taken) - 2, -1) if d not in taken)
    if dim >= 0 or dim in taken:
        why = "is taken by another plate" if dim in taken else "must be negative"
        raise LawfulError(f"plate '{name}' ({source}): axis {dim} {why}; taken axes: {sorted(taken)}.", plate=name)
    with placed(replace(place, plates=(*place.plates, PlateFrame(name, int(size), dim)))):
        yield jnp.arange(size)


@contextlib.contextmanager
def scope(prefix: str) -> Iterator[None]:
    """Put a prefix before the names of all sites inside, so that a program can be called twice.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def pair():
    ...     with scope("left"):
    ...         sample("x", dist.Bernoulli(0.5))
    >>> list(handlers.trace(handlers.seed(pair, jax.random.key(0)))().choices)
    [('left', 'x')]
    """
    place = surroundings()
    with placed(replace(place, scopes=(*place.scopes, prefix))):
        yield


def scan(body: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None) -> tuple[Any, Any]:
    """Run a sequence of steps; the sites of step i have i at the end of their address.

    Args:
        body: `(carry, x) -> (carry, y)`, as for `jax.lax.scan`; may contain sites, factors, plates and loops.
        init: the first carry.
        xs: a pytree of arrays whose leading axis is the steps, or None.
        length: the number of steps where `xs` is None.

    Returns: the last carry and the stacked y.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def walk():
    ...     def step(x, _):
    ...         x = sample("x", dist.Normal(x, 1.0))
    ...         return x, x
    ...     return scan(step, 0.0, None, length=3)[1]
    >>> handlers.seed(walk, jax.random.key(0))().shape
    (3,)
    """
    place, source = surroundings(), caller()
    if place.plates:
        raise UnsupportedProgramError(
            f"scan ({source}) inside plate '{place.plates[-1].name}': put the plate inside the body instead.",
            plate=place.plates[-1].name,
        )
    lengths = {np.shape(leaf)[0] for leaf in jax.tree.leaves(xs)} | ({length} if length is not None else set())
    if len(lengths) != 1:
        raise LawfulError(f"scan ({source}): expected one number of steps from xs and length, got {sorted(lengths)}.")
    (steps,) = lengths

    def step(carry: Any, indexed: tuple[Any, Any]) -> tuple[Any, Any]:
        index, x = indexed
        with placed(replace(place, indices=(*place.indices, index))):
            return body(carry, x)

    if is_staged():
        return jax.lax.scan(step, jax.tree.map(_strong, init), (jnp.arange(steps), xs))
    return _python_scan(step, init, xs, steps)


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """Run one of two arms, whose sites may differ; only the sites of the arm that runs are active.

    Args:
        pred: a scalar truth value, which may depend on choices.
        true_fun: the arm of a true `pred`, called with the operands.
        false_fun: the arm of a false `pred`; both arms return equal structures, shapes and types.
        operands: arguments of the arms.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def program():
    ...     b = sample("b", dist.Bernoulli(0.5))
    ...     return cond(b == 1, lambda: sample("x", dist.Normal(0.0, 1.0)), lambda: 0.0)
    >>> handlers.seed(program, jax.random.key(0))().shape
    ()
    """
    if is_staged():
        return jax.lax.cond(jnp.asarray(pred, dtype=bool), true_fun, false_fun, *operands)
    if isinstance(pred, jax.core.Tracer):
        raise UnsupportedProgramError(
            f"cond ({caller()}): an eager run met a value traced by jit or vmap; trace the program with lawful.trace, "
            "or call the inference instead of compiling handlers by hand."
        )
    return jax.tree.map(_array, (true_fun if bool(pred) else false_fun)(*operands))


def _array(leaf: Any) -> Any:
    """Read a leaf as an array; NumPy stays NumPy, since one small operation at a time is its strength."""
    return leaf if isinstance(leaf, np.ndarray | np.generic) else jnp.asarray(leaf)


def _stack(*leaves: Any) -> Any:
    if all(isinstance(leaf, np.ndarray | np.generic) for leaf in leaves):
        return np.stack(leaves)
    return jnp.stack([jnp.asarray(leaf) for leaf in leaves])


def _python_scan(step: Callable[..., Any], carry: Any, xs: Any, steps: int) -> tuple[Any, Any]:
    if steps == 0:
        return _empty_scan(step, carry, xs)
    outputs = []
    for index in range(steps):
        carry, y = step(carry, (index, jax.tree.map(lambda leaf: leaf[index], xs)))
        outputs.append(y)
    return carry, jax.tree.map(_stack, *outputs)


def _empty_scan(step: Callable[..., Any], carry: Any, xs: Any) -> tuple[Any, Any]:
    """Find the shapes of the outputs of a scan of no steps by running its body on no world at all."""
    from .handlers import seed

    def once(carry: Any, x: Any) -> Any:
        return seed(lambda: step(carry, (0, x))[1], jax.random.key(0), alone=True)()

    examples = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf)[1:], jnp.asarray(leaf).dtype), xs)
    shapes = jax.eval_shape(once, carry, examples)
    return carry, jax.tree.map(lambda s: jnp.zeros((0, *s.shape), s.dtype), shapes)


def _strong(leaf: Any) -> jax.Array:
    array = jnp.asarray(leaf)
    return jax.lax.convert_element_type(array, array.dtype)


def _names(name: str, place: Surroundings) -> Address:
    return (*place.scopes, name)


def _address(name: str, place: Surroundings) -> Address:
    if not isinstance(name, str) or not name:
        raise LawfulError(f"site name: expected a non-empty string, got {name!r} ({caller()}).")
    return (*place.scopes, name, *place.indices)


def _in_plates(distribution: Any, address: Address, plates: tuple[PlateFrame, ...], source: Any) -> Any:
    """Give a distribution the batch axes of its plates; an axis of another size is an error, never stretched."""
    if not plates:
        return distribution
    batch = tuple(distribution.batch_shape)
    rank = max(len(batch), max(-frame.dim for frame in plates))
    shape = [1] * (rank - len(batch)) + list(batch)
    for frame in plates:
        if shape[frame.dim] not in (1, frame.size):
            raise LawfulError(
                f"site '{show_address(tuple(p for p in address if isinstance(p, str)))}' in plate '{frame.name}' "
                f"(axis {frame.dim}, size {frame.size}): the distribution's batch shape is {batch}. "
                f"Model: {source}. Fix: give parameters of size {frame.size} or 1 on axis {frame.dim}, or declare "
                "the plate with another dim.",
                site=address,
                plate=frame.name,
            )
        shape[frame.dim] = frame.size
    return distribution if tuple(shape) == batch else distribution.expand(tuple(shape))
