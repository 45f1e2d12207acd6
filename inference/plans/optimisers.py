"""Optimisers: those of optax, which an extra brings.

Law: whoever asks for one that is missing is told what installs it, by the name of what was called.
"""

from __future__ import annotations

from typing import Any

from lawful.errors import LawfulError


def optimiser(name: str, **settings: Any) -> Any:
    """Give an optimiser of optax.

    Raises: LawfulError where optax is not installed.

    >>> optimiser("adam", learning_rate=0.1).init(0.0)[0].count.tolist()
    0
    """
    try:
        import optax
    except ImportError as error:
        raise LawfulError(
            "inference.maximise and inference.guide go uphill by optax, which is not installed. Fix: pip install "
            "'lawful[maximise]'.",
            module="optax",
        ) from error
    return getattr(optax, name)(**settings)
