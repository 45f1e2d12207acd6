"""Form: the intermediate form of a traced program, as data; its nodes can be imported from here.

What a form tells of itself (`dependence`, `liveness`, `choices`), how it is walked (`fold`) and written (`builder`),
the operations that it may hold, and the arguments that a program takes.
May import: no other folder.
"""

from .nodes import CHECK as CHECK
from .nodes import Branch as Branch
from .nodes import Det as Det
from .nodes import Entering as Entering
from .nodes import Factor as Factor
from .nodes import Form as Form
from .nodes import Loop as Loop
from .nodes import Node as Node
from .nodes import Plate as Plate
from .nodes import Site as Site
from .nodes import Var as Var
from .nodes import constant_arrays as constant_arrays
from .nodes import subforms as subforms
from .nodes import walk as walk
from .nodes import within as within
