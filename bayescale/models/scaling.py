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
from bayescale.models.design import Design, Prior, Slot
from bayescale.models.discrepancy import Discrepancy, RunEffect, SlopeDrift, parts_of, sample_sizes
from bayescale.models.joint import About, observe_runs
from bayescale.models.noise import BestSoFar, Gaussian, Minima, Noise, StudentT, sample_scale, to_noise_scale
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
    noise : StudentT, Gaussian, BestSoFar or BestOf
        How runs scatter about the law.
    discrepancy : SlopeDrift, SmoothMisfit, RunEffect or tuple of them, optional
        How the truth may leave the law; several parts add up. By default it may not.
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
    discrepancy: Discrepancy | tuple[Discrepancy, ...] | None
    priors: Priors
    reasons: tuple[str, ...] = field(compare=False)

    def __init__(
        self,
        law: Law | str,
        *,
        axes: Mapping[str, str] | None = None,
        pooling: Pooling | Mapping[str, Pooling] | None = None,
        noise: Noise | None = None,
        discrepancy: Discrepancy | tuple[Discrepancy, ...] | None = None,
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
        if noise is not None and not isinstance(noise, Noise):
            faults.append(f"noise is a StudentT, a Gaussian, a BestSoFar or a BestOf, got {type(noise).__name__}")
        parts: tuple[Discrepancy, ...] = ()
        try:
            parts = parts_of(discrepancy)
        except SpecError as error:
            faults.append(str(error))
        if isinstance(noise, Minima) and not _filtered(noise, parts):
            what = "running minima go" if isinstance(noise, BestSoFar) else "the best of sweeps goes"
            faults.append(f"{what} with a SlopeDrift without growth, or with none: other parts have no order")
        if faults:
            raise SpecError(f"the model of law {law.name!r} does not make sense:\n" + "\n".join(f"  - {f}" for f in faults))
        set_ = object.__setattr__
        set_(self, "law", law)
        set_(self, "axes", FrozenMap(axes))
        set_(self, "pooling", FrozenMap({p: v for p, v in by_name.items() if v.by}))
        set_(self, "noise", noise or StudentT())
        set_(self, "discrepancy", parts if len(parts) > 1 else parts[0] if parts else None)
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
        noise = {"noise_memory_latent" if name == "noise_memory" else name: name for name in self.noise.priors}
        nu = {"nu": "nu"} if isinstance(self.noise, StudentT) and self.noise.df is None else {}
        sizes = {site: site for part in self.parts for site in part.priors}
        return sites | noise | nu | sizes

    @property
    def parts(self) -> tuple[Discrepancy, ...]:
        """The parts of the discrepancy."""
        return parts_of(self.discrepancy)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every column of labels that the model reads: of its groups, and of runs that have effects."""
        return tuple(dict.fromkeys((*self.group_columns, *(p.by for p in self.parts if isinstance(p, RunEffect)))))

    @property
    def filtered(self) -> bool:
        """Whether the discrepancy is integrated out by a filter along each curve, not as coefficients."""
        return _filtered(self.noise, self.parts)

    @property
    def along_path(self) -> bool:
        """Whether the law is stated where its forecasts begin: what runs of a curve share is nought at the largest of them."""
        return self.discrepancy is not None or isinstance(self.noise, BestSoFar)

    @property
    def reads_axis(self) -> bool:
        """Whether it matters where along the axis of the drift or of the noise the runs lie."""
        noise = self.noise
        return self.along_path or (isinstance(noise, StudentT | Gaussian) and bool(noise.trend or noise.memory))

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
        sigma, memory = sample_scale(self.noise, design.priors, design.trend)
        tails = self.noise.tails()
        loc = to_noise_scale(self.noise, mean)
        sd = jnp.sqrt(sigma**2 + design.se**2 + self._moved(design, by_row))
        if pointwise and (design.x_se or design.trend is not None):
            numpyro.deterministic(f"{response}_noise", sd)
        sizes = sample_sizes(self.parts, design.priors)
        observe_runs(self.noise, design, response, About(loc, sd, tails, memory), sizes, pointwise)

    def _moved(self, design: Design, by_row: dict[str, Any]) -> Any:
        """Variance of the response at each row that comes from known errors of its covariates, to first order."""
        total = jnp.zeros_like(design.y)

        def response(log_x: dict[str, Any]) -> Any:
            law = self.law(*(jnp.exp(log_x[c]) for c in self.law.covariates), **by_row)
            return to_noise_scale(self.noise, law * jnp.ones_like(design.y))

        for covariate, error in design.x_se.items():
            ones = {c: jnp.ones_like(v) if c == covariate else jnp.zeros_like(v) for c, v in design.log_x.items()}
            _, elasticity = jax.jvp(response, (design.log_x,), (ones,))
            total += (elasticity * error) ** 2
        return total

    def _order(self) -> list[str]:
        """Every parameter after those that :meth:`_estimate` takes: floors, exponents, amplitudes, then what scales all."""

        def rank(name: str) -> tuple[bool, bool, bool, int]:
            param = self.law.params[name]
            return param.scales, bool(param.decays), not param.unit, len(param.above or ())

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
        if param.scales:
            if not additive:
                return None
            ratios = (jnp.exp(design.log_x[c]) for c in self.law.covariates)
            return jnp.log(design.y) - jnp.log(self.law(*ratios, **by_row, **{name: jnp.ones_like(design.y)}))
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
        # The slope must not depend on what is sampled later.
        values = dict.fromkeys(self.law.params, jnp.ones_like(design.y)) | by_row | {name: jnp.ones_like(design.y)}
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


def _filtered(noise: Noise | None, parts: tuple[Discrepancy, ...]) -> bool:
    plain_drift = len(parts) == 1 and isinstance(parts[0], SlopeDrift) and parts[0].growth is None
    linear = isinstance(noise, Minima) or (isinstance(noise, Gaussian) and noise.memory is None)
    return linear and (plain_drift or not parts)


def _link_faults(law: Law, priors: Mapping[str, Param]) -> list[str]:
    faults = [f"prior of {n!r} is {p!r}, not a Param" for n, p in priors.items() if not isinstance(p, Param)]
    for name, prior in priors.items():
        if isinstance(prior, Param) and name in law.params and prior.link != law.params[name].link:
            faults.append(f"prior of {name!r} is on the {prior.link} scale, the law's on the {law.params[name].link} scale")
    return faults
