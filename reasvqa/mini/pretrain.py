"""Makes the miniature's students: the families' own architectures, four orders of magnitude smaller, pretrained on
worlds of their own.

They stand for what BLIP-2 and LLaVA-OneVision bring to the paper's experiments: seeing, naming, answering simple
questions about a few frames, and fluent English. Three things are kept from them, so that fine-tuning has something to
teach:

- the benchmark's videos and questions: pretraining draws stories from seeds of its own;
- for half of the objects, the benchmark's names *for what is seen*: their pictures come with colour words ("the lime")
  only. Their names ("lamp") occur in text without pictures, as they did in FlanT5's pretraining;
- the rules behind the rarer question types (why, how many, what next, ...).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
    T5Config,
)

from reasvqa.learning.answering import pad
from reasvqa.losses import IGNORE, shift_right
from reasvqa.mini.generator import ORDINALS, STRENGTHS, respond
from reasvqa.mini.questions import FORMS, NUM_OPTIONS, Form, answer_of, ask, distractors
from reasvqa.mini.render import draw_frame
from reasvqa.mini.world import NEW, OBJECTS, Event, Story, make_story, present
from reasvqa.preprocess import Preprocess
from reasvqa.students import Blip2Student, LlavaStudent, Student, load_student

IMAGE_SIZE = 64
INIT = 0.08  # about 1/sqrt(width); with the library's 0.02 captions took ten times as long to learn
MEAN, STD = (0.84, 0.84, 0.82), (0.2, 0.2, 0.2)  # measured on the miniature's frames: rooms are pale

# The question forms pretraining knows. The wording is the benchmarks', the objects go by their colours.
_NAMES = {
    form.question
    for forms in FORMS.values()
    for form in forms
    if form.select in ("verb", "after", "before") and form.type[0] in "ISTD"
}
PRETRAIN_FORMS = tuple(
    form for forms in FORMS.values() for form in forms if form.question in _NAMES or form.report == "room"
) + (
    Form("", 1, "Which object did the person {verb}?", "verb", "object", "The {object}."),
    Form("", 1, "In which room was the {object} {past}?", "event", "room", "in the {room}"),
    Form("", 1, "What was done with the {object}?", "object", "verb", "It was {past}."),
    Form("", 1, "In which frame was the {object} {past}?", "event", "frame", "in frame {frame}"),
)


@dataclass(frozen=True)
class Phase:
    """A part of pretraining: in each step so many stories, each with its frames' captions and narrations (shares: 0.25
    is one story in four), its questions, and beside them texts without pictures. `stories=0`: captions of `captions`
    single frames only."""

    steps: int
    stories: int
    captions: float
    narrations: float = 0
    questions: int = 0
    texts: int = 0


# First what is seen has to be there before it can be talked about; then everything; once frames are narrated without
# mistakes, mostly questions, in small steps: to find an event by its object, and the one after it, takes many steps,
# not large ones.
PHASES = (
    Phase(900, 0, captions=64),
    Phase(1100, 24, captions=1, narrations=1, questions=4, texts=10),
    Phase(4000, 10, captions=0.2, narrations=0.2, questions=4, texts=3),
)


@dataclass(frozen=True)
class PretrainConfig:
    """All settings of pretraining. student: "mini-blip2", "mini-llava-ov-small" or "mini-llava-ov"."""

    student: str = "mini-blip2"
    seed: int = 7
    stories: int = 6000
    phases: tuple[Phase, ...] = PHASES
    learning_rate: float = 1e-3
    warmup: int = 200
    noise: float = 0.04  # standard deviation added to normalised pixels
    vocabulary: int = 768


# How the students that ship were made.
PRETRAINED = {name: PretrainConfig(name) for name in ("mini-blip2", "mini-llava-ov-small", "mini-llava-ov")}


# --- text -------------------------------------------------------------------------------------------------------------


def in_colours(story: Story) -> Story:
    """The same story as pretraining tells it: objects that are `NEW` go by their colours."""

    def called(name: str) -> str:
        return OBJECTS[name].colour if name in NEW else name

    def recolour(event: Event) -> Event:
        return replace(
            event, object=called(event.object), idle=tuple((cell, called(name)) for cell, name in event.idle)
        )

    return replace(story, events=tuple(map(recolour, story.events)), spare=called(story.spare))


def describe_frame(event: Event, person: str) -> str:
    """What a caption says of one frame, in colour words if the event is."""
    idle = " and the ".join(name for _, name in event.idle)
    return f"The {person} {present(event.verb)} the {event.object} in the {event.room} while the {idle} stand by."


def narrate(story: Story) -> str:
    """What a narration says of four frames: actions only, in order."""
    return " ".join(
        f"{ORDINALS[i].capitalize()} they {event.verb} the {event.object}." for i, event in enumerate(story.seen)
    )


def read_text(rng: np.random.Generator) -> str:
    """Text without pictures, as a language model reads it: a question, its answer, or a reasoning, about a random
    story.

    All names of objects occur here; the stories are nobody's videos.
    """
    story = make_story(rng, "text", before=1, after=1)
    dataset = str(rng.choice(list(FORMS)))
    form = FORMS[dataset][int(rng.integers(len(FORMS[dataset])))]
    query = ask(form, story, rng)
    if query is None:
        return narrate(story)
    truth = answer_of(query, story.seen)
    kind = rng.random()
    if kind < 0.15:
        return narrate(story)
    options = [truth, *distractors(query, story, NUM_OPTIONS[dataset] - 1, rng)]
    if kind < 0.4:
        # Any option: which of them is true is not to be learned from text.
        return f"{query.text} {options[int(rng.integers(len(options)))]}"
    return respond(query, options, story, STRENGTHS["sim-4b"], rng)


def make_tokenizer(config: PretrainConfig) -> PreTrainedTokenizerFast:
    """A byte-level BPE, so that any text can be written; verb endings are split off, so that forms of a verb share a
    stem.

    T5's layout: padding 0 (also the decoder's start token), end of text 1, and one sentinel for the start of reasoning
    and one for blanks in text. A decoder-only student has tokens for the starts of answer and reasoning, and for the
    video's place.
    """
    rng = np.random.default_rng([config.seed, 1])
    texts = [read_text(rng) for _ in range(4000)]
    for _ in range(500):
        story = in_colours(make_story(rng, "text"))
        texts += [describe_frame(story.seen[0], story.person), narrate(story)]
    # Each name and colour is one token, so that learning a name is learning one word.
    special = (
        ["<pad>", "</s>", "<extra_id_0>", "<extra_id_1>"]
        if config.student == "mini-blip2"
        else ["<pad>", "</s>", "<answer>", "<reasoning>", "<video>"]
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"(?<=[a-z]{4})(?:ed|es|ing|s)\b"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        additional_special_tokens=special[2:],
        model_max_length=512,
    )


# --- model ------------------------------------------------------------------------------------------------------------


def make_student(name: str, tokenizer: PreTrainedTokenizerFast) -> Student:
    """An untrained student of the miniature."""
    preprocess = Preprocess(IMAGE_SIZE, MEAN, STD)
    if name == "mini-blip2":
        return Blip2Student(_blip2(len(tokenizer)), tokenizer, preprocess)
    return LlavaStudent(_llava(name, tokenizer), tokenizer, preprocess)


def _blip2(vocabulary: int) -> Blip2ForConditionalGeneration:
    """Two defaults of the library's configuration would leave it unable to learn from scratch (they assume pretrained
    weights): the vision initialiser's range and query tokens of zeros."""
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=IMAGE_SIZE,
            patch_size=16,
            initializer_range=INIT,
        ).to_dict(),
        qformer_config=Blip2QFormerConfig(
            vocab_size=8,
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            encoder_hidden_size=96,
            initializer_range=INIT,
            cross_attention_frequency=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ).to_dict(),
        text_config=T5Config(
            vocab_size=vocabulary,
            d_model=128,
            d_kv=32,
            d_ff=256,
            num_layers=3,
            num_decoder_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        ).to_dict()
        | {"decoder_start_token_id": 0},
        num_query_tokens=4,
        initializer_range=INIT,
    )
    config.frame_numbers = "added"
    model = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens, std=0.5)
    return model


