"""One log density on a flat vector, derived from the NumPyro model, which stays the only statement of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.handlers import seed, substitute, trace

from bayescale.core.errors import SpecError

Model = Callable[..., None]


@dataclass(frozen=True)
class Site:
    """A latent site: where its unconstrained values lie in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int
    support: Any

    @property
    def stop(self) -> int:
        """End of its values in the flat vector."""
        size = 1
        for n in self.shape:
            size *= n
        return self.start + size

    def constrain(self, flat: Any) -> Any:
        """Values of the site from the flat unconstrained vector."""
        return dist.biject_to(self.support)(flat[self.start : self.stop].reshape(self.shape))

    def unconstrain(self, value: Any) -> Any:
        """Flat unconstrained values of the site."""
        return jnp.ravel(dist.biject_to(self.support)._inverse(value))


def latent_sites(model: Model, design: Any) -> tuple[Site, ...]:
    """The latent sites of a model in the order in which it samples them, found without computing anything."""
    supports: dict[str, Any] = {}

    def shapes() -> dict[str, Any]:
        values = {}
        for name, site in trace(seed(model, jax.random.key(0))).get_trace(design).items():
            if site["type"] == "sample" and not site["is_observed"]:
                supports[name] = site["fn"].support
                values[name] = site["value"]
        return values

    sites, start = [], 0
    # eval_shape sorts nothing: dictionaries keep the order of the model
    try:
        found = jax.eval_shape(shapes)
    except jax.errors.TracerArrayConversionError as error:
        raise SpecError(
            "the law calls NumPy, which cannot be differentiated: write it with operators (+ * **) or with jax.numpy."
        ) from error
    for name in supports:
        sites.append(Site(name, tuple(found[name].shape), start, supports[name]))
        start = sites[-1].stop
    return tuple(sites)


def dimension(sites: tuple[Site, ...]) -> int:
    """Length of the flat vector."""
    return sites[-1].stop if sites else 0


def potential(model: Model, sites: tuple[Site, ...]) -> Callable[[Any, Any], Any]:
    """Minus the log posterior density of the flat unconstrained vector, up to a constant."""

    def energy(flat: Any, design: Any) -> Any:
        values, jacobian = {}, jnp.zeros(())
        for site in sites:
            part = flat[site.start : site.stop].reshape(site.shape)
            transform = dist.biject_to(site.support)
            values[site.name] = transform(part)
            jacobian += jnp.sum(transform.log_abs_det_jacobian(part, values[site.name]))
        log_joint, _ = numpyro.infer.util.log_density(substitute(model, values), (design,), {}, {})
        return -(log_joint + jacobian)

    return energy
