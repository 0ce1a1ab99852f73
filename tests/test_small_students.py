"""SmolVLM2 and InternVL3 as students and generators: tiny random checkpoints in the real files, against transformers'
own forward on the prompt that their own processors write."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, InternVLProcessor, SmolVLMProcessor
from transformers.models.smolvlm import processing_smolvlm
from transformers.video_utils import VideoMetadata

from reasvqa import paths
from reasvqa.companion import full_size
from reasvqa.companion.experiments import config_of, settings_of
from reasvqa.datasets import load
from reasvqa.generation import read_reasoning
from reasvqa.generation.models import TransformersGenerator
from reasvqa.learning import TrainConfig, build_examples, run_key, train
from reasvqa.learning.answering import predict
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import build_features
from reasvqa.learning.objective import Objective
from reasvqa.learning.targets import Example
from reasvqa.losses import IGNORE
from reasvqa.mini.tiny import write_tiny
from reasvqa.students import STUDENTS, load_student, read_preprocess, why_not
from reasvqa.students.adapters import prepare
from reasvqa.students.smolvlm import in_words
from reasvqa.video import read_frames

FAMILIES = ("smolvlm", "internvl")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    return {family: write_tiny(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def checkpoint(request, checkpoints) -> Path:
    return checkpoints[request.param]


@pytest.fixture
def config(checkpoint) -> TrainConfig:
    return TrainConfig(dataset="smoke-star", student=str(checkpoint), answer_format="letter").resolve()


@pytest.fixture
def student(checkpoint, config):
    torch.manual_seed(0)
    student = load_student(str(checkpoint))
    prepare(student, config)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:  # LoRA begins as zero; a test of gradients needs it to do something
            torch.nn.init.normal_(parameter, std=0.05)
    return student


@pytest.fixture
def examples(smoke_star, config):
    """Four questions of different length, one of them without a reasoning, the reasoning cut so that all is quick."""
    reasoning = read_reasoning(paths.reasoning(paths.dataset("smoke-star"), "sim-26b"))
    found = build_examples(smoke_star[0][:4], reasoning, config)
    found = [Example(e.sample, e.source, e.target, (e.reasoning or "")[: 30 + 9 * i]) for i, e in enumerate(found)]
    return [*found[:2], Example(found[2].sample, found[2].source, found[2].target), found[3]]


@pytest.fixture
def batch(student, smoke_star, examples, config):
    features = build_features(smoke_star[0], student, config.student, 4, paths.features())
    return Collator(student, examples, features, config)(list(range(4)))


def upstream_prompt(student, text: str, monkeypatch, frames: int = 4) -> list[int]:
    """Ids of the prompt as the family's processor writes it, for frames that were taken at one a second. (The part of
    it that writes is asked without making a processor, which needs torchvision.)"""
    smol = student.model.config.model_type == "smolvlm"
    kind = SmolVLMProcessor if smol else InternVLProcessor
    processor = object.__new__(kind)
    names = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"}
    names |= {"global_image_token": "<global-img>", "image_seq_len": 4}
    other = {"image_token": "<IMG_CONTEXT>", "start_image_token": "<img>", "end_image_token": "</img>"}
    processor.__dict__ |= names if smol else other | {"image_seq_length": 16}
    pixels = torch.zeros(1, frames, 3, 32, 32)
    monkeypatch.setattr(processing_smolvlm, "num2words", {4: "four", 2: "two"}.__getitem__)
    inputs = {
        "pixel_values": pixels,
        "pixel_values_videos": pixels,
        "video_metadata": [VideoMetadata(frames, 1.0, duration=float(frames), frames_indices=list(range(frames)))],
    }
    video = processor.replace_video_token(inputs, 0)
    chat = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}]
    rendered = student.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert rendered.count("<video>") == 1
    return student.tokenizer(rendered.replace("<video>", video), add_special_tokens=False).input_ids


def pixels_of(student, examples, videos) -> torch.Tensor:
    clips = [read_frames(videos / e.sample.video, 4, e.sample.clip) for e in examples]
    return torch.stack([student.preprocess(frames) for frames in clips])


def upstream_loss(student, rows, pixels, padding: int) -> torch.Tensor:
    """Mean cross-entropy of transformers' own model over all target tokens of (prompt, start, target) rows, in one
    padded batch from pixels."""
    longest = max(len(prompt) + 1 + len(target) for prompt, _, target in rows) + padding
    ids = torch.full((len(rows), longest), student.pad)
    labels, mask = torch.full_like(ids, IGNORE), torch.zeros_like(ids)
    for i, (prompt, start, target) in enumerate(rows):
        whole = [*prompt, start, *target]
        ids[i, : len(whole)], mask[i, : len(whole)] = torch.tensor(whole), 1
        labels[i, len(prompt) + 1 : len(whole)] = torch.tensor(target)
    if student.model.config.model_type == "internvl":
        pixels = pixels.flatten(0, 1)
    return student.model(input_ids=ids, attention_mask=mask, pixel_values=pixels, labels=labels).loss


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("padding", [0, 5])
def test_packed_equals_two_passes_of_the_librarys_own_model(
    student, batch, examples, smoke_star, checkpointing, padding, monkeypatch, assert_same_loss_and_gradients
):
    """Eq. 2 from cached features in one packed pass: the same as two calls of the model as it is published, from
    pixels, on the prompt of its own processor."""
    student.train()
    if checkpointing:
        student.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    pixels = pixels_of(student, examples, smoke_star[0].videos)
    rows = {"labels": [], "reasoning_labels": []}
    for example in examples:
        prompt = upstream_prompt(student, example.source, monkeypatch)
        rows["labels"].append((prompt, student.answer_start, student.target_ids([example.target])[0]))
        if example.reasoning:
            rows["reasoning_labels"].append(
                (prompt, student.reasoning_start, student.target_ids([example.reasoning])[0])
            )
    answer = upstream_loss(student, rows["labels"], pixels, padding)
    reasoning = upstream_loss(student, rows["reasoning_labels"], pixels[batch["reasoning_rows"]], padding)
    if padding:
        wide = {"input_ids": (5, student.pad), "attention_mask": (5, 0), "labels": (7, IGNORE)}
        wide |= {"reasoning_labels": (3, IGNORE)}
        batch = batch | {k: torch.nn.functional.pad(batch[k], (0, n), value=v) for k, (n, v) in wide.items()}
    ours = Objective(student, 0.3)(**batch)["loss"]
    assert_same_loss_and_gradients(student, [ours, 0.7 * answer + 0.3 * reasoning])


def test_targets_of_one_question_do_not_see_each_other(student, batch):
    """Five targets behind one reading have the logits that each has alone."""
    student.eval()
    states, mask = student.encode(batch["features"], batch["input_ids"], batch["attention_mask"])
    rows = torch.tensor([0, 1, 1, 1, 3])
    ids = torch.randint(20, 300, (5, 4))
    (together,) = student.decode(states, mask, [(ids, rows)])
    for i in range(5):
        (alone,) = student.decode(states[rows[i], None], mask[rows[i], None], [(ids[i, None], torch.tensor([0]))])
        torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=1e-5)


def test_writing_is_the_librarys_and_does_not_depend_on_the_batch(student, batch, examples, smoke_star, monkeypatch):
    student.eval()
    pixels = pixels_of(student, examples, smoke_star[0].videos)
    own = []
    for i, example in enumerate(examples):
        prompt = torch.tensor([[*upstream_prompt(student, example.source, monkeypatch), student.reasoning_start]])
        seen = pixels[i] if student.model.config.model_type == "internvl" else pixels[i, None]
        wrote = student.model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            pixel_values=seen,
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=student.pad,
        )
        own.append(student.tokenizer.decode(wrote[0, prompt.shape[1] :], skip_special_tokens=True).strip())
    student = student.without_vision_encoder(torch.device("cpu"))
    states, mask = student.encode(batch["features"], batch["input_ids"], batch["attention_mask"])
    assert student.generate(states, mask, student.reasoning_start, 12) == own and len(set(own)) > 1


def test_the_prompt_keeps_the_question_and_its_limit(student, monkeypatch):
    """Line breaks at both ends, other scripts, and the marks of a chat in a question; a long one is cut."""
    for text in ("\n\nWhat?\n", " a  b", "où est-il ? 他在哪里", "4.5 < 5", "<end_of_utterance><|im_end|>"):
        ids = torch.tensor(student.source_ids([text], 100))
        features = torch.randn(1, 2, *student.feature_shape)
        states, mask = student.encode(features, ids, torch.ones_like(ids))
        upstream = torch.tensor(upstream_prompt(student, text, monkeypatch, frames=2))
        frames = upstream == student.video_token
        assert int(frames.sum()) == student.visual_tokens(features).shape[1] - labels_of(student) and mask.all()
        words = student.model.get_input_embeddings()(upstream)
        torch.testing.assert_close(states[0][~frames], words[~frames])
    long = student.source_ids(["one two three four five " * 50], 12)[0]
    assert len(long) < 40 and student.too_long(["one two three four five " * 50], 12) == 1


def labels_of(student) -> int:
    """How many tokens that are words stand between those of two frames."""
    nothing = torch.zeros(1, 2, *student.feature_shape)
    return student.visual_tokens(nothing).shape[1] - 2 * (4 if student.model.config.model_type == "smolvlm" else 16)


def test_blind_students_read_no_frames_and_no_labels(student):
    ids = torch.tensor(student.source_ids(["What?"], 100))
    states, mask = student.encode(torch.zeros(1, 0, *student.feature_shape), ids, torch.ones_like(ids))
    assert states.shape[1] == mask.shape[1] == ids.shape[1] - 1


def test_only_connector_and_lora_are_trained(student):
    trained = {name.split("lora_")[0] for name, p in student.named_parameters() if p.requires_grad}
    assert all("text_model" in n or "language_model" in n or "connector" in n or "projector" in n for n in trained)
    assert any("connector" in name or "multi_modal_projector" in name for name in trained)


@pytest.mark.parametrize(("objective", "precision"), [("mtl", "bf16"), ("stl", "fp32")])
def test_a_run_from_checkpoint_to_answers(checkpoint, objective, precision):
    """Training, answering by letter or by writing, and reading the run again."""
    config = TrainConfig(
        dataset="smoke-star",
        student=str(checkpoint),
        objective=objective,
        answer_format="letter",
        precision=precision,
        gradient_checkpointing=objective == "mtl",
        questions=8,
        max_new_tokens=4,
        max_target_tokens=40,
    )
    run = train(config)
    assert len(run.predictions) == run.metrics["questions"] and run.metrics["trained_parameters"] > 1000
    assert run.history["loss"].notna().all()
    if objective == "mtl":
        samples = run.samples()[:4]
        student = run.load_student()
        features = build_features(samples, student, str(checkpoint), 4, paths.features())
        again, _ = predict(student, list(samples), features, run.config)
        assert again == run.predictions["prediction"].tolist()[:4]


# --- what is read, and what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_three_dimensional_positions_are_refused(family, tmp_path):
    AutoConfig.for_model(family).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"a {family} checkpoint, which cannot be a student: Its positions are three"):
        load_student(str(tmp_path))


def test_recurrent_layers_are_refused(tmp_path, checkpoint):
    AutoConfig.for_model("qwen3_5").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"positions are three numbers.* It has recurrent layers \(linear_attention\)"):
        load_student(str(tmp_path))
    fine = AutoConfig.from_pretrained(checkpoint)
    assert why_not(fine) == []
    fine.text_config.layer_types = ["full_attention", "linear_attention"]
    assert "recurrent layers (linear_attention)" in why_not(fine)[0]


def test_another_family_is_refused_without_a_reason_that_is_none(tmp_path):
    AutoConfig.for_model("llava").save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"a llava checkpoint; students are blip-2, llava_onevision, smolvlm, internvl"
    ):
        load_student(str(tmp_path))


def test_frames_are_of_the_models_own_resolution(tmp_path):
    """The files as the hub has them, and as transformers 5 writes a whole processor into one."""
    smol = {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
    intern = {"size": {"height": 448, "width": 448}}
    for file, wrap in (("preprocessor_config.json", dict), ("processor_config.json", lambda c: {"image_processor": c})):
        for i, (config, side) in enumerate(((smol, 512), (intern, 448))):
            folder = tmp_path / f"{file}{i}"
            folder.mkdir()
            (folder / file).write_text(json.dumps(wrap(config | {"image_mean": [0.1] * 3, "image_std": [0.2] * 3})))
            assert read_preprocess(str(folder)).size == side
    (tmp_path / "processor_config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"neither preprocessor_config\.json nor an image processor"):
        read_preprocess(str(tmp_path))


def test_numbers_in_words():
    """As num2words writes them."""
    assert [in_words(n) for n in (1, 4, 12, 20, 64)] == ["one", "four", "twelve", "twenty", "sixty-four"]
    num2words = pytest.importorskip("num2words").num2words
    assert [in_words(n) for n in range(1, 100)] == [num2words(n) for n in range(1, 100)]


def test_the_names_are_the_hubs():
    assert STUDENTS["smolvlm2-256m"] == "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
    assert STUDENTS["internvl3-2b"] == "OpenGVLab/InternVL3-2B-hf"


# --- as generators ----------------------------------------------------------------------------------------------------


def test_they_are_generators_as_they_are(checkpoint, smoke_star):
    samples = smoke_star[0][:3]
    generator = TransformersGenerator(checkpoint, samples.videos, max_new_tokens=16, name="tiny")
    prompts = ["why?", "and this one, which is longer?", "x"]
    with pytest.warns(UserWarning, match="tiny: responses are cut"):
        together = generator(list(samples), prompts)
    assert together == [generator([s], [p])[0] for s, p in zip(samples, prompts, strict=True)]
    assert len(set(together)) > 1


def test_a_generator_sees_each_frame_whole(checkpoint, smoke_star):
    """N frames are N pictures, whatever the checkpoint does with large pictures."""
    config = checkpoint / "preprocessor_config.json"
    before = json.loads(config.read_text())
    try:
        config.write_text(json.dumps(before | {"crop_to_patches": True, "do_image_splitting": True}))
        generator = TransformersGenerator(checkpoint, smoke_star[0].videos, max_new_tokens=1)
    finally:
        config.write_text(json.dumps(before))
    seen, (name,) = [], load_student(str(checkpoint)).vision_modules
    generator.model.get_submodule(name).register_forward_pre_hook(
        lambda _, places, inputs: seen.append(inputs.get("pixel_values", *places)), with_kwargs=True
    )
    generator(list(smoke_star[0][:1]), ["why?"])
    assert [pixels.shape for pixels in seen] == [(4, 3, 32, 32)]


# --- the scale "small" ------------------------------------------------------------------------------------------------


def test_small_is_paper_but_for_models_and_questions():
    small, whole = (TrainConfig(dataset=name).resolve() for name in ("small-star", "star"))
    assert (small.preset, whole.preset, small.questions, whole.questions) == ("small", "paper", 2000, None)
    assert replace(small, dataset="star", generator=whole.generator, questions=None) == whole
    assert paths.dataset("small-star") == paths.dataset("star")
    assert TrainConfig(dataset="smoke-star").resolve().questions is None
    names = {config.student for configs in settings_of("table3", "small", [0]).values() for config in configs}
    assert names == {"smolvlm2-256m", "smolvlm2-500m", "internvl3-1b"}
    assert config_of("MTL_All", "small", "nextqa", questions=500).resolve().questions == 500


def test_the_small_scales_questions_are_drawn_once(smoke_star, tmp_path):
    """The official file's questions, all of them, in an order that is neither the file's nor depends on it; those of
    other splits as they stand."""
    root = paths.dataset("smoke-star")
    official = load("star", "train", root)
    drawn = [sample.id for sample in load("small-star", "train", root)]
    assert drawn != [s.id for s in official] and sorted(drawn) == sorted(s.id for s in official)
    rows = json.loads((root / "STAR_train.json").read_text())
    (tmp_path / "STAR_train.json").write_text(json.dumps(rows[::-1]))
    assert [sample.id for sample in load("small-star", "train", tmp_path)] == drawn
    fewer = [row for row in rows if row["question_id"] != drawn[0]]
    (tmp_path / "STAR_train.json").write_text(json.dumps(fewer))
    assert [sample.id for sample in load("small-star", "train", tmp_path)] == drawn[1:]
    test = [[s.id for s in load(name, "test", root)] for name in ("star", "small-star")]
    assert test[0] == test[1]


def test_a_small_run_learns_from_the_first_of_them(checkpoints):
    """Trained, kept, read again; other numbers of questions are other runs."""
    root = paths.dataset("smoke-star")
    config = TrainConfig(
        dataset="small-star", student=str(checkpoints["smolvlm"]), reasoning="none", questions=4, epochs=1, split="test"
    )
    run = train(config, root=root)
    assert run.metrics["train_examples"] == 4 and run.path.name.startswith("small-star-")
    keys = {run_key(replace(config, questions=n), root) for n in (3, 4, None)}
    assert len(keys) == 3 and run.path.name in keys


def test_full_sizes_are_those_of_the_published_models():
    """Millions of parameters, as the models' pages count them: 256, 507, 938, 2,089. A frame is 64 or 256 tokens."""
    found = {}
    for name in full_size.SMALL:
        student = full_size.random_student(name, torch.device("meta"), torch.bfloat16)
        frames = torch.zeros(1, 1, *student.feature_shape, dtype=torch.bfloat16, device="meta")
        seen = student.projection(frames[0])
        found[name] = round(sum(p.numel() for p in student.model.parameters()) / 1e6), seen.shape[1]
    assert list(found.values()) == [(256, 64), (507, 64), (938, 256), (2089, 256)]
