"""Free variables: what a program reads from outside itself, so that its Form can be told from that of another reading.

Law: readings of equal key give the program the same values. Read are the variables around a function, the globals that
it names, defaults, attributes that it names, parts of `functools.partial` and of methods, and so on through all of the
user's own functions, classes and modules that are met; of what is installed only what the user put into it: closures,
arguments and attributes. Values count by content; what cannot be looked into counts by identity.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import repeat
from operator import is_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..form import Form
from ..form.arguments.arrays import LABELLED
from ..form.digest import digest
from ..form.fingerprint import unwrapped
from ..sources import is_users

MOST = 20_000  # objects that are looked into; those beyond count by identity
LONGEST = 256  # bytes of an array that stand in a key themselves, and not as their digest
LABELS = ("columns", "index", "dims", "name")
MANY = ("Dataset", "DataTree")  # of xarray: several arrays, which make no single one: by identity
PLAIN = (type(None), bool, int, str, bytes, type(Ellipsis), range, types.CodeType, types.BuiltinFunctionType)
CONTAINERS = (dict, list, tuple, set, frozenset, deque, types.MappingProxyType)
# Names by which a program may read any attribute of an object.
ANY = frozenset({"getattr", "vars", "__dict__", "asdict", "astuple", "fields", "replace", "attrgetter"})

MAKERS = frozenset({"__new__", "__init__", "__post_init__"})


class Key:
    """What was read, hashed once; what counts by identity is kept, so that its identity stays its own."""

    __slots__ = ("_hash", "kept", "parts")

    def __init__(self, parts: tuple[Any, ...], kept: tuple[Any, ...]) -> None:
        """Hash the parts."""
        self.parts, self.kept, self._hash = parts, kept, hash(parts)

    def __hash__(self) -> int:
        """As it was."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """By the parts."""
        return self is other or (isinstance(other, Key) and self._hash == other._hash and self.parts == other.parts)


class Reading:
    """All that a program reads from outside, as it is now.

    Args:
        program: a function, or anything that holds some.
        own: places that do not count, as `changed` gives them: the program writes them itself.

    Attributes:
        own: these.
        key: equal for equal content.
        users_names: the names of globals and attributes in the user's functions.
        met: what was looked into, in its order.
        tracers: traced values that were met: by identity, with the name of the place.

    >>> scale = [1.0]
    >>> def model():
    ...     return scale[0]
    >>> first = Reading(model)
    >>> first.holds(), scale.append(2.0), first.holds(), Reading(model).key == first.key
    (True, None, False, False)
    """

    def __init__(self, program: Any, own: Mapping[Any, Any] = types.MappingProxyType({})) -> None:
        """Read until no further attribute is named."""
        self.own, self._names, self.users_names = own, set[str](), set[str]()
        named = -1
        while named < len(self._names):
            named = len(self._names)
            self._parts: list[Any] = []
            self._kept: list[Any] = []  # objects that count by identity
            self._seen: dict[int, int] = {}
            self.met: list[Any] = []
            self.tracers: dict[int, tuple[str, Any]] = {}
            # Each place that was read: its owner, what reads it anew, and what stood there.
            self._places: dict[tuple[int, str], tuple[Any, Callable[[], Any], Any]] = {}
            self._read("", program)
        self.key = Key(tuple(self._parts), tuple(self._kept))

    def holds(self) -> bool:
        """Whether nothing was changed since."""
        return not any(self._changes())

    def changed(self) -> dict[Any, Any]:
        """Find the places that were changed since, each with its owner, which keeps its identity."""
        return {place: self._places[place][0] for place in self._changes()}

    def _changes(self) -> Iterator[tuple[int, str]]:
        for place, (_, read, old) in self._places.items():
            new = read()
            if new is not old and not _same(new, old):
                yield place

    def _read(self, place: str, value: Any) -> None:
        """Read a value, of the given place."""
        kind = type(value)
        if kind in PLAIN:
            self._parts.append((kind, value))
        elif kind is float or kind is complex:
            self._parts.append((kind, repr(value)))  # tells 0.0 from -0.0, and NaN is itself
        elif isinstance(value, jax.core.Tracer):
            self.tracers.setdefault(id(value), (place, value))
            self._itself(value)
        elif id(value) in self._seen:
            self._parts.append(("again", self._seen[id(value)]))
        else:
            self._seen[id(value)] = len(self._seen)
            self.met.append(value)
            if len(self._seen) > MOST or (id(value), "") in self.own:
                self._itself(value)
            else:
                self._look(place, value)

    def _itself(self, value: Any) -> None:
        """Let a value count by identity."""
        self._parts.append(("itself", id(value)))
        self._kept.append(value)

    def _look(self, place: str, value: Any) -> None:
        """Look into a value that is met for the first time."""
        if isinstance(value, types.FunctionType):
            self._function(place, value)
        elif isinstance(value, types.MethodType):
            self._parts.append("method")
            self._read(place, value.__func__)
            self._read(place, value.__self__)
        elif isinstance(value, functools.partial):
            self._parts.append(("partial", len(value.args), tuple(value.keywords)))
            for part in (value.func, *value.args, *value.keywords.values()):
                self._read(place, part)
        elif isinstance(value, CONTAINERS) or (isinstance(value, np.ndarray) and value.dtype == object):
            self._container(place, value)
        elif isinstance(value, np.ndarray | np.generic | jax.Array) or _is_labelled(value):
            self._array(value)
        elif isinstance(value, Form) or (_is_table(value) and type(value).__name__ in MANY):
            self._itself(value)
        elif isinstance(value, types.ModuleType):
            self._itself(value)
            if is_users(_file(value)):
                self._entries(vars(value), vars(value), self._names & vars(value).keys(), "global")
        elif isinstance(value, type):
            self._itself(value)
            self._class(value, MAKERS)
        elif "__wrapped__" in getattr(value, "__dict__", ()):
            self._parts.append(type(value))  # as jax.jit and functools.lru_cache make it
            self._read(place, value.__wrapped__)
        else:
            self._object(value)

    def _function(self, place: str, function: types.FunctionType) -> None:
        function = unwrapped(function)
        code = function.__code__
        self._slot(function, "__code__", "the code")
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._place(cell, "", functools.partial(_held, cell), f"variable '{variable}'")
        for part in ("__defaults__", "__kwdefaults__"):
            self._slot(function, part, "a default argument")
        names, users = _names_of(code), is_users(code.co_filename)
        if users or (function.__module__ or "").startswith("lawful."):
            self._names |= names
        if not users:
            return
        self.users_names |= names
        around = function.__globals__
        self._entries(around, around, names & around.keys(), "global")
        self._entries(function, vars(function), self._names & vars(function).keys(), "attribute")
        package = around.get("__package__") or ""
        for name in names - around.keys():  # imported inside the function
            for module in (sys.modules.get(name), sys.modules.get(f"{package}.{name}")):
                if module is not None and is_users(_file(module)):
                    self._read(f"module '{name}'", module)

    def _array(self, value: Any) -> None:
        if isinstance(value, jax.Array):
            readable = not value.is_deleted() and value.is_fully_addressable
            if not readable or value.size > LONGEST or jnp.issubdtype(value.dtype, jax.dtypes.extended):
                self._itself(value)  # nothing can change it
                return
        content = _bytes(value)
        kind = type(value), str(getattr(value, "dtype", "")), getattr(value, "shape", ())
        self._parts.append((kind, content if len(content) <= LONGEST else digest(content)))
        if not isinstance(value, jax.Array | np.generic):
            self._places[id(value), ""] = value, functools.partial(_bytes, value), content

    def _container(self, place: str, value: Any) -> None:
        elements = _elements(value)
        if not isinstance(value, tuple | frozenset):
            self._places[id(value), ""] = value, functools.partial(_elements, value), elements
        self._parts.append((type(value), len(elements)))
        if isinstance(value, set | frozenset):
            self._parts.append(frozenset((type(element), element) for element in elements))
            return
        for element in elements:
            self._read(place, element)
        entries = getattr(value, "__dict__", {})
        self._entries(value, entries, self._names & entries.keys(), "attribute")

    def _class(self, kind: type, made: frozenset[str]) -> None:
        """Read what a class of the user's has of all that is named, what it does for operators, and what makes it."""
        for owner in kind.__mro__:
            if _of_user(owner):
                operators = {n for n, x in vars(owner).items() if n[:2] == "__" and isinstance(x, types.FunctionType)}
                named = vars(owner).keys() & (self._names | made | (operators - MAKERS))
                self._entries(owner, vars(owner), named, "attribute")

    def _object(self, value: Any) -> None:
        kind: Any = type(value)
        self._parts.append(kind)
        if isinstance(value, property | functools.cached_property | staticmethod | classmethod):
            for part in ("fget", "func", "__func__"):
                self._read("", getattr(value, part, None))
            return
        entries = getattr(value, "__dict__", None)
        slots = [n for owner in kind.__mro__ for n in _slots_of(owner) if n not in ("__dict__", "__weakref__")]
        if entries is None and not slots:
            if getattr(kind, "__hash__", None) not in (object.__hash__, None) and _is_hashable(value):
                self._parts.append(value)
            else:
                self._itself(value)
            return
        self._class(kind, frozenset())
        names = set(slots) | set(entries or ())
        if not (self._names & ANY) and not _is_open(value):
            names &= self._names
        for name in sorted(names & set(slots)):
            self._slot(value, name, f"attribute '{name}'")
        if entries is not None:
            hidden = {n for n in self._names if n not in entries and any(n in owner.__dict__ for owner in kind.__mro__)}
            self._entries(value, entries, (names & entries.keys()) | hidden, "attribute")

    def _entries(self, owner: Any, entries: Mapping[str, Any], names: Collection[str], what: str) -> None:
        """Read entries of an owner's dictionary, among them some that it may get."""
        for name in sorted(names):
            self._parts.append(name)
            self._place(owner, name, functools.partial(entries.get, name, ABSENT), f"{what} '{name}'")

    def _slot(self, owner: Any, name: str, place: str) -> None:
        self._place(owner, name, functools.partial(getattr, owner, name, ABSENT), place)

    def _place(self, owner: Any, name: str, read: Callable[[], Any], place: str) -> None:
        """Read what stands at a place of an owner."""
        value = read()
        self._places[id(owner), name] = owner, read, value
        if (id(owner), name) not in self.own:
            self._read(place, value)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


