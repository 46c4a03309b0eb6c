"""A law with its pooling and noise, as a NumPyro model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from bayescale.core.errors import SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.laws.base import Law, get_law
from bayescale.laws.param import Link, Param
from bayescale.models.design import Design, Prior, Slot
from bayescale.models.noise import Gaussian, Noise, StudentT, observe, to_noise_scale
from bayescale.models.pooling import CompletePooling, PartialPooling, Pooling

Priors = Literal["weak", "literature"] | FrozenMap[str, Param]


@dataclass(frozen=True, init=False)
class ScalingModel:
    """What is believed about a table of runs before it is seen; a value, without data.

    ``log y = log f(x; theta_group) + e``: ``f`` the law, ``theta`` its parameters, each over its own groups, ``e`` the noise.

    Parameters
    ----------
    law : Law or str
        The law, or the name of a registered one.
    axes : mapping of covariate to column, optional
        Which column each covariate of the law is read from; by default the column of its own name, and for a law of one
        variable ``x`` the one known covariate that varies.
    pooling : Pooling or mapping of parameter to Pooling, optional
        How parameters vary over groups; one Pooling for all of them, or one each. Parameters not named are complete.
    noise : StudentT or Gaussian
        How runs scatter about the law.
    priors : {"weak", "literature"} or mapping of parameter to Param
        The law's own priors; for exponents the population over published fits; or your own for some parameters.

    Raises
    ------
    SpecError
        When a parameter, covariate or word is unknown, naming the valid ones.

    Examples
    --------
    >>> from bayescale import PartialPooling, ScalingModel
    >>> ScalingModel("power_law_offset", axes={"x": "params"}, pooling={"alpha": PartialPooling("family")}).dims
    ('family',)
    """

    law: Law
    axes: FrozenMap[str, str]
    pooling: FrozenMap[str, Pooling]
    noise: Noise
    priors: Priors
    reasons: tuple[str, ...] = field(compare=False)

    def __init__(
        self,
        law: Law | str,
        *,
        axes: Mapping[str, str] | None = None,
        pooling: Pooling | Mapping[str, Pooling] | None = None,
        noise: Noise | None = None,
        priors: str | Mapping[str, Param] = "weak",
        reasons: tuple[str, ...] = (),
    ) -> None:
        law = get_law(law) if isinstance(law, str) else law
        if not isinstance(law, Law):
            raise SpecError(f"`law` is a Law or the name of one, got {type(law).__name__}")
        if isinstance(pooling, Mapping):
            by_name = dict(pooling)
        else:
            by_name = dict.fromkeys(law.params, pooling) if pooling is not None else {}
        faults = [f"axes: {unknown('covariate', c, law.covariates)}" for c in axes or {} if c not in law.covariates]
        faults += [f"pooling: {unknown('parameter', p, law.params)}" for p in by_name if p not in law.params]
        faults += [f"pooling of {p!r} is {v!r}, not a Pooling" for p, v in by_name.items() if not isinstance(v, Pooling)]
        if isinstance(priors, Mapping):
            faults += [f"priors: {unknown('parameter', p, law.params)}" for p in priors if p not in law.params]
            faults += _link_faults(law, priors)
        elif priors not in ("weak", "literature"):
            faults.append(f"priors: {unknown('word', str(priors), ('weak', 'literature'))}")
        if noise is not None and not isinstance(noise, StudentT | Gaussian):
            faults.append(f"noise is a StudentT or a Gaussian, got {type(noise).__name__}")
        if faults:
            raise SpecError(f"the model of law {law.name!r} does not make sense:\n" + "\n".join(f"  - {f}" for f in faults))
        set_ = object.__setattr__
        set_(self, "law", law)
        set_(self, "axes", FrozenMap(axes))
        set_(self, "pooling", FrozenMap({p: v for p, v in by_name.items() if v.by}))
        set_(self, "noise", noise or StudentT())
        set_(self, "priors", FrozenMap(priors) if isinstance(priors, Mapping) else priors)
        set_(self, "reasons", reasons)

    @property
    def dims(self) -> tuple[str, ...]:
        """Innermost group column of every pooled parameter, without repeats."""
        return tuple(dict.fromkeys(p.by[-1] for p in self.pooling.values()))

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Every column by which the model groups runs."""
        return tuple(dict.fromkeys(c for p in self.pooling.values() for c in p.by))

    @property
    def assumptions(self) -> dict[str, str]:
        """The sites whose priors are assumed, not learnt from other groups, and the name each is reported under."""
        sites = {}
        for name in self.law.params:
            pooling = self.pooling_of(name)
            if isinstance(pooling, PartialPooling):
                scales = [f"{name}_tau_{column}" for column in pooling.by[:-1]]
                sites |= {site: site for site in (f"{name}_mu", *scales, f"{name}_tau")}
            else:
                sites[f"{name}_latent"] = name
        nu = {"nu": "nu"} if isinstance(self.noise, StudentT) and self.noise.df is None else {}
        return sites | {"sigma": "sigma"} | nu

    def pooling_of(self, name: str) -> Pooling:
        """Pooling of one parameter."""
        return self.pooling.get(name, CompletePooling())

    def __call__(self, design: Design, response: str = "loss") -> None:
        """Run as a NumPyro model, e.g. ``MCMC(NUTS(model)).run(key, bind(model, runs).design)``.

        Parameters
        ----------
        design : Design
            A table as :func:`bayescale.models.binding.bind` prepares it.
        response : str
            Name of the observed site.
        """
        by_row: dict[str, Any] = {}
        for name in self._order():
            by_row[name] = self._sample(name, design, by_row)
        ratios = {c: jnp.exp(v) for c, v in design.log_x.items()}
        mean = self.law(*(ratios[c] for c in self.law.covariates), **by_row)
        numpyro.deterministic(f"{response}_mean", mean)
        prior = design.priors["sigma"]
        sigma = numpyro.sample("sigma", dist.LogNormal(prior.loc, prior.scale))
        tails = self.noise.tails()
        loc = to_noise_scale(self.noise, mean)
        with numpyro.plate("run", design.y.shape[0]), numpyro.handlers.mask(mask=design.mask):
            observe(self.noise, response, loc, jnp.sqrt(sigma**2 + design.se**2), tails, design.y)

    def _order(self) -> list[str]:
        """Shapes before the amplitudes that decay with them: an amplitude is moved along its law, which takes the exponent."""
        return sorted(self.law.params, key=lambda p: bool(self.law.params[p].decays))

    def _sample(self, name: str, design: Design, by_row: dict[str, Any]) -> Any:
        """Value of one parameter at every row."""
        param, slot, prior = self.law.params[name], design.slots[name], design.priors[name]
        pooling = self.pooling_of(name)
        if isinstance(pooling, CompletePooling):
            value = inverse_link(param.link, numpyro.sample(f"{name}_latent", dist.Normal(prior.loc, prior.scale)))
            return numpyro.deterministic(name, value)
        # What is sampled is the amplitude where the group's runs lie, hardly correlated with the exponent;
        # a shift of location only, so that the prior stays on the amplitude at the reference run.
        logs = [by_row[exponent] * design.log_x[covariate] for covariate, exponent in param.decays.items()]
        shift = slot.share @ sum(logs[1:], start=logs[0]) if logs else jnp.zeros(slot.centered.shape)
        if isinstance(pooling, PartialPooling):
            raw = _partial(name, pooling.by, param.link, slot, prior, shift)
        else:
            with numpyro.plate(f"{name}_group", shift.shape[0]):
                raw = numpyro.sample(f"{name}_latent", dist.Normal(prior.loc - shift, prior.scale)) + shift
        return numpyro.deterministic(name, inverse_link(param.link, raw))[slot.rows]


