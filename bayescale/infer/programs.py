"""Everything that is compiled, once a model, sampler and shape: data, mode and whitening are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.handlers import seed, substitute, trace

from bayescale.infer.density import Model, Site, latent_sites, potential
from bayescale.infer.exported import exported
from bayescale.infer.mode import Each
from bayescale.infer.samplers import CHUNK, WINDOW, Hmc, Sampler
from bayescale.infer.threads import advance_each, finish_each, in_threads
from bayescale.infer.whitening import Whitening
from bayescale.models.capability import CapabilityModel
from bayescale.models.design import Design
from bayescale.models.evals_design import EvalsDesign
from bayescale.models.scaling import ScalingModel
from bayescale.models.spec import to_spec

AnyDesign = Design | EvalsDesign


@dataclass(frozen=True)
class Programs:
    """Compiled functions of one model, sampler and structure.

    Parameters
    ----------
    sites : tuple of Site
        Latent sites, in the order of the flat vector.
    prior : callable (keys, design) -> flat draws
        One prior draw a key.
    energy_and_slope : callable (flat, design) -> (energy, gradient)
        What the mode is the least of.
    blank : callable (keys, z, design, whitening) -> states
        States of the right shapes, all zero.
    advance : callable (states, begin, stretch, keys, z, design, whitening) -> (states, draws)
        Move every chain by one chunk of draws: from its state, the step size multiplied by ``stretch``, or, where a window
        begins, from the whitened point ``z`` with the step size to be adapted anew.
    blank_many, advance_many : callable
        The same for many tables at once, the first axis of everything that a table has of its own.
    finish : callable (flat draws, design) -> results
        What is reported of each draw: parameters, pointwise log likelihood, log prior, mean of each run.
    settle : callable (flat, design) -> design
        The table with what a model computes by iteration started from where it is at this point.
    windows : int, optional
        Windows of warm-up, where the number of parameters does not tell how many they should be.
    holds : bool
        Whether scales stay where they are in the search for the mode, where they may have none.
    restarts : int
        How often the search for the mode may begin anew where it got stuck.
    each : callable
        How energies that do not depend on one another are computed: ``map``, or in threads where one takes milliseconds.
    spread : float
        How far apart chains start, in standard deviations of the whitened coordinates.

    Notes
    -----
    States are what ``blank`` and ``advance`` make of them: those of chains in threads of their own have the step size first.
    """

    sites: tuple[Site, ...]
    prior: Callable[..., Any]
    energy_and_slope: Callable[..., Any]
    blank: Callable[..., Any]
    advance: Callable[..., Any]
    blank_many: Callable[..., Any]
    advance_many: Callable[..., Any]
    finish: Callable[..., Any]
    settle: Callable[[Any, Any], Any] = lambda flat, design: design
    windows: int | None = None
    holds: bool = True
    restarts: int = 0
    each: Each = map
    spread: float = 1.0


def programs(model: ScalingModel | CapabilityModel, sampler: Sampler, design: AnyDesign, response: str) -> Programs:
    """The programs for a table; those of an earlier table of like structure are used again."""
    if isinstance(model, CapabilityModel):
        return _for_scores(model, sampler, design, response)
    assert isinstance(design, Design)
    sizes = tuple((name, slot.share.shape, tuple(p.shape for p in slot.parents)) for name, slot in design.slots.items())
    # A law is its text by equality; here it is the function itself, whose helpers may have been defined anew.
    key = (model, model.law.function, sampler.compiled, response, sizes)

    def make() -> Programs:
        # A law of the user's may call code that no digest of ours covers: its programs are not kept on disk.
        ours = model.law.function.__module__.startswith("bayescale.")
        known = f"{to_spec(model)} {sampler.compiled} {response}" if ours else ""
        return _make(partial(model, response=response), sampler, design, response, model.assumptions, known)

    return _kept(_OF_RUNS, _MOST_OF_RUNS, key, make)


def _for_scores(model: CapabilityModel, sampler: Sampler, design: AnyDesign, response: str) -> Programs:
    key = (model, sampler.compiled, response, tuple(leaf.shape for leaf in jax.tree.leaves(design)))

    def make() -> Programs:
        known = f"{model} {sampler.compiled} {response}"
        bare = partial(model, response=response)
        made = _make(bare, sampler, design, response, model.assumptions, known, searches=True)

        def center(flat: Any, design: AnyDesign) -> Any:
            values = {site.name: site.constrain(flat) for site in made.sites}
            return trace(substitute(bare, values)).get_trace(design)[f"{response}_center"]["value"]

        found = exported(center, _RUN_ONCE, f"center {known}")

        # Every prior is proper and of about unit scale, so the mode tells the shape: better than a covariance learnt from the
        # draws of a window, some four a parameter.
        def settle(flat: Any, design: AnyDesign) -> AnyDesign:
            return replace(design, start=found(flat, design))

        # Far from the posterior the mode of what is integrated out may jump, which ends a search along a line.
        return replace(made, settle=settle, windows=1, holds=False, restarts=_RESTARTS, each=in_threads, spread=_APART)

    return _kept(_OF_SCORES, _MOST_OF_SCORES, key, make)


def _kept(made: dict[Any, Programs], most: int, key: Any, make: Callable[[], Programs]) -> Programs:
    """What was made for this key, or is made now; of others those used last are kept."""
    found = made.pop(key, None) or make()
    made[key] = found
    while len(made) > most:
        del made[next(iter(made))]
    return found


_OF_RUNS: dict[Any, Programs] = {}
_OF_SCORES: dict[Any, Programs] = {}
#: Programs of runs and of scores that are kept. Linux gives a process 65,530 pieces of memory (``vm.max_map_count``); in trials
#: those of a law took 1,000 to 2,000 of them, those of scores 4,000, and the compiler ended the process when none were left.
_MOST_OF_RUNS, _MOST_OF_SCORES = 16, 4

_CHAINS, _RESTARTS = "chains", 5
#: Chains of one window of warm-up start wider than the posterior is, so that their agreement says something.
_APART = 2.0

#: XLA's optimiser takes longer than the programs run: some of it for the one that runs for seconds, none for the others. Sums
#: over runs are left whole: the trees of partial sums that the CPU's compiler makes of them are not fused with what is summed.
_SUMS_WHOLE = {"xla_disable_hlo_passes": "tree_reduction_rewriter"}
_RUN_OFTEN = {"xla_backend_optimization_level": 1} | _SUMS_WHOLE
_RUN_ONCE = {"xla_backend_optimization_level": 0} | _SUMS_WHOLE


def _make(
    model: Model,
    sampler: Sampler,
    design: AnyDesign,
    response: str,
    assumptions: Mapping[str, str],
    known: str,
    *,
    searches: bool = False,
) -> Programs:
    sites = latent_sites(model, design)
    # The inner jit is traced once and shared by every program that calls it.
    energy: Callable[..., Any] = jax.jit(potential(model, sites))
    sought = potential(partial(model, searching=True), sites) if searches else energy
    often = _RUN_OFTEN if searches else _RUN_ONCE

    def started(key: Any, z: Any, design: AnyDesign, white: Whitening) -> tuple[Any, Any]:
        def whitened(at: Any) -> Any:
            flat, log_stretch = white.flat(jnp, at)
            return energy(flat, design) - log_stretch

        kernel = sampler.kernel(whitened)
        return kernel, kernel.init(key, WINDOW, z, (), {})

    def blank(key: Any, z: Any, design: AnyDesign, white: Whitening) -> Any:
        return tuple(jnp.zeros_like(leaf) for leaf in jax.tree.leaves(started(key, z, design, white)[1]))

    def advance(
        state: Any, begin: Any, stretch: Any, key: Any, z: Any, design: AnyDesign, white: Whitening, *, pooled: bool = False
    ) -> Any:
        # A kernel learns its schedule in `init`, so every call makes a first state; it is used where a window begins.
        kernel, first = started(key, z, design, white)
        leaves, structure = jax.tree.flatten(first)
        state = jax.tree.unflatten(structure, [jnp.where(begin, new, old) for new, old in zip(leaves, state, strict=True)])
        adapted = state.adapt_state
        step_size = adapted.step_size
        if pooled:
            # All chains are in one posterior, and wait for the one of the most steps: one that diverges early in a short
            # warm-up is left with too short a step.
            step_size = jnp.where(begin, step_size, jnp.median(jax.lax.all_gather(step_size, _CHAINS)))
        state = state._replace(adapt_state=adapted._replace(step_size=step_size * stretch))

        def one(state: Any, _: None) -> Any:
            state = kernel.sample(sampler.bounded(state), (), {})
            info = {
                "energy": state.energy,
                "n_steps": state.num_steps,
                "acceptance_rate": state.accept_prob,
                "diverging": state.diverging,
                "step_size": state.adapt_state.step_size,
            }
            return state, (white.flat(jnp, state.z)[0], info)

        state, drawn = jax.lax.scan(one, state, None, length=CHUNK)
        return tuple(jax.tree.leaves(state)), drawn

    def prior(key: Any, design: AnyDesign) -> Any:
        sampled = trace(seed(model, key)).get_trace(design)
        return jnp.concatenate([site.unconstrain(sampled[site.name]["value"]) for site in sites])

    blanks = jax.vmap(blank, (0, 0, None, None))
    pooled = isinstance(sampler, Hmc)  # chains of one trajectory length
    advances = jax.vmap(partial(advance, pooled=pooled), (0, None, None, 0, 0, None, None), axis_name=_CHAINS)
    report = partial(_report, partial(model, pointwise=True), sites, response, assumptions)
    made = Programs(
        sites=sites,
        prior=exported(jax.vmap(prior, (0, None)), _RUN_ONCE, known and f"prior {known}"),
        energy_and_slope=exported(jax.value_and_grad(sought), often, known and f"energy {known}"),
        blank=exported(blanks, _RUN_ONCE, known and f"blank {known}"),
        advance=exported(advances, _RUN_OFTEN, known and f"advance {known}"),
        blank_many=exported(jax.vmap(blanks), _RUN_ONCE, known and f"blank many {known}"),
        advance_many=exported(jax.vmap(advances, (0, None, 0, 0, 0, 0, 0)), _RUN_OFTEN, known and f"advance many {known}"),
        finish=exported(jax.vmap(report, (0, None)), _RUN_ONCE, known and f"finish {known}"),
    )
    if not searches:
        return made

    def blank_apart(*chain: Any) -> Any:
        return jnp.zeros(()), *blank(*chain)

    def advance_apart(state: Any, *rest: Any) -> Any:
        state, drawn = advance(state[1:], *rest)
        return (drawn[1]["step_size"][-1], *state), drawn

    def finish_apart(flat: Any, design: AnyDesign) -> Any:
        return jax.lax.map(lambda at: report(at, design), flat)

    return replace(
        made,
        blank=exported(jax.vmap(blank_apart, (0, 0, None, None)), _RUN_ONCE, known and f"blank apart {known}"),
        advance=advance_each(exported(advance_apart, _RUN_OFTEN, known and f"advance apart {known}")),
        finish=finish_each(exported(finish_apart, _RUN_OFTEN, known and f"finish apart {known}"), CHUNK),
    )


#: What is reported of each run and of a discrepancy, beside parameters.
ASIDE = ("noise", "drift", "drift_sd", "coefficients", "precision")
#: What is reported of each score, model and family.
ASIDE_OF_SCORES = ("eta", "capability", "family_effect", "task_effect", "log_ratio")


def _report(
    model: Model,
    sites: tuple[Site, ...],
    response: str,
    assumptions: Mapping[str, str],
    flat: Any,
    design: AnyDesign,
) -> dict[str, Any]:
    """What is reported of one draw."""
    values = {site.name: site.constrain(flat) for site in sites}
    made = trace(substitute(model, values)).get_trace(design)
    observed = made.get(response)
    derived = {k: v["value"] for k, v in made.items() if v["type"] == "deterministic"}
    plain = {k: v for k, v in values.items() if not k.endswith("_latent")}
    derived.pop(f"{response}_center", None)  # as large as the table, and of use to the search alone
    aside = {n: derived.pop(f"{response}_{n}") for n in (*ASIDE, *ASIDE_OF_SCORES) if f"{response}_{n}" in derived}
    return aside | {
        "mean": derived.pop(f"{response}_mean"),
        "log_likelihood": observed["fn"].log_prob(observed["value"]) if observed else derived.pop(f"{response}_pointwise"),
        "parameters": derived | plain,
        "log_prior": {name: jnp.sum(made[site]["fn"].log_prob(values[site])) for site, name in assumptions.items()},
    }
