"""Makes a miniature benchmark: real mp4 files, annotations in the official file formats, and what the simulated
generators write about the training questions. Everything follows from the data set's name and a seed.

    mini-star/     STAR_{train,val,test}.json          videos/*.mp4     stories.json     reasoning/*.jsonl
    mini-nextqa/   {train,val,test}.csv, map_vid_vidorID.json, atp-hard-ct4.txt ...
    mini-intentqa/ {train,val,test}.csv ...

`stories.json` is what happens in each video; only the simulated generators read it, in place of the pixels.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from reasvqa import paths
from reasvqa.files import locked
from reasvqa.generation import CAPTION_PROMPTS, generate, parse_answer
from reasvqa.mini.generator import STRENGTHS, Strength, caption, judge, perceive, respond, rng_for
from reasvqa.mini.questions import (
    FORMS,
    NUM_OPTIONS,
    Form,
    Query,
    answer_of,
    ask,
    distractors,
    needs_several_frames,
    solve,
)
from reasvqa.mini.render import FPS, SIZE, write_video
from reasvqa.mini.world import SECONDS_PER_EVENT, Event, Story, make_story
from reasvqa.processes import Workers, cores, finish_all, result_of
from reasvqa.refinement import refine
from reasvqa.samples import Sample

VERSION = 3  # raise it when the world changes: data made by an older version is made again
QUESTIONS_PER_VIDEO = 3
# Videos per split. So many training questions that answers alone teach a student most but not all of it within the
# recipe's epochs (on validation: 50 to 80 %); the questions of mini-star are of fewer kinds, so fewer are needed.
# "smoke" is a handful.
SIZES = {
    "mini-star": {"train": 160, "val": 300, "test": 1000},
    "mini-nextqa": {"train": 160, "val": 300, "test": 1000},
    "mini-intentqa": {"train": 160, "val": 300, "test": 1000},
    **{f"smoke-{kind}": {"train": 12, "val": 6, "test": 8} for kind in ("star", "nextqa", "intentqa")},
}


@dataclass(frozen=True)
class Asked:
    """A question of the miniature before it becomes a row of an annotation file."""

    number: int
    story: Story
    query: Query
    options: tuple[str, ...]
    answer: int


def build(name: str, root: Path, seed: int = 2026, sizes: dict[str, int] | None = None) -> None:
    """Makes the data set `name` ("mini-star", "smoke-nextqa", ...) in `root`, unless it is there already.

    An interrupted build goes on where it stopped; `complete.json` is written last. `sizes`: videos per split, if not
    `SIZES`.
    """
    kind = name.split("-", 1)[1]
    marker = root / "complete.json"
    sizes = sizes or SIZES[name]
    wanted = {"name": name, "version": VERSION, "seed": seed, "sizes": sizes}
    if _made(marker, wanted):
        return  # also where nothing can be written
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / ".build.lock"):
        if _made(marker, wanted):
            return
        started = root / "started.json"
        if not (started.exists() and json.loads(started.read_text()) == wanted):
            for part in ("videos", "reasoning"):  # what another version made must not be mixed in
                shutil.rmtree(root / part, ignore_errors=True)
            started.write_text(json.dumps(wanted))
        splits = {split: compose(f"mini-{kind}", split, count, seed) for split, count in sizes.items()}
        stories = {asked.story.id: asked.story for questions in splits.values() for asked in questions}
        (root / "stories.json").write_text(json.dumps({id: asdict(story) for id, story in stories.items()}))
        _WRITERS[kind](root, splits)
        _write_videos(root, kind, stories)
        from reasvqa.datasets import load

        train = load(name, "train", root)
        for strength in STRENGTHS.values():
            for what in ("reasoning", *CAPTION_PROMPTS):
                generate(
                    train,
                    SimulatedGenerator(root, strength, what),
                    paths.reasoning(root, strength.name, what),
                    what,
                    batch_size=len(train),
                )
        marker.write_text(json.dumps(wanted))


def _made(marker: Path, wanted: dict) -> bool:
    return marker.exists() and json.loads(marker.read_text()) == wanted


# --- questions --------------------------------------------------------------------------------------------------------


def compose(dataset: str, split: str, videos: int, seed: int) -> list[Asked]:
    """The questions of a split: types in the benchmark's proportions, right answers evenly over the letters."""
    rng = np.random.default_rng([seed, sorted(FORMS).index(dataset), ("train", "val", "test").index(split)])
    forms = FORMS[dataset]
    total = videos * QUESTIONS_PER_VIDEO
    # Exactly the wanted number of each form, in random order; a form that a story cannot serve waits for the next
    # story. Forms that a story can serve only once come a little earlier, so that they are not what remains in the end.
    shares = np.array([form.share for form in forms]) / sum(form.share for form in forms)
    counts = np.floor(shares * total).astype(int)
    counts[np.argsort(shares * total - counts)[::-1][: total - counts.sum()]] += 1
    waiting = [form for form, count in zip(forms, counts, strict=True) for _ in range(count)]
    times = rng.random(total) * [0.8 if form.select in ("never", "rooms") else 1.0 for form in waiting]
    waiting = [waiting[i] for i in np.argsort(times)]
    letters = rng.permutation(np.arange(total) % NUM_OPTIONS[dataset])
    clip = {"before": 1, "after": 1} if dataset == "mini-star" else {}
    made: list[Asked] = []
    numbers: dict[str, int] = {}  # how often each number word was the answer, so that counts are balanced
    for v in range(videos):
        for _ in range(1000):
            story = make_story(rng, _video_name(dataset, split, v), **clip)
            chosen = _choose(waiting, story, rng, numbers)
            if chosen is not None:
                break
        else:
            raise RuntimeError(f"no story found that serves three of the remaining questions of {dataset}/{split}")
        for number, (form, query) in enumerate(chosen):
            waiting.remove(form)
            truth = answer_of(query, story.seen)
            if form.report == "number":
                numbers[truth] = numbers.get(truth, 0) + 1
            wrong = distractors(query, story, NUM_OPTIONS[dataset] - 1, rng)
            answer = int(letters[len(made)])
            made.append(Asked(number, story, query, tuple(wrong[:answer] + [truth] + wrong[answer:]), answer))
    return made


