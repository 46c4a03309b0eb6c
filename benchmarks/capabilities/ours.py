"""Our forecasts: one specification, locked before any test model was scored.

The specification is that of :class:`bayescale.CapabilityModel` with two factors. Its priors were settled on the standard
benchmarks, whose scores the protocols show of every model, and the number of factors by ``python -m benchmarks.capabilities
choose``: benchmarks of the larger of the training models, forecast from those of the smaller. Since then one thing was changed,
because chains of training tables were in two places: the logit of all tasks scatters alike.
"""

from __future__ import annotations

from functools import partial

import bayescale as bs
from benchmarks.capabilities.protocols import Block
from benchmarks.capabilities.rivals import Method
from benchmarks.capabilities.scoring import Draws

#: Number of factors, of the choice and of the locked specification.
FACTORS, LOCKED = (1, 2, 3), 2


def forecast(block: Block, seed: int, factors: int = LOCKED) -> Draws:
    """Fit the scores that a block shows, and forecast the others; how the chains agreed is printed."""
    # A task asked in another way, or measured by others, is a task of its own.
    alone = {"prompt": "", "shots": "", "eval_source": ""}
    train, test = (part.assign(task=part.series, **alone) for part in (block.train, block.test))
    fit = bs.fit(bs.CapabilityModel(factors), train, seed=seed, strict=False, progress=False)
    drawn = bs.predict(fit, test, seed=seed)["accuracy"].to_numpy()
    print(f"{block.name} {block.fold} ({factors} factors): {fit!r}", flush=True)
    return Draws(drawn.reshape(-1, len(test)))


#: Of the protocols, and of the choice.
OURS: dict[str, Method] = {"bayescale": forecast}
CANDIDATES: dict[str, Method] = {f"bayescale, {k} factor{'s' * (k > 1)}": partial(forecast, factors=k) for k in FACTORS}
