"""Make the miniature's students: the families' own architectures, four orders of magnitude smaller, pretrained.

They stand for what BLIP-2 and LLaVA-OneVision bring to the paper's experiments: they see, name, answer simple
questions about a few frames, tell what happens whatever they are asked, and write fluent English. Pretraining keeps
two things from them, which fine-tuning has to teach:

- the look of the benchmark's videos: pretraining sees clear pictures of its own stories, the benchmark's are dim,
  tinted and grainy (`reasvqa.mini.render.LOOKS`);
- the benchmark's names of half of the objects *when they are seen*: their pictures come with colour words ("the lime").
  Their names ("lamp") occur in text without pictures, as they did in FlanT5's pretraining.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from transformers import PreTrainedTokenizerFast

from reasvqa.learning.answering import pad
from reasvqa.learning.objective import target_losses
from reasvqa.losses import IGNORE
from reasvqa.mini.generator import STRENGTHS, respond, tell
from reasvqa.mini.questions import FORMS, NUM_OPTIONS, Form, Query, ask, distractors
from reasvqa.mini.render import draw_frame
from reasvqa.mini.untrained import byte_pairs, make_student, save_student
from reasvqa.mini.world import NEW, OBJECTS, Event, Story, make_story, present
from reasvqa.students import Blip2Student, Student, load_student

MAX_PROMPT_TOKENS = 160

NARRATION_PROMPT = "Describe the video."
QUESTION_PROMPTS = 0.8  # share of narrations whose prompt is a question: a captioner describes whatever it is asked

# The question forms that pretraining knows: all of the benchmarks', in their wording, and some of its own, with colours
# for objects in `NEW`. `COMMON_FORMS` ask for one event or its neighbour; all others build on that.
OWN_FORMS = (
    Form("", 1, "Which object did the person {verb}?", "verb", "object"),
    Form("", 1, "In which room was the {object} {past}?", "event", "room", "in the {room}"),
    Form("", 1, "What was done with the {object}?", "object", "verb", "It was {past}."),
    Form("", 1, "In which frame was the {object} {past}?", "event", "frame", "in frame {frame}"),
)
BENCHMARK_FORMS = tuple(form for forms in FORMS.values() for form in forms)
ALL_FORMS = (*{form.question: form for form in BENCHMARK_FORMS}.values(), *OWN_FORMS)
_NEAR = ("verb", "after", "before")
COMMON_FORMS = (
    *(form for form in BENCHMARK_FORMS if form.report == "room" or (form.select in _NEAR and form.type[0] in "ISTD")),
    *OWN_FORMS,
)
ORDER_FORMS = tuple(form for form in ALL_FORMS if form.select in ("after", "before"))


@dataclass(frozen=True)
class Phase:
    """A part of pretraining. One with a learning rate starts afresh: optimizer, warm-up, cosine, random numbers.

    `captions` and `narrations` are the shares of a step's stories that get one."""

    steps: int
    stories: int  # per step; 0: a step has single frames, and `captions` is their number
    captions: float
    narrations: float = 0
    questions: int = 0  # about each story
    texts: int = 0  # without pictures, per step
    order: float = 0  # share of the questions that have a form of `ORDER_FORMS`
    common: float = 0  # and of `COMMON_FORMS`; all forms are alike in the rest
    learning_rate: float | None = None  # the highest; None: the phase continues the one before it


# First the student learns to see, then everything at once. When it narrates frames without mistakes, mostly questions
# follow: first it finds an event by its object (after 2,000 steps of the third phase), then the one next to it.
PHASES = (
    Phase(900, 0, captions=64, learning_rate=1e-3),
    Phase(1100, 24, captions=0.7, narrations=0.6, questions=3, texts=8),
    Phase(4000, 10, captions=0.2, narrations=0.2, questions=4, texts=3, common=0.6, learning_rate=6e-4),
    Phase(2000, 24, captions=0.1, narrations=0.1, questions=4, texts=2, order=0.8, learning_rate=6e-4),
)

# A decoder-only student starts with a vision tower that knows the pictures, and finds events after 500 steps.
DECODER_PHASES = (*PHASES[:2], replace(PHASES[2], steps=800), replace(PHASES[3], steps=1200))


