"""The miniature: official formats, no shortcut for a blind student, generators of the intended strength, all from
a seed; and its numbers against the record of runs."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reasvqa import paths
from reasvqa.datasets import load
from reasvqa.mini import gates, pretrain
from reasvqa.mini.build import SIZES, SimulatedGenerator, build, compose, read_stories
from reasvqa.mini.generator import STRENGTHS, judge
from reasvqa.mini.grounding import grounding
from reasvqa.mini.questions import FORMS, NUM_OPTIONS, locate, needs_several_frames, solve
from reasvqa.mini.wordings import by_wording, wording
from reasvqa.mini.world import NEW, OBJECTS, Event, Story, make_story
from reasvqa.refinement import refine
from reasvqa.samples import Sample
from reasvqa.students import STUDENTS, load_student

KINDS = ("star", "nextqa", "intentqa")
SHIPPED_STUDENTS = ("mini-blip2", "mini-llava-ov-small", "mini-llava-ov")
MINI = paths.SHIPPED / "mini"
TRIED = pd.read_csv(MINI / "tried.csv")
MEASURED = pd.read_csv(MINI / "gates.csv")
PROTOCOL = (MINI / "PROTOCOL.md").read_text()


@pytest.fixture(scope="module", params=KINDS)
def questions(request):
    """A data set's name and a large split of it as composed; nothing is rendered."""
    name = f"mini-{request.param}"
    return name, compose(name, "test", 300, seed=2025)


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
    others = compose(name, "train", 40, seed=2025) + compose(name, "val", 40, seed=2025)
    assert not {a.story.id for a in asked} & {a.story.id for a in others}


def test_every_question_has_one_wording(questions):
    name, asked = questions
    assert [wording(a.query.text, name) for a in asked] == [a.query.form.question for a in asked]
    with pytest.raises(ValueError, match="no question of"):
        wording("what time is it", name)


def test_accuracy_by_wording(smoke_star):
    """One setting is right about one wording in one of its two runs; the other is never right."""
    samples = load("smoke-star", "val")
    words = [wording(sample.question, "smoke-star") for sample in samples]
    answers = pd.Series([sample.answer for sample in samples])

    def run(right: np.ndarray):
        table = pd.DataFrame({"id": [s.id for s in samples], "answer": answers})
        table["prediction"] = answers.where(right, (answers + 1) % 4)
        config = SimpleNamespace(dataset="smoke-star", questions=20)
        root = paths.dataset("smoke-star")
        return SimpleNamespace(config=config, root=root, samples=lambda: samples, predictions=table)

    first, never = np.array([word == words[0] for word in words]), np.zeros(len(words), bool)
    found = by_wording({"one": [run(first), run(never)], "none": [run(never)]})
    assert found["asked"].sum() == len(samples) and found["in training"].sum() == 20
    assert found.loc[words[0], "one"] == 50 and (found["one"].drop(words[0]).dropna() == 0).all()
    assert (found["none"].dropna() == 0).all() and found["pretrained"].is_monotonic_decreasing


def test_atp_hard_questions_need_several_frames():
    """By brute force: no single frame leads to the right answer."""
    samples, hard = load("smoke-nextqa", "val"), load("smoke-nextqa", "atp-hard")
    assert 0 < len(hard) < len(samples) and {s.group for s in hard} <= {"Cau", "Tem"}
    for a in compose("mini-nextqa", "val", 60, seed=1):
        truth = solve(a.query, a.story.seen)
        single_frames = [solve(a.query, [event]) == truth for event in a.story.seen]
        if a.query.form.select != "rooms":
            assert needs_several_frames(a.query, a.story) == (not any(single_frames))
        if a.query.form.select in ("after", "before"):
            assert not any(single_frames) and len(locate(a.query, a.story.seen)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_read_by_the_official_loaders(kind):
    for split, videos in SIZES[f"smoke-{kind}"].items():
        samples = load(f"smoke-{kind}", split)
        assert len(samples) == 3 * videos and all((samples.videos / s.video).is_file() for s in samples)


@pytest.mark.slow
def test_everything_follows_from_the_seed_and_an_interrupted_build_continues(tmp_path):
    """The same data set in two places has the same bytes, videos included, though one build lost files half-way."""

    def digest(root: Path) -> dict[str, str]:
        files = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".") and p.suffix != ".lock"]
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    load("smoke-intentqa", "train")
    one, two = paths.dataset("smoke-intentqa").resolve(), tmp_path / "smoke-intentqa"
    build("smoke-intentqa", two)
    lost, kept = sorted((two / "videos").glob("*.mp4"))[:2]
    written = kept.stat().st_mtime_ns
    (two / "complete.json").unlink()
    lost.unlink()
    build("smoke-intentqa", two)
    assert digest(two).items() <= digest(one).items() and len(digest(two)) > 30
    assert kept.stat().st_mtime_ns == written


