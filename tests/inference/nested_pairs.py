"""Finite programs in which two constructs are nested in each other, with everything that their statements may read.

Law: each is a program of few choices, so its measure can be listed. `reads` says what is read beside the state that
goes from one statement to the next: nothing, the choice before the inner construct after it, all steps of a loop
together, or a choice outside the outer construct at every place.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

READS = ("state", "before", "steps", "outside")
MOVE, TURN = jnp.array([[0.7, 0.3], [0.2, 0.8]]), jnp.array([[0.6, 0.4], [0.1, 0.9]])
TWO = jnp.array([0.3, -0.4])

type Body = Callable[[Any], Any]


class Place:
    """Where a construct stands: its tag, what stands inside it, and what its statements may read."""

    def __init__(self, tag: str, inner: Body, reads: str, outside: Any = None) -> None:
        self.tag, self.inner, self.reads, self.outside = tag, inner, reads, outside

    def after(self, before: Any, result: Any) -> Any:
        """Weigh what the inner construct gives, perhaps together with what stood before it."""
        if self.reads == "before":
            lawful.factor(f"again{self.tag}", jnp.where(before == result, 0.4, -0.3))
        return self.draws(jnp.asarray(result, int))

    def draws(self, value: Any) -> Any:
        """Read the choice outside, perhaps."""
        if self.reads == "outside":
            lawful.factor(f"outside{self.tag}", 0.5 * value * self.outside)
        return value


def _scan(place: Place) -> Body:
    def body(state: Any) -> Any:
        def turn(state: Any, _: Any) -> Any:
            s = lawful.sample(f"s{place.tag}", dist.Categorical(TURN[state]))
            end = place.after(s, place.inner(s))
            return end, end

        end, steps = lawful.scan(turn, jnp.asarray(state, int), None, length=2)
        if place.reads == "steps":
            lawful.factor(f"steps{place.tag}", jnp.where(jnp.sum(steps) == 1, 0.6, 0.0))
        return end

    return body


def _cond(place: Place) -> Body:
    def body(state: Any) -> Any:
        c = lawful.sample(f"c{place.tag}", dist.Bernoulli(0.4 + 0.2 * state))
        return lawful.cond(c == 1, lambda: place.after(c, place.inner(state)), lambda: place.draws(jnp.asarray(1)))

    return body


def _switch(place: Place) -> Body:
    def body(state: Any) -> Any:
        k = lawful.sample(f"k{place.tag}", dist.Categorical(jnp.array([[0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])[state]))
        state = jnp.asarray(state, int)
        return lawful.switch(k, [lambda: place.after(k, place.inner(state)), lambda: state, lambda: 1 - state])

    return body


def _bounded_loop(place: Place) -> Body:
    def body(state: Any) -> Any:
        def goes_on(state: Any) -> Any:
            return lawful.sample(f"g{place.tag}", dist.Bernoulli(0.3 + 0.3 * state)) == 1

        def turn(state: Any) -> Any:
            return place.after(state, place.inner(state))

        return lawful.bounded_loop(goes_on, turn, jnp.asarray(state, int), max_steps=2, name=f"loop{place.tag}")

    return body


def _plate(place: Place) -> Body:
    def body(state: Any) -> Any:
        with lawful.plate(f"i{place.tag}", 2):
            z = lawful.sample(f"z{place.tag}", dist.Bernoulli(0.3 + 0.2 * state))
            lawful.sample(f"y{place.tag}", dist.Bernoulli(0.2 + 0.5 * z), obs=jnp.ones(jnp.shape(z), int))
            result = place.inner(z) if place.tag == "outer" else z
        end = jnp.max(jnp.asarray(result, int))
        return place.after(jnp.max(z), end if place.tag == "outer" else place.inner(end))

    return body


def _mask(place: Place) -> Body:
    def body(state: Any) -> Any:
        with lawful.mask(state == 1):
            u = lawful.sample(f"u{place.tag}", dist.Bernoulli(0.25 + 0.5 * state))
            lawful.sample(f"y{place.tag}", dist.Bernoulli(0.3 + 0.3 * u), obs=jnp.ones(jnp.shape(u), int))
            return place.after(u, place.inner(u))

    return body


CONSTRUCTS = {
    "scan": _scan,
    "cond": _cond,
    "switch": _switch,
    "bounded_loop": _bounded_loop,
    "plate": _plate,
    "mask": _mask,
}


def nested(outer: str, inner: str, reads: str = "state") -> Callable[[], Any]:
    """Make the program of two constructs, one inside the other."""

    def program() -> Any:
        start = lawful.sample("start", dist.Bernoulli(0.35))

        def leaf(state: Any) -> Any:
            x = lawful.sample("x", dist.Categorical(MOVE[state]))
            lawful.factor("weight", TWO[x] * (1 + state))
            return x

        innermost = CONSTRUCTS[inner](Place("inner", leaf, reads, start))
        end = CONSTRUCTS[outer](Place("outer", innermost, reads, start))(start)
        lawful.factor("end", 0.5 * jnp.sum(TWO[end]))
        return end

    program.__name__ = f"{inner} in {outer}, reads {reads}"
    return program
