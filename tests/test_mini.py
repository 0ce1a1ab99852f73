"""The miniature: official formats, no shortcut for a blind student, generators of the intended strength, all from
a seed; and the gates that it passed."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reasvqa import paths
from reasvqa.datasets import load
from reasvqa.mini import gates, pretrain
from reasvqa.mini.build import QUESTIONS_PER_VIDEO, SIZES, SimulatedGenerator, build, compose, read_stories
from reasvqa.mini.generator import STRENGTHS, claims, tell
from reasvqa.mini.grounding import grounding, probe, told_rightly
from reasvqa.mini.questions import FORMS, NUM_OPTIONS, locate, needs_several_frames, solve
from reasvqa.mini.render import LOOKS, write_video
from reasvqa.mini.world import NEW, OBJECTS, Event, Story, make_story
from reasvqa.refinement import refine
from reasvqa.samples import Sample
from reasvqa.students import STUDENTS, load_student
from reasvqa.video import read_frames

KINDS = ("star", "nextqa", "intentqa")
SHIPPED_STUDENTS = ("mini-blip2", "mini-blip2-b", "mini-llava-ov-small", "mini-llava-ov")
MINI = paths.SHIPPED / "mini"
MEASURED = pd.read_csv(MINI / "gates.csv")
PROTOCOL = (MINI / "PROTOCOL.md").read_text()
NEW_NAME, OLD_NAME = sorted(NEW)[0], sorted(set(OBJECTS) - set(NEW))[0]


@pytest.fixture(scope="module", params=KINDS)
def questions(request):
    """A data set's name and a large split of it as composed; nothing is rendered."""
    return f"mini-{request.param}", compose(request.param, "test", 300)


def test_letters_types_and_options_are_as_intended(questions):
    name, asked = questions
    letters = Counter(a.answer for a in asked)
    assert len(asked) == 900 and len(letters) == NUM_OPTIONS[name]
    assert max(letters.values()) - min(letters.values()) <= 1
    types, total = Counter(a.query.form.type for a in asked), sum(form.share for form in FORMS[name])
    for kind in types:
        share = sum(form.share for form in FORMS[name] if form.type == kind) / total
        assert types[kind] / len(asked) == pytest.approx(share, abs=0.01)
    for a in asked:
        assert len(set(a.options)) == NUM_OPTIONS[name] and a.options[a.answer] == solve(a.query, a.story.seen)


def test_wording_gives_nothing_away(questions):
    """What a blind student could use: the right option shares no more words with others than chance has it, and no word
    is right more often than it is offered."""
    name, asked = questions
    right, offered, closest = Counter(), Counter(), 0
    for a in asked:
        words = [set(option.replace(".", "").split()) for option in a.options]
        overlap = [sum(len(words[i] & words[j]) for j in range(len(words)) if j != i) for i in range(len(words))]
        best = [i for i, value in enumerate(overlap) if value == max(overlap)]
        closest += (a.answer in best) / len(best)
        for option in words:
            offered.update(option)
        right.update(words[a.answer])
    assert closest / len(asked) == pytest.approx(1 / NUM_OPTIONS[name], abs=0.05)
    for word in OBJECTS:
        if offered[word] > 150:
            assert right[word] / offered[word] == pytest.approx(1 / NUM_OPTIONS[name], abs=0.12), word


def test_splits_share_no_video(questions):
    name, asked = questions
    kind = name.split("-")[1]
    others = compose(kind, "train", 40) + compose(kind, "val", 40)
    assert not {a.story.id for a in asked} & {a.story.id for a in others}


