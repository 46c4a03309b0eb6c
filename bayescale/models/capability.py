"""Benchmark scores from a few latent capability factors, as a NumPyro model: observational scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from bayescale.core.errors import SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.models.eval_noise import NOISES, Cells, NoiseName, mean_of
from bayescale.models.evals_design import EvalsDesign
from bayescale.models.families import Layout, Loads, draw, each_cell, integrate

Covariates = Literal["size_and_data", "compute"]
_COVARIATES: dict[str, tuple[str, ...]] = {"size_and_data": ("params", "tokens", "params x tokens"), "compute": ("flops",)}

#: Medians of the standard deviations of families' and models' capabilities, of families' effects on tasks (in units of the
#: task's loading on the first factor), of what adds to the accuracy and to the logit of a score. Their logarithms have the
#: first spread; of effects on tasks and of what adds to the logit that is the spread of a median, about which the tasks have
#: the second.
FAMILY_SD, MODEL_SD, TASK_SD, SIGMA, JITTER = 0.6, 0.3, 0.2, 0.012, 0.15
LOG_SD, TASK_LOG_SD = 0.6, 0.5

_EFFECT_SD, _PRODUCT_SD, _INTERCEPT_SD, _LOADING_SD, _PROMPT_SD, _SOURCE_SD = 0.5, 0.1, 3.0, 0.7, 0.5, 0.2


@dataclass(frozen=True, init=False)
class CapabilityModel:
    """What is believed about a table of benchmark scores before it is seen; a value, without data.

    ``accuracy = floor + (ceiling - floor) sigmoid(intercept + loading . capability + task effect)``, where the capability of a
    model is ``family effect + effect . (log size, log data, their product) + its own residual``, in a few factors
    :cite:p:`ruan2024`. The floor is the chance rate; where that is 0, a small number, nearer to 0 where fewer than eight models
    were scored, or those of fewer than three families of more. What families and models have of their own is integrated out by
    Laplace's method, and the sampler sees the parameters that they share; it is then drawn with importance weights that correct
    most of what the approximation is off by :cite:p:`rubin1988`.

    Parameters
    ----------
    factors : int
        Number of capability factors, 1 to 6.
    covariates : {"size_and_data", "compute"}
        What capability grows with: log params, log tokens and their product; or log flops.
    noise : {"normal", "beta", "beta_binomial"}
        How scores scatter; ``"beta_binomial"`` needs the number of items of every task.
    anchors : sequence of str
        Tasks that fix the factors, one each: the first has loading 1 on the first factor, the k-th a positive loading on the
        k-th and none on later ones. By default HellaSwag and MMLU where they are there, then the tasks seen best.
    ceilings : mapping of task to number or word
        Accuracy of a model of every capability: a number below or equal to 1, ``"estimated"`` or ``"near one"``. By default
        estimated where eight models, of three families or of all that the table has, come about half the way from chance to 1,
        and near 1 for other tasks, whose ceiling nothing tells.
    task_effects : bool
        Whether a family may be better or worse at a task than its capability says.
    source_effects, prompt_effects : bool
        Whether a task is harder or easier as one source measures it; whether a way of prompting moves and scales all tasks
        that were asked in several ways.

    Raises
    ------
    SpecError
        When something is not one of these.

    Examples
    --------
    >>> from bayescale.models.capability import CapabilityModel
    >>> CapabilityModel(factors=2).covariate_names
    ('params', 'tokens', 'params x tokens')
    """

    factors: int
    covariates: Covariates
    noise: NoiseName
    anchors: tuple[str, ...]
    ceilings: FrozenMap[str, float | str]
    task_effects: bool
    source_effects: bool
    prompt_effects: bool

    def __init__(
        self,
        factors: int = 2,
        *,
        covariates: Covariates = "size_and_data",
        noise: NoiseName = "normal",
        anchors: Sequence[str] = (),
        ceilings: Mapping[str, float | str] | None = None,
        task_effects: bool = True,
        source_effects: bool = True,
        prompt_effects: bool = True,
    ) -> None:
        faults = []
        if isinstance(factors, bool) or not isinstance(factors, int | np.integer) or not 1 <= factors <= 6:
            faults.append(f"factors is a whole number from 1 to 6, got {factors!r}")
        if covariates not in _COVARIATES:
            faults.append(f"covariates: {unknown('word', str(covariates), _COVARIATES)}")
        if noise not in NOISES:
            faults.append(f"noise: {unknown('word', str(noise), NOISES)}")
        if isinstance(anchors, str) or len(set(anchors)) < len(tuple(anchors)) or len(tuple(anchors)) > (factors or 0):
            faults.append(f"anchors are different tasks, at most one a factor; got {anchors!r}")
        for task, value in (ceilings or {}).items():
            word = value in ("estimated", "near one") if isinstance(value, str) else 0 < value <= 1
            if not word:
                faults.append(f"ceiling of {task!r} is a number above 0 and up to 1, 'estimated' or 'near one'; got {value!r}")
        if faults:
            raise SpecError("the model does not make sense:\n" + "\n".join(f"  - {fault}" for fault in faults))
        set_ = object.__setattr__
        set_(self, "factors", int(factors))
        set_(self, "covariates", covariates)
        set_(self, "noise", noise)
        set_(self, "anchors", tuple(anchors))
        set_(self, "ceilings", FrozenMap(ceilings))
        set_(self, "task_effects", bool(task_effects))
        set_(self, "source_effects", bool(source_effects))
        set_(self, "prompt_effects", bool(prompt_effects))

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """What the shared effects are effects of."""
        return _COVARIATES[self.covariates]

    @property
    def assumptions(self) -> dict[str, str]:
        """The sites whose priors are assumed, and the name each is reported under."""
        sites = {name: name for name in ("intercept", "effect", "family_sd", "model_sd", "sigma", "jitter_median")}
        sites |= {"ceiling_latent": "ceiling", "first_loading_latent": "loading"}
        return sites | ({"task_sd_median": "task_sd_median"} if self.task_effects else {})

    def __call__(
        self, design: EvalsDesign, response: str = "accuracy", *, pointwise: bool = False, searching: bool = False
    ) -> None:
        """Run as a NumPyro model.

        Parameters
        ----------
        design : EvalsDesign
            A table as :func:`bayescale.models.evals_binding.bind_evals` prepares it.
        response : str
            Name under which results are recorded.
        pointwise : bool
            Record a draw of what is integrated out, and the log density of each score given the others.
        searching : bool
            Count the density by volumes of loadings, not of the coordinates that are sampled: it has its mode where the
            posterior is.
        """
        tasks = design.chance.shape[0]
        loading = _loadings(self.factors, tasks, searching=searching)
        numpyro.deterministic("loading", loading)
        intercept = numpyro.sample("intercept", dist.Normal(0.0, _INTERCEPT_SD).expand([tasks]).to_event(1))
        towards = np.zeros((self.factors, len(self.covariate_names)))
        towards[0, : 2 if len(self.covariate_names) > 1 else 1] = 0.6
        spread = np.full_like(towards, _EFFECT_SD)
        # Of later factors the product of size and data would trade places with the loadings, in two ways that both fit.
        spread[1:, 2:] = _PRODUCT_SD
        effect = numpyro.sample("effect", dist.Normal(towards, spread).to_event(2))
        family_sd = numpyro.sample("family_sd", _scales(FAMILY_SD, self.factors))
        model_sd = numpyro.sample("model_sd", _scales(MODEL_SD, self.factors))
        # What sets a family apart on a task is of the size of a difference in capability: more on the logit of a steep task.
        task_sd = _by_task("task_sd", TASK_SD, loading[:, 0]) if self.task_effects else jnp.zeros(tasks)
        # One for all tasks: were it free in each, either it or jitter could be why a task scatters more than others do, and the
        # posterior would have a mode for each answer.
        sigma = numpyro.sample("sigma", dist.LogNormal(jnp.log(SIGMA), LOG_SD))
        jitter = _by_task("jitter", JITTER, jnp.ones(tasks))
        ceiling, floor = _bounds(design)
        at = design.task
        offset, slopes = intercept[at], loading.T[:, at][:, None]
        if design.prompts.shape[0]:
            n = design.prompts.shape[0]
            shift = numpyro.sample("prompt_intercept", dist.Normal(0.0, 1.0).expand([n]).to_event(1))
            turn = numpyro.sample("prompt_loading", dist.Normal(0.0, _PROMPT_SD).expand([n, self.factors]).to_event(2))
            offset = offset + _padded(shift)[design.prompt]
            slopes = slopes + _padded(turn).T[:, design.prompt]
        if design.sources.shape[0]:
            spread = numpyro.sample("source_sd", dist.LogNormal(jnp.log(_SOURCE_SD), LOG_SD))
            normal = dist.Normal(0.0, 1.0).expand([design.sources.shape[0]]).to_event(1)
            moved = numpyro.deterministic("source_effect", spread * numpyro.sample("source_effect_latent", normal))
            offset = offset + _padded(moved)[design.source]
        expected = effect @ design.x
        turning = jnp.einsum("kp,upm->ukm", effect, design.unknown)
        through = [jnp.sum(slopes * turning[u][:, None, None], 0) for u in range(turning.shape[0])]
        own = jnp.stack([*(slopes * model_sd[:, None, None, None]), *through])
        offset = offset + jnp.sum(slopes * expected[:, None, None], 0)
        offset = jnp.broadcast_to(offset, design.mask.shape)
        loads = Loads(offset, own, slopes * family_sd[:, None, None, None], task_sd[at])
        cells = Cells(design.y, design.per_item, floor[at], ceiling[at], jnp.broadcast_to(sigma, at.shape), jitter[at])
        layout = Layout(design.family, design.place, design.members, design.mask, design.start)
        found = integrate(self.noise, layout, loads, cells)
        numpyro.factor(f"{response}_marginal", found.log_marginal)
        numpyro.deterministic(f"{response}_center", found.mode.eta)
        if not pointwise:
            return
        mine, shared, eta, ratio = draw(self.noise, _key(intercept), layout, loads, cells, found)
        families = family_sd[:, None] * shared[: self.factors]
        residual = model_sd[:, None] * mine[: self.factors] + jnp.einsum("um,ukm->km", mine[self.factors :], turning)
        capability = expected + families[:, design.family] + residual
        effects = task_sd[design.slots].T * shared[self.factors :]
        numpyro.deterministic(f"{response}_mean", mean_of(jnp, eta, cells.floor, cells.ceiling))
        numpyro.deterministic(f"{response}_pointwise", each_cell(self.noise, layout, cells, found))
        numpyro.deterministic(f"{response}_eta", eta)
        numpyro.deterministic(f"{response}_capability", capability.T)
        numpyro.deterministic(f"{response}_family_effect", families.T)
        numpyro.deterministic(f"{response}_task_effect", effects.T)
        numpyro.deterministic(f"{response}_log_ratio", ratio)


def _scales(median: float, size: int) -> Any:
    return dist.LogNormal(jnp.log(median), LOG_SD).expand([size]).to_event(1)


def _by_task(name: str, median: float, unit: Any) -> Any:
    """A standard deviation of each task about a common median, which is in units of the task's own."""
    common = numpyro.sample(f"{name}_median", dist.LogNormal(jnp.log(median), LOG_SD))
    return numpyro.sample(name, dist.LogNormal(jnp.log(common * unit), TASK_LOG_SD).to_event(1))


