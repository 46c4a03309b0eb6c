"""``fit_many``: many independent tables in a few compiled batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pandas as pd

from bayescale.core.errors import ConvergenceError
from bayescale.core.numerics import double_precision, to_numpy
from bayescale.data.runs import Runs
from bayescale.infer.batches import Bound, check_call, check_siblings, read_all, sibling_labels
from bayescale.infer.cache import compilation_cache_of_ours
from bayescale.infer.convergence import MAX_DIVERGENT, Agreement, Convergence
from bayescale.infer.density import dimension
from bayescale.infer.finish import finish
from bayescale.infer.fit import Fit, assemble, judged
from bayescale.infer.mode import find_mode, scales_to_hold
from bayescale.infer.programs import Programs, programs
from bayescale.infer.progress import progress_bar
from bayescale.infer.sample import Draws, Report, join, join_info, random_keys
from bayescale.infer.samplers import CHUNK, WINDOW, Hmc, Sampler
from bayescale.infer.siblings import on_link_scale, population, shared
from bayescale.infer.tree import coordinates, parameter_dims
from bayescale.infer.whitening import Whitening, learn, whiten
from bayescale.models.scaling import ScalingModel

#: Tables that one call of a program advances. More would wait for each other's longest trajectories without being faster, and
#: leave more lanes idle in the later passes; fewer pay more for each operation.
TABLES = 2

#: Calls that run side by side.
THREADS = 2

#: Windows of warm-up before the draws of the first pass, and before those of a later one, which starts from what was learnt.
WINDOWS, WINDOWS_AGAIN = 3, 1

#: Later passes: the first with as many draws again, the next with twice as many.
PASSES = 2

#: Where too many draws diverged, the next pass takes so much of the step that it adapts.
SHORTER = 0.6

#: Steps short enough for the walls of a law's posterior, trajectories that a table in a narrow place cannot make long for all.
BATCH_SAMPLER = Hmc(draws=1000, target_accept=0.9, max_steps=16)


@dataclass
class _Table:
    """One table on its way: where its chains are, and what they have drawn."""

    bound: Bound
    rng: np.random.Generator
    made: Programs
    design: Any
    prior: np.ndarray
    white: Whitening
    z: np.ndarray
    drawn: Draws | None = None
    stretch: float = 1.0

    @property
    def agreed(self) -> bool:
        """Whether what was drawn meets the convergence rule."""
        return self.drawn is not None and _agree(self.drawn)

    @property
    def diverged(self) -> bool:
        """Whether too much of what was drawn diverged."""
        return self.drawn is not None and bool(self.drawn.info["diverging"].mean() > MAX_DIVERGENT)

    @property
    def keeps(self) -> bool:
        """Whether the next pass adds to what was drawn."""
        return self.drawn is not None and not self.diverged and _found(self.drawn).agreement is Agreement.NEAR


def fit_many[Key: Hashable](
    model: ScalingModel | Mapping[Key, ScalingModel],
    data: Mapping[Key, pd.DataFrame | Runs],
    *,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
    siblings: bool | Mapping[Key, str] = False,
    seed: int = 0,
    sampler: Hmc | None = None,
    progress: bool = True,
    strict: bool = True,
) -> dict[Key, Fit]:
    """Fit many tables, each on its own or pooled with its siblings, in a few compiled batches.

    Tables of like model and length share one program, in which the chains of several of them advance together. Those that
    nearly meet the convergence rule go on for more draws, from where they are; those whose chains are in different places, or
    diverge, begin again from what was learnt.

    Parameters
    ----------
    model : ScalingModel, or mapping of key to ScalingModel
        One for all, or one each.
    data : mapping of key to DataFrame or Runs
    columns, response, progress
        As for :func:`fit`.
    siblings : bool or mapping of key to str
        Curves that are alike (of one task, architecture or data set) tell of one another: the shapes of their laws, their noise
        and the sizes of their drift come from a population, which is estimated with them. True: all are siblings; a mapping:
        those of one label. What is measured in units of the response stays each curve's own.
    seed : int
        The same seed and tables give the same draws.
    sampler : Hmc, optional
        By default 4 chains of 1000 draws, in trajectories of at most 16 steps.
    strict : bool
        Raise when a table misses the convergence rule: once, after all.

    Returns
    -------
    dict of key to Fit
        In the order of ``data``. Ctrl-C ends the work once a table is finished: the finished ones are kept, without ``strict``
        in the result, else in the error.

    Raises
    ------
    DataError
        Naming every table that cannot be used, and why.
    ConvergenceError
        When ``strict`` and the rule is missed, or not every table was fitted; its ``fit`` holds all of the fits.
    KeyboardInterrupt
        When no table was finished yet.
    """
    sampler = sampler or BATCH_SAMPLER
    check_call(model, data, sampler)
    labels = sibling_labels(siblings, data)
    bound = read_all(model, data, columns, response, seed)
    if labels:
        check_siblings(bound, labels)
    with double_precision(), compilation_cache_of_ours(), progress_bar(progress, "chunk") as report:
        tables: list[_Table] = []
        for one in bound:
            report(len(tables), len(bound), "finding the modes")
            tables.append(_start(one, sampler))
        alone = bool(labels)
        try:
            # A first look at every curve is enough to see what siblings have in common.
            _run(tables, sampler, report, 0 if labels else PASSES)
            if labels:
                _pool(tables, labels, seed)
                alone = False
                _run(tables, sampler, report, PASSES)
        except KeyboardInterrupt:
            # What was drawn of a curve alone is not what was asked for of siblings.
            if alone or all(t.drawn is None for t in tables):
                raise
            for t in tables:
                t.drawn = t.drawn and replace(t.drawn, interrupted=not t.agreed)
        fits = {t.bound.key: _assembled(t, sampler) for t in tables if t.drawn is not None}
    for key, fit in fits.items():
        fit.tree.attrs |= {"siblings": labels[key]} if labels else {}
    if strict and (said := _refusal(fits, [key for key in data if key not in fits])):
        raise ConvergenceError(said, fits)
    return fits


def _refusal(fits: Mapping[Any, Fit], left: list[Any]) -> str:
    """Which tables have no fit, or one that misses the rule; empty where all have one that meets it."""
    lines = []
    if left:
        shown = ", ".join(map(repr, left[:5])) + (" …" if len(left) > 5 else "")
        held = "the finished fits are in the error's `fit`, and strict=False returns them"
        lines.append(f"interrupted, with {len(fits)} of {len(fits) + len(left)} tables fitted: {held}. Left: {shown}")
    faults = {key: fit for key, fit in fits.items() if fit.convergence.faults}
    if faults:
        lines.append(f"the chains of {len(faults)} of {len(fits)} tables do not agree:")
        lines += [f"  - {key}: {fit.convergence.faults[0]}" for key, fit in list(faults.items())[:10]]
        lines += [f"  and {len(faults) - 10} more"] if len(faults) > 10 else []
        lines.append(
            "Fit those alone with `fit` and Nuts(); strict=False returns all draws, which are also in the error's `fit`."
        )
    return "\n".join(lines)


def _start(bound: Bound, sampler: Hmc) -> _Table:
    """A table with its mode and first whitening."""
    rng = np.random.default_rng([bound.seed, int(bound.runs.digest[:12], 16)])
    design = jax.tree.map(jax.numpy.asarray, bound.binding.design)
    made = programs(bound.binding.model, sampler, design, bound.runs.response)
    prior = np.asarray(made.prior(random_keys(rng, sampler.chains * CHUNK), design))
    held = scales_to_hold(made.sites, len(bound.runs))
    mode, hessian = find_mode(lambda at: made.energy_and_slope(at, design), prior[:32], held)
    z = rng.standard_normal((sampler.chains, dimension(made.sites)))
    return _Table(bound, rng, made, design, prior, whiten(mode, hessian), z)


def _run(tables: list[_Table], sampler: Hmc, report: Report, again: int) -> None:
    """Passes over the tables, each over those that have not agreed yet."""
    draws, windows = -(-sampler.draws // CHUNK), WINDOWS
    for turn in range(again + 1):
        waiting = [t for t in tables if not t.agreed]
        calls = list(_calls(waiting))
        bar = _Bar(report, len(calls) * (windows * (WINDOW // CHUNK) + draws), f"{len(waiting)} of {len(tables)} tables")
        pool = ThreadPoolExecutor(THREADS)
        try:
            for job in [pool.submit(_pass, members, sampler, windows, draws, bar) for members in calls]:
                job.result()
        except BaseException:
            bar.stopped = True
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        if all(t.agreed for t in tables) or turn == again:
            return
        draws, windows = draws * (2 if turn else 1), WINDOWS_AGAIN


def _pool(tables: list[_Table], labels: Mapping[Any, str], seed: int) -> None:
    """Put every table under the population that its siblings make, from what was drawn of each alone."""
    rng = np.random.default_rng([seed, len(tables)])
    groups: dict[str, list[_Table]] = {}
    for table in tables:
        groups.setdefault(labels[table.bound.key], []).append(table)
    for members in groups.values():
        priors = shared(members[0].bound.binding)
        mean, sd = population([on_link_scale(_drawn(table), priors) for table in members], priors, rng)
        for table in members:
            _begin_again(table, dict(zip(priors, zip(mean, sd, strict=True), strict=True)))


def _begin_again(table: _Table, normals: Mapping[str, tuple[float, float]]) -> None:
    """Let the next pass draw a curve under other priors: mean and standard deviation on the link scale."""
    binding = table.bound.binding
    priors = {
        name: replace(binding.design.priors[name], loc=np.asarray(mean), scale=np.asarray(sd))
        for name, (mean, sd) in normals.items()
    }
    design = replace(binding.design, priors=binding.design.priors | priors)
    table.bound = replace(table.bound, binding=replace(binding, design=design))
    table.design = jax.tree.map(jax.numpy.asarray, design)
    _learn(table, _drawn(table).flat)
    table.drawn = None


@dataclass
class _Bar:
    """Counts the chunks of a pass, from several threads, and ends them at their next one."""

    report: Report
    total: int
    doing: str
    done: int = 0
    stopped: bool = False

    def __call__(self) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.done += 1
        self.report(min(self.done, self.total), self.total, self.doing)


def _calls(waiting: list[_Table]) -> Iterable[list[_Table]]:
    """Tables that go through a program together."""
    groups: dict[Any, list[_Table]] = {}
    for table in waiting:
        leaves, there = jax.tree.flatten(table.design)
        groups.setdefault((id(table.made), there, tuple(leaf.shape for leaf in leaves)), []).append(table)
    for members in groups.values():
        for i in range(0, len(members), TABLES):
            yield members[i : i + TABLES]


def _pass(members: list[_Table], sampler: Hmc, windows: int, draws: int, tell: Callable[[], None]) -> None:
    """Warm up and draw; a call of fewer tables repeats the last one, so that one program serves any number."""
    # Double precision is a setting of the thread.
    with double_precision():
        made = members[0].made
        lanes = [members[min(i, len(members) - 1)] for i in range(TABLES)]
        designs = _stacked(t.bound.binding.design for t in lanes)
        states: Any = None
        for window in range(windows):
            keys = np.stack([random_keys(t.rng, sampler.chains) for t in lanes])
            z, white = np.stack([t.z for t in lanes]), _stacked(t.white for t in lanes)
            if states is None:
                states = made.blank_many(keys, z, designs, white)
            warm = []
            for i in range(WINDOW // CHUNK):
                states, (flat, _) = made.advance_many(states, i == 0, np.ones(TABLES), keys, z, designs, white)
                warm.append(np.asarray(flat))
                tell()
            if window + 1 < windows:
                settled = np.concatenate(warm[1:], axis=2)
                for table, flat in zip(members, settled, strict=False):
                    _learn(table, flat)
        kept = []
        for i in range(draws):
            stretch = np.array([t.stretch if i == 0 else 1.0 for t in lanes])
            states, (flat, info) = made.advance_many(states, False, stretch, keys, z, designs, white)
            kept.append((np.asarray(flat), to_numpy(info)))
            tell()
        for i, table in enumerate(members):
            own = [(flat[i], {name: values[i] for name, values in info.items()}) for flat, info in kept]
            _take(table, join(own), join_info(own))


def _stacked(trees: Iterable[Any]) -> Any:
    """Arrays of several tables as one each, the tables first."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _learn(table: _Table, flat: np.ndarray) -> None:
    """Whiten anew by draws (chain, draw, dim), and go on from where they end."""
    table.white = learn(flat.reshape(-1, flat.shape[-1]))
    table.z = table.white.z(flat[:, -1])