def test_atp_hard_questions_need_several_frames():
    """By brute force: no single frame leads to the right answer."""
    samples, hard = load("smoke-nextqa", "val"), load("smoke-nextqa", "atp-hard")
    assert 0 < len(hard) < len(samples) and {s.group for s in hard} <= {"Cau", "Tem"}
    for a in compose("nextqa", "val", 60):
        truth = solve(a.query, a.story.seen)
        single_frames = [solve(a.query, [event]) == truth for event in a.story.seen]
        if a.query.form.select != "rooms":
            assert needs_several_frames(a.query, a.story) == (not any(single_frames))
        if a.query.form.select in ("after", "before"):
            assert not any(single_frames) and len(locate(a.query, a.story.seen)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_files_are_read_by_the_official_loaders(kind):
    for split, videos in SIZES["smoke"].items():
        samples = load(f"smoke-{kind}", split)
        assert len(samples) == QUESTIONS_PER_VIDEO[split] * videos and all(
            (samples.videos / s.video).is_file() for s in samples
        )


@pytest.mark.slow
def test_everything_follows_from_the_seed_and_an_interrupted_build_continues(tmp_path):
    """The same data set in two places has the same bytes, videos included, though one build lost files half-way."""

    def digest(root: Path) -> dict[str, str]:
        files = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".") and p.suffix != ".lock"]
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    one, two = tmp_path / "a" / "smoke-intentqa", tmp_path / "b" / "smoke-intentqa"
    build("smoke-intentqa", one, "test")
    build("smoke-intentqa", two, "test")
    lost, kept = sorted((two / "videos").glob("*.mp4"))[:2]
    written = kept.stat().st_mtime_ns
    lost.unlink()
    build("smoke-intentqa", two, "test")
    assert kept.stat().st_mtime_ns == written and len(list((two / "videos").glob("*.mp4"))) == SIZES["smoke"]["test"]
    (two / "complete.json").unlink()
    build("smoke-intentqa", two, "test")
    assert digest(one) == digest(two)


def test_looks_make_pictures_dim_tinted_and_grainy(tmp_path):
    """Measured on decoded frames: each step of the dial is darker, and farther from the clear picture."""
    story = make_story(np.random.default_rng(3), "looks")
    frames = {}
    for name, look in LOOKS.items():
        write_video(story, tmp_path / f"{name}.mp4", look)
        frames[name] = read_frames(tmp_path / f"{name}.mp4", 4).astype(float)
    brightness = [frame.mean() for frame in frames.values()]
    distance = [np.abs(frame - frames["clear"]).mean() for frame in frames.values()]
    assert brightness == sorted(brightness, reverse=True) and distance == sorted(distance)
    roughness = {name: np.abs(np.diff(frame, 4, axis=1)).mean() for name, frame in frames.items()}
    assert frames["night"].std() < 0.8 * frames["clear"].std() and roughness["night"] > roughness["clear"]


def test_stories_are_read_again_when_their_file_changes(smoke_star, tmp_path):
    stories = json.loads((paths.dataset("smoke-star") / "stories.json").read_text())
    (tmp_path / "stories.json").write_text(json.dumps(stories))
    first = read_stories(tmp_path, "val")
    assert len(first) == SIZES["smoke"]["val"] and read_stories(tmp_path, "val") is first
    assert len(read_stories(tmp_path)) == sum(SIZES["smoke"].values())
    (tmp_path / "stories.json").write_text(json.dumps(stories | {"val": dict(list(stories["val"].items())[1:])}))
    assert len(read_stories(tmp_path, "val")) == len(first) - 1


def simulated(tmp_path: Path, kind: str, strength: str) -> tuple[SimulatedGenerator, list[Sample]]:
    """Return a generator and 900 questions for it; nothing is rendered."""
    asked = compose(kind, "test", 300)
    root = tmp_path / f"mini-{kind}"
    root.mkdir()
    (root / "stories.json").write_text(json.dumps({"test": {a.story.id: asdict(a.story) for a in asked}}))
    samples = [
        Sample(f"{a.story.id}_{i}", f"{a.story.id}.mp4", None, a.query.text, a.options, a.answer, a.query.form.type)
        for i, a in enumerate(asked)
    ]
    return SimulatedGenerator(root, STRENGTHS[strength]), samples