def _loadings(factors: int, tasks: int, *, searching: bool) -> Any:
    """Loadings (task, factor): lower triangular, the first anchor 1 on the first factor, every other task positive on it."""
    first = numpyro.sample("first_loading_latent", dist.LogNormal(0.2, _LOADING_SD).expand([tasks - 1]).to_event(1))
    columns = [jnp.concatenate([jnp.ones(1), first])]
    if factors > 1:
        on_diagonal = dist.LogNormal(jnp.log(_LOADING_SD), 0.5).expand([factors - 1]).to_event(1)
        anchors = numpyro.sample("anchor_loading_latent", on_diagonal)
    for k in range(1, factors):
        anchor = anchors[k - 1]
        parts = [jnp.zeros(k), anchor[None]]
        if tasks > k + 1:
            # Data tell the ratios of a later factor's loadings; its scale, and with it all of them, trades with its spreads.
            ratios = dist.Normal(0.0, _LOADING_SD / anchor).expand([tasks - k - 1]).to_event(1)
            parts.append(anchor * numpyro.sample(f"loading_{k + 1}_latent", ratios))
            if searching:
                # The ratios of many tasks that data say little of are densest where the anchor's loading is beyond reason.
                numpyro.factor(f"volume_{k + 1}", -(tasks - k - 1) * jnp.log(anchor))
        columns.append(jnp.concatenate(parts))
    return jnp.stack(columns, -1)


