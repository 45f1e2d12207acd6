"""Running: a program is executed as a part of an algorithm, whole or up to its next pause.

Law: a run that repeats the choices of another, and makes the others anew, has the law of the program given those
choices. Choices that are made anew leave as sites of the algorithm, so whoever runs the algorithm draws or enumerates
them; repeated choices, observations and factors stay inside, as numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax

from lawful.addresses import Address, indices_of, names_of, show_address
from lawful.errors import NonFiniteError, UnsupportedProgramError
from lawful.form.arguments.arrays import is_array
from lawful.form.arguments.calls import call
from lawful.handlers.standard import Boundary, refuse_duplicate
from lawful.inspection.lint.unread_inputs import input_names, nan_places
from lawful.messages import (
    OVERFLOW,
    DeterministicMessage,
    FactorMessage,
    Handler,
    Message,
    PlateFrame,
    SampleMessage,
    Source,
    Surroundings,
    installed,
    placed,
    surroundings,
)
from lawful.tracing.refused_parameters import refused_parameter

from .atoms import Statement, diverged
from .run import START, Run
from .scoring import bound, log_prob

PREFIX = "~eager"

type Place = Callable[[Address], Address]


class Paused(BaseException):
    """Leaves a program at a pause; no `except Exception` of the program stops it."""


def run(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    place: Place,
    *,
    after: Run = START,
    keep: Callable[[SampleMessage], bool] | None = None,
    pause: bool = False,
    scored: bool = False,
    nonfinite: str = "error",
) -> Run:
    """Execute a program as a part of an algorithm.

    Args:
        model: the program.
        args: its arguments.
        place: the address in the algorithm of a choice that is made anew.
        after: a run whose choices are repeated; by default nothing is.
        keep: which of these choices are repeated, asked when the program makes them. Then weights count from the
            beginning, and a choice that is not made again is dropped. By default `after` is continued: all its choices
            must be made again, and its weights stand.
        pause: stop after the next observation or factor.
        scored: whether choices are scored.
        nonfinite: what a NaN weight means: "error", or "dead", weight zero and counted.

    Raises:
        ImpureProgramError: the program did not repeat itself under the same choices.
        NonFiniteError: a weight is NaN, or +inf.
        UnsupportedProgramError: the program's recursion is deeper than Python allows.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful.inference.eager.drawing import Draws
    >>> from lawful.messages import only
    >>> def coins():
    ...     first = lawful.sample("first", dist.Bernoulli(0.5))
    ...     lawful.factor("half", -0.5)
    ...     return first + lawful.sample("second", dist.Bernoulli(0.5))
    >>> with only(Draws(jax.random.key(0))):
    ...     half = run(coins, (), lambda a: ("now", *a), pause=True)
    ...     whole = run(coins, (), lambda a: ("later", *a), after=half)
    >>> list(half.choices), half.finished, list(whole.choices), whole.finished, whole.log_weight
    ([('first',)], False, [('first',), ('second',)], True, -0.5)
    """
    return execute(model, args, Runner(place, after, keep, pause, scored, nonfinite))


def execute(model: Callable[..., Any], args: tuple[Any, ...], runner: Runner) -> Run:
    """Execute a program under a runner that was made for it."""
    finished, value = False, None
    with placed(Surroundings()), installed(runner):
        try:
            value = call(model, args)
            finished = True
        except Paused:
            pass
        except RecursionError as error:
            raise UnsupportedProgramError(
                f"the program's recursion is deeper than Python allows, after {len(runner.choices)} choices, the last "
                f"of them '{runner.last()}'. Fix: check that it ends with probability one, write the recursion as a "
                "loop, or allow more by sys.setrecursionlimit.",
                choices=len(runner.choices),
            ) from error
        except ValueError as error:  # numpyro's, of a distribution that the program makes
            reason = refused_parameter(error)
            _refuse_gaps(model, args, error)
            if reason is None:
                raise
            raise reason from error
    return runner.record(value, finished)


def _refuse_gaps(model: Any, args: tuple[Any, ...], error: ValueError) -> None:
    """Explain NumPyro's refusal of a parameter by arguments that hold NaN."""
    leaves = [leaf for leaf in jax.tree.leaves(args) if is_array(leaf)]
    holed = [name for name, x in zip(input_names(model, args), leaves, strict=True) if len(nan_places(x))]
    if holed and "got invalid" in str(error):
        raise NonFiniteError(
            f"{error} The argument {', '.join(holed)} holds NaN. Fix: model a covariate with gaps as a site with "
            "obs_mask, or leave its rows out.",
            arguments=tuple(holed),
        ) from error


