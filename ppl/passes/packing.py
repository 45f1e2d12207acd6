"""Packing: many outputs of one type leave a compiled program as one stack.

Law: unpacked again, the outputs are what they were. A program with thousands of named results would otherwise spend
most of its compile time on handing them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..form import Det, Form, Var
from ..form.builder import Block
from ..form.operations.stacks import Join

MANY = 8


@dataclass(frozen=True)
class Packed:
    """A form with packed outputs; `places` tells for each output of the source its output and its row of that one."""

    form: Form
    places: tuple[tuple[int, int | None], ...]

    def unpack(self, outputs: Sequence[Any], before: int = 0) -> list[Any]:
        """Take the outputs apart again, as arrays of NumPy.

        Args:
            outputs: what the packed form gave.
            before: number of axes that stand before those of the form, as the runs of a plan.
        """
        arrays = [np.asarray(x) for x in outputs]
        axes = [before + len(v.plates) for v in self.form.outputs]
        return [arrays[i] if row is None else np.take(arrays[i], row, axis=axes[i]) for i, row in self.places]


def packed(form: Form, least: int = MANY) -> Packed:
    """Pack the outputs of a form, type by type, where there are at least `least` of one type.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: tuple(lawful.sample(f"x{i}", dist.Normal(0.0, 1.0)) for i in range(9)))
    >>> small = packed(form)
    >>> len(small.form.outputs), small.places[2]
    (1, (0, 2))
    """
    groups: dict[Any, list[int]] = {}
    for position, value in enumerate(form.outputs):
        groups.setdefault((value.shape, value.dtype, value.plates), []).append(position)
    block = Block()
    block.nodes.extend(form.nodes)
    block.constants.extend(form.constants)
    outputs: list[Var] = []
    places: dict[int, tuple[int, int | None]] = {}
    for (shape, dtype, plates), positions in groups.items():
        if len(positions) < least:
            places |= {position: (len(outputs) + k, None) for k, position in enumerate(positions)}
            outputs += [form.outputs[position] for position in positions]
            continue
        parts = tuple(form.outputs[position] for position in positions)
        stack = Var((len(parts), *shape), dtype, plates)
        block.nodes.append(Det(Join((None,) * len(parts)), parts, (stack,), "stack", plates))
        places |= {position: (len(outputs), row) for row, position in enumerate(positions)}
        outputs.append(stack)
    return Packed(block.form(form.inputs, outputs), tuple(places[i] for i in range(len(form.outputs))))
