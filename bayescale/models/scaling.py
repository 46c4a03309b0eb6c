"""A law with its pooling and noise, as a NumPyro model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from bayescale.core.errors import SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.laws.base import Law, get_law
from bayescale.laws.param import Link, Param
from bayescale.models.design import Design, Path, Prior, Slot
from bayescale.models.discrepancy import SlopeDrift, mean_slope
from bayescale.models.kalman import Drift
from bayescale.models.marginal import each_run, log_marginal
from bayescale.models.noise import BestSoFar, Gaussian, Noise, StudentT, observe, to_noise_scale
from bayescale.models.pooling import CompletePooling, PartialPooling, Pooling

Priors = Literal["weak", "literature"] | FrozenMap[str, Param]


@dataclass(frozen=True, init=False)
class ScalingModel:
    """What is believed about a table of runs before it is seen; a value, without data.

    ``log y = log f(x; theta_group) + delta(x) + e``: ``f`` the law, ``theta`` its parameters, each over its own groups,
    ``delta`` what the law does not say, ``e`` the noise.

    Parameters
    ----------
    law : Law or str
        The law, or the name of a registered one.
    axes : mapping of covariate to column, optional
        Which column each covariate of the law is read from; by default the column of its own name, and for a law of one
        variable ``x`` the one known covariate that varies.
    pooling : Pooling or mapping of parameter to Pooling, optional
        How parameters vary over groups; one Pooling for all of them, or one each. Parameters not named are complete.
    noise : StudentT, Gaussian or BestSoFar
        How runs scatter about the law.
    discrepancy : SlopeDrift, optional
        How the truth may leave the law; by default it may not.
    priors : {"weak", "literature"} or mapping of parameter to Param
        The law's own priors; for exponents the population over published fits; or your own for some parameters.

    Raises
    ------
    SpecError
        When a parameter, covariate or word is unknown, naming the valid ones.

    Examples
    --------
    >>> from bayescale import PartialPooling, ScalingModel
    >>> ScalingModel("power_law_offset", axes={"x": "params"}, pooling=PartialPooling("family")).dims
    ('family',)
    """

    law: Law
    axes: FrozenMap[str, str]
    pooling: FrozenMap[str, Pooling]
    noise: Noise
    discrepancy: SlopeDrift | None
    priors: Priors
    reasons: tuple[str, ...] = field(compare=False)

    def __init__(
        self,
        law: Law | str,
        *,
        axes: Mapping[str, str] | None = None,
        pooling: Pooling | Mapping[str, Pooling] | None = None,
        noise: Noise | None = None,
        discrepancy: SlopeDrift | None = None,
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
        if noise is not None and not isinstance(noise, StudentT | Gaussian | BestSoFar):
            faults.append(f"noise is a StudentT, a Gaussian or a BestSoFar, got {type(noise).__name__}")
        if discrepancy is not None and not isinstance(discrepancy, SlopeDrift):
            faults.append(f"discrepancy is a SlopeDrift, got {type(discrepancy).__name__}")
        if faults:
            raise SpecError(f"the model of law {law.name!r} does not make sense:\n" + "\n".join(f"  - {f}" for f in faults))
        set_ = object.__setattr__
        set_(self, "law", law)
        set_(self, "axes", FrozenMap(axes))
        set_(self, "pooling", FrozenMap({p: v for p, v in by_name.items() if v.by}))
        set_(self, "noise", noise or StudentT())
        set_(self, "discrepancy", discrepancy)
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
        sites: dict[str, str] = {}
        for name in self.law.params:
            pooling = self.pooling_of(name)
            if isinstance(pooling, PartialPooling):
                scales = [f"{name}_tau_{column}" for column in pooling.by[:-1]]
                sites |= {site: site for site in (f"{name}_mu", *scales, f"{name}_tau")}
            else:
                sites[f"{name}_latent"] = name
        nu = {"nu": "nu"} if isinstance(self.noise, StudentT) and self.noise.df is None else {}
        drift = {site: site for site in self.discrepancy.priors} if self.discrepancy else {}
        return sites | {"sigma": "sigma"} | nu | drift

    @property
    def along_path(self) -> bool:
        """Whether the runs of a curve depend on one another, so that their order counts."""
        return self.discrepancy is not None or isinstance(self.noise, BestSoFar)

    def pooling_of(self, name: str) -> Pooling:
        """Pooling of one parameter."""
        return self.pooling.get(name, CompletePooling())

    def __call__(self, design: Design, response: str = "loss", *, pointwise: bool = False) -> None:
        """Run as a NumPyro model, e.g. ``MCMC(NUTS(model)).run(key, bind(model, runs).design)``.

        Parameters
        ----------
        design : Design
            A table as :func:`bayescale.models.binding.bind` prepares it.
        response : str
            Name of the observed site.
        pointwise : bool
            Where runs depend on one another, record the log density of each given the others, and the drift there.
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
        if design.path is not None:
            self._observe_path(design.path, design, response, (loc, sigma, tails), pointwise)
            return
        assert not isinstance(self.noise, BestSoFar), "`bind` gives every model of running minima a path"
        with numpyro.plate("run", design.y.shape[0]), numpyro.handlers.mask(mask=design.mask):
            observe(self.noise, response, loc, jnp.sqrt(sigma**2 + design.se**2), tails, design.y)

    def _observe_path(self, path: Path, design: Design, response: str, noise: tuple[Any, Any, Any], pointwise: bool) -> None:
        """The joint likelihood of the runs of each curve, the drift integrated out."""
        (loc, sigma, tails), drift = noise, None
        sd = jnp.sqrt(sigma**2 + design.se**2)
        if isinstance(self.noise, StudentT):
            # Student's t as a normal whose precision has a gamma distribution: given that, the rest is normal.
            with numpyro.plate("run", sd.shape[0]):
                sd /= jnp.sqrt(numpyro.sample("precision_latent", dist.Gamma(tails / 2, tails / 2)))
        if self.discrepancy is not None:
            rate, size = self.discrepancy.sample(design.priors)
            slope = mean_slope(jnp, loc[path.ends[:, 0]] - loc[path.ends[:, 1]], path.span)
            drift = Drift(rate, size * slope)
        y = to_noise_scale(self.noise, design.y)
        minimum = isinstance(self.noise, BestSoFar)
        numpyro.factor(f"{response}_joint", log_marginal(path, y, loc, sd, drift, minimum=minimum))
        if pointwise:
            # Densities are those of the response as given: on the log scale they have the Jacobian of the logarithm.
            given = y if self.noise.on == "log" else jnp.zeros_like(y)
            density, level, spread = each_run(path, y, loc, sd, drift, minimum=minimum)
            numpyro.deterministic(f"{response}_pointwise", density - given)
            numpyro.deterministic(f"{response}_drift", level)
            numpyro.deterministic(f"{response}_drift_sd", spread)

    def _order(self) -> list[str]:
        """Every parameter after those that :meth:`_estimate` takes: floors, exponents, then amplitudes."""

        def rank(name: str) -> tuple[bool, bool, int]:
            param = self.law.params[name]
            return bool(param.decays), not param.unit, len(param.above or ())

        return sorted(self.law.params, key=rank)

    def _sample(self, name: str, design: Design, by_row: dict[str, Any]) -> Any:
        """Value of one parameter at every row."""
        param, slot, prior = self.law.params[name], design.slots[name], design.priors[name]
        pooling = self.pooling_of(name)
        # Sampled is how far the parameter lies from where the group's runs put it, given those sampled before:
        # a shift of location only, so that the prior stays on the parameter itself, and nearly uncorrelated.
        estimate = self._estimate(name, design, by_row)
        shift = jnp.zeros(slot.centered.shape) if estimate is None else slot.share @ estimate
        if isinstance(pooling, PartialPooling):
            raw = _partial(name, pooling.by, param.link, slot, prior, shift)
        else:
            with numpyro.plate(f"{name}_group", shift.shape[0]):
                raw = numpyro.sample(f"{name}_latent", dist.Normal(prior.loc - shift, prior.scale)) + shift
        value = inverse_link(param.link, raw)
        if isinstance(pooling, CompletePooling):
            return numpyro.deterministic(name, value[0])
        return numpyro.deterministic(name, value)[slot.rows]

    def _estimate(self, name: str, design: Design, by_row: dict[str, Any]) -> Any:
        """Where each run puts the logarithm of a parameter, given those sampled before; None where nothing is known.

        In ``y = E + A x^-alpha``: ``A`` at ``(y - E) x^alpha``, and ``alpha`` at a constant over ``1 - E / y``, which keeps
        the local slope of the law.
        """
        params = self.law.params
        param = params[name]
        additive = self.noise.on == "log" and param.link == "log"
        if param.slope_along:
            return self._slope(name, design, by_row)
        if param.decays:
            moved = self._decay(name, design, by_row)
            if param.above is None or not additive:
                return moved
            rest = sum(by_row[p] * jnp.exp(-self._decay(p, design, by_row)) for p in param.above)
            return moved + jnp.log(_positive_part(design.y - rest, design.y))
        decaying = [p for p in params.values() if name in p.decays.values() and p.above]
        if not decaying or not additive:
            return None
        floor = sum(by_row[p] for p in decaying[0].above or () if not params[p].decays)
        return jnp.log(design.y) - jnp.log(_positive_part(design.y - floor, design.y))

    def _slope(self, name: str, design: Design, by_row: dict[str, Any]) -> Any:
        """Minus the logarithm of the law's local slope at the reference run, for a parameter of 1.

        Shifted by that, what is sampled is the slope itself.
        """
        values = by_row | {name: jnp.ones_like(design.y)}
        at = {c: jnp.zeros_like(design.y) for c in self.law.covariates}

        def log_law(u: Any) -> Any:
            ratios = at | {self.law.params[name].slope_along: u}
            return jnp.log(self.law(*(jnp.exp(ratios[c]) for c in self.law.covariates), **values))

        along = at[self.law.params[name].slope_along]
        _, slope = jax.jvp(log_law, (along,), (jnp.ones_like(along),))
        return -jnp.log(jnp.maximum(-slope, 1e-12))

    def _decay(self, name: str, design: Design, by_row: dict[str, Any]) -> Any:
        """Logarithm of the factor by which an amplitude has decayed at each row."""
        return sum(by_row[e] * design.log_x[c] for c, e in self.law.params[name].decays.items())


