"""``fit_many``: many independent tables in a few compiled batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd

from bayescale.core.errors import ConvergenceError, DataError, SpecError
from bayescale.core.numerics import double_precision, to_numpy
from bayescale.data.runs import Runs
from bayescale.infer.cache import compilation_cache_of_ours
from bayescale.infer.convergence import MAX_DIVERGENT, Agreement
from bayescale.infer.density import dimension
from bayescale.infer.fit import Fit, agreement_of, assemble, finish, read_runs
from bayescale.infer.mode import find_mode, scales_to_hold
from bayescale.infer.programs import Programs, programs
from bayescale.infer.progress import progress_bar
from bayescale.infer.sample import Draws, join, join_info, random_keys
from bayescale.infer.samplers import CHUNK, WINDOW, Hmc, Sampler
from bayescale.infer.tree import coordinates, parameter_dims
from bayescale.infer.whitening import Whitening, learn, whiten
from bayescale.models.binding import Binding, bind
from bayescale.models.scaling import ScalingModel

#: Tables that one call of a program advances, the least that will do: each number is a program of its own. More would wait
#: for their stragglers without being faster.
TABLES = (4, 16)

#: A table is padded to the longest of its batch, as long as that has no more than so many times its rows.
LONGEST = 2.5

#: Calls that run side by side.
THREADS = 2

#: Windows of warm-up before the draws of the first pass, and before those of a later one, which starts from what was learnt.
WINDOWS, WINDOWS_AGAIN = 3, 2

#: Later passes, each with twice the draws of the one before.
PASSES = 2

#: Where too many draws diverged, the next pass takes so much of the step that it adapts.
SHORTER = 0.6

#: Steps short enough for the walls of a law's posterior, trajectories that a table in a narrow place cannot make long for all.
BATCH_SAMPLER = Hmc(draws=1000, target_accept=0.9, max_steps=16)


@dataclass(frozen=True)
class _Bound:
    """One table before anything is computed."""

    key: Any
    runs: Runs
    binding: Binding
    seed: int


@dataclass
class _Table:
    """One table on its way: where its chains are, and what they have drawn."""

    bound: _Bound
    rng: np.random.Generator
    made: Programs
    design: Any
    prior: np.ndarray
    white: Whitening
    z: np.ndarray
    drawn: Draws | None = None
    agreed: bool = False
    stretch: float = 1.0


def fit_many[Key: Hashable](
    model: ScalingModel | Mapping[Key, ScalingModel],
    data: Mapping[Key, pd.DataFrame | Runs],
    *,
    columns: Mapping[str, str] | None = None,
    response: str = "loss",
    seed: int = 0,
    sampler: Hmc | None = None,
    progress: bool = True,
    strict: bool = True,
) -> dict[Key, Fit]:
    """Fit many tables, each on its own, in a few compiled batches.

    Tables of like model and length share one program, in which the chains of several of them advance together; those that miss
    the convergence rule begin again from what was learnt, with more draws.

    Parameters
    ----------
    model : ScalingModel, or mapping of key to ScalingModel
        One for all, or one each.
    data : mapping of key to DataFrame or Runs
    columns, response, progress
        As for :func:`fit`.
    seed : int
        The same seed and tables give the same draws.
    sampler : Hmc, optional
        By default 4 chains of 1000 draws, in trajectories of at most 16 steps.
    strict : bool
        Raise when a table misses the convergence rule: once, after all.

    Returns
    -------
    dict of key to Fit
        In the order of ``data``.

    Raises
    ------
    DataError
        Naming every table that cannot be used, and why.
    ConvergenceError
        When ``strict`` and the rule is missed; its ``fit`` holds all of the fits.
    """
    sampler = sampler or BATCH_SAMPLER
    _check(model, data, sampler)
    bound = _read(model, data, columns, response, seed)
    with double_precision(), compilation_cache_of_ours(), progress_bar(progress, "chunk") as report:
        tables: list[_Table] = []
        for one in bound:
            report(len(tables), len(bound), "finding the modes")
            tables.append(_start(one, sampler))
        _run(tables, sampler, report)
        fits = {t.bound.key: _assembled(t, sampler) for t in tables}
    faults = {key: fit for key, fit in fits.items() if fit.convergence.faults}
    if strict and faults:
        told = "\n".join(f"  - {key}: {fit.convergence.faults[0]}" for key, fit in list(faults.items())[:10])
        more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
        advice = "Fit those alone with `fit` and Nuts(); strict=False returns all draws, which are also in the error's `fit`."
        raise ConvergenceError(f"the chains of {len(faults)} of {len(fits)} tables do not agree:\n{told}{more}\n{advice}", fits)
    return fits


def _check(model: object, data: Mapping[Any, Any], sampler: object) -> None:
    if not isinstance(data, Mapping) or not data:
        raise DataError("`data` is a mapping of keys to tables, with one table at least")
    if not isinstance(sampler, Hmc):
        raise SpecError(f"a batch is sampled with Hmc(...), whose trajectories are of one length; got {sampler!r}")
    models = model if isinstance(model, Mapping) else dict.fromkeys(data, model)
    missing = [repr(key) for key in data if key not in models]
    if missing:
        raise SpecError(f"`model` has none for {', '.join(missing[:5])}")
    wrong = [f"{key!r} ({type(models[key]).__name__})" for key in data if not isinstance(models[key], ScalingModel)]
    if wrong:
        raise SpecError(f"expected a ScalingModel for each table, got another thing for {', '.join(wrong[:5])}")


def _read(
    model: ScalingModel | Mapping[Any, ScalingModel],
    data: Mapping[Any, pd.DataFrame | Runs],
    columns: Mapping[str, str] | None,
    response: str,
    seed: int,
) -> list[_Bound]:
    """Every table read and bound; what is wrong with any of them is told at once."""
    models = model if isinstance(model, Mapping) else dict.fromkeys(data, model)
    read, faults = {}, []
    for key, table in data.items():
        try:
            runs = read_runs(models[key], table, columns=columns, response=response)
            read[key] = models[key], runs, bind(models[key], runs)
        except (DataError, SpecError) as error:
            faults.append(f"{key}: {error}")
    if faults:
        raise DataError(f"{len(faults)} of {len(data)} tables cannot be used:", faults)
    out = []
    for members in _batches(read):
        rows = -(-max(len(read[key][1]) for key in members) // 8) * 8
        for key in members:
            found, runs, _ = read[key]
            out.append(_Bound(key, runs, bind(found, runs, rows=rows), seed))
    order = {key: i for i, key in enumerate(data)}
    return sorted(out, key=lambda one: order[one.key])


def _batches(read: Mapping[Any, tuple[ScalingModel, Runs, Binding]]) -> Iterable[list[Any]]:
    """Tables of one model and structure, of like length."""
    kinds: dict[Any, list[Any]] = {}
    for key, (model, _, binding) in read.items():
        kinds.setdefault((model, _structure(binding)), []).append(key)
    for members in kinds.values():
        left = sorted(members, key=lambda key: -len(read[key][1]))
        while left:
            longest = len(read[left[0]][1])
            batch = [key for key in left if len(read[key][1]) * LONGEST >= longest]
            left = [key for key in left if key not in batch]
            yield batch


def _structure(binding: Binding) -> tuple[Any, ...]:
    slots = ((name, slot.centered.shape, tuple(p.shape for p in slot.parents)) for name, slot in binding.design.slots.items())
    path, basis = binding.design.path, binding.design.basis
    shapes = None if basis is None else tuple(leaf.shape for leaf in jax.tree.leaves(basis))
    return (*slots, None if path is None else path.span.shape, shapes)


def _start(bound: _Bound, sampler: Hmc) -> _Table:
    """A table with its mode and first whitening."""
    rng = np.random.default_rng([bound.seed, int(bound.runs.digest[:12], 16)])
    design = jax.tree.map(jax.numpy.asarray, bound.binding.design)
    made = programs(bound.binding.model, sampler, design, bound.runs.response)
    prior = np.asarray(made.prior(random_keys(rng, sampler.chains * CHUNK), design))
    held = scales_to_hold(made.sites, len(bound.runs))
    mode, hessian = find_mode(lambda at: made.energy_and_slope(at, design), prior[:32], held)
    z = rng.standard_normal((sampler.chains, dimension(made.sites)))
    return _Table(bound, rng, made, design, prior, whiten(mode, hessian), z)


def _run(tables: list[_Table], sampler: Hmc, report: Callable[[int, int, str], None]) -> None:
    """Passes over the tables, each over those that have not agreed yet."""
    draws, windows = -(-sampler.draws // CHUNK), WINDOWS
    for turn in range(PASSES + 1):
        waiting = [t for t in tables if not t.agreed]
        calls = list(_calls(waiting))
        bar = _Bar(report, len(calls) * (windows * (WINDOW // CHUNK) + draws), f"{len(waiting)} of {len(tables)} tables")
        with ThreadPoolExecutor(THREADS) as pool:
            for job in [pool.submit(_pass, members, sampler, windows, draws, bar) for members in calls]:
                job.result()
        if all(t.agreed for t in tables) or turn == PASSES:
            return
        draws, windows = 2 * draws, WINDOWS_AGAIN


@dataclass
class _Bar:
    """Counts the chunks of a pass, from several threads."""

    report: Callable[[int, int, str], None]
    total: int
    doing: str
    done: int = 0

    def __call__(self) -> None:
        self.done += 1
        self.report(min(self.done, self.total), self.total, self.doing)


def _calls(waiting: list[_Table]) -> Iterable[list[_Table]]:
    """Tables that go through a program together."""
    groups: dict[Any, list[_Table]] = {}
    for table in waiting:
        groups.setdefault((id(table.made), table.design.y.shape), []).append(table)
    for members in groups.values():
        for i in range(0, len(members), TABLES[-1]):
            yield members[i : i + TABLES[-1]]


def _pass(members: list[_Table], sampler: Hmc, windows: int, draws: int, tell: Callable[[], None]) -> None:
    """Warm up and draw; the lanes of tables that are missing repeat the last one, so that one program serves any number."""
    # Double precision is a setting of the thread.
    with double_precision():
        made = members[0].made
        size = next(size for size in TABLES if size >= len(members))
        lanes = [members[min(i, len(members) - 1)] for i in range(size)]
        chains = sampler.chains
        designs = jax.tree.map(lambda *a: np.repeat(np.stack(a), chains, axis=0), *(t.bound.binding.design for t in lanes))
        states: Any = None
        for window in range(windows):
            keys = np.concatenate([random_keys(t.rng, chains) for t in lanes])
            z = np.concatenate([t.z for t in lanes])
            white = jax.tree.map(lambda *a: np.repeat(np.stack(a), chains, axis=0), *(t.white for t in lanes))
            if states is None:
                states = made.blank_many(keys, z, designs, white)
            warm = []
            for i in range(WINDOW // CHUNK):
                states, (flat, _) = made.advance_many(states, i == 0, np.ones(len(keys)), keys, z, designs, white)
                warm.append(np.asarray(flat))
                tell()
            if window + 1 < windows:
                _learn(members, np.concatenate(warm[1:], axis=1), warm[-1][:, -1], chains)
        kept = []
        for i in range(draws):
            stretch = np.repeat([t.stretch for t in lanes], chains) if i == 0 else np.ones(len(keys))
            states, (flat, info) = made.advance_many(states, False, stretch, keys, z, designs, white)
            kept.append((np.asarray(flat), to_numpy(info)))
            tell()
        for i, table in enumerate(members):
            mine = slice(i * chains, (i + 1) * chains)
            own = [(flat[mine], {name: values[mine] for name, values in info.items()}) for flat, info in kept]
            drawn = _judge(table, join(own), join_info(own))
            if not table.agreed:
                _learn([table], drawn.flat, drawn.flat[:, -1], chains)


def _learn(members: list[_Table], flat: np.ndarray, last: np.ndarray, chains: int) -> None:
    """Whiten anew by what each table has drawn, and go on from where its chains are."""
    for i, table in enumerate(members):
        mine = slice(i * chains, (i + 1) * chains)
        table.white = learn(flat[mine].reshape(-1, flat.shape[-1]))
        table.z = table.white.z(last[mine])


def _judge(table: _Table, flat: np.ndarray, info: dict[str, np.ndarray]) -> Draws:
    """Take the draws of a pass, and see whether they meet the rule."""
    bound = table.bound
    table.drawn = Draws(flat, info, table.prior, finish(table.made, flat, table.design))
    dims, coords = parameter_dims(bound.binding), coordinates(bound.binding, bound.runs)
    diverged = info["diverging"].mean() > MAX_DIVERGENT
    table.stretch *= SHORTER if diverged else 1.0
    table.agreed = not diverged and agreement_of(table.drawn.results, dims, coords) is Agreement.AGREED
    return table.drawn


def _assembled(table: _Table, sampler: Sampler) -> Fit:
    bound, drawn = table.bound, table.drawn
    assert drawn is not None, "every table goes through the first pass"
    prior = finish(table.made, table.prior.reshape(sampler.chains, CHUNK, -1), table.design)
    return assemble(bound.binding, bound.runs, drawn, prior, bound.seed, sampler)