def _bounds(design: EvalsDesign) -> tuple[Any, Any]:
    """Ceiling and floor of each task."""
    tasks = design.chance.shape[0]
    z = numpyro.sample("ceiling_latent", dist.Normal(0.0, 1.0).expand([tasks]).to_event(1))
    logit = design.ceiling_loc + design.ceiling_scale * z
    ceiling = jnp.where(design.ceiling_scale > 0, design.chance + (1 - design.chance) * jax.nn.sigmoid(logit), design.ceiling)
    numpyro.deterministic("ceiling", ceiling)
    floor = design.chance
    if design.floor_loc.shape[0]:
        small = numpyro.sample("floor_latent", dist.LogNormal(design.floor_loc, design.floor_scale).to_event(1))
        # A floor beyond reason, which a step too far may try, would leave no room for a score.
        floor = jnp.where(design.floor > 0, jnp.minimum(_padded(small)[design.floor], 0.3), design.chance)
    numpyro.deterministic("floor", floor)
    return ceiling, floor


def _padded(values: Any) -> Any:
    """The values behind a nought: index 0 is for cells that have none."""
    return jnp.concatenate([jnp.zeros((1, *values.shape[1:])), values])


def _key(values: Any) -> Any:
    """A key for the draw of what was integrated out: the digits of the parameters' own draw are as good as random."""
    bits = jax.lax.bitcast_convert_type(values, jnp.uint32).reshape(-1)
    spread = (bits * np.uint32(2654435761)) ^ (bits >> 15)
    weights = (2 * jnp.arange(spread.shape[0], dtype=jnp.uint32) + 1) * np.uint32(2246822519)
    halves = jnp.stack([jnp.sum(spread, dtype=jnp.uint32), jnp.sum(spread * weights, dtype=jnp.uint32)])
    return jax.random.wrap_key_data(halves, impl="threefry2x32")