def _positive_part(rest: Any, y: Any) -> Any:
    """``rest`` where it is positive, and a smooth small part of ``y`` where noise makes it negative."""
    return (rest + jnp.sqrt(rest**2 + (0.04 * y) ** 2)) / 2


def _partial(name: str, by: tuple[str, ...] | str, link: Link, slot: Slot, prior: Prior, shift: Any) -> Any:
    """Link-scale values of a population of groups: ``location + tau_outer z_outer + ... + tau z``.

    The innermost two levels are drawn together, ``value ~ Normal(location, tau^2 I + tau_outer^2 1 1')`` within each outer
    group by the symmetric root of that covariance, and the outer effect then given the values. So the sampler meets what
    the data determine, not two offsets of which they determine the sum.
    """
    mu = numpyro.sample(f"{name}_mu", dist.Normal(prior.loc, prior.scale))
    location = mu[None]
    for column, parents in zip(by[:-2], slot.parents[:-2], strict=True):
        tau = numpyro.sample(f"{name}_tau_{column}", dist.HalfNormal(prior.spread))
        location = location[parents] + tau * _offsets(name, column, parents.shape[0])
        numpyro.deterministic(f"{name}_{column}", inverse_link(link, location))
    tau = numpyro.sample(f"{name}_tau", dist.HalfNormal(prior.spread))
    if len(by) == 1:
        location = location[slot.parents[-1]]
        return location + tau * _standardised(name, slot, location - shift, tau)
    column = by[-2]
    tau_outer = numpyro.sample(f"{name}_tau_{column}", dist.HalfNormal(prior.spread))
    outer = location[slot.parents[-2]]
    inside = (slot.parents[-1][None, :] == jnp.arange(outer.shape[0])[:, None]).astype(shift.dtype)
    size = inside.sum(axis=1)
    location = outer[slot.parents[-1]]
    z = _standardised(name, slot, location - shift, jnp.sqrt(tau**2 + tau_outer**2))
    total = tau**2 + size * tau_outer**2
    value = location + tau * z + (((jnp.sqrt(total) - tau) / size) * (inside @ z))[slot.parents[-1]]
    mean = tau_outer**2 * (inside @ (value - location)) / total
    sd = tau * tau_outer / jnp.sqrt(total)
    effect = outer + mean + sd * _offsets(name, column, outer.shape[0])
    numpyro.deterministic(f"{name}_{column}", inverse_link(link, effect))
    return value


