"""Mutants of rewriting: what counts as equal, and what is left of what cancels."""

from lawful.form.operations.sums import Signed
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