def _llava(name: str, tokenizer: PreTrainedTokenizerFast) -> LlavaOnevisionForConditionalGeneration:
    """Both sizes have the same vision tower, as the real ones do. It begins as mini-blip2's ViT, which knows this
    world's pictures, as theirs begins as SigLIP."""
    wide, layers, heads = (96, 3, 4) if name.endswith("small") else (128, 3, 4)
    text = tokenizer.get_vocab()
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=IMAGE_SIZE,
            patch_size=16,
            hidden_act="gelu",
            vision_use_head=False,
        ).to_dict(),
        text_config=Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=wide,
            intermediate_size=2 * wide,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            initializer_range=INIT,
            max_position_embeddings=1024,
            tie_word_embeddings=False,
            bos_token_id=None,
            pad_token_id=text["<pad>"],
            eos_token_id=text["</s>"],
        ).to_dict(),
        video_token_index=text["<video>"],
        image_token_index=len(tokenizer) - 1,
        image_grid_pinpoints=[[IMAGE_SIZE, IMAGE_SIZE]],
        tie_word_embeddings=False,
    )
    model = LlavaOnevisionForConditionalGeneration(config)
    state = load_student("mini-blip2").model.vision_model.state_dict()
    renamed = {}
    for key, value in state.items():
        if key.endswith(("qkv.weight", "qkv.bias")):
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                renamed[key.replace("qkv", f"{part}_proj")] = piece
        else:
            renamed[
                key.replace(".projection.", ".out_proj.").replace(
                    "embeddings.patch_embedding", "embeddings.patch_embedding"
                )
            ] = value
    renamed["embeddings.position_embedding.weight"] = renamed.pop("embeddings.position_embedding")[
        0, 1:
    ]  # without the class token
    renamed.pop("embeddings.class_embedding")
    model.model.vision_tower.load_state_dict(renamed)
    return model