def _offsets(name: str, column: str, size: int) -> Any:
    """Standard normal offsets of the groups of an outer level."""
    with numpyro.plate(f"{name}_{column}_group", size):
        return numpyro.sample(f"{name}_{column}_latent", dist.Normal(0.0, 1.0))


def _standardised(name: str, slot: Slot, start: Any, scale: Any) -> Any:
    """Standard normal offsets of the innermost groups, sampled as ``centered`` says.

    At 1 the sampled quantity is the value itself, at 0 the offset, in between a mixture :cite:p:`papaspiliopoulos2007`.
    """
    start, scale = slot.centered * start, scale**slot.centered
    with numpyro.plate(f"{name}_group", start.shape[0]):
        return (numpyro.sample(f"{name}_latent", dist.Normal(start, scale)) - start) / scale


def inverse_link(link: Link, value: Any) -> Any:
    """From the link scale to the parameter's own."""
    if link == "log":
        return jnp.exp(value)
    return value if link == "identity" else 1 / (1 + jnp.exp(-value))


def _link_faults(law: Law, priors: Mapping[str, Param]) -> list[str]:
    faults = [f"prior of {n!r} is {p!r}, not a Param" for n, p in priors.items() if not isinstance(p, Param)]
    for name, prior in priors.items():
        if isinstance(prior, Param) and name in law.params and prior.link != law.params[name].link:
            faults.append(f"prior of {name!r} is on the {prior.link} scale, the law's on the {law.params[name].link} scale")
    return faults
