"""The contestant of W2 with Hamiltonian moves, as its settings say."""

from benchmarks.contestants.w2.blackjax import DTYPE, PACKAGES, build

__all__ = ["DTYPE", "PACKAGES", "build"]