def save_student(student: Student, path: Path) -> None:
    """Writes the checkpoint in the library's own format, with its preprocessing, so that `from_pretrained(path)` loads
    it."""
    student.model.save_pretrained(path)
    student.tokenizer.save_pretrained(path)
    size, mean, std = student.preprocess.size, student.preprocess.mean, student.preprocess.std
    kind = "BlipImageProcessor" if isinstance(student, Blip2Student) else "LlavaOnevisionImageProcessor"
    preprocess = {"image_processor_type": kind, "size": {"height": size, "width": size}, "resample": 3}
    preprocess |= {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "rescale_factor": 1 / 255,
    }
    preprocess |= {"image_mean": list(mean), "image_std": list(std)}
    (path / "preprocessor_config.json").write_text(json.dumps(preprocess, indent=2) + "\n")


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass
class Example:
    """One thing to learn: `frames` of the step's stories (row indices; empty for text alone), a prompt, a target."""

    frames: list[int]
    prompt: str
    target: str
    reasoning: bool  # decoded from the reasoning's start token?


def caption_of(story: Story, i: int, row: int) -> Example:
    """The caption of a story's i-th frame, which is row `row` of the step's frames, in colour words."""
    return Example([row], "Describe the frame.", describe_frame(in_colours(story).seen[i], story.person), True)


def examples_of(story: Story, row: int, rng: np.random.Generator, phase: Phase) -> list[Example]:
    """A caption of one frame, a narration of all four, and a few questions, as the phase has it, in pretraining's
    words."""
    rows = [row * 4 + i for i in range(4)]
    i = int(rng.integers(4))
    made = [caption_of(story, i, rows[i])] if rng.random() < phase.captions else []
    story = in_colours(story)
    if rng.random() < phase.narrations:
        made.append(Example(rows, "Describe the video.", narrate(story), True))
    asked = 0
    while asked < phase.questions:
        query = ask(PRETRAIN_FORMS[int(rng.integers(len(PRETRAIN_FORMS)))], story, rng)
        if query is not None:
            made.append(Example(rows, query.text, answer_of(query, story.seen), False))
            asked += 1
    return made


def blank_out(text: str, rng: np.random.Generator) -> Example:
    """Text with a part of its words blanked; the whole is to be restored (FlanT5 was pretrained on a task of this
    family)."""
    words = text.split(" ")
    rate = rng.choice([0.15, 0.5])
    kept = ["<extra_id_1>" if rng.random() < rate else word for word in words]
    return Example([], " ".join(kept), text, True)


def batches(examples: list[Example]) -> Iterator[list[Example]]:
    """Groups of equal number of frames and similar target length, so that little is padded."""
    groups: dict[tuple[int, bool], list[Example]] = {}
    for example in examples:
        groups.setdefault((len(example.frames), example.reasoning), []).append(example)
    yield from groups.values()