def _choose(
    waiting: Sequence[Form], story: Story, rng: np.random.Generator, numbers: dict[str, int]
) -> list[tuple[Form, Query]] | None:
    """The first few waiting forms that this story can serve, with different questions; None when there are too few."""
    chosen: list[tuple[Form, Query]] = []
    for form in waiting:
        query = ask(form, story, rng)
        if query is None or query.text in {other.text for _, other in chosen}:
            continue
        if form.report == "number" and numbers.get(answer_of(query, story.seen), 0) > min(
            [numbers.get(n, 0) for n in ("two", "three", "four")]
        ):
            continue
        chosen.append((form, query))
        if len(chosen) == QUESTIONS_PER_VIDEO:
            return chosen
    return None


def _video_name(dataset: str, split: str, v: int) -> str:
    """Names in the style of the benchmarks: STAR's five letters, NExT-QA's ten digits."""
    number = ("train", "val", "test").index(split) * 100_000 + v
    if dataset == "mini-star":
        return "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(number * 7919 // 26**k) % 26] for k in range(5))
    return str(2_000_000_000 + number * 7_919 + (5_000 if dataset == "mini-intentqa" else 0))


# --- files ------------------------------------------------------------------------------------------------------------


def _write_star(root: Path, splits: dict[str, list[Asked]]) -> None:
    for split, questions in splits.items():
        items = []
        count: dict[str, int] = {}
        for asked in questions:
            form = asked.query.form
            template = [f for f in FORMS["mini-star"] if f.type == form.type].index(form) + 1
            key = f"{form.type}_T{template}"
            start, end = asked.story.clip
            items.append(
                {
                    "question_id": f"{key}_{count.get(key, 0)}",
                    "question": asked.query.text,
                    "video_id": asked.story.id,
                    "start": start,
                    "end": end,
                    "answer": asked.options[asked.answer],
                    "choices": [{"choice_id": i, "choice": option} for i, option in enumerate(asked.options)],
                }
            )
            count[key] = count.get(key, 0) + 1
        (root / f"STAR_{split}.json").write_text(json.dumps(items, indent=1))


