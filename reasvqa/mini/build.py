"""Make a miniature benchmark: mp4 files, annotations in the official file formats, and simulated generators' responses.

    mini-star/     STAR_{train,val,test}.json          videos/*.mp4     stories.json     reasoning/*.jsonl
    mini-nextqa/   {train,val,test}.csv, map_vid_vidorID.json, atp-hard-ct4.txt ...
    mini-intentqa/ {train,val,test}.csv ...

Everything follows from the data set's name and a seed. Videos of a split are made when it is first asked for.
`stories.json` says what happens in each video; only the simulated generators read it, in place of the pixels.
"""

import json
import shutil
from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import TypeAdapter
from tqdm.auto import tqdm

from reasvqa import paths
from reasvqa.files import file_state, locked
from reasvqa.generation import CAPTION_PROMPTS, generate, parse_answer
from reasvqa.mini.generator import STRENGTHS, Strength, caption, claims, perceive, respond, rng_for
from reasvqa.mini.questions import FORMS, NUM_OPTIONS, Form, Query, ask, distractors, needs_several_frames, solve
from reasvqa.mini.render import DEFAULT_LOOK, FPS, LOOKS, SIZE, write_video
from reasvqa.mini.world import SECONDS_PER_EVENT, Story, make_story
from reasvqa.processes import Workers, cores, finish_all, result_of
from reasvqa.refinement import refine
from reasvqa.registry import DATASETS
from reasvqa.samples import Sample
from reasvqa.validation import one_of

VERSION = 4  # raise it when the world changes: data made by an older version are made again
SEED = 2027
SPLITS: tuple[str, ...] = ("train", "val", "test")
# Videos per split. Training has one question a clip: few clips seen often are memorised. "smoke" is a handful.
SIZES: dict[str, dict[str, int]] = {
    "mini": {"train": 480, "val": 300, "test": 500},
    "smoke": {"train": 24, "val": 6, "test": 8},
}
QUESTIONS_PER_VIDEO = {"train": 1, "val": 3, "test": 3}


@dataclass(frozen=True)
class Asked:
    """A question of the miniature before it becomes a row of an annotation file."""

    number: int  # within its video
    story: Story
    query: Query
    options: tuple[str, ...]
    answer: int  # index of the right option


def build(name: str, root: Path, split: str, sizes: dict[str, int] | None = None) -> None:
    """Make the data set `name` in `root`, and the videos of `split`, unless they are there.

    An interrupted build continues where it stopped: `complete.json` is written last, and each video appears whole.

    Args:
        name: "mini-star", "smoke-nextqa", ... or, with one of `LOOKS` behind it, "mini-nextqa-clear".
        split: "train", "val", "test" or "atp-hard".
        sizes: videos per split; default: `SIZES`.
    """
    one_of("split", split, (*SPLITS, "atp-hard"))
    scale, kind, *words = name.split("-")
    sizes = sizes or SIZES[scale]
    look = LOOKS[words[0] if words else DEFAULT_LOOK]
    marker = root / "complete.json"
    wanted = {"name": name, "version": VERSION, "seed": SEED, "sizes": sizes, "look": look}
    if not _made(marker, wanted):  # nothing is written if it is: the folder may be read-only
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / ".build.lock"):
            if not _made(marker, wanted):
                _write_texts(root, kind, sizes)
                marker.write_text(json.dumps(wanted), encoding="utf-8")
    _write_videos(root, kind, "val" if split == "atp-hard" else split, look)


def _write_texts(root: Path, kind: str, sizes: dict[str, int]) -> None:
    """Write everything but the videos: questions, stories, and what the simulated generators say."""
    for folder in ("videos", "reasoning"):  # must not keep files of another version
        shutil.rmtree(root / folder, ignore_errors=True)
    splits = {split: compose(kind, split, count) for split, count in sizes.items()}
    stories = {split: {a.story.id: asdict(a.story) for a in asked} for split, asked in splits.items()}
    (root / "stories.json").write_text(json.dumps(stories), encoding="utf-8")
    _WRITERS[kind](root, splits)
    train = DATASETS[f"mini-{kind}"].read(root, "train")
    for strength in STRENGTHS.values():
        for what in ("reasoning", *CAPTION_PROMPTS):
            generator, path = SimulatedGenerator(root, strength, what), paths.reasoning(root, strength.name, what)
            generate(train, generator, path, what, batch_size=len(train))


def _made(marker: Path, wanted: dict) -> bool:
    return marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == wanted


# --- questions --------------------------------------------------------------------------------------------------------


