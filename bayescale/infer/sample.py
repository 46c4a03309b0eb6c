"""Run the chains: prior draws, mode, warm-up window by window, then draws chunk by chunk until they agree."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayescale.core.numerics import to_numpy
from bayescale.infer.convergence import MAX_DIVERGENT, MIN_ESS, Agreement, Convergence
from bayescale.infer.density import dimension
from bayescale.infer.mode import find_mode, scales_to_hold
from bayescale.infer.programs import AnyDesign, Programs
from bayescale.infer.samplers import CHUNK, WINDOW, Sampler
from bayescale.infer.whitening import learn, whiten

#: Windows of warm-up, after each of which the whitening is learnt anew: more where the mode tells little of the shape, with a
#: population in the model, whose spread it cannot tell, or with many parameters.
WINDOWS, WINDOWS_OF_MANY, MANY = 2, 4, 20

#: How often the shape is learnt anew where the mode told it, and sampling begun again: draws of chains that were in different
#: places tell it badly too.
MOST_SHAPES = 2

#: Draws a parameter from which on they are trusted to tell the shape, with the mode, better than the mode alone does, and the
#: share of the effective sample size that is wanted below which beginning again in that shape is taken for the shorter way.
TOLD, SLOW = 4, 0.75

#: How often the step is halved, and sampling begun again, because too many draws diverge.
MOST_HALVINGS = 2

#: Tells how far the run is: chunks done, chunks in all, what is being done.
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Draws:
    """What the chains gave.

    Parameters
    ----------
    flat : array (chain, draw, dim)
        Unconstrained draws.
    info : dict of array (chain, draw)
        Sampler statistics.
    prior : array (draw, dim)
        Unconstrained prior draws.
    results : dict
        What is reported of the draws.
    judged : Convergence, optional
        The diagnostics of what is reported, where they were made to tell whether to go on.
    interrupted : bool
        Ctrl-C came, and these are the draws until then.
    """

    flat: np.ndarray
    info: dict[str, np.ndarray]
    prior: np.ndarray
    results: dict[str, Any]
    judged: Convergence | None = None
    interrupted: bool = False

    @property
    def known(self) -> dict[str, Convergence]:
        """Cached properties of the fit that need not be computed again."""
        return {} if self.judged is None else {"convergence": self.judged.with_divergences(self.info["diverging"])}


def sample(
    made: Programs,
    design: AnyDesign,
    sampler: Sampler,
    seed: int,
    finish: Callable[[np.ndarray], dict[str, Any]],
    judge: Callable[[dict[str, Any], Collection[str] | None], Convergence],
    report: Report,
) -> Draws:
    """Draw from the posterior of a table.

    Parameters
    ----------
    finish : callable
        What is reported of unconstrained draws (chain, draw, dim).
    judge : callable
        The diagnostics of what is reported, of the named parameters or all; of divergences it need not know.
    report : callable
        Called before every chunk.
    """
    rng = np.random.default_rng(seed)
    chains = sampler.chains
    prior = np.asarray(made.prior(random_keys(rng, chains * CHUNK), design))
    hierarchical = any("_tau" in site.name for site in made.sites)
    windows = made.windows or (WINDOWS_OF_MANY if hierarchical or dimension(made.sites) > MANY else WINDOWS)
    first, least = windows * (WINDOW // CHUNK), -(-sampler.draws // CHUNK)
    most = max(least, -(-(sampler.max_draws or 4 * sampler.draws) // CHUNK))
    report(0, first + least, "finding the mode")
    held = scales_to_hold(made.sites, int(np.asarray(design.mask).sum())) if made.holds else np.zeros(prior.shape[1], bool)
    mode, hessian = find_mode(lambda at: made.energy_and_slope(at, design), prior[:32], held, made.restarts, made.each)
    white, design = whiten(mode, hessian), made.settle(mode, design)
    z = made.spread * rng.standard_normal((chains, dimension(made.sites)))
    kept: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    done = 0
    keys: np.ndarray
    states: Any = None

    def warm_up() -> list[np.ndarray]:
        nonlocal done, keys, states
        keys, warm = random_keys(rng, chains), []
        for i in range(WINDOW // CHUNK):
            report(done, max(first + least, done + 1), "warming up")
            states = made.blank(keys, z, design, white) if states is None else states
            states, (flat, _) = made.advance(states, i == 0, 1.0, keys, z, design, white)
            warm.append(np.asarray(flat))
            done += 1
        return warm

    try:
        for window in range(windows):
            warm = warm_up()
            if window + 1 < windows:
                # The first chunk of a window still travels to where the chains belong.
                settled = np.concatenate(warm[1:], axis=1)
                settled = settled.reshape(-1, settled.shape[-1])
                white, design = learn(settled), made.settle(np.median(settled, axis=0), design)
                z = white.z(warm[-1][:, -1])
        halvings, stretch, shapes = 0, 1.0, MOST_SHAPES if windows == 1 else 0
        results: dict[str, Any] = {}
        judged: Convergence | None = None
        before: Convergence | None = None
        while judged is None or (len(kept) < most and judged.agreement is Agreement.NEAR):
            doing, wanted = ("sampling", least) if len(kept) < least else ("sampling on", len(kept) + max(1, least // 4))
            while len(kept) < wanted:
                report(done, max(first + least, done + 1), doing)
                states, (flat, info) = made.advance(states, False, stretch, keys, z, design, white)
                kept.append((np.asarray(flat), to_numpy(info)))
                stretch = 1.0
                done += 1
            if _divergent(kept) > MAX_DIVERGENT and halvings < MOST_HALVINGS:
                # Where the posterior narrows, the step that suits its bulk is too long: draw anew with half of it.
                halvings, stretch, judged = halvings + 1, 0.5, None
                done -= len(kept)
                kept.clear()
            else:
                results, before = finish(join(kept)), judged
                judged = _judged(judge, results, before, last=len(kept) >= most)
            if judged is not None and shapes and _misshapen(judged, dimension(made.sites)):
                # The mode alone told the shape of the posterior badly: warm up once more, in what these draws add to it.
                whole = judged if before is None else judge(results, None)
                drawn, shapes, worth = join(kept), shapes - 1, float(whole.table["ess_bulk"].median())
                flat, judged = drawn.reshape(-1, drawn.shape[-1]), None
                white, design = learn(flat, white, worth), made.settle(np.median(flat, axis=0), design)
                z = white.z(drawn[:, -1])
                kept.clear()
                warm_up()
    except KeyboardInterrupt:
        if not kept:
            raise
        return Draws(join(kept), join_info(kept), prior, finish(join(kept)), interrupted=True)
    report(done, done, "done")
    return Draws(join(kept), join_info(kept), prior, results, judged)


def _judged(
    judge: Callable[[dict[str, Any], Collection[str] | None], Convergence],
    results: dict[str, Any],
    before: Convergence | None,
    *,
    last: bool,
) -> Convergence:
    """The diagnostics of all parameters; but while those that missed the rule before still do, and it goes on, of these alone.

    Of a hierarchy the diagnostics take a good part of the time.
    """
    if before is not None and not last:
        found = judge(results, before.missed)
        if found.agreement is Agreement.NEAR:
            return found
    return judge(results, None)


def _misshapen(judged: Convergence, dim: int) -> bool:
    """Whether chains are in different places, or slow where their draws add to the shape that the mode told."""
    slow = judged.worst_ess < SLOW * MIN_ESS and judged.draws >= TOLD * dim
    return judged.agreement is Agreement.APART or (judged.agreement is Agreement.NEAR and slow)


def _divergent(kept: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> float:
    return float(np.mean([info["diverging"] for _, info in kept]))


def random_keys(rng: np.random.Generator, number: int) -> np.ndarray:
    """JAX's raw keys, made by NumPy: any pair of words is one, and nothing is compiled to split them."""
    return rng.integers(0, 2**32, size=(number, 2), dtype=np.uint32)


def join(kept: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> np.ndarray:
    """Draws of all chunks, shape (chain, draw, dim)."""
    return np.concatenate([flat for flat, _ in kept], axis=1)


def join_info(kept: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """Sampler statistics of all chunks, shape (chain, draw) each."""
    return {name: np.concatenate([info[name] for _, info in kept], axis=1) for name in kept[0][1]}
