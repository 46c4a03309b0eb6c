"""Public tables by name: what there is, where it is from, and how to get it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd

from bayescale.core.errors import SpecError, unknown

NATS = "loss: nats/token; params: parameters; tokens: tokens; flops: FLOP"
SCORES = "scores: fraction; params: parameters; tokens: tokens; flops: FLOP"
FIGURES = "facts printed in papers, model cards and READMEs; terms of each in data/README.md"
RUAN = "Ruan, Maddison, Hashimoto 2024, arXiv:2405.10938"
GADRE = "Gadre, Smyrnis, Shankar et al. 2024, arXiv:2403.08540"


@dataclass(frozen=True)
class Dataset:
    """What is known of a table before it is read.

    Parameters
    ----------
    name : str
    rows : int
    row_is : str
        What one row is.
    citation, units : str
    tidy : str
        Module of this package whose function of the table's name tidies it; empty for a bundled table.
    licence : str
        Of a bundled table; that of a remote one is stated with its files.
    """

    name: str
    rows: int
    row_is: str
    citation: str
    units: str
    tidy: str = ""
    licence: str = ""

    @property
    def where(self) -> str:
        """``"bundled"`` (works offline) or ``"remote"`` (downloaded once)."""
        return "remote" if self.tidy else "bundled"


_ALL = (
    Dataset(
        "pretraining_losses",
        491,
        "a model on a text: its loss",
        "see the column source",
        "value: as metric says; params: parameters; tokens: tokens; flops: FLOP",
        licence=FIGURES,
    ),
    Dataset("benchmark_accuracy", 2700, "a model on a task: its score", "see the column source", SCORES, licence=FIGURES),
    Dataset(
        "emergent_tasks",
        1496,
        "a model on a task that small models cannot do: its score",
        "see the column source",
        SCORES,
        licence=FIGURES,
    ),
    Dataset(
        "published_laws", 128, "a parameter of a published law", "see the column source", "see the column unit", licence=FIGURES
    ),
    Dataset(
        "chinchilla",
        245,
        "a training run, read from a figure",
        "Hoffmann et al. 2022, arXiv:2203.15556 (runs); Besiroglu et al. 2024, arXiv:2404.10102 (reading)",
        NATS,
        "tidy_training",
    ),
    Dataset("observational", 148, "a base language model", RUAN, SCORES, "tidy_observational"),
    Dataset("observational_emergent", 613, "a base language model on a task", RUAN, SCORES, "tidy_observational"),
    Dataset(
        "observational_agent",
        27,
        "a chat model",
        RUAN,
        "benchmarks: fraction; abench_*, aboard_*: percent, abench_oa: points; flops: FLOP",
        "tidy_observational",
    ),
    Dataset(
        "observational_post_training",
        4499,
        "a base language model on a task, by way of prompting",
        RUAN,
        SCORES,
        "tidy_observational",
    ),
    Dataset(
        "hyperparameters",
        2619,
        "a training run of a grid of learning rate and batch size",
        "Li, Zheng et al. 2025, arXiv:2503.04715",
        NATS,
        "tidy_training",
    ),
    Dataset(
        "routed_moe",
        223,
        "a trained model at its last step",
        "Clark, de las Casas, Guy et al. 2022, arXiv:2202.01169",
        "loss: nats/token; params: parameters; flops_per_step_forward: FLOP",
        "tidy_training",
    ),
    Dataset(
        "crossover",
        1431,
        "a training run of CLIP or MaMMUT",
        "Nezhurina, Porian, Puccetti et al. 2025, arXiv:2506.04598",
        "imagenet1k_error: fraction; compute_gflops: forward GFLOP; samples_seen: samples",
        "tidy_training",
    ),
    Dataset("overtraining", 104, "a training run", GADRE, NATS, "tidy_overtraining"),
    Dataset("overtraining_downstream", 4784, "a training run on a task", GADRE, SCORES, "tidy_overtraining"),
)
DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def load_dataset(name: str, *, runs: bool = False, evals: bool = False) -> pd.DataFrame:
    """A public table by name; one that is not bundled is downloaded once and checked.

    Parameters
    ----------
    name : str
        One of :func:`list_datasets`.
    runs : bool
        Give only the rows that a scaling law should be fitted to, in our names (``params``, ``tokens``, ``flops``,
        ``loss`` …), so that every verb takes the result as it is.
    evals : bool
        Give only the scores that a model of capability should be fitted to, one a row, in the names of :class:`Evals`.

    Returns
    -------
    pandas.DataFrame
        The documented columns (see the table's page in the documentation), losses in nats per token unless the column
        ``metric`` says otherwise, accuracies as fractions.

    Raises
    ------
    SpecError
        When there is no such table, or it is no table of training runs and ``runs`` is true, or of scores and ``evals`` is.
    DownloadError
        When a remote table cannot be had, or is not what was pinned.

    Examples
    --------
    >>> from bayescale.data.datasets import load_dataset
    >>> losses = load_dataset("pretraining_losses", runs=True)
    >>> losses["family"].nunique() >= 15
    True
    """
    from bayescale.data.eval_recipes import EVAL_RECIPES
    from bayescale.data.recipes import RECIPES

    if name not in DATASETS:
        raise SpecError(unknown("dataset", name, DATASETS))
    dataset = DATASETS[name]
    if runs and name not in RECIPES:
        raise SpecError(
            f"{name!r} is no table of training runs (one row is {dataset.row_is}), so runs=True has no meaning for it. "
            f"Tables of runs: {', '.join(RECIPES)}."
        )
    if evals and (runs or name not in EVAL_RECIPES):
        raise SpecError(
            f"evals=True goes with tables of benchmark scores, and not with runs=True: {', '.join(EVAL_RECIPES)}; got {name!r}."
        )
    table = _read(dataset)
    if evals:
        return EVAL_RECIPES[name](table)
    return RECIPES[name](table) if runs else table


def list_datasets() -> pd.DataFrame:
    """One row a table: name, where it is (bundled or remote), rows, what one row is, whether of runs, licence, citation, units.

    Examples
    --------
    >>> from bayescale.data.datasets import list_datasets
    >>> list_datasets().loc["chinchilla", "where"]
    'remote'
    """
    from bayescale.data.recipes import RECIPES

    rows = [
        {
            "name": dataset.name,
            "where": dataset.where,
            "rows": dataset.rows,
            "row_is": dataset.row_is,
            "runs": dataset.name in RECIPES,
            "licence": _licence(dataset),
            "citation": dataset.citation,
            "units": dataset.units,
        }
        for dataset in _ALL
    ]
    return pd.DataFrame(rows, index=list(DATASETS))


def _read(dataset: Dataset) -> pd.DataFrame:
    if not dataset.tidy:
        from bayescale.data.bundled import read_bundled

        return read_bundled(dataset.name)
    from bayescale.data.remote import fetch

    tidy: Callable[[Mapping[str, Path]], pd.DataFrame] = getattr(import_module(f"bayescale.data.{dataset.tidy}"), dataset.name)
    return tidy(fetch(dataset.name))


def _licence(dataset: Dataset) -> str:
    if dataset.licence:
        return dataset.licence
    from bayescale.data.remote import pins_of

    return "; ".join(dict.fromkeys(pin.licence for pin in pins_of(dataset.name)))