def compose(kind: str, split: str, videos: int) -> list[Asked]:
    """Return the questions of a split: types in the benchmark's proportions, right answers evenly over the letters."""
    dataset, per_video = f"mini-{kind}", QUESTIONS_PER_VIDEO[split]
    rng = np.random.default_rng([SEED, sorted(FORMS).index(dataset), SPLITS.index(split)])
    forms = FORMS[dataset]
    total = videos * per_video
    # Each form comes as often as its share says, in random order; a form that a story cannot serve waits for the next
    # story. Forms that a story serves only once come a little earlier, so that they do not remain at the end.
    shares = np.array([form.share for form in forms]) / sum(form.share for form in forms)
    counts = np.floor(shares * total).astype(int)
    counts[np.argsort(shares * total - counts)[::-1][: total - counts.sum()]] += 1
    waiting = [form for form, count in zip(forms, counts, strict=True) for _ in range(count)]
    times = rng.random(total) * [0.8 if form.select in ("never", "rooms") else 1.0 for form in waiting]
    waiting = [waiting[i] for i in np.argsort(times)]
    letters = rng.permutation(np.arange(total) % NUM_OPTIONS[dataset])
    clip = {"before": 1, "after": 1} if dataset == "mini-star" else {}
    made: list[Asked] = []
    answers: Counter[str] = Counter()  # how often each was right, to balance number words
    for v in range(videos):
        for _ in range(1000):
            story = make_story(rng, _video_name(dataset, split, v), **clip)
            chosen = _choose(waiting, per_video, story, rng, answers)
            if len(chosen) == per_video:
                break
        else:
            raise RuntimeError(f"{dataset}/{split}: no story serves {per_video} of the remaining questions")
        for number, (query, truth) in enumerate(chosen):
            waiting.remove(query.form)
            answers[truth] += 1
            wrong = distractors(query, story, NUM_OPTIONS[dataset] - 1, rng)
            answer = int(letters[len(made)])
            made.append(Asked(number, story, query, tuple(wrong[:answer] + [truth] + wrong[answer:]), answer))
    return made


def _choose(
    waiting: Sequence[Form], count: int, story: Story, rng: np.random.Generator, answers: Counter[str]
) -> list[tuple[Query, str]]:
    """Ask the first `count` waiting forms that a story serves, or fewer. Return different questions with answers."""
    chosen: dict[str, tuple[Query, str]] = {}
    rarest = min(answers[number] for number in ("two", "three", "four"))
    for form in waiting:
        if (asked := ask(form, story, rng)) is None:
            continue
        query, answer = asked
        if query.text not in chosen and (form.report != "number" or answers[answer] <= rarest):
            chosen[query.text] = asked
            if len(chosen) == count:
                break
    return list(chosen.values())


def _video_name(dataset: str, split: str, v: int) -> str:
    """Return a name in the benchmark's style: five letters for STAR, ten digits for the others."""
    number = SPLITS.index(split) * 100_000 + v
    if dataset == "mini-star":
        return "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(number * 7919 // 26**k) % 26] for k in range(5))
    return str(2_000_000_000 + number * 7_919 + (5_000 if dataset == "mini-intentqa" else 0))


# --- files ------------------------------------------------------------------------------------------------------------


def _write_star(root: Path, splits: dict[str, list[Asked]]) -> None:
    for split, questions in splits.items():
        items = []
        count: Counter[str] = Counter()
        for asked in questions:
            form = asked.query.form
            template = [f for f in FORMS["mini-star"] if f.type == form.type].index(form) + 1
            key = f"{form.type}_T{template}"
            start, end = asked.story.clip
            item = {"question_id": f"{key}_{count[key]}", "question": asked.query.text, "video_id": asked.story.id}
            item |= {"start": start, "end": end, "answer": asked.options[asked.answer]}
            choices = [{"choice_id": i, "choice": option} for i, option in enumerate(asked.options)]
            items.append(item | {"choices": choices})
            count[key] += 1
        (root / f"STAR_{split}.json").write_text(json.dumps(items, indent=1), encoding="utf-8")


def _write_csv(root: Path, splits: dict[str, list[Asked]], id_column: str, extra: Sequence[str] = ()) -> None:
    columns = f"{id_column} frame_count width height question answer qid type a0 a1 a2 a3 a4".split()
    for split, questions in splits.items():
        rows = []
        for asked in questions:
            query, story, action = asked.query, asked.story, asked.query.anchor.verb
            frames = int(len(story.events) * SECONDS_PER_EVENT * FPS)
            row = [story.id, frames, SIZE, SIZE, query.text, asked.answer, asked.number, query.form.type]
            rows.append([*row, *asked.options, *[action, action, 0][: len(extra)]])
        table = pd.DataFrame(rows, columns=[*columns, *extra])
        table.to_csv(root / f"{split}.csv", index=False, lineterminator="\r\n")


