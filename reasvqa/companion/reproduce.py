"""Regenerates the paper: `python -m reasvqa.companion.reproduce` trains what is missing and executes the notebooks of its tables
and figures.

    python -m reasvqa.companion.reproduce                              everything, at mini scale, 3 seeds
    python -m reasvqa.companion.reproduce --only figure4 table5        two of them
    python -m reasvqa.companion.reproduce --preview                    everything, with one seed and the validation questions
    python -m reasvqa.companion.reproduce --plan                       only say what would be done
    python -m reasvqa.companion.reproduce --anew                       train also the runs that come with the repository
    python -m reasvqa.companion.reproduce --dask tcp://scheduler:8786  the runs on other machines, which share the data folder

It can be stopped and started at any time: finished runs and notebooks are kept, an interrupted run goes on from its
checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

import torch
from tqdm.auto import tqdm

from reasvqa import paths
from reasvqa.companion.claims import settings_of_claims
from reasvqa.companion.experiments import EXPERIMENTS, SEEDS, all_settings, dataset_name, seeds_at, settings_of
from reasvqa.config import BENCHMARKS, MINIATURES, REAL, SCALES, check_seeds
from reasvqa.datasets import DataError, load
from reasvqa.learning import DamagedRun, Run, TrainConfig, records, run_key
from reasvqa.learning.many import kept_run, prepare_features, quiet_bars, train_quietly
from reasvqa.processes import cores, end_with, ended

ATTEMPTS = 3  # a run whose worker dies is tried so often before it counts as failed
LEDGER = EXPERIMENTS["controls"].notebook  # whose verdicts the other notebooks repeat
# Seconds an epoch on one core, for a plan made before anything was measured: without and with reasoning, on a 2026
# server core.
FIRST_GUESS = {"stl": 5.0, "mtl": 9.0}


@dataclass
class Outcome:
    """What became of one run or notebook: its name, seconds, the worker's peak memory in MB, and what went wrong, if
    anything."""

    name: str
    seconds: float = 0.0
    memory: float = 0.0
    error: str = ""


@dataclass
class Plan:
    """What is to be done.

    Attributes:
        settings: of all runs that are needed, each once.
        missing: those to train.
        shipped: how many came with the repository.
        notebooks: to execute.
        seconds: expected on one core.
        uses: runs by table or figure.
    """

    settings: list[TrainConfig]
    missing: list[TrainConfig]
    shipped: int
    notebooks: list[str]
    seconds: float
    uses: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{name:11s} {count:4d} runs" for name, count in self.uses.items() if count]
        total = sum(self.uses.values())
        lines.append(
            f"{'together':11s} {total:4d} runs, of which {len(self.settings)} are distinct; "
            f"{len(self.settings) - len(self.missing)} are kept, {len(self.missing)} to train"
        )
        if self.shipped:
            lines.append(f"{self.shipped} of those kept came with the repository, without weights (--anew: train them)")
        return "\n".join(lines)


def make_plan(scale: str, seeds: Sequence[int], only: Sequence[str], anew: bool = False) -> Plan:
    """Which runs and notebooks these tables and figures need, and which of them are missing; with `anew` also all runs
    that came with the repository, and all notebooks."""
    settings = all_settings(scale, seeds, only)
    first = len(settings)
    if "controls" in only:  # the ledger's notebook
        settings = list(dict.fromkeys(settings + settings_of_claims(scale, seeds)))
    records.names(paths.records())  # a damaged archive is said, and not taken for none
    there = {config: _kept(config, anew) for config in settings}
    missing = [config for config, run in there.items() if run is None]
    shipped = sum(run is not None and not run.has_weights for run in there.values())
    uses = {name: sum(map(len, settings_of(name, scale, seeds).values())) for name in only}
    uses["the ledger"] = len(settings) - first  # what is its own: rows of others if they are left out, a second look
    costs = _measured_costs(scale)
    seconds = 0.0
    for config in missing:
        guess = FIRST_GUESS["stl" if config.reasoning == "none" else "mtl"]
        seconds += config.epochs * costs.get((config.student, config.objective, config.reasoning == "none"), guess)
    names = _notebooks(only)
    return Plan(settings, missing, shipped, names if anew else stale(names, scale, seeds), seconds, uses)


def _notebooks(only: Sequence[str]) -> list[str]:
    """Of tables and figures, each once."""
    return list(dict.fromkeys(EXPERIMENTS[name].notebook for name in only))


def stale(notebooks: Sequence[str], scale: str, seeds: Sequence[int]) -> list[str]:
    """Those of these notebooks whose executed copy is missing or out of date."""
    return [name for name in notebooks if not _fresh(name, scale, seeds)]


def _kept(config: TrainConfig, anew: bool) -> Run | None:
    """The run if it is there. Data or responses that are not there yet, or are wrong, are what training tells of."""
    try:
        return kept_run(config, weights=anew) if _made(config.dataset) else None
    except ValueError:
        return None


def _key(config: TrainConfig) -> str | None:
    """The run's key; None where data or responses are not there yet, or are wrong: training says so, a plan need
    not."""
    try:
        return run_key(config) if _made(config.dataset) else None
    except ValueError:
        return None


def _made(dataset: str) -> bool:
    """Is the data set there?"""
    folder = paths.dataset(dataset)
    if dataset.split("-")[0] in MINIATURES:
        return (folder / "complete.json").exists()
    return any(folder.glob("*.csv")) or any(folder.glob("*.json"))


def _measured_costs(scale: str) -> dict[tuple, float]:
    """Mean seconds an epoch of kept runs on a scale's data, by student, objective and whether there is reasoning."""
    seconds, datasets = defaultdict(list), {dataset_name(scale, name) for name in BENCHMARKS}
    for path in paths.runs().glob("*/meta.json"):
        run = Run(path.parent)
        try:
            wanted, spent = run.config.dataset in datasets, run.metrics["seconds"]
        except (DamagedRun, TypeError, ValueError):
            continue  # damaged, or of another version of the library
        if wanted:
            kind = run.config.student, run.config.objective, run.config.reasoning == "none"
            seconds[kind].append((spent["training"] + spent["answering"] + 1) / run.config.epochs)
    return {kind: mean(each) for kind, each in seconds.items()}


