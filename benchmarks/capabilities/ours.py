"""Our forecasts: one specification, locked before any test model was scored.

The specification is that of :class:`bayescale.CapabilityModel` with two factors. Its priors were settled on the standard
benchmarks, whose scores the protocols show of every model, and the number of factors by ``python -m benchmarks.capabilities
choose``: scores of the larger of the training models, forecast from those of the smaller.

It was locked three times more, each time before a test model was scored with it. The scatter of a score in its accuracy and
in its logit cannot both be each task's own, for the chains were in two places: first the logit's was made one for all. Then, by
short chains on the targets of the larger training models (the blocks of ``choose``), the accuracy's was made one for all
instead, and the logit's each task's own: of the seven tasks five were forecast with less error, one with as much, and
subtraction with more. Last, in the same way, and because a chain on the standard benchmarks visited a second mode, what sets a
family apart on a task was put in units of the task's loading: five of the seven had less error, Persian and subtraction a
little more.

What was changed since then in the defaults, floors and ceilings of tasks that few models were scored on, changes nothing
here: the locked tables have no such task.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

import bayescale as bs
from benchmarks.capabilities.protocols import Block
from benchmarks.capabilities.rivals import Method
from benchmarks.capabilities.scoring import Draws

#: The locked specification.
LOCKED = bs.CapabilityModel(2)


#: Of the bundled tables. In ``benchmark_accuracy`` fifteen sources measured 42 tasks in ways of their own, and the chains of
#: one fit to all of it do not agree: each source is a table there. Within most of them size and data either grow together or
#: data are the same for all, and what each does has two readings: there capability grows with compute.
BUNDLED = {"benchmark_accuracy": bs.CapabilityModel(1, covariates="compute"), "emergent_tasks": bs.CapabilityModel(1)}
BY_SOURCE = ("benchmark_accuracy",)

#: Draws that are kept of each fit, for the sources to have as many.
KEPT = 2000


def forecast(block: Block, seed: int, model: bs.CapabilityModel = LOCKED, *, apart: bool = True) -> Draws:
    """Fit the scores that a block shows, and forecast the others; how the chains agreed is printed.

    Parameters
    ----------
    apart : bool
        Whether a task asked in another way, or measured by others, is a task of its own. In the bundled tables many
        of these ways have few models: there they are one task, with effects of the prompt and, in a table of several
        sources, of the source.
    """
    train, test = block.train, block.test
    if apart:
        alone = {"prompt": "", "shots": "", "eval_source": ""}
        train, test = (part.assign(task=part.series, **alone) for part in (train, test))
    fit = bs.fit(model, train, seed=seed, strict=False, progress=False)
    drawn = bs.predict(fit, test, seed=seed)["accuracy"].to_numpy()
    print(f"{block.name} {block.fold} ({model.noise}): {fit!r}", flush=True)
    return Draws(drawn.reshape(-1, len(test)))


def of_bundled(block: Block, seed: int) -> Draws:
    """Forecasts of a bundled table, from all that it shows or from what each source shows."""
    model = BUNDLED[block.name]
    if block.name not in BY_SOURCE:
        return forecast(block, seed, model, apart=False)
    drawn = np.full((KEPT, len(block.test)), np.nan)
    for source, rows in block.test.groupby("eval_source", dropna=False).indices.items():
        train = block.train[block.train.eval_source == source]
        part = replace(block, fold=str(source), train=train, test=block.test.iloc[rows], truth=block.truth[rows])
        found = forecast(part, seed, model, apart=False).draws
        drawn[:, rows] = found[np.linspace(0, len(found) - 1, KEPT).astype(int)]
    return Draws(drawn)


#: Of the protocols, of the bundled tables, and of the choice.
OURS: dict[str, Method] = {"bayescale": forecast}
OF_BUNDLED: dict[str, Method] = {"bayescale": of_bundled}
CANDIDATES: dict[str, Method] = {
    **{f"bayescale, {k} factor{'s' * (k > 1)}": partial(forecast, model=bs.CapabilityModel(k)) for k in (1, 2, 3, 4)},
    "bayescale, 2 factors, beta": partial(forecast, model=bs.CapabilityModel(2, noise="beta")),
}