@dataclass(frozen=True)
class PretrainConfig:
    student: str = "mini-blip2"
    seed: int = 7
    stories: int = 6000  # that the phases draw from
    phases: tuple[Phase, ...] = PHASES
    decay: int = 5600  # steps of the first cosine, of which the first phases take 2,000
    warmup: int = 200  # steps
    noise: float = 0.04  # standard deviation of what is added to normalised pixels
    vocabulary: int = 768  # of the tokenizer


# How the students that ship were made.
PRETRAINED = {
    "mini-blip2": PretrainConfig("mini-blip2"),
    "mini-blip2-b": PretrainConfig("mini-blip2", seed=8),  # is it one student's luck?
    "mini-llava-ov-small": PretrainConfig("mini-llava-ov-small", phases=DECODER_PHASES),
    "mini-llava-ov": PretrainConfig("mini-llava-ov", phases=DECODER_PHASES),
}


def in_colours(story: Story) -> Story:
    """Return the story as pretraining tells it: objects in `NEW` go by their colours."""

    def called(name: str) -> str:
        return OBJECTS[name].colour if name in NEW else name

    def recolour(event: Event) -> Event:
        idle = tuple((cell, called(name)) for cell, name in event.idle)
        return replace(event, object=called(event.object), idle=idle)

    return replace(story, events=tuple(map(recolour, story.events)), spare=called(story.spare))


def describe_frame(event: Event, person: str) -> str:
    """Return the caption of one frame."""
    idle = " and the ".join(name for _, name in event.idle)
    return f"The {person} {present(event.verb)} the {event.object} in the {event.room} while the {idle} stand by."


def narrate(story: Story) -> str:
    """Return the narration of a clip: a sentence for each frame, in order."""
    return " ".join(tell(i, event, story.person) for i, event in enumerate(story.seen))


def read_text(rng: np.random.Generator) -> str:
    """Draw a text without pictures, as a language model reads it: a narration, an answered question or a reasoning.

    All names of objects occur here. The stories belong to no video.
    """
    story = make_story(rng, "text", before=1, after=1)
    dataset = str(rng.choice(list(FORMS)))
    form = FORMS[dataset][int(rng.integers(len(FORMS[dataset])))]
    asked = ask(form, story, rng)
    if asked is None or (kind := rng.random()) < 0.15:
        return narrate(story)
    query, truth = asked
    options = [truth, *distractors(query, story, NUM_OPTIONS[dataset] - 1, rng)]
    if kind < 0.4:
        # Any option: text must not teach which one is true.
        return f"{query.text} {options[int(rng.integers(len(options)))]}"
    return respond(query, options, story, STRENGTHS["sim-4b"], rng)


