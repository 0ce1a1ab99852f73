"""Phase 3: the losses against two separate passes, what is taught, and the ways of answering."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from reasvqa import paths
from reasvqa.datasets import Samples
from reasvqa.generation import read_reasoning
from reasvqa.learning import TrainConfig, build_examples, train
from reasvqa.learning.answering import WRITTEN_PER_BATCH, group_by_length, predict, score_options
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import MissingVideos, build_features, features_of, readable
from reasvqa.learning.objective import Objective
from reasvqa.learning.targets import Example, answer_text, source_text
from reasvqa.refinement import STOP_WORDS, refine
from reasvqa.students import load_student
from reasvqa.students.adapters import prepare
from reasvqa.video import read_frames

CONFIG = TrainConfig(dataset="smoke-star").resolve()
LETTERS = replace(CONFIG, answer_format="letter")
TEXTS = replace(CONFIG, answer_format="text")
STL = replace(CONFIG, objective="stl").resolve()


@pytest.fixture(scope="module")
def reasoning():
    return read_reasoning(paths.reasoning(paths.dataset("smoke-star"), "sim-26b"))


@pytest.fixture
def student():
    torch.manual_seed(0)
    student = load_student("mini-blip2")
    prepare(student, CONFIG)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:  # LoRA begins as zero; a test of gradients needs it to do something
            torch.nn.init.normal_(parameter, std=0.05)
    return student


@pytest.fixture(scope="module")
def features(smoke_star):
    return [
        build_features(samples, load_student("mini-blip2"), "mini-blip2", 4, paths.features()) for samples in smoke_star
    ]


@pytest.fixture
def batch(student, smoke_star, reasoning, features):
    """Six questions, one of them without a reasoning, so that texts are padded and rows differ between the tasks."""
    examples = build_examples(smoke_star[0][:6], reasoning, TEXTS)
    examples[2] = replace(examples[2], reasoning=None)
    return Collator(student, examples, features[0], TEXTS)(list(range(6)))


# --- the objective ----------------------------------------------------------------------------------------------------


def two_passes(student, batch, beta):
    """Eq. 2 as it is written: the whole model runs once per task, T5 itself shifts the labels and computes the loss."""
    losses = []
    tasks = (
        (batch["labels"], student.answer_start, slice(None)),
        (batch["reasoning_labels"], student.reasoning_start, batch["reasoning_rows"]),
    )
    for labels, start, rows in tasks:
        language_model = student.model.language_model
        language_model.config.decoder_start_token_id = start
        frames = student.model.language_projection(batch["features"][rows])
        numbers = language_model.get_input_embeddings()(
            student.tokenizer("1234", add_special_tokens=False, return_tensors="pt").input_ids
        )
        frames = (frames + numbers.view(1, 4, 1, -1)).flatten(1, 2)
        embeds = torch.cat([frames, language_model.get_input_embeddings()(batch["input_ids"][rows])], dim=1)
        mask = torch.cat([torch.ones(len(labels), frames.shape[1]), batch["attention_mask"][rows]], dim=1)
        losses.append(language_model(inputs_embeds=embeds, attention_mask=mask, labels=labels).loss)
        language_model.config.decoder_start_token_id = student.answer_start
    return (1 - beta) * losses[0] + beta * losses[1]


@pytest.mark.parametrize("beta", [0.1, 0.9])
def test_one_pass_equals_two(student, batch, beta, assert_same_loss_and_gradients):
    """Also with recomputed activations."""
    losses = [Objective(student, beta)(**batch)["loss"], two_passes(student, batch, beta)]
    student.train().language_model.gradient_checkpointing_enable({"use_reentrant": False})
    assert_same_loss_and_gradients(student, [*losses, Objective(student, beta)(**batch)["loss"]])


def test_each_loss_is_a_mean_over_its_own_tokens(student, batch):
    """Repeating a sample, or padding more, must not change what beta means."""
    objective = Objective(student, 0.3)
    once = objective(**batch)
    padded = dict(
        batch,
        labels=F.pad(batch["labels"], (0, 9), value=-100),
        reasoning_labels=F.pad(batch["reasoning_labels"], (0, 5), value=-100),
    )
    twice = {
        name: torch.cat([value, value + 6 if name == "reasoning_rows" else value]) for name, value in batch.items()
    }
    for other in (padded, twice):
        torch.testing.assert_close(objective(**other)["loss"], once["loss"], atol=1e-5, rtol=1e-5)


def test_beta_zero_is_the_answer_alone(student, batch):
    out = Objective(student, 0.0)(**batch)
    assert out["loss"] == out["answer_loss"] and "reasoning_loss" not in out


# --- targets ----------------------------------------------------------------------------------------------------------


def test_targets(smoke_star, reasoning):
    train_samples = smoke_star[0]
    right = reasoning.set_index("id")["correct"]
    stl = build_examples(train_samples, reasoning, replace(CONFIG, objective="stl", subset="cr"))
    assert [e.sample.id for e in stl] == [s.id for s in train_samples if right[s.id]]
    row = reasoning.set_index("id").loc[stl[0].sample.id]
    assert (
        stl[0].target == f"{refine(row['response'])}\nAnswer: {stl[0].sample.answer_text}" and stl[0].reasoning is None
    )
    mtl = build_examples(train_samples, reasoning, replace(CONFIG, subset="cr"))
    assert len(mtl) == len(train_samples) and all((e.reasoning is not None) == right[e.sample.id] for e in mtl)
    half = build_examples(train_samples, reasoning, replace(CONFIG, fraction=0.5, seed=3))
    assert sum(e.reasoning is not None for e in half) == round(0.5 * len(train_samples))
    qa = build_examples(train_samples, None, replace(CONFIG, beta=0.0).resolve())
    assert [e.target for e in qa] == [s.answer_text for s in train_samples]


def test_incorrect_reasoning_never_names_the_truth(smoke_star, reasoning):
    """What the student reads of a wrong response holds no word of the right answer that could be learned by copying."""
    wrong = [s for s in smoke_star[0] if not reasoning.set_index("id").loc[s.id, "correct"]]
    examples = {e.sample.id: e for e in build_examples(smoke_star[0], reasoning, CONFIG)}
    assert wrong
    for sample in wrong:
        words = set(sample.answer_text.replace(".", "").lower().split()) - STOP_WORDS
        assert words and not words & set(examples[sample.id].reasoning.replace(".", "").lower().split())


def test_reasoning_must_cover_the_questions(smoke_star, reasoning):
    with pytest.raises(ValueError, match="have no line in the reasoning file"):
        build_examples(smoke_star[0], reasoning.iloc[1:], CONFIG)


@pytest.mark.parametrize("config", [CONFIG, STL, replace(STL, answer_format="letter")], ids=["mtl", "stl", "letter"])
def test_a_long_target_keeps_its_answer(config, student, smoke_star, reasoning, features):
    """Cuts are counted as a tokenizer counts them; of what is cut the beginning and the whole answer stay."""
    examples = build_examples(smoke_star[0], reasoning, config)
    reasonings = [e.reasoning for e in examples if e.reasoning is not None]

    def tokens(text: str) -> list[int]:
        return student.tokenizer(text).input_ids

    for limit in (1, 8, 20, 60, 1000):
        collator = Collator(student, examples, features[0], replace(config, max_target_tokens=limit))
        assert collator.cut == {
            "sources": 0,
            "targets": sum(len(tokens(e.target)) > limit for e in examples),
            "reasonings": sum(len(tokens(text)) > limit for text in reasonings),
        }
        for example, ids, reasoning_ids in zip(examples, collator.targets, collator.reasonings, strict=True):
            answer = answer_text(example.sample, config.answer_format)
            text = student.tokenizer.decode(ids, skip_special_tokens=True)
            assert text.endswith(answer) and ids[-1] == student.tokenizer.eos_token_id
            assert len(ids) <= max(limit, len(tokens(f"\nAnswer: {answer}")))
            kept = len(ids) - len(tokens(example.ending))
            assert ids[:kept] == tokens(example.target)[:kept]
            if example.reasoning is not None:
                assert len(reasoning_ids) <= limit and reasoning_ids[-1] == student.tokenizer.eos_token_id
                assert reasoning_ids[:-1] == tokens(example.reasoning)[: len(reasoning_ids) - 1]


def test_long_questions_are_counted_and_told(smoke_star, tmp_path, capsys):
    config = replace(CONFIG, blind=True, questions=8, max_source_tokens=6, max_target_tokens=12)
    run = train(config, runs=tmp_path)
    assert run.metrics["cut"] == {"sources": 8, "targets": 0, "reasonings": 8}
    assert "8 of 8 sources, 8 of 8 reasonings. Answers are kept whole." in capsys.readouterr().out


# --- answering --------------------------------------------------------------------------------------------------------


def test_text_scores_are_mean_log_likelihoods(student, smoke_star, features):
    """All options of a batch in one decoder pass, against one option at a time through the model's own loss."""
    samples = list(smoke_star[1][:3])
    scores = score_options(student, samples, features[1], TEXTS)
    for sample, row in zip(samples, scores, strict=True):
        for i in range(len(sample.options)):
            example = Example(sample, source_text(sample, "text"), answer_text(sample, "text", i))
            single = Collator(student, [example], features[1], TEXTS)([0])
            loss = Objective(student, 0.0)(**single)["loss"]
            assert float(row[i]) == pytest.approx(-float(loss), abs=1e-4)