@pytest.mark.slow
@pytest.mark.parametrize(("strength", "low", "high"), [("sim-4b", 56, 66), ("sim-26b", 65, 75)])
@pytest.mark.parametrize("kind", KINDS)
def test_simulated_generators_are_as_strong_as_the_papers(kind, strength, low, high, tmp_path):
    """About 60 and 70 % are right; most errors are of inference, not of perception."""
    generator, samples = simulated(tmp_path, kind, strength)
    table = generator.diagnose(samples)
    shares = table["cause"].value_counts(normalize=True) * 100
    assert low <= shares["right answer"] <= high
    assert shares["inference"] > 2 * shares["perception"] and shares["no answer"] > 0
    assert 3 <= 100 * table["events_wrong"].sum() / table["events"].sum() <= 10
    wrong = table[table["cause"] != "right answer"]
    assert 0 < wrong["sentences_false"].sum() <= 0.25 * wrong["sentences"].sum()


def test_a_perfect_generator_says_nothing_false(tmp_path):
    generator, samples = simulated(tmp_path, "star", "sim-perfect")
    table = generator.diagnose(samples)
    assert set(table["cause"]) == {"right answer"} and table["sentences_false"].sum() == 0
    story = generator.stories[samples[0].video.removesuffix(".mp4")]
    assert all(claim.true for claim in claims(refine(generator(samples[:1], [""])[0]), story))


def test_sentences_are_judged_against_the_clip():
    """By hand, on one story. A sentence that lost its object keeps its place."""
    plot = [("open", "lamp", "hall"), ("wash", "cup", "garden"), ("lift", "bag", "hall"), ("push", "box", "hall")]
    events = tuple(Event(verb, name, room, 0, ((1, "shoe"), (2, "cup"))) for verb, name, room in plot)
    text = """First, the man opens the lamp in the hall near the shoe and the cup. Second, the man washes the.
Third, the man lifts the bag in the garden. Fourth, the man pushes the box in the hall near the and the cup.
After the cup the man lifts the bag. Before the lamp the man uses the cup. The man never uses the shoe.
The man never uses the box. The plate is not there. The shoe is not there. The rooms are the garden, the hall.
It is hard to tell."""
    found = claims(text, Story("x", "man", events, 0, 3, "shoe"))
    right = [True, None, False, True, True, False, True, False, True, False, True, None]
    assert [claim.true for claim in found] == right
    assert [claim.event for claim in found] == [*events, *[None] * 8]


def test_grounding_compares_each_sentence_with_its_own_frame(smoke_star):
    """Of four events one lost its object, and all name a wrong room: those behind it keep their frames."""
    samples, root = smoke_star[1], paths.dataset("smoke-star")
    stories = read_stories(root)

    def told(sample) -> str:
        seen = stories[Path(sample.video).stem].seen
        said = [tell(i, replace(event, room="cellar"), "man").split(" in the ")[0] for i, event in enumerate(seen)]
        return ". ".join([said[0], said[1].rsplit(" ", 1)[0], *(f"{one} in the cellar" for one in said[2:])]) + "."

    run = SimpleNamespace(root=root, samples=lambda: samples, explain=lambda some: [told(sample) for sample in some])
    found = grounding(run)
    assert found["event"] == found["object"] == 75 and found["room"] == 0 and found["action"] in (75, 100)


def test_a_probe_reads_what_features_contain_and_nothing_else(smoke_star):
    """Features that are one-hot verbs: a linear probe reads actions, and objects no better than by chance."""
    stories = read_stories(paths.dataset("smoke-star"))
    verbs = sorted({event.verb for story in stories.values() for event in story.events})

    class Features:
        def __getitem__(self, sample):
            seen = stories[Path(sample.video).stem].seen
            return np.eye(len(verbs))[[verbs.index(event.verb) for event in seen]][:, None]

    train, test = (list({s.video: s for s in samples}.values()) for samples in smoke_star)
    found = probe((train, Features()), (test, Features()), stories)
    assert found["action"] == 100 and found["object"] < 40


