"""Flow: a law of real vectors that is a normal law bent by layers of splines, whose shapes a net reads off the others.

Law: a layer keeps some coordinates and maps each other one to the whole line one to one, whatever the weights are, so
that the density of a bent vector is that of its noise over the Jacobian, and no vector is out of reach. Weights of zero
bend nothing.

Reference: Durkan, Bekasov, Murray and Papamakarios (2019), Neural spline flows. Layers are those of flowjax.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints

from lawful.errors import LawfulError

LAYERS = 4  # each bends half of the coordinates
WIDTH = 32  # of the net of a layer
KNOTS = 8  # of a spline
REACH = 4.0  # standard deviations within which splines bend; beyond, a layer shifts and scales


class Flow(dist.Distribution):
    """A normal law whose noise is bent: `loc + root @ bent(noise)`.

    Attributes:
        weights: of the layers, as `flow_weights` begins them.
        loc: where bent noise of zero is.
        root: lower triangular matrix of the scales.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    reparametrized_params = ("loc", "root")
    pytree_data_fields = ("weights", "loc", "root")

    def __init__(self, weights: Any, loc: Any, root: Any) -> None:
        self.weights, self.loc, self.root = weights, loc, root
        super().__init__((), jnp.shape(loc), validate_args=False)

    @property
    def _noise(self) -> dist.Distribution:
        return dist.Normal(jnp.zeros_like(self.loc), 1.0).to_event(1)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw noise, and bend it."""
        noise, size = self._noise.sample(key, sample_shape), jnp.shape(self.loc)[0]
        bent = jax.vmap(self._layers.transform)(noise.reshape(-1, size)).reshape(noise.shape)
        return self.loc + bent @ self.root.T

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Bend back, and score the noise."""
        size = jnp.shape(self.loc)[0]
        off = (value - self.loc).reshape(-1, size)
        bent = jax.scipy.linalg.solve_triangular(self.root, off.T, lower=True).T
        noise, log_jacobian = jax.vmap(self._layers.inverse_and_log_det)(bent)
        log_root = jnp.sum(jnp.log(jnp.abs(jnp.diag(self.root))))
        return (self._noise.log_prob(noise) + log_jacobian - log_root).reshape(value.shape[:-1])

    @property
    def _layers(self) -> Any:
        return _parts("guide").equinox.combine(self.weights, _begun(jnp.shape(self.loc)[0], self.weights_type)[1])

    @property
    def weights_type(self) -> str:
        """The type of the weights."""
        return str(jnp.result_type(*jax.tree.leaves(self.weights)))


def flow_weights(size: int) -> Any:
    """Begin the weights of a flow of some coordinates, which bends nothing yet.

    Raises: LawfulError where flowjax is not installed.

    >>> law = Flow(flow_weights(2), jnp.zeros(2), jnp.eye(2))
    >>> bool(jnp.allclose(law.log_prob(jnp.ones(2)), -1.0 - jnp.log(2 * jnp.pi)))
    True
    """
    return _begun(size, str(jnp.result_type(float)))[0]


class _Parts(NamedTuple):
    """The libraries that a flow is made of."""

    bijections: Any
    equinox: Any


@functools.cache
def _parts(asker: str) -> _Parts:
    try:
        import equinox
        import flowjax.bijections as bijections
    except ImportError as error:
        raise LawfulError(
            f"{asker}: a flow is made of layers of flowjax, which is not installed. Fix: pip install 'lawful[flow]'.",
            module="flowjax",
        ) from error
    return _Parts(bijections, equinox)


@functools.cache
def _begun(size: int, dtype: str) -> tuple[Any, Any]:
    """Make the layers, as their weights and the rest; the last weights of a net are zero, so that nothing is bent."""
    bijections, equinox = _parts("guide")

    def layer(key: jax.Array) -> Any:
        spline = bijections.RationalQuadraticSpline(knots=KNOTS, interval=REACH)
        each = bijections.Chain([spline, bijections.Affine()])
        if size == 1:  # no other coordinate tells the shape
            return bijections.Vmap(equinox.filter_vmap(lambda: each, axis_size=1)(), in_axes=equinox.if_array(0))
        coupling = bijections.Coupling(
            key, transformer=each, untransformed_dim=size // 2, dim=size, nn_width=WIDTH, nn_depth=1,
            nn_activation=jax.nn.tanh,
        )  # fmt: skip
        last = coupling.conditioner.layers[-1]
        still = [jnp.zeros_like(last.weight), jnp.zeros_like(last.bias)]
        coupling = equinox.tree_at(
            lambda c: [c.conditioner.layers[-1].weight, c.conditioner.layers[-1].bias], coupling, still
        )
        return bijections.Chain([coupling, bijections.Flip((size,))])

    with jax.core.eval_context():  # the caller may be traced; what is kept never is
        keys = jnp.stack([jax.random.fold_in(jax.random.key(0), number) for number in range(LAYERS)])
        layers = bijections.Scan(equinox.filter_vmap(layer)(keys))
        weights, rest = equinox.partition(layers, equinox.is_inexact_array)
        return jax.tree.map(lambda x: x.astype(dtype), weights), rest