def test_options_are_ranked_after_the_reasoning_that_was_written(student, smoke_star, features):
    """Eq. 1 with texts: the likelihood of each option as the end of the student's own text, an option at a time."""
    samples = list(smoke_star[1][:3])
    student.eval()
    predictions, texts = predict(student, samples, features[1], STL)
    for sample, prediction, text in zip(samples, predictions, texts, strict=True):
        reasoned = text.rsplit("Answer:", 1)[0].rstrip()
        scores = []
        for option in sample.options:
            example = Example(sample, source_text(sample, "text"), f"{reasoned}\nAnswer: {option}")
            single = Collator(student, [example], features[1], STL)([0])
            labels = single["labels"].clone()
            labels[:, : labels.shape[1] - len(student.target_ids([f" {option}"])[0])] = -100
            states, mask = student.encode(single["features"], single["input_ids"], single["attention_mask"])
            start = torch.cat([torch.tensor([[student.answer_start]]), single["labels"][:, :-1]], dim=1)
            (logits,) = student.decode(states, mask, [(start, torch.tensor([0]))])
            scores.append(-float(F.cross_entropy(logits[0], labels[0], ignore_index=-100).detach()))
        assert prediction == int(np.argmax(scores))


@given(st.lists(st.integers(0, 300), max_size=70))
def test_texts_are_grouped_with_those_group_by_length(lengths):
    groups = group_by_length([[7] * length for length in lengths])
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        of_group = [lengths[i] for i in group]
        assert 1 <= len(group) <= WRITTEN_PER_BATCH and max(of_group) <= 1.5 * min(of_group)


