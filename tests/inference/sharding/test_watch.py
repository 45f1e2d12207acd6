"""Laws of the watch: whoever is behind is told by name, and nobody else, whatever becomes of the call."""

import threading
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from lawful.inference.devices import watch
from lawful.inference.devices.watch import ENDED, FAILED, watched

NAME = "lawful/calls/0-1"


class Store(dict):
    """Keys and values of all processes, as `jax.distributed` keeps them."""

    def key_value_set(self, key, value, allow_overwrite):
        assert allow_overwrite
        self[key] = value

    def key_value_dir_get(self, name):
        return [(key, value) for key, value in self.items() if key.startswith(name + "/")]


@pytest.fixture
def store(monkeypatch):
    found = Store()
    monkeypatch.setattr(watch, "_store", lambda: found)
    monkeypatch.setattr(watch, "PATIENCE", 0.1)
    monkeypatch.setattr(watch, "_calls", watch.Counter())
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    return found


DEVICES = np.array([SimpleNamespace(process_index=process) for process in (0, 0, 1, 1)], object)
MESH = Mock(spec=Mesh, is_multi_process=True, devices=DEVICES)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (None, "has not begun it"),
        ("0 3", "has not begun it"),
        ("1 3", "gives no sign of life"),
        (f"1 {FAILED}", "has left it with an error"),
        (f"1 {ENDED}", None),
        ("2 0", None),
    ],
)
def test_who_is_behind_is_told(store, capfd, other, said):
    if other is not None:
        store[f"{NAME}/1"] = other
    with watched(MESH):
        threading.Event().wait(0.5)
    told = capfd.readouterr().err
    assert (f"in call 1 on its mesh for process 1, which {said}." in told) if said else told == ""


def test_a_process_that_goes_on_beating_is_not_behind(store, capfd, monkeypatch):
    beats = iter(range(1, 1000))
    plain = store.key_value_dir_get
    monkeypatch.setattr(store, "key_value_dir_get", lambda name: [*plain(name), (f"{NAME}/1", f"1 {next(beats)}")])
    with watched(MESH):
        threading.Event().wait(0.5)
    assert capfd.readouterr().err == ""


def test_a_process_says_how_it_left(store):
    with watched(MESH):
        pass
    assert store[f"{NAME}/0"] == f"1 {ENDED}"
    with pytest.raises(MemoryError), watched(MESH):
        raise MemoryError
    assert store[f"{NAME}/0"] == f"2 {FAILED}"


def test_a_computation_does_not_depend_on_the_service(store, monkeypatch):
    monkeypatch.setattr(store, "key_value_set", lambda *_, **__: 1 / 0)
    with watched(MESH):
        pass