def _write_csv(root: Path, splits: dict[str, list[Asked]], id_column: str, extra: Sequence[str] = ()) -> None:
    for split, questions in splits.items():
        with (root / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            columns = [
                id_column,
                "frame_count",
                "width",
                "height",
                "question",
                "answer",
                "qid",
                "type",
                "a0",
                "a1",
                "a2",
                "a3",
                "a4",
            ]
            writer.writerow([*columns, *extra])
            for asked in questions:
                form, story = asked.query.form, asked.story
                frames = int(len(story.events) * SECONDS_PER_EVENT * FPS)
                row = [
                    story.id,
                    frames,
                    SIZE,
                    SIZE,
                    asked.query.text,
                    asked.answer,
                    asked.number,
                    form.type,
                    *asked.options,
                ]
                action = asked.query.anchor.verb if asked.query.anchor else ""
                writer.writerow(row + [action, action, 0][: len(extra)])


def _write_nextqa(root: Path, splits: dict[str, list[Asked]]) -> None:
    _write_csv(root, splits, "video")
    names = {asked.story.id for questions in splits.values() for asked in questions}
    (root / "map_vid_vidorID.json").write_text(json.dumps({name: _vidor(name) for name in sorted(names)}, indent=1))
    hard = [
        i
        for i, a in enumerate(splits["val"])
        if a.query.form.type[0] in "CT" and needs_several_frames(a.query, a.story)
    ]
    (root / "atp-hard-ct4.txt").write_text("\n".join(map(str, hard)) + "\n")


def _write_intentqa(root: Path, splits: dict[str, list[Asked]]) -> None:
    _write_csv(root, splits, "video_id", extra=("action", "lemma", "lemma_id"))


_WRITERS = {"star": _write_star, "nextqa": _write_nextqa, "intentqa": _write_intentqa}


def _vidor(name: str) -> str:
    """VidOR keeps its videos in folders of four digits."""
    return f"{int(name) % 97:04d}/{name}"


def _video_file(kind: str, name: str) -> str:
    return f"{_vidor(name)}.mp4" if kind == "nextqa" else f"{name}.mp4"


def _write_videos(root: Path, kind: str, stories: dict[str, Story]) -> None:
    files = {root / "videos" / _video_file(kind, id): story for id, story in stories.items()}
    tasks = {path: (write_video, story, path) for path, story in files.items() if not path.exists()}
    if tasks:
        with Workers(min(cores(), len(tasks))) as workers:
            finished = finish_all(workers.submit, tasks)
            for _, written in tqdm(finished, desc=f"videos of {root.name}", total=len(tasks), unit="video"):
                result_of(written)


def read_stories(root: Path) -> Mapping[str, Story]:
    """The stories behind a miniature data set, by video id; kept in memory until the file changes."""
    state = (root / "stories.json").stat()
    return _stories(root / "stories.json", state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _stories(path: Path, *_state: int) -> Mapping[str, Story]:
    def event(values: dict[str, Any]) -> Event:
        return Event(**values | dict[str, Any](idle=tuple(map(tuple, values["idle"]))))

    stories = json.loads(path.read_text())
    return {id: Story(**values | {"events": tuple(map(event, values["events"]))}) for id, values in stories.items()}


# --- the simulated generator ------------------------------------------------------------------------------------------


class SimulatedGenerator:
    """A `Generator` for the miniature: answers from the story behind the video, with the errors of its strength.

    It is a simulation. It reads questions as everybody does, from samples, and finds out which form they are of.
    """

    def __init__(self, root: Path, strength: Strength, kind: str = "reasoning"):
        self.name = strength.name
        self.strength = strength
        self.kind = kind
        self.stories = read_stories(root)
        self.forms = FORMS["mini-" + root.name.split("-", 1)[1]]

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str]:
        return [self._respond(sample) for sample in samples]

    def _respond(self, sample: Sample) -> str:
        story = self.stories[Path(sample.video).stem]
        if self.kind != "reasoning":
            # A caption belongs to the video: all its questions get the same one.
            return caption(
                story, self.strength, self.kind == "detailed_caption", rng_for(self.name, self.kind, story.id)
            )
        query = understand(sample, story, self.forms)
        return respond(query, sample.options, story, self.strength, rng_for(self.name, sample.id))

    def diagnose(self, samples: Sequence[Sample]) -> pd.DataFrame:
        """Where the errors in its reasoning come from: a row per sample with id, events (seen), events_wrong, sentences
        (of the response, what concludes left out), sentences_false (about the video), cause.

        cause: "right answer"; "perception" (what it believes it saw implies a wrong answer, or none); "inference" (it
        saw well enough and concluded wrongly); "no answer".
        """
        rows = []
        for sample in samples:
            story = self.stories[Path(sample.video).stem]
            query = understand(sample, story, self.forms)
            believed = perceive(
                story, self.strength, rng_for(self.name, sample.id)
            )  # the same draws as in its response
            wrong = sum((a.verb, a.object) != (b.verb, b.object) for a, b in zip(believed, story.seen, strict=True))
            response = self._respond(sample)
            choice = parse_answer(response, sample.options)
            judged = [truth for _, truth in judge(refine(response), story)]
            if choice is None:
                cause = "no answer"
            elif choice == sample.answer:
                cause = "right answer"
            else:
                cause = "inference" if solve(query, believed) == sample.answer_text else "perception"
            row = {"id": sample.id, "events": len(believed), "events_wrong": wrong, "cause": cause}
            rows.append(row | {"sentences": len(judged), "sentences_false": judged.count(False)})
        return pd.DataFrame(rows)


def understand(sample: Sample, story: Story, forms: Sequence[Form]) -> Query:
    """The query behind a question's text: the form and the event that produce it."""
    for form in forms:
        if form.type == sample.type:
            for anchor in (None, *story.seen) if form.select in ("never", "rooms") else story.seen:
                query = Query(form, anchor, story.person)
                if query.text == sample.question:
                    return query
    raise ValueError(f"sample {sample.id!r}: {sample.question!r} is not a question about story {story.id!r}")