class Runner(Handler):
    """Answers repeated choices, weighs data, and passes new choices on under their address in the algorithm."""

    def __init__(
        self,
        place: Place,
        after: Run = START,
        keep: Callable[[SampleMessage], bool] | None = None,
        pause: bool = False,
        scored: bool = False,
        nonfinite: str = "error",
    ) -> None:
        self.place, self.after, self.keep, self.pause = place, after, keep, pause
        self.scored, self.nonfinite = scored, nonfinite
        self.skip = 0 if keep else after.weighings
        self.log_weight = 0.0 if keep else after.log_weight
        self.n_nonfinite = 0 if keep else after.n_nonfinite
        self.weighings = 0
        self.choices: dict[Address, Any] = {}
        self.log_probs: dict[Address, float] = {}
        self.laws: dict[Address, Any] = {}
        self.observations: dict[Address, Any] = {}
        self.deterministics: dict[Address, Any] = {}
        self.plates: dict[Address, tuple[PlateFrame, ...]] = {}
        self.loop_names: dict[Address, tuple[str | None, ...]] = {}
        self.fixed: set[Address] = set()
        self.repeated: set[Address] = set()
        self.used: dict[Address, Source] = {}
        self.waiting: Address | None = None
        self.vanished, self.log_cut = "", -math.inf
        self.boundary = Boundary()

    def process(self, message: Message) -> None:
        """Answer what is known here, and pass a new choice on."""
        if not isinstance(message, FactorMessage) and any(loops := surroundings().loop_names):
            self.loop_names[message.address] = loops
        if isinstance(message, SampleMessage):
            self.boundary.refuse_inside(message)
            refuse_duplicate(self.used, message.address, message.source)
            if message.plates:
                self.plates[message.address] = message.plates
            if message.value is not None:
                message.stop = True
                self._given(message)
            elif message.address in self.after.choices and (self.keep is None or self.keep(message)):
                message.stop = True
                message.value = self.after.choices[message.address]
                self.repeated.add(message.address)
                self._choose(message)
            else:
                self.waiting, message.address = message.address, self.place(message.address)
            return
        message.stop = True
        if isinstance(message, FactorMessage):
            self._weigh(lambda: float(message.log_weight), message)
        elif isinstance(message, DeterministicMessage):
            self.deterministics[message.address] = message.value
            if message.plates:
                self.plates[message.address] = message.plates

    def postprocess(self, message: Message) -> None:
        """Note a new choice, under its own address."""
        if not isinstance(message, SampleMessage):
            return
        message.stop = False  # what stopped here is complete: a factor that a scale adds to it must follow
        if self.waiting is not None and message.value is not None:
            message.address, self.waiting = self.waiting, None
            self._choose(message)

    def _choose(self, message: SampleMessage) -> None:
        self.choices[message.address] = message.value
        if self.scored:
            self.laws[message.address] = bound(message.distribution).law
            self.log_probs[message.address] = log_prob(message.distribution, message.value, Statement(message))

    def _given(self, message: SampleMessage) -> None:
        """Weigh by the density of a value that is given: an observation, or a choice that an inner handler made."""
        if message.observed:
            self.observations[message.address] = message.value
        else:
            self.choices[message.address] = message.value
            self.fixed.add(message.address)
            if message.address in self.after.choices:
                self.repeated.add(message.address)
        self._weigh(lambda: log_prob(message.distribution, message.value, Statement(message)), message)

    def _weigh(self, log_weight: Callable[[], float], message: SampleMessage | FactorMessage) -> None:
        self.weighings += 1
        if self.weighings <= self.skip:
            return
        weight = log_weight()
        if math.isnan(weight) and self.nonfinite == "dead":
            weight, self.n_nonfinite = -math.inf, self.n_nonfinite + 1
        if not weight < math.inf:
            raise _not_finite(message, weight)
        if weight == -math.inf:
            self.vanished = str(Statement(message))
            if isinstance(message, FactorMessage) and message.role == OVERFLOW:
                self.log_cut = self.log_weight
        self.log_weight += weight
        if self.pause or weight == -math.inf:
            raise Paused

    def last(self) -> str:
        """Name the last choice."""
        name = show_address(next(reversed(self.choices))) if self.choices else "none"
        return name if len(name) < 100 else f"{name[:40]} ... {name[-40:]}"

    def record(self, value: Any, finished: bool) -> Run:
        """Close the record."""
        if self.keep is None and len(self.repeated) < len(self.after.choices):
            lost = next(a for a in self.after.choices if a not in self.repeated)
            raise diverged(lost, "was not reached")
        return Run(
            dict(self.choices),
            self.log_weight,
            value,
            finished,
            self.weighings,
            dict(self.log_probs),
            dict(self.laws),
            self.observations,
            self.deterministics,
            self.plates,
            self.loop_names,
            frozenset(self.fixed),
            frozenset(self.repeated),
            self.n_nonfinite,
            self.vanished,
            self.log_cut,
        )


def placed_in(*before: int, last: int) -> Place:
    """Return the map from a program's addresses to an algorithm's: indices stand around those of the program's loops.

    >>> placed_in(3, last=7)(("x", 0))
    ('~eager', 'x', 3, 0, 7)
    """
    around = surroundings()
    return functools.partial(_place, (*around.scopes, PREFIX), (*around.indices, *before), last)


def _place(head: Address, middle: Address, last: int, address: Address) -> Address:
    if isinstance(address[-1], str):
        return (*head, *address, *middle, last)
    return (*head, *names_of(address), *middle, *indices_of(address), last)


def _not_finite(message: SampleMessage | FactorMessage, weight: float) -> NonFiniteError:
    remedy = "; nonfinite='dead' reads NaN as weight zero and counts it" if math.isnan(weight) else ""
    return NonFiniteError(
        f"{Statement(message)}: the log weight is {weight}. Fix: check the parameters of that site at values its "
        f"parents can take{remedy}.",
        sites=(show_address(message.address),),
        value=weight,
    )