def test_blind_students_do_not_look(student, smoke_star, features):
    samples = list(smoke_star[1][:4])
    nothing = features_of(smoke_star[1], student, replace(CONFIG, blind=True))
    assert nothing.tensor(samples).shape == (4, 0, *student.feature_shape)
    seeing, blind = (torch.stack(score_options(student, samples, f, CONFIG)) for f in (features[1], nothing))
    assert not torch.allclose(seeing, blind)


# --- the frozen half --------------------------------------------------------------------------------------------------


def test_cached_features_are_the_models_own(smoke_star, features):
    student, sample = load_student("mini-blip2"), smoke_star[1][0]
    pixels = student.preprocess(read_frames(smoke_star[1].videos / sample.video, 4, sample.clip))
    with torch.no_grad():
        vision = student.model.vision_model(pixels).last_hidden_state
        own = student.model.qformer(
            query_embeds=student.model.query_tokens.expand(4, -1, -1), encoder_hidden_states=vision
        ).last_hidden_state
    np.testing.assert_allclose(features[1][sample], own.numpy(), atol=1e-5)


def test_missing_videos_are_reported_and_can_be_skipped(smoke_star, tmp_path, capsys):
    samples = smoke_star[1][:9]
    for sample in samples[3:]:
        shutil.copy(samples.videos / sample.video, tmp_path / sample.video)
    moved = Samples(samples, tmp_path)
    features = build_features(moved, load_student("mini-blip2"), "mini-blip2", 4, tmp_path / "features")
    with pytest.raises(MissingVideos, match=r"1 clips of \d+ cannot be read, and 3 of 9 questions"):
        readable(moved, features, skip_missing=False)
    assert [s.id for s in readable(moved, features, skip_missing=True)] == [s.id for s in samples[3:]]
    assert "Skipped: 1 clips" in capsys.readouterr().out
    # The file turns up: it is read.
    shutil.copy(samples.videos / samples[0].video, tmp_path / samples[0].video)
    again = build_features(moved, load_student("mini-blip2"), "mini-blip2", 4, tmp_path / "features")
    assert not again.missing and len(readable(moved, again, False)) == 9
