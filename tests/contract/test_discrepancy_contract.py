"""What every part of a discrepancy owes, alone and with the others: the density it states, a slope to sample by, a file."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro.handlers import seed, trace
from scipy import stats

from bayescale.core.errors import DataError, SpecError
from bayescale.core.numerics import double_precision
from bayescale.data.runs import Runs
from bayescale.infer.density import latent_sites, potential
from bayescale.infer.fit import read_runs
from bayescale.laws.param import Param
from bayescale.models.binding import Binding, bind
from bayescale.models.discrepancy import Discrepancy, RunEffect, SlopeDrift, SmoothMisfit, parts_of
from bayescale.models.noise import BestOf, BestSoFar, Gaussian, Noise, StudentT
from bayescale.models.pooling import NoPooling, PartialPooling, Pooling
from bayescale.models.scaling import ScalingModel
from bayescale.models.spec import from_spec, to_spec

GROWTH, TILT = Param.positive(0.15, 0.5), Param.positive(0.01, 0.5)

#: Every part alone and with its options; ``test_every_part_is_here`` fails when one is added and left out.
ALONE: dict[str, tuple[Discrepancy, ...]] = {
    "drift": (SlopeDrift(),),
    "drift that grows": (SlopeDrift(along="tokens", growth=GROWTH),),
    "misfit": (SmoothMisfit(),),
    "misfit that tilts": (SmoothMisfit(along="tokens", size=Param.positive(0.02, 0.3), tilt=TILT),),
    "effect": (RunEffect(),),
}
PARTS = ALONE | {
    " + ".join(names): tuple(part for name in names for part in ALONE[name])
    for names in [*combinations(("drift that grows", "misfit that tilts", "effect"), 2), ("drift", "misfit", "effect")]
}
PARTS["two effects"] = (RunEffect(), RunEffect(by="evaluation", size=Param.positive(0.02, 0.3)))
NOISES: dict[str, Noise] = {
    "normal": Gaussian(),
    "t": StudentT(),
    "t that remembers": StudentT(df=5, memory=Param.fraction(0.5, 1.0)),
    "normal with all": Gaussian(trend=Param.real(0.0, 0.1), memory=Param.fraction(0.5, 1.0), rounding=0.05),
}
POOLINGS: dict[str, dict[str, Pooling]] = {
    "": {},
    "pooled": {"level": PartialPooling("family"), "alpha": NoPooling("family")},
}
#: Compiling takes seconds: every part alone under the noise that is hardest, all of them together under every one. Those that
#: are also among the ones together, whose slopes are looked at one by one, are compiled alone by ``make test-slow``.
COMPILED: list[Any] = [
    pytest.param(name, "t", "", marks=[pytest.mark.slow] if name in ("drift", "misfit", "effect") else []) for name in ALONE
]
COMPILED += [("drift + misfit + effect", noise, list(POOLINGS)[-1]) for noise in NOISES]
#: Those whose density is compared, under normal noise: a drift alone is filtered (tests/unit/test_drift.py) but for a memory.
STATED = [(parts, "normal") for parts in PARTS if parts != "drift"] + [
    (parts, "normal with all") for parts in ("drift", "two effects", "drift + misfit + effect")
]


def table() -> pd.DataFrame:
    """Two families, of which each run has three checkpoints."""
    rng = np.random.default_rng(0)
    sizes = np.logspace(8, 9.5, 4)
    rows = [
        (family, f"{family}{i}", n, n * ratio * rng.uniform(0.8, 1.2))
        for family, first in (("a", 0), ("b", 1))
        for i, n in enumerate(sizes[first:])
        for ratio in (5, 20, 80)
    ]
    out = pd.DataFrame(rows, columns=["family", "run", "params", "tokens"])
    out["evaluation"] = np.where(np.arange(len(out)) % 5 < 2, "old", "new")
    return out.assign(loss=1.7 + 400 * out["params"] ** -0.34 + 410 * out["tokens"] ** -0.28)


@cache
def bound(parts: str, noise: str, pooling: str) -> Binding:
    model = ScalingModel("coupled_power_law", noise=NOISES[noise], pooling=POOLINGS[pooling], discrepancy=PARTS[parts])
    return bind(model, read_runs(model, table()))


def made(binding: Binding, number: int, **options: Any) -> dict[str, Any]:
    """Every site of the model at a draw from the prior."""
    design = jax.tree.map(jnp.asarray, binding.design)
    found = trace(seed(binding.model, jax.random.key(number))).get_trace(design, **options)
    return {name: getattr(site.get("fn"), "log_factor", site["value"]) for name, site in found.items()}


def test_every_part_is_here() -> None:
    assert {type(part) for parts in ALONE.values() for part in parts} == set(get_args(Discrepancy))


@pytest.mark.parametrize(("parts", "noise", "pooling"), COMPILED)
def test_density_and_slope_are_finite_at_draws_of_the_prior(parts: str, noise: str, pooling: str) -> None:
    binding = bound(parts, noise, pooling)
    with double_precision():
        design = jax.tree.map(jnp.asarray, binding.design)
        sites, sizes = latent_sites(binding.model, design), {name for part in binding.model.parts for name in part.priors}
        energy = jax.jit(
            jax.value_and_grad(potential(binding.model, sites)), compiler_options={"xla_backend_optimization_level": 0}
        )

        @jax.jit  # which leaves out all but the sites, where each operation alone would be compiled
        def prior(key: Any, design: Any) -> Any:
            drawn = trace(seed(binding.model, key)).get_trace(design)
            return jnp.concatenate([site.unconstrain(drawn[site.name]["value"]) for site in sites])

        for number in range(3):
            value, slope = energy(prior(jax.random.key(number), design), design)
            assert np.isfinite(value)
            assert np.isfinite(np.asarray(slope)).all()
            for site in sites:
                if site.name.removesuffix("_latent") in {*sizes, *binding.model.noise.priors}:
                    assert slope[site.start] != 0, f"{site.name} does nothing"


def covariance(binding: Binding, runs: pd.DataFrame, at: dict[str, Any]) -> np.ndarray:
    """Of the discrepancy at the runs, from what each part states and where its knots lie."""
    n, frame = len(runs), binding.frame
    assert frame is not None
    out = np.zeros((n, n))
    for part in binding.model.parts:
        axis = next((p.along for p in binding.model.parts if isinstance(p, SlopeDrift)), None) or "flops"
        u = np.log(runs[axis].to_numpy())
        if isinstance(part, SlopeDrift):
            loc = np.log(np.asarray(at["loss_mean"]))[:n]
            codes = runs["family"].map({"a": 0, "b": 1}).to_numpy() if binding.model.pooling else np.zeros(n, int)
            for c in np.unique(codes):
                i = np.flatnonzero(codes == c)
                ordered = i[np.argsort(u[i])]
                low, high = ordered[: max(1, len(i) // 4)], ordered[-max(1, len(i) // 10) :]
                slope = (loc[low].mean() - loc[high].mean()) / (u[high].mean() - u[low].mean())
                knots = u[i].max() - frame.steps[c] * np.arange(frame.knots)
                rate, scale = float(at["drift_rate"]), float(at["drift_size"]) * slope
                inner = scale**2 / (2 * rate) * np.exp(-rate * np.abs(knots[:, None] - knots))
                grown = np.exp(float(at.get("drift_growth", 0.0)) * (u[i].max() - knots))
                columns = frame.integral(u[i], codes[i])
                out[np.ix_(i, i)] += columns @ (inner * np.outer(grown, grown)) @ columns.T
        if isinstance(part, SmoothMisfit):
            free = frame.smooth(np.log(runs[part.along].to_numpy()))[0]
            near = u >= np.sort(u)[-3]
            fixed, tilt = free - free[near].mean(axis=0), free * ((u - u.max()) / np.ptp(u))[:, None]
            out += float(at["misfit_size"]) ** 2 * fixed @ fixed.T
            out += float(at.get("misfit_tilt", 0.0)) ** 2 * tilt @ tilt.T
        if isinstance(part, RunEffect):
            label = runs[part.by].to_numpy()
            size = "effect_size" if part.by == "run" else f"effect_size_{part.by}"
            out += float(at[size]) ** 2 * (label[:, None] == label)
    return out


def noise_covariance(binding: Binding, runs: pd.DataFrame, at: dict[str, Any]) -> np.ndarray:
    """Of the noise at the runs: its scale falls with compute, and a run remembers from checkpoint to checkpoint."""
    axis = next((p.along for p in binding.model.parts if isinstance(p, SlopeDrift)), None) or "flops"
    u, step = np.log(runs[axis].to_numpy()), runs.groupby("run").cumcount().to_numpy()
    noise = binding.model.noise
    sigma = float(at["sigma"]) * np.exp(-float(at.get("noise_trend", 0.0)) * (u - np.sort(u)[-3:].mean()))
    rounded = (getattr(noise, "rounding", None) or 0.0) / np.sqrt(12) / runs["loss"].to_numpy()
    scale, run = np.hypot(sigma, rounded), runs["run"].to_numpy()
    apart = np.abs(step[:, None] - step)
    kept = np.where(run[:, None] == run, float(at.get("noise_memory", 0.0)) ** apart, 0.0)
    return kept * np.outer(scale, scale)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("parts", "noise"), STATED)
def test_density_under_normal_noise_is_the_stated_one(parts: str, noise: str, pooling: str) -> None:
    binding = bound(parts, noise, pooling)
    runs = read_runs(binding.model, table()).table
    with double_precision():
        at = made(binding, 1, pointwise=True)
    k = covariance(binding, runs, at)
    mean = np.log(np.asarray(at["loss_mean"]))[: len(runs)]
    y = np.log(runs["loss"].to_numpy())
    whole = k + noise_covariance(binding, runs, at)
    expected = stats.multivariate_normal(mean, whole).logpdf(y)
    assert float(at["loss_joint"]) == pytest.approx(expected, rel=1e-8, abs=1e-5)
    # What is reported beside it: the discrepancy at the runs given all of them, and the coefficients behind it.
    p = np.linalg.inv(whole)
    gain = k @ p
    np.testing.assert_allclose(at["loss_drift"][: len(runs)], gain @ (y - mean), atol=1e-6 * np.abs(y - mean).max())
    np.testing.assert_allclose(at["loss_drift_sd"][: len(runs)] ** 2, np.diag(k - gain @ k), rtol=1e-5, atol=1e-12)
    given = stats.norm.logpdf(y, y - p @ (y - mean) / np.diag(p), 1 / np.sqrt(np.diag(p))) - y
    np.testing.assert_allclose(at["loss_pointwise"][: len(runs)], given, rtol=1e-5, atol=1e-5)
    assert at["loss_coefficients"].shape == at["loss_precision"].shape[:1] == binding.design.basis.columns.shape[1:]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("parts", PARTS)
def test_a_model_survives_its_specification(parts: str, noise: str) -> None:
    model = bound(parts, noise, "").model
    back = from_spec(json.loads(json.dumps(to_spec(model))))
    assert back == model
    assert hash(back) == hash(model)
    assert back.parts == model.parts == parts_of(PARTS[parts])


@pytest.mark.parametrize("parts", ALONE)
def test_a_specification_of_the_first_version_holds_one_part(parts: str) -> None:
    model = bound(parts, "normal", "").model
    spec = json.loads(json.dumps(to_spec(model)))
    (part,) = spec["discrepancy"]
    if part["kind"] == "SlopeDrift" and part["growth"] is None:
        del part["growth"]  # which came with the second
    assert from_spec(spec | {"format": 1, "discrepancy": part}) == model
    assert from_spec(spec | {"format": 1, "discrepancy": None}).discrepancy is None


def test_parts_are_a_set() -> None:
    drift, misfit, effect = SlopeDrift(growth=GROWTH), SmoothMisfit(), RunEffect()
    models = [ScalingModel("chinchilla", discrepancy=parts) for parts in ((drift, misfit, effect), (effect, drift, misfit))]
    assert models[0] == models[1]
    assert ScalingModel("chinchilla", discrepancy=(misfit,)).discrepancy == misfit
    assert ScalingModel("chinchilla", discrepancy=()).discrepancy is None
    assert set(models[0].assumptions) >= {"drift_rate", "drift_size", "drift_growth", "misfit_size", "effect_size"}
    assert models[0].labels == ("run",)


def test_what_is_filtered() -> None:
    def filtered(noise: Noise, *parts: Discrepancy) -> bool:
        return ScalingModel("power_law", noise=noise, discrepancy=parts).filtered

    assert filtered(Gaussian(), SlopeDrift())
    assert filtered(BestSoFar(), SlopeDrift())
    assert filtered(BestSoFar())
    assert filtered(BestOf(), SlopeDrift())
    assert filtered(Gaussian(trend=Param.real(0.0, 0.1), rounding=0.01), SlopeDrift())
    assert not filtered(Gaussian(memory=Param.fraction(0.5, 1.0)), SlopeDrift())
    assert not filtered(StudentT(), SlopeDrift())
    assert not filtered(Gaussian(), SlopeDrift(growth=GROWTH))
    assert not filtered(Gaussian(), SlopeDrift(), RunEffect())
    assert not filtered(Gaussian(), SmoothMisfit())


@pytest.mark.parametrize(
    ("discrepancy", "noise", "said"),
    [
        ((SlopeDrift(), SlopeDrift(along="flops")), None, "SlopeDrift is there more than once"),
        ((RunEffect("seed"), RunEffect(), RunEffect("seed")), None, r"RunEffect\(by='seed'\) is there more than once"),
        (RunEffect(), BestOf(), "the best of sweeps goes with a SlopeDrift"),
        ((SmoothMisfit(), RunEffect(), SmoothMisfit("tokens")), None, "SmoothMisfit is there more than once"),
        ((SlopeDrift(), "RunEffect"), None, "a tuple of them, got str"),
        (Gaussian(), None, "a tuple of them, got Gaussian"),
        (SmoothMisfit(), BestSoFar(), "running minima go with a SlopeDrift"),
        ((SlopeDrift(), RunEffect()), BestSoFar(), "running minima go with a SlopeDrift"),
        (SlopeDrift(growth=GROWTH), BestSoFar(), "running minima go with a SlopeDrift"),
    ],
)
def test_parts_that_make_no_sense(discrepancy: Any, noise: Noise | None, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        ScalingModel("power_law", noise=noise, discrepancy=discrepancy)


@pytest.mark.parametrize("kind", get_args(Discrepancy))
def test_sizes_are_positive(kind: type[Discrepancy]) -> None:
    for wrong in (Param.real(0.0, 1.0), 0.3):
        with pytest.raises(SpecError, match=r"size is a Param\.positive"):
            kind(size=wrong)


def test_an_unknown_kind_in_a_specification() -> None:
    spec = to_spec(ScalingModel("power_law", discrepancy=RunEffect()))
    spec["discrepancy"][0]["kind"] = "RunEffects"
    with pytest.raises(SpecError, match="Did you mean 'RunEffect'"):
        from_spec(spec)


def test_columns_that_are_not_there() -> None:
    """Named by `bind`, and before it by what reads the table."""
    runs = Runs.from_frame(table())
    with pytest.raises(SpecError, match=r"the misfit goes along 'token'.*Did you mean 'tokens'"):
        bind(ScalingModel("chinchilla", discrepancy=SmoothMisfit("token")), runs)
    with pytest.raises(SpecError, match="the drift goes along 'flop'"):
        bind(ScalingModel("chinchilla", discrepancy=(SlopeDrift("flop"), SmoothMisfit())), runs)
    for part in (SmoothMisfit("depth"), SlopeDrift("depth"), RunEffect("seed")):
        model = ScalingModel("chinchilla", discrepancy=part)
        with pytest.raises(DataError, match=r"depth|seed"):
            read_runs(model, table())