class Watch:
    """What a program reads, read anew only where something was changed.

    Args: program: a function, or anything that holds some.

    >>> scale = [1.0]
    >>> watch = Watch(lambda: scale)
    >>> before, _ = watch.key, scale.append(2.0)
    >>> watch.key == before, watch.key == watch.key
    (False, True)
    """

    def __init__(self, program: Any) -> None:
        """Read for the first time."""
        self._program, self._reading = program, Reading(program)

    @property
    def now(self) -> Reading:
        """What is read now."""
        if not self._reading.holds():
            self._reading = Reading(self._program, self._reading.own)
        return self._reading

    @property
    def key(self) -> Key:
        """Tell what is read now."""
        return self.now.key

    @property
    def whole(self) -> Reading:
        """What is read now, with what the program writes itself."""
        return Reading(self._program) if self.now.own else self.now

    def ran(self, after: Reading | None = None) -> Key:
        """Tell it after the program ran: it may have imported modules, and what it changed itself counts no more.

        Args: after: the whole reading, if there is one.
        """
        own = {**self._reading.own, **self._reading.changed()}
        self._reading = Reading(self._program, own) if own or after is None else after
        return self._reading.key


def users_in(value: Any, *but: Any) -> tuple[Any, ...]:
    """List the functions and objects of no library that a value holds, without some and what only they hold.

    >>> import lawful.inference.kernels as kernels
    >>> def near(current): ...
    >>> users_in((kernels.mh(near), len), None) == (near,), users_in(kernels.mh(near), near)
    (True, ())
    """
    met = Reading(value, {(id(x), ""): x for x in but}).met
    return tuple(x for x in met if _is_made_by_user(x) and not any(map(is_, repeat(x), but)))