def _take(table: _Table, flat: np.ndarray, info: dict[str, np.ndarray]) -> None:
    """Take the draws of a pass, and see whether they meet the rule.

    They add to those before that are kept, which were a warm-up where the rule is met without them alone.
    """
    new = flat, info, finish(table.made, flat, table.design)
    if table.keeps:
        before = _drawn(table)
        parts = (before.flat, before.info, before.results), new
        drawn = _judged(table, *jax.tree.map(lambda *draws: np.concatenate(draws, axis=1), *parts))
        if not _agree(drawn):
            alone = _judged(table, *new)
            drawn = alone if _agree(alone) else drawn
    else:
        drawn = _judged(table, *new)
    table.drawn = drawn
    table.stretch *= SHORTER if table.diverged else 1.0
    if not table.agreed:
        _learn(table, drawn.flat)


def _judged(table: _Table, flat: np.ndarray, info: dict[str, np.ndarray], results: dict[str, Any]) -> Draws:
    """Draws with the diagnostics of what is reported of them."""
    found = judged(results, parameter_dims(table.bound.binding), coordinates(table.bound.binding, table.bound.runs))
    return Draws(flat, info, table.prior, results, found.with_divergences(info["diverging"]))


def _found(drawn: Draws) -> Convergence:
    assert drawn.judged is not None, "the draws of a batch are judged as they are reported"
    return drawn.judged


def _agree(drawn: Draws) -> bool:
    return _found(drawn).agreement is Agreement.AGREED


def _drawn(table: _Table) -> Draws:
    assert table.drawn is not None, "every table goes through the first pass"
    return table.drawn


def _assembled(table: _Table, sampler: Sampler) -> Fit:
    bound, drawn = table.bound, _drawn(table)
    prior = finish(table.made, table.prior.reshape(sampler.chains, CHUNK, -1), table.design)
    return assemble(bound.binding, bound.runs, drawn, prior, bound.seed, sampler)