# --- work, in whatever process or machine -----------------------------------------------------------------------------


def train_one(config: TrainConfig, threads: int, force: bool = False) -> Outcome:
    """One run, in a worker. What goes wrong with it is reported, and does not stop the others."""
    began, error = time.time(), ""
    try:
        train_quietly(config, force, threads)
    except Exception as wrong:
        error = f"{type(wrong).__name__}: {wrong}"
    return Outcome(config.label, time.time() - began, _memory(), error)


def execute(notebook: str, scale: str, seeds: Sequence[int], stamp: str) -> Outcome:
    """One notebook, headless; the executed copy, with the commit it was made at, goes to data/reproduced/<scale>/."""
    import nbformat
    import papermill

    began = time.time()
    folder = paths.reproduced(scale)
    folder.mkdir(parents=True, exist_ok=True)
    out, partial = folder / f"{notebook}.ipynb", folder / f"{notebook}.partial.ipynb"
    source = paths.notebooks() / f"{notebook}.ipynb"
    parameters: dict[str, object] = {"scale": scale}
    if "seeds" in papermill.inspect_notebook(source):
        parameters["seeds"] = list(seeds)
    try:
        made = papermill.execute_notebook(source, partial, parameters, progress_bar=False, cwd=paths.CHECKOUT)
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]} (see {partial})"
        return Outcome(notebook, time.time() - began, error=what)
    made.metadata["reasvqa"] = {"commit": commit()}
    nbformat.write(made, partial)
    os.replace(partial, out)
    out.with_suffix(".stamp").write_text(stamp)
    return Outcome(notebook, time.time() - began)


def commit() -> str:
    """The checkout's commit, with a word where what counts has changed since; nothing where there is no git."""
    said = []
    for command in (
        ["rev-parse", "--short=12", "HEAD"],
        ["status", "--porcelain", "--", "reasvqa", "notebooks", "data"],
    ):
        try:
            done = subprocess.run(["git", *command], cwd=paths.CHECKOUT, capture_output=True, text=True)
        except OSError:
            return ""
        if done.returncode:
            return ""
        said.append(done.stdout.strip())
    return f"{said[0]}{', with changes' if said[1] else ''}"


