"""Trace: `trace(program, *args)` gives the form of a program, once per program, argument shapes and what it reads.

Law: two calls with equal functions, shapes, types and x64 setting give the same Form object, as long as all that the
program reads from outside (see `free_variables`) is equal too. A program that is written as another and a rule has the
Form that the rule makes of the other's.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax

from ..addresses import show_address
from ..errors import LawfulError, UnsupportedProgramError
from ..form import Form
from ..form.arguments.arrays import is_array, split_arguments, tree_of
from ..form.arguments.calls import call, named_arguments, positional
from ..form.arguments.constant_data import as_given, hold, learn, needed
from ..form.liveness import without_dead_code
from ..messages import Source, only, user_line
from .fast_checks import quick_checks
from .free_variables import Reading, Watch
from .leaked_tracers import met_escaped, refuse_dead, refuse_escaped
from .lower import lower
from .primitives import Stage
from .refused_parameters import refused_parameter

_LIMIT = 256
PYTHON_VALUES = (
    jax.errors.TracerBoolConversionError, jax.errors.TracerIntegerConversionError, jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError, jax.errors.NonConcreteBooleanIndexError,
)  # fmt: skip
_forms: OrderedDict[Any, Form] = OrderedDict()


def trace(program: Callable[..., Any] | Form, *args: Any, **named: Any) -> Form:
    """Trace a program into its Form; only shapes and types of array arguments matter.

    Args:
        program: a function written with `sample`, `factor`, ..., or one that a transformer rewrites; a Form is returned
            as it is.
        args: its arguments. Arrays, floats and pytrees of them become inputs of the Form, and so do, without their
            labels, series and frames of numbers of pandas and polars and arrays of xarray. Integers, booleans, strings,
            None and functions stay Python values, so that they can be sizes.
        named: arguments by name; the Form is that of the same arguments by position.

    Raises:
        DuplicateSiteError: two sites have one address.
        UnsupportedProgramError: Python control flow on a drawn value, or a site where it has no density.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    >>> trace(model, 1.0)
    Form(1 inputs, 1 latent sites, 1 observed, 2 nodes)
    """
    return form_of(program, positional(program, args, named))


def form_of(program: Any, args: tuple[Any, ...], learning: bool = True) -> Form:
    """Trace a program, or find its Form.

    Args:
        program: as for `trace`.
        args: by position.
        learning: whether a program that may compute Python numbers from its data is traced for these.
    """
    if isinstance(program, Form):
        return program
    arrays, rebuild, key = split_arguments(args, program)
    key = (program, key, bool(jax.config.read("jax_enable_x64")))
    try:
        hash(key)
    except TypeError as error:
        raise LawfulError(
            f"trace: the program or an argument that is not an array is not hashable: {error}."
        ) from error
    watch, source = watch_of(program), source_of(program)
    data = needed(source, arrays)
    key = (*key, watch.key, data)
    if key not in _forms:
        if isinstance(program, Rewritten):
            form = program.form(*args)
            watch.ran()
            data = needed(source, arrays)  # which the program may have taught just now
        else:
            if data is not None:
                rebuild = _always(rebuild(as_given([x for x in jax.tree.leaves(args) if is_array(x)], arrays)))
            try:
                form = _trace(program, watch, arrays, rebuild)
            except (TypeError, ValueError) as error:
                raise _no_numbers(program, args, error) or error
            except UnsupportedProgramError:
                if not learning or not learn(program, arrays, tried=data is not None):
                    raise
                return form_of(program, args)
        tree = tree_of(program, args)
        if form.in_tree is None or form.in_tree != tree:
            form = replace(form, in_tree=tree)
        if data is not None:
            hold(form, data)
        key = (*key[:-2], watch.key, data)
        _forms[key] = form
        while len(_forms) > _LIMIT:
            _forms.popitem(last=False)
    _forms.move_to_end(key)
    return _forms[key]


@functools.lru_cache(maxsize=_LIMIT)
def watch_of(program: Any) -> Watch:
    """Give the watch over what a program reads from outside."""
    return Watch(program)


def _always(value: Any) -> Callable[[Any], Any]:
    """Give a value whatever is asked."""
    return lambda _: value


def _no_numbers(program: Any, args: tuple[Any, ...], error: Exception) -> LawfulError | None:
    """Explain an error by an argument that is a list with text or None in it, which no array can be made of."""
    for name, arg in named_arguments(program, args).items():
        leaves = jax.tree.leaves(arg, is_leaf=lambda x: x is None) if isinstance(arg, list | tuple) else []
        strange = next((leaf for leaf in leaves if leaf is None or isinstance(leaf, str)), 0)
        if strange != 0:
            found = LawfulError(
                f"the argument {name} is a {type(arg).__name__} that holds {strange!r}, and the program failed where "
                f"it took it for numbers: {error}. Fix: pass an array of numbers, codes for categories, and NaN with "
                "obs_mask for what is missing.",
                argument=name,
            )
            found.__cause__ = error
            return found
    return None


@dataclass(frozen=True)
class Rewritten:
    """A program that is another with its Form rewritten by a rule; run eagerly it runs that Form.

    Attributes:
        program: the program, whose arguments it takes.
        rule: takes the Form of the program, and gives another on the same inputs.

    >>> import numpyro.distributions as dist, lawful
    >>> def coin():
    ...     return lawful.sample("x", dist.Bernoulli(0.5))
    >>> same = Rewritten(coin, lambda form: form)
    >>> lawful.trace(same) is lawful.trace(coin), same.__name__
    (True, '<lambda>(coin)')
    """

    program: Callable[..., Any]
    rule: Callable[[Form], Any]

    def made(self, *args: Any) -> Any:
        """Give what the rules make of the Form of the program before them, which need not be a Form in between."""
        inner = self.program
        return self.rule(inner.made(*args) if isinstance(inner, Rewritten) else trace(inner, *args))

    def form(self, *args: Any) -> Form:
        """Give the Form on arguments.

        Raises: LawfulError where the rule gives no Form.
        """
        made = self.made(*args)
        if not isinstance(made, Form):
            raise LawfulError(
                f"{self.__name__} is a {type(made).__name__}, and no program. Fix: end in what gives a program again, "
                "as Collapse does; or apply it to the form, lawful.trace(program, *args)."
            )
        return made

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run as a program: every site is announced to the handlers."""
        args = positional(self, args, named)
        return trace(self, *args)(*args)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The program, for those who ask for its signature or its text."""
        return self.program

    @property
    def __name__(self) -> str:
        """The rule, and the program."""
        rule = getattr(self.rule, "name", None) or getattr(self.rule, "__name__", "rewritten")
        return f"{rule}({getattr(self.program, '__name__', 'program')})"


def source_of(program: Any) -> Any:
    """Give the program before any rule."""
    return source_of(program.program) if isinstance(program, Rewritten) else program


def _trace(program: Callable[..., Any], watch: Watch, arrays: list[Any], rebuild: Any) -> Form:
    before = watch.whole
    try:
        stage, form = _staged(Stage(), program, arrays, rebuild)
    except UnsupportedProgramError as error:
        if not isinstance(error.__cause__, PYTHON_VALUES):
            raise
        try:  # it may be an observation whose numbers are known
            stage, form = _staged(Stage(known=True), program, arrays, rebuild)
        except UnsupportedProgramError:
            raise error from error.__cause__
    after = Reading(program)
    refuse_escaped(before, after, stage.drawn_values)
    watch.ran(after)
    refuse_dead(form, stage.last[1] if stage.last else Source("<program>", 0))
    form = without_dead_code(form, keep_sites=True)
    hidden = {note.address: note for note in stage.unseen or ()}  # of two, what hides it rather than what drew it
    return replace(form, hidden=tuple(hidden.values())) if hidden else form


def _staged(stage: Stage, program: Callable[..., Any], arrays: list[Any], rebuild: Any) -> tuple[Stage, Form]:
    """Trace a program under a handler; errors say what to do."""

    def run(*leaves: Any) -> Any:
        with only(stage), quick_checks():
            return call(program, rebuild(leaves))

    try:
        return stage, lower(run, *arrays)
    except PYTHON_VALUES as error:
        source = user_line(error)
        site, line = stage.last or (None, None)
        drawn = "" if site is None else f" after site '{show_address(site)}' ({line})"
        raise UnsupportedProgramError(
            f"the program uses a traced value as a Python value at {source}{drawn}: {str(error).splitlines()[0]} "
            "Fix: use lawful.cond for a choice, lawful.scan or lawful.bounded_loop for a sequence, or run the program "
            "eagerly, by an inference with mode='eager', or by handlers.seed. Sizes may be Python integers among "
            "the arguments.",
            source=source,
            site=site,
        ) from error
    except jax.errors.UnexpectedTracerError as error:
        raise met_escaped(user_line(error), error) from error
    except ValueError as error:
        reason = refused_parameter(error)
        if reason is None:
            raise
        raise reason from error