def _partial(name: str, by: tuple[str, ...] | str, link: Link, slot: Slot, prior: Prior, shift: Any) -> Any:
    """Link-scale values of a population of groups, level by level from the outermost in."""
    mu = numpyro.sample(f"{name}_mu", dist.Normal(prior.loc, prior.scale))
    location = mu[None]
    for column, parents in zip(by[:-1], slot.parents[:-1], strict=True):
        tau = numpyro.sample(f"{name}_tau_{column}", dist.HalfNormal(prior.spread))
        with numpyro.plate(f"{name}_{column}_group", parents.shape[0]):
            offset = numpyro.sample(f"{name}_{column}_latent", dist.Normal(0.0, 1.0))
        location = location[parents] + tau * offset
        numpyro.deterministic(f"{name}_{column}", inverse_link(link, location))
    tau = numpyro.sample(f"{name}_tau", dist.HalfNormal(prior.spread))
    location = location[slot.parents[-1]]
    start = slot.centered * (location - shift)
    with numpyro.plate(f"{name}_group", shift.shape[0]):
        latent = numpyro.sample(f"{name}_latent", dist.Normal(start, jnp.where(slot.centered > 0, tau, 1.0)))
    return location + jnp.where(slot.centered > 0, 1.0, tau) * (latent - start)


def inverse_link(link: Link, value: Any) -> Any:
    """From the link scale to the parameter's own."""
    if link == "log":
        return jnp.exp(value)
    return value if link == "identity" else 1 / (1 + jnp.exp(-value))


def _link_faults(law: Law, priors: Mapping[str, Param]) -> list[str]:
    faults = []
    for name, prior in priors.items():
        if name in law.params and prior.link != law.params[name].link:
            faults.append(f"prior of {name!r} is on the {prior.link} scale, the law's on the {law.params[name].link} scale")
    return faults
