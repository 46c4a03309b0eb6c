"""``demo``: the main job on the bundled table, printed as it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli import parse, show
from bayescale.cli.options import Json, Seed

if TYPE_CHECKING:
    import bayescale as bs

PROB = 0.9
SIZES = ("largest fitted", "median", "lower", "upper")


@dataclass
class Page:
    """What has been done and how long it took; printed at once, or kept for ``--json``."""

    json: bool
    times: dict[str, float] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, doing: str) -> Iterator[None]:
        """One step of the job: times it, and says what is being done, unless it has a bar of its own."""
        console = show.console(stderr=self.json)
        start = time.perf_counter()
        if console.is_terminal and doing:
            with console.status(doing):
                yield
        else:
            yield
        self.times[name] = time.perf_counter() - start

    def say(self, text: str = "") -> None:
        """A paragraph for the reader."""
        if not self.json:
            print(text)

    def table(self, name: str, frame: Any, title: str, counts: tuple[str, ...] = ()) -> None:
        """A table for the reader, with some columns in millions and billions; under its name a list of rows for machines."""
        if name:
            self.result[name] = frame
        if not self.json:
            from bayescale.plots.style import count

            show.table(frame.assign(**{column: frame[column].map(count) for column in counts}), title)
            print()


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the figures and the fit go.")] = Path(
        "demo"
    ),
    seed: Seed = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Two sets of text instead of four.")] = False,
    json: Json = False,
) -> None:
    """The main job on the bundled table: forecasts of models that were held back, exponents, crossover, decision.

    Example:

        bayescale demo -o demo
    """
    page = Page(json)
    parse.folder(out)
    page.say("bayescale demo: one hierarchical model of published losses; the largest model of each family is held back.\n")
    with page.stage("imports", "importing JAX and NumPyro"):
        from bayescale.cli import demo_job as job

    with page.stage("data", "reading the bundled table"):
        seen, held = job.demo_runs(quick=quick)
        model = job.demo_model()
    texts, families = seen["text"].nunique(), seen["family"].nunique()
    page.say(f"{len(seen)} runs of {families} families on {texts} texts are fitted, {len(held)} are held back.")
    page.say(
        "Law: loss = E + A (params/reference)^-alpha; E by text, A by family and text, alpha by family within architecture."
    )
    fitted = _fit(page, model, seen, seed, out)
    page.say(f"{fitted}\n")
    _forecasts(page, fitted, held, seed)
    _exponents(page, fitted)
    _sizes(page, fitted, seed)
    crossed = _crossover(page, fitted, seed)
    _optimum(page, fitted, seed, quick)
    decision, draws = _decision(page, fitted, held, seed)
    with page.stage("figures", "drawing"):
        files = [out / "fit.nc", *job.figures(fitted, held, decision, draws, crossed, out, prob=PROB)]
    page.say(f"Saved in {out}: {', '.join(file.name for file in files)}")
    total = sum(page.times.values())
    page.say("Seconds: " + ", ".join(f"{name} {spent:.1f}" for name, spent in page.times.items()) + f"; in all {total:.1f}")
    if json:
        show.emit({"seed": seed, "prob": PROB, **page.result, "files": files, "seconds": {**page.times, "all": total}})


def _fit(page: Page, model: bs.ScalingModel, seen: Any, seed: int, out: Path) -> bs.Fit:
    import bayescale as bs
    from bayescale.cli.fitting import keep_unconverged

    try:
        with page.stage("fit", ""):
            fitted = bs.fit(model, seen, seed=seed)
    except bs.ConvergenceError as error:
        keep_unconverged(error, out / "fit.unconverged.nc")
        raise
    with page.stage("save", "saving the fit"):
        bs.save(fitted, out / "fit.nc")  # at once: whatever fails later, the draws are there
    found = fitted.convergence
    page.result["fit"] = {
        "runs": len(seen),
        "r_hat": found.worst_rhat,
        "ess": found.worst_ess,
        "divergences": found.divergences,
    }
    return fitted


def _forecasts(page: Page, fitted: bs.Fit, held: Any, seed: int) -> None:
    from bayescale.cli import demo_job as job

    with page.stage("forecasts", "forecasting the held-back models"):
        table = job.held_back_table(fitted, held, prob=PROB, seed=seed)
    page.table("held_back", table, f"The largest model of each family, forecast from the smaller ones ({PROB:.0%} intervals)")
    inside = int((table["inside"] == "yes").sum())
    page.result["covered"] = {"inside": inside, "of": len(table)}
    page.say(f"{inside} of {len(table)} intervals of {PROB:.0%} cover the published value.\n")


def _exponents(page: Page, fitted: bs.Fit) -> None:
    with page.stage("exponents", "summarising the exponents"):
        from bayescale.plots.forest import exponents_table

        table = exponents_table(fitted, "alpha", PROB)
    table = table.rename(columns={"label": "family", "within": "architecture"}).drop(columns="level")
    page.table("exponents", table, f"Exponents of size by family, beside the population (median, {PROB:.0%} interval)")


def _sizes(page: Page, fitted: bs.Fit, seed: int) -> None:
    from bayescale.cli import demo_job as job

    with page.stage("sizes", "solving for the size"):
        table = job.sizes_table(fitted, prob=PROB, seed=seed)
    for (text, loss), part in table.groupby(["text", "loss"], sort=False):
        shown = part.drop(columns=["text", "loss"]).rename(columns={"p_never": "P(never)"})
        page.table("", shown, f"Size that reaches a loss of {loss} on {text} ({PROB:.0%} interval)", SIZES)
    page.result["sizes"] = table


def _crossover(page: Page, fitted: bs.Fit, seed: int) -> Any:
    """The crossovers; the draws of the first are for its figure."""
    from bayescale.cli import demo_job as job
    from bayescale.plots.crossing import crossing_interval, crossover_table
    from bayescale.plots.style import count

    with page.stage("crossover", "looking for crossovers"):
        drawn = [job.crossing(fitted, pair, seed=seed) for pair in job.PAIRS]
    page.result["crossovers"] = []
    for (a, b), draws in zip(job.PAIRS, drawn, strict=True):
        found, ahead = crossing_interval(draws, PROB), float(crossover_table(draws)["p_b_better"].iloc[-1])
        page.result["crossovers"].append({"a": a, "b": b, **found, "p_b_better_at_last": ahead})
        low, middle, high = (count(found[name]) for name in ("lower", "median", "upper"))
        page.say(f"{b} against {a}, trained on the same text: P(the curves never cross) = {found['p_none']:.3f};")
        page.say(f"  where they do, at {middle} parameters ({PROB:.0%} interval {low} to {high})")
    page.say()
    return drawn[0]


def _optimum(page: Page, fitted: bs.Fit, seed: int, quick: bool) -> None:
    import bayescale as bs
    from bayescale.cli import demo_job as job

    try:
        bs.compute_optimal(fitted, job.BUDGET)
    except bs.BayescaleError as error:
        page.say(f"Compute-optimal size on this table: {error}")
        page.result["optimum_here"] = str(error)
    try:
        runs = None if quick else job.chinchilla_runs()
        if runs is None:
            why = "--quick" if quick else "its table is not on this machine"
            page.say(f"Compute-optimal size on chinchilla: skipped ({why}; `bayescale datasets chinchilla` downloads it).\n")
            return
        with page.stage("chinchilla", ""):
            _, draws = job.optimum(runs, seed=seed)
            table = bs.summarize(draws, prob=PROB).reset_index()[["quantity", "median", "lower", "upper"]]
    except bs.BayescaleError as error:
        # An extra of the demo, which must not fail for want of a network.
        page.say(f"Compute-optimal size on chinchilla: skipped ({str(error).splitlines()[0]})\n")
        return
    page.table("optimum", table, f"Compute-optimal run for {job.BUDGET:.3g} FLOP, from the {len(runs)} runs of chinchilla")


def _decision(page: Page, fitted: bs.Fit, held: Any, seed: int) -> tuple[bs.Decision, Any]:
    import bayescale as bs
    from bayescale.cli import demo_job as job
    from bayescale.cli.deciding import as_words, print_decision

    with page.stage("decision", "reviewing and deciding"):
        at, target = job.decided(held)
        draws = bs.predict(fitted, at, seed=seed)
        review = bs.review(fitted, at)
        decision = bs.decide(draws, target, review)
    model = at["model"].iloc[0]
    page.result["decision"] = {"model": model, "published": at["loss"].iloc[0], **as_words(decision)}
    if not page.json:
        show.review(review)
        print(f"\nTrain {model}, if it must reach {target} on {at['text'].iloc[0]}? (published: {at['loss'].iloc[0]:.3f})")
        print_decision(decision)
        print()
    return decision, draws