def _memory() -> float:
    """This process's peak resident memory so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024  # bytes there, KB elsewhere


def _stamp(notebook: str, scale: str, seeds: Sequence[int]) -> str:
    """Changes when the notebook, its parameters or runs, the ledger it repeats, what ships, or the code that draws from
    them change."""
    digest = hashlib.sha256((paths.notebooks() / f"{notebook}.ipynb").read_bytes())
    package = Path(__file__).parent
    code = [file for file in package.rglob("*.py") if package / "book" not in file.parents]
    shipped = [*paths.PAPER_NUMBERS.rglob("*"), *(paths.SHIPPED / "mini").rglob("*")]
    verdicts = [paths.figures(scale) / "claims.csv"] if notebook != LEDGER else []  # which that one writes
    for file in sorted(filter(Path.is_file, code + shipped + verdicts)):
        digest.update(file.read_bytes())
    names = [name for name, what in EXPERIMENTS.items() if what.notebook == notebook]
    keys = [_key(config) for config in all_settings(scale, seeds, names)]
    return hashlib.sha256(json.dumps([digest.hexdigest(), scale, list(seeds), keys]).encode()).hexdigest()


def _fresh(notebook: str, scale: str, seeds: Sequence[int]) -> bool:
    stamp = paths.reproduced(scale) / f"{notebook}.stamp"
    return stamp.exists() and stamp.read_text() == _stamp(notebook, scale, seeds)


# --- running it all ---------------------------------------------------------------------------------------------------


def run_all(
    tasks: dict[str, tuple], make_executor: Callable[[], Executor], bar: tqdm, at_once: int = 1
) -> list[Outcome]:
    """Every task's outcome. `tasks` maps names to (function, arguments); the functions return an `Outcome`.

    at_once: how many an executor works on at a time.

    A worker that dies takes its pool with it. The pool is made again, and those that were in flight are handed in once
    more, one after the other, so that one which always kills its worker is told from its neighbours; it is given up
    after `ATTEMPTS`. So a kill costs the attempts in flight, and their time alone. An interrupt ends all of it.
    """
    outcomes: list[Outcome] = []
    left, died = dict(tasks), dict.fromkeys(tasks, 0)

    def done(outcome: Outcome, name: str) -> None:
        outcomes.append(outcome)
        del left[name]
        bar.set_postfix_str(name[-60:])
        bar.update()
        if outcome.error:
            bar.write(f"failed: {outcome.name}: {outcome.error}", file=sys.stderr)

    while left:
        suspect = next((name for name in left if died[name]), None)
        batch = list(left) if suspect is None else [suspect]
        futures: dict[Future, str] = {}
        with ended(make_executor()) as executor:
            with contextlib.suppress(BrokenProcessPool):  # a pool may break while it is still being handed its tasks
                for name in batch:
                    function, *arguments = left[name]
                    futures[executor.submit(function, *arguments)] = name
            for future in as_completed(futures):
                name = futures[future]
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    continue  # this one or another
                except Exception as error:  # such as dask's KilledWorker
                    outcome = Outcome(name, error=f"{type(error).__name__}: {error}")
                done(outcome, name)
        # Pools take tasks in turn, and one more than they have workers: those may have been in flight.
        for name in [name for name in batch if name in left][: at_once + 1]:
            died[name] += 1
            if died[name] == ATTEMPTS:
                done(Outcome(name, error=f"its worker died {ATTEMPTS} times"), name)
    return outcomes


def local_executor(jobs: int) -> Callable[[], Executor]:
    """Makes pools of `jobs` fresh processes; fresh, because torch does not survive a fork. Where there are GPUs, each
    process sees one of them, in turn."""
    context = get_context("spawn")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]

    def pool() -> Executor:
        turns = context.SimpleQueue()
        if torch.cuda.device_count():
            for job in range(jobs):
                turns.put(gpus[job % len(gpus)])
        return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(os.getpid(), turns))

    return pool


def _begin(parent: int, turns) -> None:
    """Runs first in a worker, before anything asks for a GPU."""
    end_with(parent)
    if not turns.empty():
        os.environ["CUDA_VISIBLE_DEVICES"] = turns.get()


def reproduce(
    scale: str = "mini",
    only: Sequence[str] = tuple(EXPERIMENTS),
    seeds: Sequence[int] = SEEDS,
    jobs: int | None = None,
    dask: str | None = None,
    anew: bool = False,
) -> list[Outcome]:
    """Trains the missing runs of these tables and figures and executes their notebooks. Returns all outcomes; errors
    stand in them.

    Args:
        scale: one of `reasvqa.config.SCALES`.
        only: names of `EXPERIMENTS`.
        seeds: of every run; most rows get two more.
        jobs: processes at a time; default: one per GPU, or per core where there is none.
        dask: address of a Dask scheduler for the runs. Its workers need this package and the same data folder; the
            notebooks are executed here.
        anew: train also what came with the repository.
    """
    jobs = jobs or torch.cuda.device_count() or cores()
    began = time.time()
    for dataset in dict.fromkeys(d for name in only for d in EXPERIMENTS[name].datasets):
        load(dataset_name(scale, dataset), "train")  # a miniature is made on first use, once, before its runs
    plan = make_plan(scale, seeds, only, anew)
    print(plan)
    workers = jobs
    if dask:
        from distributed import Client

        client = Client(dask)
        threads = client.nthreads()
        workers = max(1, sum(threads.values()))  # pyright: ignore[reportAttributeAccessIssue]  # not an asynchronous client
    if plan.missing:
        print(f"training: about {plan.seconds / workers / 60:.0f} min on {workers} worker{'s' if workers > 1 else ''}")
    prepare_features(plan.missing)
    threads = max(1, cores() // jobs)
    tasks = {config.label: (train_one, config, threads, anew) for config in plan.missing}
    outcomes: list[Outcome] = []
    if tasks:
        pool = (lambda: client.get_executor(pure=False)) if dask else local_executor(jobs)
        with tqdm(total=len(tasks), desc="runs", unit="run", smoothing=0.05) as bar, quiet_bars():
            outcomes += run_all(tasks, pool, bar, workers)
    names = _notebooks(only)
    for part in ([name for name in names if name == LEDGER], [name for name in names if name != LEDGER]):
        if left := part if anew else stale(part, scale, seeds):  # the others repeat the ledger's verdicts
            outcomes += execute_all(left, scale, seeds, jobs)
    whole = (scale, set(only), list(seeds)) == ("mini", set(EXPERIMENTS), list(SEEDS))
    if whole and not any(outcome.error for outcome in outcomes):
        runs = {key: Run(paths.runs() / key) for key in map(run_key, plan.settings)}
        if plan.missing or records.names(paths.records()) != set(runs):
            records.pack(list(runs.values()), paths.records())
    if outcomes:
        _report(outcomes, plan, scale, seeds, time.time() - began, jobs)
    else:
        print(f"nothing to do: all runs and notebooks are there ({time.time() - began:.0f} s)")
    return outcomes


def execute_all(notebooks: Sequence[str], scale: str, seeds: Sequence[int], jobs: int) -> list[Outcome]:
    """These notebooks, so many at a time."""
    tasks = {name: (execute, name, scale, list(seeds), _stamp(name, scale, seeds)) for name in notebooks}
    with tqdm(total=len(tasks), desc="notebooks", unit="notebook") as bar:
        return run_all(tasks, local_executor(jobs), bar, jobs)


def _report(outcomes: list[Outcome], plan: Plan, scale: str, seeds: Sequence[int], seconds: float, jobs: int) -> None:
    failed = [o for o in outcomes if o.error]
    memory = max(o.memory for o in outcomes)
    print(
        f"{len(outcomes) - len(failed)} done, {len(failed)} failed, in {seconds / 60:.1f} min; "
        f"a worker's peak memory: {memory:.0f} MB, {jobs} at a time"
    )
    for outcome in failed:
        print(f"  failed: {outcome.name}: {outcome.error}")
    folder = paths.reproduced(scale)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "scale": scale,
        "seeds": list(seeds),
        "distinct_runs": len(plan.settings),
        "trained": len(plan.missing),
        "minutes": round(seconds / 60, 1),
        "jobs": jobs,
        "worker_peak_mb": round(memory),
        "outcomes": [asdict(o) for o in outcomes],
    }
    (folder / "summary.json").write_text(json.dumps(record, indent=1) + "\n")


def options(command: str, description: str | None) -> argparse.ArgumentParser:
    """What this command and the book's have in common: the scale, the seeds, and where runs are trained."""
    parser = argparse.ArgumentParser(
        prog=f"reasvqa {command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=SCALES, default="mini")
    parser.add_argument("--preview", action="store_true", help="--scale preview --seeds 0")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--jobs", type=int, default=None, help="processes at a time (default: one per GPU, or per core without)"
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="train on the workers of this Dask scheduler")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    given = parser.parse_args(arguments)
    if given.preview:
        given.scale, given.seeds = "preview", seeds_at("preview")
    try:
        given.seeds = check_seeds(given.seeds)
    except ValueError as error:
        parser.error(str(error))
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options("reproduce", __doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(EXPERIMENTS),
        default=list(EXPERIMENTS),
        metavar="NAME",
        help=f"of {', '.join(EXPERIMENTS)}",
    )
    parser.add_argument("--anew", action="store_true", help="train also the runs that come with the repository")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and stop")
    given = parse(parser, arguments)
    if given.plan:
        plan = make_plan(given.scale, given.seeds, given.only, given.anew)
        minutes = f"about {plan.seconds / 60:.0f} min of one core"
        if given.scale in REAL:
            minutes = "hours and GPUs: notebooks/40_benchmark.ipynb"
        print(plan, minutes, f"notebooks: {', '.join(plan.notebooks) or 'none'}", sep="\n")
        return 0
    try:
        outcomes = reproduce(given.scale, given.only, given.seeds, given.jobs, given.dask, given.anew)
    except DataError as error:
        print(error, file=sys.stderr)  # it says what is missing and where it comes from
        return 1
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