def test_stories_are_read_again_when_their_file_changes(smoke_star, tmp_path):
    stories = json.loads((paths.dataset("smoke-star") / "stories.json").read_text())
    (tmp_path / "stories.json").write_text(json.dumps(stories))
    first = read_stories(tmp_path)
    assert len(first) == len(stories) and read_stories(tmp_path) is first
    (tmp_path / "stories.json").write_text(json.dumps(dict(list(stories.items())[1:])))
    assert len(read_stories(tmp_path)) == len(first) - 1


def simulated(tmp_path: Path, kind: str, strength: str) -> tuple[SimulatedGenerator, list[Sample]]:
    """Return a generator and 900 questions for it; nothing is rendered."""
    asked = compose(f"mini-{kind}", "test", 300, seed=7)
    root = tmp_path / f"mini-{kind}"
    root.mkdir()
    (root / "stories.json").write_text(json.dumps({a.story.id: asdict(a.story) for a in asked}))
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
    assert all(truth for _, truth in judge(refine(generator(samples[:1], [""])[0]), story))


def test_sentences_are_judged_against_the_clip():
    """By hand, on one story."""
    plot = [("open", "lamp", "hall"), ("wash", "cup", "garden"), ("lift", "bag", "hall"), ("push", "box", "hall")]
    events = tuple(Event(verb, name, room, 0, ((1, "shoe"), (2, "cup"))) for verb, name, room in plot)
    text = """1. They open the lamp near the shoe.
2. They wash the bag.
3. They lift the bag in the garden.
4. They push the box in the hall. After the cup they lift the bag. Before the lamp they use the cup.
They never use the shoe. They never use the box. The plate is not there. The shoe is not there.
The rooms are the garden, the hall. It is hard to tell."""
    truths = [truth for _, truth in judge(text, Story("x", "man", events, 0, 3, "shoe"))]
    assert truths == [True, False, False, True, True, False, True, False, True, False, True, None]


def test_grounding_compares_each_sentence_with_its_own_frame(smoke_star):
    """Of four events three are told rightly and one lost its object: 75 %, and those behind it keep their frames."""
    samples, root = smoke_star[1], paths.dataset("smoke-star")
    stories = read_stories(root)

    def told(sample) -> str:
        seen = stories[Path(sample.video).stem].seen
        said = [f"they {event.verb} the {event.object}" for event in seen]
        said[1] = f"they {seen[1].verb} the"
        return ". ".join(said) + "."

    run = SimpleNamespace(root=root, samples=lambda: samples, explain=lambda some: [told(sample) for sample in some])
    assert grounding(run) == 75


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


@pytest.mark.parametrize("name", SHIPPED_STUDENTS)
@pytest.mark.slow
def test_the_students_that_ship_pass_their_gates(name):
    shares = pretrain.gates(load_student(name), count=200, seed=99)
    assert shares["caption"] >= 95 and shares["narration"] >= 90 and shares["retrieval"] >= 95
    if name == "mini-blip2":  # the decoder-only students fall short of this gate; notebook 90 shows by how much
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


def some(*accuracies: float) -> list:
    return [SimpleNamespace(accuracy=accuracy, name="STL_QA") for accuracy in accuracies]


