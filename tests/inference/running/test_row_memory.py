"""Row memory: an array is one of NumPy, however the system provides its memory."""

import mmap

import numpy as np
import pytest

from lawful.inference.running import row_memory as rooms
from lawful.inference.running.row_memory import LARGE, room

COUNT = LARGE // 8 + 77
ON_LINUX = hasattr(mmap, "MADV_NOHUGEPAGE")
HUGE, NO_HUGE = (mmap.MADV_HUGEPAGE, mmap.MADV_NOHUGEPAGE) if ON_LINUX else (None, None)


class Memory(mmap.mmap):
    """Notes what is asked of the system, and can refuse."""

    asked: list[int]
    refused = ()

    def madvise(self, option, *place):
        self.asked.append(option)
        if option in self.refused:
            raise OSError(22, "Invalid argument")
        super().madvise(option, *place)


@pytest.mark.skipif(not ON_LINUX, reason="pages are chosen on Linux alone")
@pytest.mark.parametrize(
    ("slow", "refused", "advice"),
    [
        pytest.param(1.0, (), [HUGE, 23, 23], id="large pages come quickly"),
        pytest.param(0.0, (), [HUGE, 23, NO_HUGE, 23], id="they come slowly"),
        pytest.param(1.0, (HUGE,), [HUGE], id="a system without large pages"),
        pytest.param(1.0, (23,), [HUGE, 23], id="an old system"),
    ],
)
def test_an_array_is_one_of_numpy_however_its_memory_comes(monkeypatch, slow, refused, advice):
    asked: list[int] = []
    monkeypatch.setattr(Memory, "asked", asked, raising=False)
    monkeypatch.setattr(Memory, "refused", refused)
    monkeypatch.setattr(rooms.mmap, "mmap", Memory)
    monkeypatch.setattr(rooms, "SLOW", slow)
    array = room((COUNT, 1), np.float64)
    assert asked == advice
    assert array.shape == (COUNT, 1) and array.dtype == np.float64 and array.flags.c_contiguous
    array[:, 0] = np.arange(COUNT)
    assert array[-1, 0] == COUNT - 1 and array.sum() == COUNT * (COUNT - 1) / 2


def test_small_arrays_have_no_pages_of_their_own():
    assert room((3, 2), np.int32).base is None