def _write_nextqa(root: Path, splits: dict[str, list[Asked]]) -> None:
    _write_csv(root, splits, "video")
    names = {asked.story.id for questions in splits.values() for asked in questions}
    places = json.dumps({name: _vidor(name) for name in sorted(names)}, indent=1)
    (root / "map_vid_vidorID.json").write_text(places, encoding="utf-8")
    hard = [a.query.form.type[0] in "CT" and needs_several_frames(a.query, a.story) for a in splits["val"]]
    (root / "atp-hard-ct4.txt").write_text("\n".join(map(str, np.flatnonzero(hard))) + "\n", encoding="utf-8")


_WRITERS = {
    "star": _write_star,
    "nextqa": _write_nextqa,
    "intentqa": partial(_write_csv, id_column="video_id", extra=("action", "lemma", "lemma_id")),
}


def _vidor(name: str) -> str:
    """Return a video's path in VidOR, which has folders of four digits."""
    return f"{int(name) % 97:04d}/{name}"


def _write_videos(root: Path, kind: str, split: str, look: float) -> None:
    place = _vidor if kind == "nextqa" else str
    files = {root / "videos" / f"{place(id)}.mp4": story for id, story in read_stories(root, split).items()}
    tasks = {path: (write_video, story, path, look) for path, story in files.items() if not path.exists()}
    if tasks:
        with Workers(min(cores(), 1 + len(tasks) // 50)) as workers:  # each takes a second to start
            finished = finish_all(workers.submit, tasks)
            for _, written in tqdm(finished, desc=f"videos of {root.name}, {split}", total=len(tasks), unit="video"):
                result_of(written)


def read_stories(root: Path, split: str | None = None) -> Mapping[str, Story]:
    """Return the stories behind a miniature data set by video id, of one split or (None) of all.

    They stay in memory until the file changes.
    """
    splits = _stories(root / "stories.json", file_state(root / "stories.json"))
    return ChainMap(*splits.values()) if split is None else splits[split]


@lru_cache(maxsize=8)
def _stories(path: Path, _state: object) -> dict[str, dict[str, Story]]:
    return TypeAdapter(dict[str, dict[str, Story]]).validate_json(path.read_bytes())


# --- the simulated generator ------------------------------------------------------------------------------------------


class SimulatedGenerator:
    """A simulated `Generator`: it answers from the story behind the video, with the errors of its strength.

    It reads questions from samples, as any generator does, and finds the form that each was made from.
    """

    def __init__(self, root: Path, strength: Strength, kind: str = "reasoning"):
        self.name = strength.name
        self.strength = strength
        self.kind = kind
        self.stories = read_stories(root)
        self.forms = FORMS["mini-" + root.name.split("-")[1]]

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str]:
        return [self._respond(sample) for sample in samples]

    def _respond(self, sample: Sample) -> str:
        story = self.stories[Path(sample.video).stem]
        if self.kind != "reasoning":
            rng = rng_for(self.name, self.kind, story.id)  # all questions about a video get the same caption
            return caption(story, self.strength, self.kind == "detailed_caption", rng)
        query = understand(sample, story, self.forms)
        return respond(query, sample.options, story, self.strength, rng_for(self.name, sample.id))

    def diagnose(self, samples: Sequence[Sample]) -> pd.DataFrame:
        """Find where the errors in its reasoning come from.

        Returns:
            A row per sample: "id"; "events" (seen) and "events_wrong"; "sentences" (of the refined response) and
            "sentences_false" (about the video); "cause": "right answer", "perception" (what it believes it saw implies
            a wrong answer, or none), "inference" (it saw well enough and concluded wrongly) or "no answer".
        """
        rows = []
        for sample in samples:
            story = self.stories[Path(sample.video).stem]
            query = understand(sample, story, self.forms)
            believed = perceive(story, self.strength, rng_for(self.name, sample.id))  # the same draws as its response's
            wrong = sum((a.verb, a.object) != (b.verb, b.object) for a, b in zip(believed, story.seen, strict=True))
            response = self._respond(sample)
            choice = parse_answer(response, sample.options)
            judged = [claim.true for claim in claims(refine(response), story)]
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
    """Return the query behind a question's text: the form and the event that produce it.

    Raises:
        ValueError: no form and event of the story produce it.
    """
    for form in forms:
        for anchor in story.seen:
            query = Query(form, anchor, story.person)
            if form.type == sample.type and query.text == sample.question:
                return query
    raise ValueError(f"sample {sample.id!r}: {sample.question!r} is not a question about story {story.id!r}")