@pytest.mark.parametrize(
    ("measured", "passed"),
    [
        (gates.takes_off(some(60, 61, 62)), [True, True]),
        (gates.takes_off(some(60, 61, 40)), [False, False]),
        (gates.converged(some(60, 62, 99), some(62, 63)), [True]),
        (gates.converged(some(60, 62), some(64, 64)), [False]),
        (gates.room(some(60, 62), some(70, 70)), [True, True]),
        (gates.room(some(82, 84), some(88, 88)), [False, False]),
        (gates.zero_shot(31, some(60), 5), [True]),
        (gates.zero_shot(24, some(60), 5), [False]),
        (gates.zero_shot(51, some(60), 5), [False]),
        (gates.blind(some(26, 28), 4), [True]),
        (gates.blind(some(26, 26), 5), [False]),
        (gates.reads_the_video([59, 62]), [True]),
        (gates.parts(some(70), some(75), some(56), some(54)), [False, True]),
    ],
)
def test_gates_keep_their_bounds(measured, passed):
    """The table of PROTOCOL.md, on made-up accuracies on both sides of each bound."""
    assert [m.passed for m in measured] == passed


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
            bound = f"at most {high:g}" if pd.isna(low) else f"at least {low:g}"
            bound = bound if pd.isna(low) or pd.isna(high) else f"{low:g} to {high:g}"
            missed = "" if rows.loc[dataset, "passed"] else ", **missed**"
            cells.append(f"{rows.loc[dataset, 'value']:.1f} ({bound}){missed}")
        assert f"| {gate} | {what} | {' | '.join(cells)} |" in PROTOCOL
    within = MEASURED["value"].between(MEASURED["low"].fillna(-np.inf), MEASURED["high"].fillna(np.inf))
    assert within.equals(MEASURED["passed"])


@pytest.mark.parametrize("dataset", ["mini-nextqa", "mini-star", "mini-intentqa"])
def test_the_measured_gates_follow_from_the_record_of_runs(dataset):
    own = TRIED[(TRIED["remark"] == "gates of the miniature that ships") & (TRIED["dataset"] == dataset)]
    by_setting = own.sort_values("seed").groupby(["setting", "epochs", "questions"])["accuracy"]

    def runs(setting: str, epochs: int = 10, questions: int = 480) -> np.ndarray:
        return by_setting.get_group((setting, epochs, questions)).to_numpy()

    qa, mtl = runs("STL_QA"), runs("MTL_All")
    assert len(qa) == len(mtl) == 5
    expected = {
        "STL_QA: sd over seeds": qa.std(ddof=1),
        "MTL_All: worst seed below the mean": mtl.mean() - mtl.min(),
        "STL_QA: change with 1.5 times the epochs": runs("STL_QA", 15).mean() - qa[:3].mean(),
        "MTL_All: change with 1.5 times the epochs": runs("MTL_All", 15).mean() - mtl[:3].mean(),
        "STL_QA": qa.mean(),
        "STL_QA: gain with 4 times as many questions": runs("STL_QA", questions=1920).mean() - qa[:3].mean(),
        "Blind": runs("Blind").mean(),
        "MTL_All: loss without LoRA": mtl[:3].mean() - runs("MTL_All, no LoRA").mean(),
        "STL_CR - STL_QA": runs("STL_CR").mean() - qa[:3].mean(),
    }
    found = MEASURED[MEASURED["dataset"] == dataset].set_index("what")["value"].to_dict()
    assert {what: found[what] for what in expected} == pytest.approx(expected, abs=0.15)


def test_the_protocol_states_the_gain_on_validation():
    """MTL_All - STL_QA: a t interval over five seeds' means of the data sets, since a seed moves all three alike."""
    rows = TRIED[(TRIED["remark"] == "gates of the miniature that ships") & (TRIED["epochs"] == 10)]
    rows = rows[(rows["questions"] == 480) & rows["setting"].isin(["STL_QA", "MTL_All"])]
    mean = rows.pivot_table(index="seed", columns="setting", values="accuracy")  # over the data sets
    gain = mean["MTL_All"] - mean["STL_QA"]
    assert len(rows) == 30 and len(gain) == 5
    half = stats.t.ppf(0.975, 4) * gain.std() / np.sqrt(5)
    printed = f"{gain.mean():.1f} points [{gain.mean() - half:.1f}, {gain.mean() + half:.1f}]"
    assert printed in " ".join(PROTOCOL.split())
