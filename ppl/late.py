"""Late: libraries and methods that are loaded when they are first used, since most runs never do.

Law: a name here stands for the library of that name, and a method for the function that it names.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import MethodType
from typing import TYPE_CHECKING, Any


class Late:
    """A library, loaded when something of it is first read.

    >>> Late("math").sqrt(4.0)
    2.0
    """

    def __init__(self, name: str) -> None:
        """Load nothing yet."""
        self._name = name

    def __getattr__(self, name: str) -> Any:
        """Read a name of the library."""
        return getattr(import_module(self._name), name)


if TYPE_CHECKING:
    import arviz_base as arviz_base
    import networkx as networkx
    import pandas as pandas
    import xarray as xarray
    import zarr as zarr

    arviz_stats: Any  # it does not say which of its names are public
    figures: Any
    scipy_stats: Any
else:
    arviz_base, arviz_stats, figures = Late("arviz_base"), Late("arviz_stats"), Late("matplotlib.figure")
    networkx, pandas, xarray, zarr = Late("networkx"), Late("pandas"), Late("xarray"), Late("zarr")
    scipy_stats = Late("scipy.stats")


@dataclass(frozen=True)
class Method:
    """A method of a record whose function stands above it, in a module that is loaded when the method is asked for.

    >>> class Record:
    ...     '''Binds one.'''
    ...     kind = Method("builtins", "type")
    >>> Record().kind().__name__
    'Record'
    """

    module: str
    name: str
    static: bool = False

    def __get__(self, record: Any, kind: type) -> Any:
        """Give the function, bound to a record."""
        function = getattr(import_module(self.module), self.name)
        return function if record is None or self.static else MethodType(function, record)
