"""Numbers among the arguments: integers and truth values of Python become inputs of a Form, where they can.

Law: a program run for such an input gives what it gives for the number. A number stays a Python value, and each of its
values has a Form of its own, where the program needs it as one (a size, a choice of Python's), where integers would
leave the range of their type, and where it bounds the values of a choice.
"""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..distributions.families import core_of
from ..form import Det, Form, Site, Var, walk
from ..form.arguments.arrays import split_arguments
from ..form.operations.equation import Equation
from ..form.rewriting import insides
from .free_variables import users_in
from .trace import form_of, source_of, watch_of

MOST = 32  # numbers of one call; more are data that belong into an array
TRIED = 4  # which one an error is about is tried out among so many
# By these a program tells a number from an array, or writes it as text.
ASKED = frozenset({"isinstance", "issubclass", "type", "str", "repr", "format"})
TEXT = re.compile(r"Trace[rd]\W")
KEPT = 256

# Of a program on some shapes: the numbers that it needs as numbers, and their values so far.
_known: OrderedDict[Any, tuple[frozenset[int], set[tuple[int, ...]]]] = OrderedDict()

type Roots = frozenset[int]


def with_inputs(program: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the arguments of a program, with arrays for those numbers that become inputs of its Form.

    Args:
        program: a program; a Form takes its arguments as it was traced.
        args: its arguments.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(n, k):
    ...     with lawful.plate("i", n):
    ...         lawful.sample("x", dist.Normal(1.0 * k, 1.0))
    >>> [type(arg).__name__ for arg in with_inputs(model, (3, 2))]
    ['int', 'ArrayImpl']
    """
    leaves, tree = jax.tree.flatten(args)
    places = [i for i, leaf in enumerate(leaves) if type(leaf) is int or type(leaf) is bool]
    if not places or len(places) > MOST or isinstance(program, Form):
        return args
    source, x64 = source_of(program), bool(jax.config.read("jax_enable_x64"))
    fitting = {i for i in places if abs(leaves[i]) <= np.iinfo(jnp.result_type(int)).max}
    bits = max([leaves[i].bit_length() for i in fitting], default=0)  # numbers of as many are treated alike

    def given(inputs: Collection[int]) -> tuple[Any, ...]:
        return jax.tree.unflatten(
            tree, [_array(x, x is True or x is False, x64) if i in inputs else x for i, x in enumerate(leaves)]
        )

    key: Any = source, split_arguments(given(fitting), program)[2], x64, bits
    try:
        key = *key, watch_of(source).key
        needed, seen = _known.setdefault(key, (frozenset(), set()))
    except TypeError:  # what is not hashable is refused where the program is traced
        return args
    if tuple(leaves[i] for i in sorted(needed)) not in seen:  # another size, and other numbers may be needed with it
        if users_in(program, source):  # functions that get the inputs one by one count on numbers not to be among them
            fitting = set()
        needed = frozenset(places) - _inputs(source, given, fitting - needed, 1 << bits)
        seen = seen if needed == _known[key][0] and len(seen) < KEPT else set()
        seen.add(tuple(leaves[i] for i in sorted(needed)))
        _known[key] = needed, seen
        while len(_known) > KEPT:
            _known.popitem(last=False)
    return args if len(needed) == len(places) else given({*places} - needed)


def as_written(leaf: Any) -> Any:
    """Give an argument as it was written, a number for its array."""
    if isinstance(leaf, jax.Array) and not leaf.ndim and not isinstance(leaf, jax.core.Tracer):
        return leaf.item() if leaf.weak_type or leaf.dtype == bool else leaf
    return leaf


@functools.lru_cache(maxsize=1024)
def _array(number: int, truth: bool, x64: bool) -> jax.Array:
    """Make an array of a number, which takes part in arithmetic as the number does; True is not 1."""
    with jax.core.eval_context():  # the caller may be traced
        return jnp.asarray(number)


def _inputs(source: Any, given: Callable[..., tuple[Any, ...]], some: set[int], bound: int) -> set[int]:
    """Find the numbers that can be inputs: all but those that errors name or, where they name none, that are tried."""
    if watch_of(source).now.users_names & ASKED:
        return set()
    while some:
        needed = _needed(source, given, some, bound)
        if needed is None:  # one without which there is another error, or none, is among the reasons
            tries = ((i, _needed(source, given, some - {i}, bound)) for i in sorted(some) if 1 < len(some) <= TRIED)
            needed = next(({i} | more for i, more in tries if more is not None), some)
        if not needed:
            break
        some = some - needed
    return some


def _needed(source: Any, given: Callable[..., tuple[Any, ...]], some: set[int], bound: int) -> set[int] | None:
    """Tell which numbers are needed as numbers, of some that are given as arrays; None where it is not known which."""
    args = given(some)
    arrays = split_arguments(args)[0]
    leaves = jax.tree.leaves(args)
    own = [next((i for i in some if leaves[i] is x), None) for x in arrays]  # which number each input is
    try:
        form = form_of(source, args, learning=False)
    except Exception as error:  # whatever it is, the program may do without it
        named = {own[int(k)] for k in re.findall(r"leaves\[(\d+)\]", _told(error))}
        return {i for i in named if i is not None} or None
    if any(TEXT.search(str(part)) for node in walk(form) for part in getattr(node, "address", None) or ()):
        return None
    found: set[int] = set()
    known = {v: (frozenset({i}), bound) for v, i in zip(form.inputs, own, strict=True) if i is not None}
    _look(form, {v: roots for v, (roots, _) in known.items()}, known, found)
    return found


def _told(error: BaseException | None) -> str:
    """Collect what an error says, and what it came from."""
    return "" if error is None else f"{error} {_told(error.__cause__)}"


# What an input cannot do as the number does


def _joined(rooted: Mapping[Var, Roots], values: Iterable[Var]) -> Roots:
    return frozenset[int]().union(*(rooted.get(v, ()) for v in values))


def _look(form: Form, rooted: dict[Var, Roots], sized: dict[Var, tuple[Roots, int]], found: set[int]) -> None:
    """Find the numbers that a form reads in another way than as data.

    Args:
        form: the form.
        rooted: the numbers that a value depends on.
        sized: of integers that are made of such numbers alone, these and a bound of the absolute value.
        found: gets the numbers.
    """
    for node in form.nodes:
        roots = _joined(rooted, node.ins)
        if not roots:
            continue
        rooted |= dict.fromkeys(node.outs, roots)
        if isinstance(node, Det) and not _stays(node, sized, roots):
            found |= roots
        elif isinstance(node, Site) and _bounds(node, [v in rooted for v in node.parameters]):
            found |= _joined(rooted, node.parameters)
        for form_inside, same, begun in insides(node):
            inner = {v: sized[outer] for v, outer in same.items() if outer in sized}
            entering = {v: rooted[outer] for v, outer in (same | begun).items() if outer in rooted}
            _look(form_inside, entering, inner, found)


def _stays(node: Det, sized: dict[Var, tuple[Roots, int]], roots: Roots) -> bool:
    """Follow integers that Python would compute without a bound; tell whether they stay in the range of their type."""
    if not node.ins or not all(v in sized for v in node.ins) or not isinstance(node.function, Equation):
        return True
    out, function = node.outs[0], node.function
    if len(node.outs) > 1 or (out.dtype == bool and not function.row.compares):
        return False
    if out.shape == () and jnp.issubdtype(out.dtype, jnp.integer):
        bound = function.bound(function.operands([sized[v][1] for v in node.ins], lambda literal: abs(int(literal[0]))))
        if bound is None or bound > np.iinfo(out.dtype).max:
            return False
        sized[out] = roots, bound
    return True


def _bounds(site: Site, rooted: Sequence[bool]) -> bool:
    """Tell whether numbers among the parameters of a choice say which values it has, or how it is drawn."""
    law = site.law.innermost
    if not any(rooted) or law.numbered is None or jnp.issubdtype(law.dtype, jnp.floating):
        return False
    listed = core_of(law.numbered).has_enumerate_support
    if site.observed is None:
        return listed and law.atoms is None
    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in site.law.own(site.parameters)]
    try:
        jax.eval_shape(law.draw, jax.random.key(0), *shapes)
    except Exception:  # it takes the number itself to draw
        return True
    return False
