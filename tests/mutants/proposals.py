"""Mutants of proposals: how the weight of a site that is drawn from a proposal is computed."""

from lawful.inference.transformers.propose.propose import _Proposer
from tests.mutants.patching import patched


def _scored(change):
    """Patch `_Proposer.answer`: `change(message, drawn)` is the distribution that the draw is divided by."""

    def make(original):
        return lambda self, message, value, drawn: original(self, message, value, change(message, drawn))

    return patched(_Proposer, "answer", make)


def weight_forgotten():
    """A proposed draw counts as a draw from the prior."""
    return _scored(lambda message, drawn: message.distribution)
