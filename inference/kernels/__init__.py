"""Kernels: invariant Markov kernels, one family a file.

May import: laws, findings, eager, representations, summing, graphs, transformers.
"""

import lazy_loader

# The public names stand in `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
