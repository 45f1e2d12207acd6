"""A new family: 1 with probability 1 - exp(-exp(eta)), an event within a step of time at the log hazard eta."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from lawful.distributions.families import FAMILIES, Family


class Event(dist.Distribution):
    arg_constraints = {"eta": dist.constraints.real}
    support, has_enumerate_support, pytree_data_fields = dist.constraints.boolean, True, ("eta",)

    def __init__(self, eta, *, validate_args=None):
        self.eta = eta
        super().__init__(jnp.shape(eta), validate_args=validate_args)

    def sample(self, key, sample_shape=()):
        waiting = jax.random.exponential(key, (*sample_shape, *self.batch_shape))
        return (waiting < jnp.exp(self.eta)).astype(int)

    def log_prob(self, value):
        return dist.Bernoulli(1 - jnp.exp(-jnp.exp(self.eta))).log_prob(value)

    def enumerate_support(self, expand=True):
        return jnp.broadcast_to(jnp.arange(2).reshape(2, *[1] * len(self.batch_shape)), (2, *self.batch_shape))


def stable(event: Event, value: jax.Array) -> jax.Array:  # rare events are right, and sure ones have a gradient
    middle = jnp.log(-jnp.expm1(-jnp.exp(jnp.clip(event.eta, -36.0, 36.0))))
    one, rare = value == 1, event.eta < -36.0
    return jnp.where(one, jnp.where(rare, event.eta, middle), -jnp.exp(jnp.where(one, 0.0, event.eta)))


FAMILIES[Event] = Family(log_prob=stable)