def _is_made_by_user(value: Any) -> bool:
    if isinstance(value, types.MethodType):
        return _is_made_by_user(value.__func__)
    if isinstance(value, types.FunctionType):
        return is_users(value.__code__.co_filename)
    return hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType) and _of_user(type(value))


ABSENT = object()  # stands for what is not there


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return ABSENT


def _elements(whole: Any) -> tuple[Any, ...]:
    """List what a container holds; of a mapping the keys, then the values."""
    if isinstance(whole, np.ndarray):
        return tuple(whole.ravel().tolist())
    return (*whole, *whole.values()) if isinstance(whole, Mapping) else tuple(whole)


def _same(new: Any, old: Any) -> bool:
    """Tell whether two contents are equal: bytes, or elements that are the same objects."""
    if type(new) is not type(old):
        return False
    if type(old) is bytes:
        return bool(new == old)
    return type(old) is tuple and len(new) == len(old) and all(map(is_, new, old))


def _bytes(array: Any) -> bytes:
    """Give the content of an array, or of a table that makes one."""
    if _is_labelled(array):
        labels = [getattr(array, part) for part in LABELS if hasattr(array, part)]
        labels += getattr(array, "coords", {}).values()
        return repr([np.asarray(part).tolist() for part in (array, *labels)]).encode()
    mask = np.ma.getmaskarray(array).tobytes() if isinstance(array, np.ma.MaskedArray) else b""
    return mask + np.asarray(array).tobytes()


def _is_labelled(value: Any) -> bool:
    return _is_table(value) and hasattr(value, "__array__") and type(value).__name__ not in MANY


def _is_table(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in LABELLED


def _is_open(value: Any) -> bool:
    """Whether all attributes of an object count: libraries read those of their own, and those of trees of arrays."""
    kind = type(value)
    library = not _of_user(kind) and kind.__module__.partition(".")[0] not in sys.stdlib_module_names
    return library or not jax.tree_util.all_leaves((value,))


def _of_user(kind: Any) -> bool:
    """Whether a class is of no library."""
    return is_users(_file(sys.modules.get(kind.__module__)))


def _slots_of(owner: type) -> tuple[str, ...]:
    slots = owner.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _file(module: Any) -> str:
    return getattr(module, "__file__", None) or getattr(getattr(module, "__spec__", None), "origin", None) or ""


@functools.lru_cache(maxsize=4096)
def _names_of(code: types.CodeType) -> frozenset[str]:
    """Collect the names of globals and attributes in a piece of code and in the functions that it defines."""
    inner = (_names_of(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return frozenset(code.co_names).union(*inner)