def test_what_is_told_is_counted_by_kind():
    """By hand: "towel" is one of the names that pretraining knows or not; a missing sentence is wrong in all."""
    event = Event("open", NEW_NAME, "hall", 0, ())
    story = Story("x", "man", (event, replace(event, object=OLD_NAME)), 0, 1, "shoe")
    said = f"First, the man opens the {NEW_NAME} in the garden."
    assert told_rightly([said], [story]) == {
        "action": 50, "object": 50, "room": 0, "event": 50, "new": 100, "named": 0
    }  # fmt: skip


def test_pretraining_shows_no_object_with_a_new_name():
    """Pictures of new objects come with colours only; their names occur in text without pictures only."""
    rng = np.random.default_rng(0)
    colours = {OBJECTS[name].colour for name in NEW}
    assert not colours & set(OBJECTS) and len(NEW) == len(OBJECTS) / 2
    said = set()
    for i in range(50):
        story = pretrain.in_colours(make_story(rng, str(i)))
        said |= {event.object for event in story.seen} | {name for event in story.seen for _, name in event.idle}
    assert said == (set(OBJECTS) - set(NEW)) | colours
    texts = " ".join(pretrain.read_text(rng) for _ in range(200))
    assert all(name in texts for name in NEW) and not any(f" {colour} " in texts for colour in colours)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED_STUDENTS)
def test_the_students_that_ship_pass_their_gates(name):
    shares = pretrain.gates(load_student(name), count=200, seed=99)
    assert shares["caption"] >= 95 and shares["narration"] >= 90 and shares["retrieval"] >= 95
    if name == "mini-blip2":  # the others miss this gate, as notebook 90 shows
        assert shares["order"] >= 90


def test_the_students_ship_small_and_safe():
    needed = {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"}
    for name in SHIPPED_STUDENTS:
        files = list(Path(STUDENTS[name]).iterdir())
        assert {f.name for f in files} >= needed and sum(f.stat().st_size for f in files) < 10e6
        assert not [f for f in files if f.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_the_tokenizer_writes_any_text():
    tokenizer = load_student("mini-blip2").tokenizer
    for text in (
        "The man opened the lamp, washes it.",
        "Ein Übungssatz: 42 % – 日本語 🙂",
        "###Answer: (B)\n\n1. next",
    ):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert len({tokenizer.tokenize(f" {form}")[0] for form in ("open", "opens", "opened", "opening")}) == 1


@pytest.mark.slow
def test_all_gates_are_measured_at_reduced_size():
    """The mechanics, on so few questions that the numbers mean nothing."""
    table = gates.measure("smoke-star", seeds=(0, 1), few=(0,))
    assert set(table["gate"]) == set(MEASURED["gate"]) and set(table["dataset"]) == {"smoke-star"}
    assert np.isfinite(table["value"]).all()


def test_the_protocol_states_the_measured_gates():
    for (gate, what), rows in MEASURED.groupby(["gate", "what"]):
        rows, cells = rows.set_index("dataset"), []
        for dataset in ("mini-nextqa", "mini-star", "mini-intentqa"):
            low, high = rows.loc[dataset, "low"], rows.loc[dataset, "high"]
            bound = f" (at most {high:g})" if np.isinf(low) else f" (at least {low:g})"
            if np.isinf(low) == np.isinf(high):
                bound = "" if np.isinf(low) else f" ({low:g} to {high:g})"
            missed = "" if rows.loc[dataset, "passed"] else ", **missed**"
            cells.append(f"{rows.loc[dataset, 'value']:.1f}{bound}{missed}")
        assert f"| {gate} | {what} | {' | '.join(cells)} |" in PROTOCOL
    within = MEASURED["value"].between(MEASURED["low"], MEASURED["high"])
    assert within.equals(MEASURED["passed"])