def make_tokenizer(config: PretrainConfig) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which can write any text.

    Verb endings are split off, so the forms of a verb share a stem; each name and colour is one token, so learning a
    name is learning one word. As in T5, padding is token 0 (also the decoder's start token) and end of text is 1, and
    sentinels mark the start of a reasoning and blanks in a text. A decoder-only student has tokens for the starts of
    answer and reasoning, and for the video's place.
    """
    rng = np.random.default_rng([config.seed, 1])
    texts = [read_text(rng) for _ in range(4000)]
    for _ in range(500):
        story = in_colours(make_story(rng, "text"))
        texts += [describe_frame(story.seen[0], story.person), narrate(story)]
    sentinels = ["<extra_id_0>", "<extra_id_1>"]
    own = sentinels if config.student == "mini-blip2" else ["<answer>", "<reasoning>", "<video>"]
    endings = pre_tokenizers.Split(Regex(r"(?<=[a-z]{4})(?:ed|es|ing|s)\b"), "isolated")
    digits, pieces = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = byte_pairs(texts, [endings, digits, pieces], ["<pad>", "</s>", *own], config.vocabulary)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "additional_special_tokens": own}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names)


@dataclass
class Example:
    frames: list[int]  # rows of the step's frames, in order of time; none for a text without pictures
    prompt: str
    target: str
    reasoning: bool  # whether the target is decoded from the reasoning's start token, or from the answer's


def frames_of(story: Story) -> np.ndarray:
    """Draw the clip that questions are about, a frame for each event: uint8 (4, 256, 256, 3)."""
    return np.stack([draw_frame(event, story.person) for event in story.seen])


def caption_of(story: Story, i: int, row: int) -> Example:
    """Return the caption of a story's i-th frame, which is row `row` of the step's frames, in colour words."""
    return Example([row], "Describe the frame.", describe_frame(in_colours(story).seen[i], story.person), True)


def question_of(story: Story, rng: np.random.Generator, phase: Phase) -> tuple[Query, str] | None:
    """Draw a question about a story and its answer; None if the story does not serve the form that was drawn."""
    forms, favoured = ALL_FORMS, phase.order + phase.common
    if favoured > 0:
        drawn = rng.random()
        forms = ORDER_FORMS if drawn < phase.order else COMMON_FORMS if drawn < favoured else ALL_FORMS
    return ask(forms[int(rng.integers(len(forms)))], in_colours(story), rng)


def examples_of(story: Story, row: int, rng: np.random.Generator, phase: Phase) -> list[Example]:
    """Draw the examples that a phase takes from the `row`-th story of a step, in pretraining's words."""
    rows = [row * 4 + i for i in range(4)]
    i = int(rng.integers(4))
    examples = [caption_of(story, i, rows[i])] if rng.random() < phase.captions else []
    if rng.random() < phase.narrations:
        asked = question_of(story, rng, phase)
        prompt = asked[0].text if asked is not None and rng.random() < QUESTION_PROMPTS else NARRATION_PROMPT
        examples.append(Example(rows, prompt, narrate(in_colours(story)), True))
    for _ in range(phase.questions):
        while (asked := question_of(story, rng, phase)) is None:
            pass
        examples.append(Example(rows, asked[0].text, asked[1], False))
    return examples


def blank_out(text: str, rng: np.random.Generator) -> Example:
    """Blank some of a text's words; the target is the whole text. FlanT5 was pretrained on tasks of this kind."""
    words = text.split(" ")
    rate = rng.choice([0.15, 0.5])
    kept = ["<extra_id_1>" if rng.random() < rate else word for word in words]
    return Example([], " ".join(kept), text, True)


def read(student: Student, group: list[Example], features: Tensor) -> tuple[Tensor, Tensor, int]:
    """Let the student read a group's frames and prompts; return states, mask, and the token that targets start from.

    All examples of a group have the same number of frames and the same kind of target.
    """
    inputs, inputs_mask = pad(student.source_ids([e.prompt for e in group], MAX_PROMPT_TOKENS), student.pad)
    visual = features[torch.tensor([example.frames for example in group], dtype=torch.long)]
    start = student.reasoning_start if group[0].reasoning else student.answer_start
    return *student.encode(visual, inputs, inputs_mask), start


def loss_of(student: Student, group: list[Example], features: Tensor) -> Tensor:
    """Return the mean cross-entropy per target token of a group of examples, see `read`."""
    states, mask, start = read(student, group, features)
    labels, _ = pad(student.target_ids([example.target for example in group]), IGNORE)
    return target_losses(student, states, mask, [(labels, start, torch.arange(len(group)))])[0]


def pretrain(config: PretrainConfig, path: Path, resume: int = 0) -> Student:
    """Train a student and write it to `path`. `PRETRAINED` has the settings.

    A BLIP-2 takes 90 minutes of one core, a decoder-only student 40.

    The student as it is before phase i, if that starts afresh, is kept in "<path>-before-<i>": an interrupted
    pretraining continues with phase `resume` from there, to the same result.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng([config.seed, 2])
    student = make_student(config.student, make_tokenizer(config))
    student.model.set_attn_implementation("eager")  # at this size a third faster than fused attention on a CPU
    stories = [make_story(rng, f"pretrain-{i}") for i in range(config.stories)]
    pixels = torch.cat([student.preprocess(frames_of(story)).half() for story in stories])
    size = sum(p.numel() for p in student.parameters()) / 1e6
    print(f"{size:.2f} M parameters, vocabulary {len(student.tokenizer)}, {len(pixels)} frames")
    if resume:
        student.model.load_state_dict(load_student(f"{path}-before-{resume}").model.state_dict())
    for i, phase in enumerate(config.phases[resume:], resume):
        if phase.learning_rate is not None:
            if i > 0:
                save_student(student, Path(f"{path}-before-{i}"))
                rng = np.random.default_rng([config.seed, 2 + i])
                torch.manual_seed(config.seed + i - 1)
            optimizer = torch.optim.AdamW(student.parameters(), lr=phase.learning_rate, betas=(0.9, 0.98))
            steps = phase.steps if i > 0 else config.decay
            schedule = OneCycleLR(optimizer, phase.learning_rate, total_steps=steps, pct_start=config.warmup / steps)
        began, running = time.time(), {}
        for step in range(phase.steps):
            if phase.stories == 0:
                rows = torch.from_numpy(rng.integers(len(pixels), size=int(phase.captions)))
                examples = [caption_of(stories[k // 4], k % 4, row) for row, k in enumerate(rows.tolist())]
            else:
                chosen = rng.integers(config.stories, size=phase.stories)
                rows = torch.from_numpy((chosen[:, None] * 4 + np.arange(4)).ravel())
                examples = [e for row, k in enumerate(chosen) for e in examples_of(stories[k], row, rng, phase)]
                # An encoder-decoder restores blanked words; a decoder continues from nothing.
                restores = isinstance(student, Blip2Student)
                for _ in range(phase.texts):
                    text = read_text(rng)
                    examples.append(blank_out(text, rng) if restores else Example([], "", text, True))
            groups: dict[tuple[int, bool], list[Example]] = {}  # alike in frames and target, so that little is padded
            for example in examples:
                groups.setdefault((len(example.frames), example.reasoning), []).append(example)
            view = pixels[rows].float()
            features = student.vision(view + config.noise * torch.randn_like(view))
            losses = {key: loss_of(student, group, features) for key, group in groups.items()}
            loss = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            for key, value in losses.items():
                running[key] = 0.98 * running.get(key, value.item()) + 0.02 * value.item()
            if step % 100 == 99 or step == 0:
                text = "  ".join(f"{k[0]}f {'text' if k[1] else 'answer'} {v:.3f}" for k, v in sorted(running.items()))
                print(f"phase {i}, step {step + 1}/{phase.steps}  {time.time() - began:.0f} s  {text}")
            if step % 500 == 499:
                save_student(student, path)
                print(f"gates {gates(student, count=100)}")
    save_student(student, path)
    return student


@torch.no_grad()
def gates(student: Student, count: int = 300, seed: int = 11) -> dict[str, float]:
    """Measure what a student must be able to do before fine-tuning is worth a minute, on stories it never saw.

    Returns:
        Percent right: "caption", of whole captions of one frame; "narration", of the events of four frames;
        "retrieval", of questions for the object of a verb; "order", of questions about before and after.
    """
    student.eval()
    rng = np.random.default_rng([seed, 3])
    stories = [make_story(rng, f"gate-{i}") for i in range(count)]
    features = torch.cat([student.encode_frames([frames_of(story)])[0] for story in stories]).float()
    rows = [list(range(4 * i, 4 * i + 4)) for i in range(count)]

    def answers(examples: list[Example]) -> list[tuple[str, str]]:
        states, mask, start = read(student, examples, features)
        return list(zip(student.generate(states, mask, start, 96), (e.target for e in examples), strict=True))

    def facts(text: str) -> list[str]:  # the two idle objects may come in either order
        return [*text.split(" while ")[:1], *sorted(text.split(" while ")[-1].replace(".", "").split(" "))]

    captions = answers([caption_of(story, 0, 4 * i) for i, story in enumerate(stories)])
    told = [in_colours(story) for story in stories]
    narrations = answers([Example(rows[i], NARRATION_PROMPT, narrate(story), True) for i, story in enumerate(told)])
    right = {
        "caption": [facts(said) == facts(target) for said, target in captions],
        "narration": [
            one.strip() == other.strip()
            for said, target in narrations
            for one, other in zip((said.split(".") + [""] * 5)[:4], target.split(".")[:4], strict=True)
        ],
    }
    for name, selects in (("retrieval", ("verb",)), ("order", ("after", "before"))):
        forms = [form for form in COMMON_FORMS if form.select in selects]
        asked = [ask(forms[int(rng.integers(len(forms)))], story, rng) for story in told]
        examples = [Example(rows[i], one[0].text, one[1], False) for i, one in enumerate(asked) if one]
        right[name] = [said == target for said, target in answers(examples)]
    student.train()
    return {name: round(100 * float(np.mean(marks)), 1) for name, marks in right.items()}
