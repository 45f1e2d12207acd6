"""Jobs that do not talk: any executor gives what one after the other gives, and what cannot work is refused at once."""

import functools
import operator
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.running.jobs import map_parts, parts_for_cores

PARTS = [(i, 10 * i) for i in range(5)]


def precision(_):
    """The precision of the numbers where the part is done."""
    return str(jnp.result_type(float)), os.getpid()


def last_words(_):
    os._exit(3)


def refuse(_):
    raise LawfulError("no such site", site="mu")


class Backwards(Executor):
    """Does jobs one after the other, the last one first."""

    def submit(self, function, /, *arguments, **named):
        raise NotImplementedError

    def map(self, function, *columns, timeout=None, chunksize=1):
        found = [function(*row) for row in list(zip(*columns, strict=True))[::-1]]
        return iter(found[::-1])


def test_every_executor_gives_the_results_in_the_order_of_the_parts():
    alone = map_parts(None, operator.sub, PARTS)
    with ThreadPoolExecutor(2) as pool:
        assert alone == map_parts(pool, operator.sub, PARTS) == map_parts(Backwards(), operator.sub, iter(PARTS))
    assert alone == [0, -9, -18, -27, -36]


@pytest.mark.parametrize("double", [True, False])
def test_a_part_computes_in_the_precision_of_the_caller(double):
    with jax.enable_x64(double), ThreadPoolExecutor(1) as pool:
        here = map_parts(None, precision, [(0,)])
        assert here == map_parts(pool, precision, [(0,)])
    assert here[0][0] == ("float64" if double else "float32")


@pytest.mark.slow
def test_a_pool_of_processes_does_the_parts_elsewhere_in_the_precision_of_the_caller():
    found = map_parts("processes", precision, [(i,) for i in range(2)])
    assert {dtype for dtype, _ in found} == {"float64"} and os.getpid() not in {pid for _, pid in found}


@pytest.mark.slow
def test_a_process_that_ends_and_one_that_refuses_are_told():
    with pytest.raises(LawfulError, match="ended before its work was done"):
        map_parts("processes", last_words, [(0,)])
    with pytest.raises(LawfulError, match="no such site") as told:
        map_parts("processes", refuse, [(0,)])
    assert told.value.site == "mu"


def test_what_a_pool_cannot_do_is_refused_before_it_starts():
    with pytest.raises(LawfulError, match=r"expected an executor with the map of concurrent.futures.* got 3"):
        map_parts(3, operator.sub, PARTS)
    for nameless in (lambda x: x, functools.partial(lambda x: x, 1)):
        with pytest.raises(LawfulError, match="has no name by which another process could import it"):
            map_parts("processes", operator.sub, PARTS, nameless)
    with pytest.raises(LawfulError, match="JAX hangs in a fork"):
        map_parts(ProcessPoolExecutor(1, mp_context=get_context("fork")), operator.sub, PARTS)


@pytest.mark.parametrize(("size", "least"), [(1, 1), (7, 1), (7, 2), (1, 2), (100, 3)])
def test_shares_hold_every_number_once_and_in_order(size, least, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    parts = parts_for_cores(size, least)
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(size))
    assert min(map(len, parts)) >= min(least, size) and len(parts) <= 16
