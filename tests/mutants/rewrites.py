"""Mutants of rewriting: what counts as equal, what is left of what cancels, and what is no element's."""

from dataclasses import replace

from lawful.form.operations.sums import Signed
from lawful.inference.summing.elementwise import Apart, _Walk
from lawful.passes.simplify.common_subexpressions import _Scope
from tests.mutants.patching import patched


def operands_ignored():
    """Operations of one kind on values of one type count as equal, whatever they are done to."""
    return patched(_Scope, "operands", lambda original: lambda self, node: ())


def witnesses_ignored():
    """A density that cancels is not looked at any more."""
    return patched(
        Signed, "__call__", lambda original: lambda self, *values: original(self, *values[: len(self.signs)])
    )


def outside_forgotten():
    """What no element of a plate reads is left out beside the terms of its elements."""

    def without(original):
        def of_kind(self, value, kind):
            found = original(self, value, kind)
            return replace(found, rest=None) if isinstance(found, Apart) else found

        return of_kind

    return patched(_Walk, "of_kind", without)
