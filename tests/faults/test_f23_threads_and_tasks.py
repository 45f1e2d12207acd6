"""Row 23: handlers of one thread or task are never those of another, and what is left is as it was before."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, handlers, inference, mask, mem, plate, sample, scale, scan, scope
from lawful.messages import Handler, Surroundings, installed, surroundings
from lawful.messages import handlers as stack

KEY = jax.random.key(23)
THREADS, REPETITIONS = 8, 1000 // 8


def model_of(number):
    """A program whose names, sizes and weights are those of one thread."""

    def part(x):
        with scope(f"scope{number}"), scale(1.0 + number), mask(np.True_):
            factor("f", x)

    def model():
        x = sample(f"x{number}", dist.Delta(np.float64(number)))
        with plate(f"plate{number}", number + 1):
            place = surroundings()
        part(float(number))
        return float(x), len(stack()), place.plates[0].size

    return model


@pytest.mark.fault(23)
def test_f23_eight_threads_with_a_thousand_runs_never_mix():
    barrier = threading.Barrier(THREADS)

    def work(number):
        program = handlers.substitute(model_of(number), {f"x{number}": np.float64(number)})
        barrier.wait(timeout=60)
        for _ in range(REPETITIONS):
            run = handlers.trace(program)()
            assert run.value == (number, 2, number + 1)
            assert list(run.log_probs) == [(f"x{number}",), (f"scope{number}", "f")]
            assert run.log_probs[(f"scope{number}", "f")] == number * (1.0 + number)
        return stack() == () and surroundings() == Surroundings()

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(THREADS), timeout=120))


def test_f23_threads_trace_and_run_different_models():
    barrier = threading.Barrier(THREADS)

    def work(number):
        def model(y):
            def step(c, y):
                x = sample(f"x{number}", dist.Bernoulli(0.5))
                factor(f"f{number}", -number * 0.1 * x * y)
                return c + x, x

            return scan(step, 0, y)[0]

        barrier.wait(timeout=60)
        exact = inference.enumerate(model)(np.ones(2))
        return float(np.exp(exact.log_evidence)), sorted(exact.support)

    with ThreadPoolExecutor(THREADS) as pool:
        for number, (evidence, names) in enumerate(pool.map(work, range(THREADS), timeout=300)):
            assert evidence == pytest.approx(((1 + np.exp(-0.1 * number)) / 2) ** 2, rel=1e-12)
            assert names == ["return", f"x{number}"]


def test_f23_async_tasks_never_mix():
    """Each task waits inside its handlers, so that the others run before it goes on, under handlers of their own."""
    turns = []

    class Fixed(Handler):
        def __init__(self, number):
            self.number = number

        def process(self, message):
            message.value = self.number if message.value is None else message.value

    async def part(number):
        def model():
            return sample("x", dist.Normal(0.0, 1.0)), len(stack())

        with installed(Fixed(-1.0)), scope(f"outer{number}"):
            await asyncio.sleep(0)
            with installed(Fixed(float(number))), plate(f"plate{number}", number + 1):
                for _ in range(50):
                    turns.append(number)
                    await asyncio.sleep(0)
                    place = surroundings()
                    assert place.scopes == (f"outer{number}",)
                    assert [(each.name, each.size) for each in place.plates] == [(f"plate{number}", number + 1)]
                    assert len(stack()) == 2 and stack()[-1].number == number
            assert surroundings().plates == () and stack()[-1].number == -1.0
            for _ in range(50):
                await asyncio.sleep(0)
                assert sample("x", dist.Normal(0.0, 1.0)) == -1.0
                assert handlers.substitute(model, {(f"outer{number}", "x"): float(number)})() == (number, 2)
        return stack() == ()

    async def everything():
        return await asyncio.gather(*(part(number) for number in range(8)))

    assert all(asyncio.run(everything()))
    assert any(turns[i : i + 8] == list(range(8)) for i in range(len(turns)))  # they did take turns
    assert stack() == () and surroundings() == Surroundings()


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: handlers.seed(m, KEY),
        lambda m: handlers.seed(m, KEY, alone=True),
        lambda m: handlers.trace(handlers.seed(m, KEY)),
        lambda m: handlers.condition(m, {"x": 0.0}),
        lambda m: handlers.do(m, {"x": 0.0}),
        lambda m: handlers.block(m),
        lambda m: handlers.mask(m, np.True_),
        lambda m: handlers.scale(m, 2.0),
        lambda m: handlers.scope(m, "a"),
        lambda m: lambda: lawful.trace(m),
        lambda m: lambda: inference.importance(m, particles=4)(KEY),
        lambda m: lambda: inference.enumerate(m, mode="eager")(),
        lambda m: lambda: inference.mcmc(m, draws=2)(KEY),
    ],
)
def test_f23_an_exception_restores_handlers_and_surroundings(wrap):
    def model():
        with scope("s"), plate("row", 2), scale(2.0), mask(np.True_):
            raise Broken

    outer = handlers.trace(handlers.seed(lambda: _inside(wrap(model)), KEY))
    with pytest.raises(Broken):
        wrap(model)()
    assert stack() == () and surroundings() == Surroundings()
    assert list(outer().choices) == [("before",), ("after",)]
    assert stack() == () and surroundings() == Surroundings()


def _inside(broken):
    sample("before", dist.Normal(0.0, 1.0))
    held = stack(), surroundings()
    with pytest.raises(Broken):
        broken()
    assert (stack(), surroundings()) == held
    sample("after", dist.Normal(0.0, 1.0))


def test_f23_an_inference_inside_a_program_is_not_seen_outside():
    def inner():
        x = sample("x", dist.Bernoulli(0.5))
        sample("y", dist.Bernoulli(0.25 + 0.5 * x), obs=1)

    def outer():
        with scope("outer"), scale(3.0):
            z = inference.enumerate(inner)().log_evidence
            e = inference.enumerate(inner, mode="eager")().log_evidence
        return sample("z", dist.Normal(z, 1.0)), z, e

    run = handlers.trace(handlers.seed(outer, KEY))()
    assert list(run.choices) == [("z",)]
    assert run.value[1] == pytest.approx(np.log(0.5), rel=1e-12)
    assert run.value[2] == pytest.approx(np.log(0.5), rel=1e-12)


def test_f23_a_random_function_of_one_thread_is_not_that_of_another():
    barrier = threading.Barrier(4)

    def work(number):
        def model():
            f = mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))
            barrier.wait(timeout=60)
            return f(0), f(0)

        one, other = handlers.seed(model, jax.random.key(number))()
        assert one == other
        assert stack() == () and surroundings() == Surroundings()
        return float(one)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(work, range(4), timeout=60))) == 4
    assert stack() == () and surroundings() == Surroundings()
