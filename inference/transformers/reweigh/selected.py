"""Selected: the program of objects of which only those that were kept are in the data.

Law: [[selected(p, keep)]] = product over the objects of [[p given kept]], where an object with value x is kept with
probability keep(x). The three forms have known masses beside it, with P = P(keep | arguments):

    divide   n objects have the density  prod p(x_i) keep(x_i) / P**n
    impute   the rejected are sites: (n + m - 1 over m) prod p(x_i) keep(x_i) prod p(r_j) (1 - keep(r_j)), summed over
             m = 0 ... bound; the rest of the negative binomial law of m, of size n, is cut off
    poisson  n is data, too: the first form times the probability of n in a Poisson law of mean rate * P

Reference: Mandel, Farr and Gair (2019), Extracting distribution parameters from multiple uncertain observations with
selection biases; Gelman et al. (2013), Bayesian Data Analysis, chapter 8 (the rejected as missing data).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

from lawful import factor, plate, sample
from lawful.errors import LawfulError
from lawful.form.choices import choices_of
from lawful.handlers import scope
from lawful.tracing.trace import trace

from ..enumeration import enumeration
from ..marginalise import marginalise

type Way = Literal["divide", "impute", "poisson"]
WAYS = get_args(Way.__value__)
NEEDS = {"divide": set(), "impute": {"bound"}, "poisson": {"objects", "rate"}}
TAKES = {
    "divide": {"objects", "probability"},
    "impute": {"objects", "bound", "guess"},
    "poisson": {"objects", "rate", "probability"},
}


def selected(
    program: Callable[..., Any],
    keep: Callable[[Any], Any],
    objects: int | None = None,
    *,
    by: Way = "divide",
    probability: Callable[..., Any] | None = None,
    bound: int | None = None,
    guess: float | None = None,
    rate: Any = None,
) -> Callable[..., Any]:
    """Make the program of objects that were kept from that of any object.

    Args:
        program: makes one object, without data: P(keep) is of all objects that could have been.
        keep: takes what the program returns, and gives whether the object is kept, or the probability of it.
        objects: number of objects kept, which are the elements of a plate "object" and have the same arguments;
            default: one, in whatever plate the call stands.
        by: "divide" by P(keep); "impute" the rejected, which needs no P(keep); or "poisson", where their number tells
            of the rate, too.
        probability: P(keep) as a function of the program's arguments, by a quadrature of yours; default: the sum over
            all values of the program, whose sites must then be finite and its arguments those of one object.
        bound: for "impute", the largest number of rejected objects, of one object kept or of all in the plate.
        guess: for "impute", a guess at P(keep), 0.5 by default; the number rejected is proposed from it. It changes no
            law.
        rate: for "poisson", expected number of objects, kept or not: a number, or a function of the arguments.

    Returns: a program of the same arguments. `handlers.condition` gives it data. The rejected are `rejected.<site>`,
        and `rejected.number` says how many of them count; the others follow their prior, and weigh nothing.

    Raises: LawfulError: a setting is missing or belongs to another form; P(keep) is a sum over sites that are not
        finite.

    >>> import lawful
    >>> from lawful import inference
    >>> def coin(p):
    ...     return lawful.sample("heads", dist.Binomial(2, p))
    >>> exact = inference.enumerate(selected(coin, lambda heads: heads > 0))(0.5)
    >>> {heads: round(mass, 4) for heads, mass in exact.marginal("heads").items()}
    {1: 0.6667, 2: 0.3333}
    """
    given = {"objects": objects, "probability": probability, "bound": bound, "guess": guess, "rate": rate}
    _check(by, {name for name, value in given.items() if value is not None})
    share = probability or _summed(program, keep)
    count = 1 if objects is None else objects

    def kept(*args: Any) -> Any:
        if objects is None:
            value = _weighed(program, keep, args)
        else:
            with plate("object", objects):
                value = _weighed(program, keep, args)
        if by == "impute":
            assert bound is not None
            _impute(program, keep, args, count, bound, 0.5 if guess is None else guess)
        elif by == "poisson":
            factor("rejected", _counted(count, rate(*args) if callable(rate) else rate, share(*args)))
        else:
            factor("rejected", _divided(count, share(*args)))
        return value

    return kept


def _check(by: str, given: set[str]) -> None:
    if by not in WAYS:
        raise LawfulError(f"selected: by: expected one of {', '.join(WAYS)}, got {by!r}.")
    if missing := sorted(NEEDS[by] - given):
        raise LawfulError(f"selected: by={by!r} needs {', '.join(missing)}. Fix: give {missing[0]}=.")
    if extra := sorted(given - TAKES[by]):
        raise LawfulError(f"selected: {', '.join(extra)} says nothing to by={by!r}. Fix: leave it out.")


def _weighed(program: Callable[..., Any], keep: Callable[[Any], Any], args: tuple[Any, ...]) -> Any:
    """Run the program of an object that was kept."""
    value = program(*args)
    factor("kept", jnp.log(jnp.asarray(keep(value), float)))
    return value


def _divided(count: int, share: Any) -> jax.Array:
    """Log of what makes the law of the objects kept one of probability 1."""
    return -count * jnp.log(share)


def _counted(count: int, rate: Any, share: Any) -> jax.Array:
    """Log density of the number of points of a Poisson process that were kept, and of their order."""
    return count * jnp.log(rate) - rate * share - gammaln(count + 1.0)


def _summed(program: Callable[..., Any], keep: Callable[[Any], Any]) -> Callable[..., jax.Array]:
    """P(keep) by a sum over all values of the sites, as a function of the arguments."""

    def weighed(*args: Any) -> None:
        _weighed(program, keep, args)

    def share(*args: Any) -> jax.Array:
        form = enumeration(trace(weighed, *args), marginalise("all")).marginal
        if left := [choice.name for choice in choices_of(form)]:
            raise LawfulError(
                f"selected: P(keep) is no finite sum, since {', '.join(map(repr, left))} has infinitely many values. "
                "Fix: give it as probability=, or use by='impute', which needs none.",
                left=left,
            )
        return jnp.exp(form.log_density({}, *args))

    return share


def _impute(
    program: Callable[..., Any], keep: Callable[[Any], Any], args: tuple[Any, ...], count: int, bound: int, guess: float
) -> None:
    """Add the rejected: a number of them, and as many objects as it can be, of which the first ones count."""
    numbers = jnp.arange(bound + 1)
    orders = gammaln(count + numbers) - gammaln(numbers + 1.0) - gammaln(float(count))
    proposed = jax.nn.log_softmax(orders + numbers * jnp.log1p(-guess))
    number = sample("rejected.number", dist.Categorical(logits=proposed))
    factor("rejected", (orders - proposed)[number])
    with plate("rejected", bound):
        passed = jnp.asarray(keep(scope(program, "rejected")(*args)), float)
        place = jnp.arange(bound).reshape((bound,) + (1,) * (passed.ndim - 1))
        factor("passed over", jnp.log1p(-jnp.where(place < number, passed, 0.0)))
