"""Control flow: sequences, choices among arms, and loops of a random number of steps.

Law: eager, these are Python's own control flow; staged, each becomes one Loop or Branch of the Form, and only the sites
that Python would have reached are active.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import IndexRangeError, LawfulError, UnsupportedProgramError
from ..messages import (
    OVERFLOW,
    RESERVED,
    FactorMessage,
    Source,
    Surroundings,
    caller,
    is_staged,
    only,
    placed,
    send,
    surroundings,
)
from ..tracing.lower import holds_statements
from ..tracing.primitives import Stage
from .data.observed import truth
from .padding import ABSENT, as_arm, masked_steps, refuse_other_state, strong


def scan(
    body: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    mask: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Run a sequence of steps; the sites of step i have i at the end of their address.

    Args:
        body: `(carry, x) -> (carry, y)`, as for `jax.lax.scan`; may contain sites, factors, plates and loops.
        init: the first carry.
        xs: a pytree of arrays whose leading axis is the steps, or None.
        length: the number of steps where `xs` is None.
        mask: which steps are there, True or False for each, as of a sequence that was padded. A step that is masked out
            passes the carry through, gives zeros, and its sites are absent. A mask (steps, lanes...) says it for each
            lane of a plate in the body, which has the lanes as first axes of carry and y: data, factors and choices of
            a lane that is masked out are absent, and the value of such a choice is a fixed number of its support.
        name: of the steps, as "year", which is that of their dimension in results; "time" by default.

    Raises: LawfulError for steps whose number is not known or not one, and for a name that results use otherwise.

    Returns: the last carry and the stacked y.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers, sample
    >>> def walk():
    ...     def step(x, _):
    ...         x = sample("x", dist.Normal(x, 1.0))
    ...         return x, x
    ...     return scan(step, 0.0, None, length=3)[1]
    >>> handlers.seed(walk, jax.random.key(0))().shape
    (3,)
    """
    place, source = surroundings(), caller()
    _refuse_plates("scan", place, source)
    if name is not None and (not isinstance(name, str) or name in (*RESERVED, "") or name in place.loop_names):
        raise LawfulError(
            f"scan ({source}): expected as name a word for the steps, got {name!r}. Fix: give one that is none of "
            f"{', '.join(RESERVED)} and not that of a loop around it."
        )
    if mask is not None:
        mask = truth(mask, f"scan ({source})")
        if np.ndim(mask) == 0:
            raise LawfulError(f"scan ({source}): expected a mask with one truth value a step, got a single one.")
    lengths = {np.shape(leaf)[0] for leaf in jax.tree.leaves((xs, mask))} | ({length} if length is not None else set())
    if len(lengths) != 1:
        raise LawfulError(f"scan ({source}): expected one number of steps from xs and length, got {sorted(lengths)}.")
    (steps,) = lengths
    if mask is not None:
        body, xs = masked_steps(body, xs, mask, f"scan ({source})")

    def step(carry: Any, indexed: tuple[Any, Any]) -> tuple[Any, Any]:
        index, x = indexed
        with _at_step(place, index, steps, (carry, x), name):
            return body(carry, x)

    if is_staged():
        return jax.lax.scan(step, jax.tree.map(strong, init), (jnp.arange(steps), xs))
    return _python_scan(step, init, xs, steps, source)


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """Run one of two arms, whose sites may differ; only the sites of the arm that runs are active.

    Args:
        pred: a scalar truth value, which may depend on choices.
        true_fun: the arm of a true `pred`, called with the operands.
        false_fun: the arm of a false `pred`; both arms return equal structures, shapes and types.
        operands: arguments of the arms.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers, sample
    >>> def program():
    ...     b = sample("b", dist.Bernoulli(0.5))
    ...     return cond(b == 1, lambda: sample("x", dist.Normal(0.0, 1.0)), lambda: 0.0)
    >>> handlers.seed(program, jax.random.key(0))().shape
    ()
    """
    _refuse_many(f"cond ({caller()})", pred)
    if is_staged():
        return jax.lax.cond(jnp.asarray(pred, dtype=bool), as_arm(true_fun), as_arm(false_fun), *operands)
    return jax.tree.map(_array, (true_fun if bool(_untraced("cond", pred)) else false_fun)(*operands))


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Run one of several arms, whose sites may differ; only the sites of the arm that runs are active.

    Args:
        index: the number of the arm, a scalar integer, which may depend on choices. A number that is known (in every
            eager run, and of a Python integer) must be that of an arm; one that is known only to the compiled program
            is brought into range, as by `jax.lax.switch`.
        branches: the arms, called with the operands; all return equal structures, shapes and types.
        operands: arguments of the arms.

    Raises:
        IndexRangeError: the index is known and there is no such arm.
        LawfulError: there is no arm, or the index is no scalar integer.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers, sample
    >>> def program():
    ...     k = sample("k", dist.Categorical(probs=jnp.array([0.2, 0.3, 0.5])))
    ...     return switch(k, [lambda: 0.0, lambda: sample("x", dist.Normal(0.0, 1.0)), lambda: 2.0])
    >>> handlers.seed(program, jax.random.key(0))().shape
    ()
    """
    branches, source = tuple(branches), caller()
    if not branches:
        raise LawfulError(f"switch ({source}): expected at least one branch, got none.")
    dtype = jnp.result_type(index)
    if np.shape(index) != () or not jnp.issubdtype(dtype, jnp.integer):
        raise LawfulError(
            f"switch ({source}): expected a scalar integer index, got {dtype}{list(np.shape(index))}. Fix: use "
            "lawful.cond for a truth value, or convert by .astype(int).",
            source=source,
        )
    known = not isinstance(index, jax.core.Tracer)
    if known and not 0 <= int(index) < len(branches):
        raise IndexRangeError(
            f"switch ({source}): index {int(index)} names no branch; there are {len(branches)}, from 0 to "
            f"{len(branches) - 1}. Fix: give a branch for every value, or bring the index into range by jnp.clip.",
            index=int(index), size=len(branches), source=source,
        )  # fmt: skip
    if is_staged():
        arms = [as_arm(branch) for branch in branches] if len(branches) > 1 else branches
        return jax.lax.switch(jnp.asarray(index, jnp.int32), arms, *operands)
    return jax.tree.map(_array, branches[int(_untraced("switch", index))](*operands))


def bounded_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any, *, max_steps: int, name: str = "loop"
) -> Any:
    """Repeat a body while a condition holds, at most `max_steps` times: `jax.lax.while_loop` with sites and a bound.

    Both functions may contain sites, factors and branches; those of step t have t at the end of their address, and are
    active only while the loop goes on. The meaning is the restriction to the runs that end within the bound: a run
    whose condition still holds after `max_steps` steps has weight zero. What is cut off is measured: by
    `inference.enumerate` exactly, by other inferences as an estimate with the flag `OVERFLOW`.

    Args:
        cond_fun: `state -> truth value`, asked before every step, and once more after the last.
        body_fun: `state -> state`, of equal structure, shapes and types.
        init: the first state, a pytree of arrays.
        max_steps: the bound, 0 or more.
        name: names the loop in messages; two loops in one scope need two names.

    Returns: the last state.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful import inference, sample
    >>> def geometric():
    ...     def heads(count):
    ...         return sample("heads", dist.Bernoulli(0.5)) == 1
    ...     return bounded_loop(heads, lambda count: count + 1, 0, max_steps=3)
    >>> exact = inference.enumerate(geometric)()
    >>> round(float(exact.overflow), 6), round(float(jnp.exp(exact.log_evidence)), 6)
    (0.0625, 0.9375)
    """
    place, source = surroundings(), caller()
    _refuse_plates("bounded_loop", place, source)
    what = f"bounded_loop '{name}' ({source})"
    if not isinstance(max_steps, int | np.integer) or isinstance(max_steps, bool) or max_steps < 0:
        raise LawfulError(f"{what}: expected max_steps, a Python integer of 0 or more, got {max_steps!r}.", loop=name)

    def test(state: Any, index: Any) -> Any:
        with _at_step(place, index, int(max_steps) + 1, (state,)):
            going = cond_fun(state)
            _refuse_many(f"{what}, cond_fun", going)
            return jnp.asarray(going, bool) if is_staged() else bool(_untraced("bounded_loop", going))

    def step(state: Any, index: Any) -> Any:
        with _at_step(place, index, int(max_steps), (state,)):
            return body_fun(state)

    run = _staged_loop if is_staged() else _python_loop
    state, overflow = run(test, step, init, int(max_steps), what)
    address = (*place.scopes, name + place.suffix, "overflow", *place.indices)
    send(FactorMessage(address, _cut(overflow), source, role=OVERFLOW))
    return state


def _cut(overflow: Any) -> Any:
    return (np if isinstance(overflow, bool) else jnp).where(overflow, -np.inf, 0.0)


def _python_loop(test: Any, step: Any, state: Any, bound: int, what: str) -> tuple[Any, bool]:
    state = jax.tree.map(_array, state)
    for index in range(bound):
        if not test(state, index):
            return state, False
        after = jax.tree.map(_array, step(state, index))
        refuse_other_state(state, after, what, types=False)
        state = after
    return state, test(state, bound)


def _staged_loop(test: Any, step: Any, init: Any, bound: int, what: str) -> tuple[Any, Any]:
    init = jax.tree.map(strong, init)

    def body(state: Any, index: Any) -> Any:
        after = jax.tree.map(strong, step(state, index))
        refuse_other_state(state, after, what)
        return after

    if not holds_statements(lambda state: test(state, 0), init):
        # A condition without sites is a function of the state: it can be asked again when the loop is over.
        def plain(state: Any, index: Any) -> tuple[Any, None]:
            return jax.lax.cond(test(state, index), as_arm(lambda: body(state, index)), lambda: state), None

        state, _ = jax.lax.scan(plain, init, jnp.arange(bound))
        return state, test(state, bound)

    def drawn(carry: Any, index: Any) -> tuple[Any, None]:
        going, state = carry
        going = jax.lax.cond(going, as_arm(lambda: test(state, index)), lambda: jnp.array(False))
        return (going, jax.lax.cond(going & (index < bound), as_arm(lambda: body(state, index)), lambda: state)), None

    (overflow, state), _ = jax.lax.scan(drawn, (jnp.array(True), init), jnp.arange(bound + 1))
    return state, overflow


def _refuse_plates(statement: str, place: Surroundings, source: Source) -> None:
    if place.plates:
        raise UnsupportedProgramError(
            f"{statement} ({source}) inside plate '{place.plates[-1].name}': put the plate inside the body instead.",
            plate=place.plates[-1].name,
        )


def _refuse_many(where: str, value: Any) -> None:
    if np.shape(value) != ():
        raise LawfulError(
            f"{where}: expected a scalar truth value, got an array of shape {np.shape(value)}. Fix: combine its "
            "elements by .any() or .all(), or choose element by element by jnp.where."
        )


def _untraced(statement: str, value: Any) -> Any:
    """Give the value of an eager run, or say why there is none."""
    if isinstance(value, jax.core.Tracer):
        raise UnsupportedProgramError(
            f"{statement} ({caller()}): an eager run met a value traced by jit or vmap; trace the program with "
            "lawful.trace, or call the inference instead of compiling handlers by hand."
        )
    return value


def _at_step(place: Surroundings, index: Any, steps: int, given: tuple[Any, ...], name: str | None = None) -> Any:
    inner = replace(place, indices=(*place.indices, index), lengths=(*place.lengths, steps), arms=surroundings().arms)
    return placed(replace(inner, steps=(*place.steps, given), loop_names=(*place.loop_names, name)))


def _array(leaf: Any) -> Any:
    """Read a leaf as an array; NumPy stays NumPy, since one small operation at a time is its strength."""
    return leaf if isinstance(leaf, np.ndarray | np.generic) else jnp.asarray(leaf)


def _stack(*leaves: Any) -> Any:
    if all(isinstance(leaf, np.ndarray | np.generic) for leaf in leaves):
        return np.stack(leaves)
    return jnp.stack([jnp.asarray(leaf) for leaf in leaves])


def _python_scan(step: Callable[..., Any], carry: Any, xs: Any, steps: int, source: Source) -> tuple[Any, Any]:
    outputs = []
    for index in range(steps):
        carry, y = step(carry, (index, jax.tree.map(lambda leaf: leaf[index], xs)))
        outputs.append(y)
    ran = [y for y in outputs if y is not ABSENT]
    if len(ran) < max(steps, 1):
        example = ran[0] if ran else _output_shapes(step, carry, xs, source)
        zeros = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf), jnp.result_type(leaf)), example)
        if not steps:
            return carry, jax.tree.map(lambda zero: jnp.zeros((0, *zero.shape), zero.dtype), zeros)
        outputs = [zeros if y is ABSENT else y for y in outputs]
    return carry, jax.tree.map(_stack, *outputs)


def _output_shapes(step: Callable[..., Any], carry: Any, xs: Any, source: Source) -> Any:
    """Find the shapes of the outputs of a scan of which no step runs from its body as it is staged."""

    def once(carry: Any, x: Any) -> Any:
        with only(Stage()):
            return step(carry, (0, x))[1]

    examples = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf)[1:], jnp.asarray(leaf).dtype), xs)
    try:
        return jax.eval_shape(once, carry, examples)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError,
            jax.errors.TracerIntegerConversionError) as error:  # fmt: skip
        raise UnsupportedProgramError(
            f"scan ({source}) of no steps: the shape of its output is unknown, since its body uses a value as a Python "
            f"value: {str(error).splitlines()[0]} Fix: use lawful.cond in the body, or skip a loop of no steps.",
            source=source,
        ) from error
