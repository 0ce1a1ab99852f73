"""The decoder-only student: one packed pass against separate passes and against the library's own forward."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reasvqa import paths
from reasvqa.generation import read_reasoning
from reasvqa.learning import TrainConfig, build_examples
from reasvqa.learning.answering import pad, predict, score_options
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import build_features
from reasvqa.learning.objective import Objective
from reasvqa.learning.targets import Example, answer_text, source_text
from reasvqa.losses import IGNORE
from reasvqa.students import load_student
from reasvqa.students.adapters import prepare
from reasvqa.video import read_frames

STUDENT = "mini-llava-ov-small"
CONFIG = TrainConfig(dataset="smoke-star", student=STUDENT).resolve()
STL = replace(CONFIG, objective="stl").resolve()


@pytest.fixture
def student():
    torch.manual_seed(0)
    student = load_student(STUDENT)
    prepare(student, CONFIG)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:  # LoRA begins as zero; a test of gradients needs it to do something
            torch.nn.init.normal_(parameter, std=0.05)
    return student


@pytest.fixture(scope="module")
def features(smoke_star):
    return [build_features(samples, load_student(STUDENT), STUDENT, 4, paths.features()) for samples in smoke_star]


@pytest.fixture
def batch(student, smoke_star, features):
    """Six questions of different length, one of them without a reasoning."""
    reasoning = read_reasoning(paths.reasoning(paths.dataset("smoke-star"), "sim-26b"))
    examples = build_examples(smoke_star[0][:6], reasoning, CONFIG)
    examples[2] = Example(examples[2].sample, examples[2].source, examples[2].target)
    return Collator(student, examples, features[0], CONFIG)(list(range(6)))


def two_passes(student, batch, beta):
    """Eq. 2 as it is written, a row and a task at a time, through the library's own model and loss: no packing, no
    padding."""
    total = {"labels": [], "reasoning_labels": []}
    starts = {"labels": student.answer_start, "reasoning_labels": student.reasoning_start}
    for task, rows in (("labels", range(6)), ("reasoning_labels", batch["reasoning_rows"].tolist())):
        for at, row in enumerate(rows):
            source = batch["input_ids"][row][batch["attention_mask"][row] == 1]
            target = batch[task][at][batch[task][at] != IGNORE]
            place = int((source == student.video_token).nonzero()[0])
            embed = student.model.get_input_embeddings()
            start = torch.tensor([starts[task]])
            sequence = [
                embed(source[:place]),
                student.visual_tokens(batch["features"][row : row + 1])[0],
                embed(source[place + 1 :]),
                embed(torch.cat([start, target[:-1]])),
            ]
            logits = student.model(inputs_embeds=torch.cat(sequence)[None]).logits[0, -len(target) :]
            total[task].append(torch.nn.functional.cross_entropy(logits, target, reduction="none"))
    answer, reasoning = (torch.cat(losses).mean() for losses in total.values())
    return (1 - beta) * answer + beta * reasoning


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_packed_equals_two_passes(student, batch, beta, checkpointing, assert_same_loss_and_gradients):
    if checkpointing:
        student.model.gradient_checkpointing_enable({"use_reentrant": False})
    student.train()
    assert_same_loss_and_gradients(
        student, [Objective(student, beta)(**batch)["loss"], two_passes(student, batch, beta)]
    )


def test_more_padding_changes_nothing(student, batch):
    once = Objective(student, 0.3)(**batch)
    wide = torch.nn.functional.pad
    padded = dict(
        batch,
        input_ids=wide(batch["input_ids"], (0, 7)),
        attention_mask=wide(batch["attention_mask"], (0, 7)),
        labels=wide(batch["labels"], (0, 9), value=IGNORE),
        reasoning_labels=wide(batch["reasoning_labels"], (0, 5), value=IGNORE),
    )
    torch.testing.assert_close(Objective(student, 0.3)(**padded)["loss"], once["loss"], atol=1e-5, rtol=1e-5)


def test_it_is_the_librarys_model(student, smoke_star, features):
    """From pixels: transformers' own forward, which sees the video itself, against cached features and packing."""
    sample = smoke_star[1][0]
    pixels = student.preprocess(read_frames(smoke_star[1].videos / sample.video, 4, sample.clip))
    ids, mask = pad(student.source_ids([source_text(sample, "text")], 100), 0)
    target = torch.tensor([[student.answer_start, *student.target_ids([sample.answer_text])[0]]])
    states, states_mask = student.encode(torch.from_numpy(np.array(features[1][sample]))[None], ids, mask)
    (ours,) = student.decode(states, states_mask, [(target, torch.tensor([0]))])
    place = int((ids[0] == student.video_token).nonzero()[0])
    video = torch.full((student.feature_shape[0] * 4 // 4 + 1,), student.video_token)
    whole = torch.cat([ids[0, :place], video, ids[0, place + 1 :], target[0]])[None]
    own = student.model(input_ids=whole, pixel_values_videos=pixels[None]).logits[:, -target.shape[1] :]
    torch.testing.assert_close(ours, own, atol=1e-4, rtol=1e-4)


def test_text_scores_are_mean_log_likelihoods(student, smoke_star, features):
    samples = list(smoke_star[1][:3])
    student.eval()
    for sample, row in zip(samples, score_options(student, samples, features[1], CONFIG), strict=True):
        for i in range(len(sample.options)):
            single = Collator(
                student,
                [Example(sample, source_text(sample, "text"), answer_text(sample, "text", i))],
                features[1],
                CONFIG,
            )([0])
            assert float(row[i]) == pytest.approx(-float(Objective(student, 0.0)(**single)["loss"]), abs=1e-4)


def test_writing_does_not_depend_on_the_batch(student, smoke_star, features):
    """Rows of different length are padded; what is written for each is what is written for it alone."""
    samples = sorted(smoke_star[1][:6], key=lambda s: len(s.question))
    together = predict(student, samples, features[1], STL)[1]
    alone = [predict(student, [sample], features[1], STL)[1][0] for sample in samples]
    assert together == alone and len(set(together)) > 1


def test_blind_students_do_not_look(student, smoke_star, features):
    samples = list(smoke_star[1][:4])
    seeing, blind = (torch.stack(score_options(student, samples, f, CONFIG)) for f in (features[1], None))
    assert not torch.allclose(seeing, blind)


def test_only_projector_and_lora_are_trained(student):
    trained = [name for name, p in student.named_parameters() if p.requires_grad]
    assert all("lora_" in name or "multi_modal_projector" in name for name in trained) and not any(
        "vision_tower" in name for name in trained
    )


def test_a_chat_template_keeps_the_video_in_one_place(student):
    student.tokenizer.chat_template = (
        "{% for m in messages %}user: {% for c in m['content'] %}"
        "{% if c['type'] == 'video' %}<video>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %} assistant: {% endif %}"
    )
    rows = student.source_ids(["what?", "what did the man do?"], 50)
    assert len({row.index(student.video_token) for row in rows}) == 1 and rows[0].index(student.video_token) > 0
    assert student.tokenizer.decode(rows[0]).endswith("what? assistant: ")