def loss_of(student: Student, group: list[Example], features: Tensor) -> Tensor:
    """Mean cross-entropy per target token of a group of examples."""
    inputs, inputs_mask = pad(
        student.source_ids([example.prompt for example in group], 160), student.tokenizer.pad_token_id
    )
    labels, _ = pad(student.target_ids([example.target for example in group]), IGNORE)
    visual = (
        features[torch.tensor([example.frames for example in group])]
        if group[0].frames
        else torch.zeros(len(group), 0, *student.feature_shape)
    )
    states, mask = student.encode(visual, inputs, inputs_mask)
    start = student.reasoning_start if group[0].reasoning else student.answer_start
    (logits,) = student.decode(
        states, mask, [(shift_right(labels, start, student.tokenizer.pad_token_id), torch.arange(len(group)))]
    )
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def pretrain(config: PretrainConfig, path: Path, log=print) -> Student:
    """Trains the student and writes it to `path`, see `PRETRAINED` for what ships; half an hour on 2 cores each."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng([config.seed, 2])
    student = make_student(config.student, make_tokenizer(config))
    student.model.set_attn_implementation(
        "eager"
    )  # at these sizes, in bf16, a third faster than fused attention on a CPU
    stories = [make_story(rng, f"pretrain-{i}") for i in range(config.stories)]
    pixels = torch.cat(
        [student.preprocess(np.stack([draw_frame(event, s.person) for event in s.seen])).half() for s in stories]
    )
    log(
        f"{sum(p.numel() for p in student.parameters()) / 1e6:.2f} M parameters, "
        f"vocabulary {len(student.tokenizer)}, {len(pixels)} frames"
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    plan = [phase for phase in config.phases for _ in range(phase.steps)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.learning_rate,
        total_steps=len(plan),
        pct_start=config.warmup / len(plan),
        anneal_strategy="cos",
    )
    began, running = time.time(), {}
    for step, phase in enumerate(plan):
        if phase.stories == 0:
            rows = torch.from_numpy(rng.integers(len(pixels), size=int(phase.captions)))
            examples = [caption_of(stories[k // 4], k % 4, row) for row, k in enumerate(rows.tolist())]
        else:
            chosen = rng.integers(config.stories, size=phase.stories)
            rows = torch.from_numpy((chosen[:, None] * 4 + np.arange(4)).ravel())
            examples = [e for row, k in enumerate(chosen) for e in examples_of(stories[k], row, rng, phase)]
            # An encoder-decoder restores blanked words; a decoder just writes.
            restore = isinstance(student, Blip2Student)
            examples += [
                blank_out(read_text(rng), rng) if restore else Example([], "", read_text(rng), True)
                for _ in range(phase.texts)
            ]
        with torch.autocast("cpu", torch.bfloat16):
            view = pixels[rows].float()
            view = view + config.noise * torch.randn_like(view)
            features = student.vision(view).float()
            losses = {(len(g[0].frames), g[0].reasoning): loss_of(student, g, features) for g in batches(examples)}
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
            log(f"step {step + 1}/{len(plan)}  {time.time() - began:.0f} s  {text}")
        if step % 500 == 499:
            save_student(student, path)
            log(f"gates {gates(student, count=100)}")
    save_student(student, path)
    return student


# --- gates ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def gates(student: Student, count: int = 300, seed: int = 11) -> dict[str, float]:
    """What a student must be able to do before fine-tuning is worth a minute: shares of right texts on stories it never
    saw.

    caption: whole captions of one frame; narration: events right, of four frames; retrieval: the thing with a given
        verb;
    order: before and after.
    """
    student.eval()
    rng = np.random.default_rng([seed, 3])
    stories = [make_story(rng, f"gate-{i}") for i in range(count)]
    features = torch.cat(
        [student.encode_frames([np.stack([draw_frame(e, s.person) for e in s.seen])])[0] for s in stories]
    ).float()

    def answers(examples: list[Example]) -> list[str]:
        inputs, inputs_mask = pad(student.source_ids([e.prompt for e in examples], 160), student.tokenizer.pad_token_id)
        visual = features[torch.tensor([e.frames for e in examples])]
        states, mask = student.encode(visual, inputs, inputs_mask)
        return student.generate(
            states, mask, student.reasoning_start if examples[0].reasoning else student.answer_start, 96
        )

    coloured = [in_colours(story) for story in stories]
    captions = [
        Example([4 * i], "Describe the frame.", describe_frame(s.seen[0], s.person), True)
        for i, s in enumerate(coloured)
    ]
    narrations = [
        Example([4 * i + k for k in range(4)], "Describe the video.", narrate(s), True) for i, s in enumerate(coloured)
    ]

    def facts(text: str) -> list[str]:  # in which order the two idle things are named does not matter
        return [*text.split(" while ")[:1], *sorted(text.split(" while ")[-1].replace(".", "").split(" "))]

    shares = {
        "caption": np.mean(
            [facts(text) == facts(e.target) for text, e in zip(answers(captions), captions, strict=True)]
        )
    }
    clauses = [
        (said.strip(), true.strip())
        for text, e in zip(answers(narrations), narrations, strict=True)
        for said, true in zip((text.split(".") + [""] * 5)[:4], e.target.split(".")[:4], strict=True)
    ]
    shares["narration"] = np.mean([said == true for said, true in clauses])
    for name, selects in (("retrieval", ("verb",)), ("order", ("after", "before"))):
        examples = []
        for i, story in enumerate(coloured):
            forms = [form for form in PRETRAIN_FORMS if form.select in selects]
            query = ask(forms[int(rng.integers(len(forms)))], story, rng)
            if query is not None:
                examples.append(Example([4 * i + k for k in range(4)], query.text, answer_of(query, story.seen), False))
        shares[name] = np.mean([text == e.target for text, e in zip(answers(examples), examples, strict=True)])
    student.train()
    return {name: round(float(100 * share), 1) for name, share in shares.items()}
