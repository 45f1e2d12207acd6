"""Method: the settings of an algorithm as one frozen record, and how such a record becomes the call that users write.

Law: what is said of a method is read off its fields: the signature and the documentation of its call, what is checked
and how it is read, what is printed, what a checkpoint tells, and what an eager run refuses. The register has it under
its name, and resuming, reports, the command line and advice read the register.
"""

import functools
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Concatenate

import numpy as np
from jax.sharding import Mesh

from lawful.errors import LawfulError
from lawful.form import Form

from ..contract import Contract
from ..devices.mesh import checked_mesh
from ..registered import METHODS
from ..running.bar import with_bar
from ..running.options import RunOptions
from ..summing.enumerate_sites import Enumeration, Sites
from ..uncalled import refuse_uncalled
from .method_plan import Engine, Plan
from .refusals import EAGER, USUAL, refuse
from .setting_types import Mode, OnFault, Options, read

EXECUTION = ("enumerate", "mode", "run", "progress", "mesh", "chain_method")
COMMON = ("on_fault", *EXECUTION)
UNTOLD = (*EXECUTION, "init")  # a checkpoint has the start of its chains
NO_SETTINGS = (*EXECUTION[1:], "init")  # of a recipe


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """What all methods have in common: how a run of them is executed.

    Args:
        on_fault: "raise" an error where a run meets what has no meaning, or "flag": a result that is not ok, without
            the draws concerned.
        enumerate: names of finite sites to sum out exactly, or "all": the method runs on the marginal of the others,
            and the result holds draws of the summed sites from their exact conditional (see `enumerate_sites`). Or a
            transformer that sums sites, as `marginalise()`; [] sums nothing.
        mode: "staged" compiles the program; "eager" runs it in plain Python, whatever its structure; methods that
            rewrite the program have no eager mode.
        run: how the run is divided, watched and kept; then Ctrl-C ends it with what is finished. None: one compiled
            call, with the same draws.
        progress: None shows a bar in a terminal or a notebook, once a run has taken 3 s: there it goes in chunks, and
            Ctrl-C ends it with what is finished; True shows it at once; False never.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the particles or the chains evenly; None: one
            device. With `run` its devices are those of one process.
    """

    on_fault: OnFault = field(default="raise", metadata={EAGER: ("raise",)})
    enumerate: Sites = field(default=None, metadata={EAGER: (None,)})
    mode: Mode = "staged"
    run: Options | None = None
    progress: bool | None = None
    mesh: Mesh | None = field(default=None, metadata={EAGER: (None,)})

    name: ClassVar[str] = ""
    shared: ClassVar[str] = ""  # the number that devices share: "particles" or "chains"
    copies: ClassVar[bool] = False  # whether what is run has more than the program's own draws
    independent: ClassVar[bool] = False  # whether particles are, so that the tail of their weights tells
    runs_eagerly: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Read the settings by their types, and refuse those that do not go together."""
        kind: Any = type(self)
        vars(self).update(read(kind, vars(self)))
        if callable(self.enumerate):
            refuse_uncalled(self.enumerate, "enumerate")
        if any(getattr(self, name, usual) is not usual for name, usual in USUAL.items()):
            refuse(kind, vars(self))
        if self.mesh is not None:
            checked_mesh(self.mesh, **{self.shared: getattr(self, self.shared)})

    def set(self, name: str, value: Any) -> None:
        """Set what is read, while the record is made."""
        object.__setattr__(self, name, value)

    def fill(self, **usual: Any) -> None:
        """Set settings that are not given, before all are read."""
        for name, value in usual.items():
            if getattr(self, name) is None:
                self.set(name, value)

    @functools.cached_property
    def devices(self) -> int:
        """The number of devices."""
        return 1 if self.mesh is None else int(self.mesh.size)

    @functools.cached_property
    def watched(self) -> RunOptions | None:
        """The options of a run, with a bar where a person watches."""
        one_by_one = getattr(self, "chain_method", None) == "sequential"
        return with_bar(self.run, self.progress, self.mesh, one_by_one=one_by_one)

    @property
    @abstractmethod
    def contract(self) -> Contract:
        """What the method claims."""

    def program(self, model: Any) -> Any:
        """Give the program that is run for a model; by default the model."""
        return model

    @abstractmethod
    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write and compile the algorithm for the form of the program."""

    def eager(self, model: Any) -> Any:
        """Give the plan that runs the program as it is."""
        raise LawfulError(f"{self.name}: mode: expected 'staged', got 'eager', which this method does not have.")

    def beside(self, summed: Enumeration) -> Any:
        """Give the same method for the marginal of the sites that are not summed."""
        return replace(self, enumerate=None)

    def told(self) -> dict[str, Any]:
        """Tell the settings, without those that change no draw, in types that a file can hold."""
        said = {f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.name not in UNTOLD}
        return {name: _told(value) for name, (value, usual) in said.items() if value is not None or usual is not None}

    def recipe(self) -> dict[str, Any]:
        """Give the settings from which the method is built again, without those that a resumed run is given anew."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NO_SETTINGS}

    def on(self, model: Any) -> Any:
        """Give the plan that runs the method on a model; in mode "eager" one that runs the program as it is."""
        return self.eager(model) if self.mode == "eager" else Plan(model, self)


def method[Kind: type[Method]](name: str) -> Callable[[Kind], Kind]:
    """Register a method under the name of its call.

    Args:
        name: of the call, by which results, files and the command line speak of the method, for good.
    """

    def register(kind: Kind) -> Kind:
        kind.name, METHODS[name] = name, kind
        kind.__init__.__qualname__ = name  # which Python names where an argument is missing or unknown
        return kind

    return register


def call[**P](kind: Callable[P, Method]) -> Callable[Concatenate[Any, P], Plan]:
    """Make the call that users write, `smc(model, particles=1000)`, of the class of a method.

    Its signature is that of the fields, after the model, and its documentation that of the class and its bases.
    """

    def build(model: Any, *args: P.args, **settings: P.kwargs) -> Plan:
        plan: Plan = kind(*args, **settings).on(model)
        return plan

    made: Any = kind
    build.__name__ = build.__qualname__ = made.name
    build.__module__, build.__doc__ = made.__module__, documentation(made)
    build.__signature__ = signature(made)  # type: ignore[attr-defined]
    return build


def ordered(kind: type[Method]) -> list[inspect.Parameter]:
    """List the fields as parameters: those that are needed first, and how a run is executed last."""
    found = inspect.signature(kind).parameters.values()
    return sorted(found, key=lambda p: (p.kind, p.default is not p.empty, (p.name in COMMON) + (p.name in EXECUTION)))


def signature(kind: type[Method]) -> inspect.Signature:
    """Give the signature of the call of a method.

    >>> from lawful.inference.registered import method_of
    >>> str(signature(method_of("importance")))[:38]
    '(model, *, particles: int, runs: int ='
    """
    model = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = [p.replace(annotation=_plain(p.annotation)) for p in ordered(kind)]
    return inspect.Signature([model, *given], return_annotation=Plan)


def documentation(kind: type[Method]) -> str:
    """Write the documentation of the call of a method: that of its class, with the arguments of its bases.

    >>> from lawful.inference.registered import method_of
    >>> print(next(line for line in documentation(method_of("importance")).splitlines() if "keep:" in line))
        keep: "paths" gives every choice with its history; "last" gives only what the program returns, in memory
    """
    said: dict[str, str] = {"model": "model: a program.\n"}
    for base in reversed(kind.__mro__):
        said |= arguments_of(base)
    before, _, after = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")
    rest = re.split(r"^(?=\S)", after, maxsplit=1, flags=re.MULTILINE)[1:] if after else []
    listed = ["model", *(p.name for p in ordered(kind))]
    arguments = "".join(f"    {said.get(name, f'{name}: see the class.')}" for name in listed)
    return f"{before.rstrip()}\n\nArgs:\n{arguments}\n{''.join(rest)}".rstrip() + "\n"


def arguments_of(kind: type) -> dict[str, str]:
    """Read what the documentation of a class says of each argument."""
    text = inspect.cleandoc(kind.__doc__ or "") if "Args:\n" in (kind.__doc__ or "") else ""
    section = re.split(r"^(?=\S)", text.partition("Args:\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^    (?=\w+: )", section, flags=re.MULTILINE)[1:]
    return {part.partition(":")[0]: f"{part.rstrip()}\n" for part in parts}


def _plain(hint: Any) -> Any:
    """Show the type that a user reads: without how it is read."""
    while hasattr(hint, "__value__") and hasattr(hint.__value__, "__metadata__"):
        hint = hint.__value__.__origin__
    return hint


def _told(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
