"""Students: what is loaded is what the checkpoint holds; every family against transformers' own forward pass.

SmolVLM2 and InternVL3 are tiny random checkpoints in the real files; BLIP-2 and LLaVA-OneVision are the miniatures.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import safetensors.torch
import torch
from transformers import AutoConfig, InternVLProcessor, SmolVLMProcessor
from transformers.models.smolvlm import processing_smolvlm
from transformers.video_utils import VideoMetadata

from reasvqa import paths
from reasvqa.companion import full_size
from reasvqa.companion.experiments import settings_of
from reasvqa.datasets import load
from reasvqa.generation import read_reasoning
from reasvqa.generation.models import TransformersGenerator
from reasvqa.learning import TrainConfig, build_examples, run_key, train
from reasvqa.learning.answering import predict, score_options
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import build_features
from reasvqa.learning.objective import Objective
from reasvqa.learning.targets import Example
from reasvqa.losses import IGNORE
from reasvqa.mini.tiny import write_tiny
from reasvqa.mini.untrained import save_student
from reasvqa.students import STUDENTS, fingerprint, load_student, read_preprocess
from reasvqa.students.adapters import LoraInWeights, load_trained, prepare, trained_state
from reasvqa.students.smolvlm import in_words
from reasvqa.video import read_frames

TINY = ("smolvlm", "internvl")
PACKED = ("llava", *TINY)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    tiny = {family: str(write_tiny(family, tmp_path_factory.mktemp(family))) for family in TINY}
    return {"blip2": "mini-blip2", "llava": "mini-llava-ov-small"} | tiny


@pytest.fixture(params=["blip2", *PACKED])
def family(request) -> str:
    return request.param


@pytest.fixture
def config(checkpoints, family) -> TrainConfig:
    return TrainConfig(dataset="smoke-star", student=checkpoints[family], answer_format="letter").resolve()


@pytest.fixture
def student(config):
    torch.manual_seed(0)
    student = load_student(config.student)
    prepare(student, config)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:  # LoRA begins as zero; a test of gradients needs it to do something
            torch.nn.init.normal_(parameter, std=0.05)
    return student


@pytest.fixture
def examples(smoke_star, config) -> list[Example]:
    """Four questions of different length, one without a reasoning; reasonings are cut so that all is quick."""
    reasoning = read_reasoning(paths.reasoning(paths.dataset("smoke-star"), "sim-26b"))
    found = build_examples(smoke_star[0][:4], reasoning, config)
    found = [Example(e.sample, e.source, e.target, (e.reasoning or "")[: 30 + 9 * i]) for i, e in enumerate(found)]
    return [*found[:2], Example(found[2].sample, found[2].source, found[2].target), found[3]]


@pytest.fixture
def batch(student, smoke_star, examples, config):
    features = build_features(smoke_star[0], student, config.student, 4, paths.features())
    return Collator(student, examples, features, config)(list(range(4)))


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path) -> Path:
    """A checkpoint of one's own."""
    return Path(shutil.copytree(STUDENTS["mini-blip2"], tmp_path / "copy"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [s.pop(name) for name in sorted(s) if "qformer" in name], r"\d+ missing: .*qformer"),
        (lambda s: s.update({"language_projection.gate": torch.zeros(3)}), "1 unexpected: language_projection.gate"),
        (lambda s: s.update({"language_projection.bias": torch.zeros(3)}), "1 mismatched: .*language_projection.bias"),
    ],
    ids=["missing", "unexpected", "mismatched"],
)
def test_weights_that_do_not_fit_are_an_error_that_lists_them(copy, change, message):
    """transformers would draw them at random or leave them out, and training would go on."""
    state = safetensors.torch.load_file(copy / "model.safetensors")
    change(state)
    safetensors.torch.save_file(state, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=rf"do not fit the model \({message}"):
        load_student(copy)


def test_a_tokenizer_without_its_files_is_an_error(copy):
    """transformers would make an empty one, every text would become no tokens, and training would go on."""
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"the tokenizer at .* knows no words: its files are missing"):
        load_student(str(copy))


@pytest.mark.parametrize("name", ["mini-blip3", "nobody/such-student"])
def test_unknown_student(name):
    with pytest.raises(FileNotFoundError, match=r"Known names: .*mini-blip2"):
        load_student(name)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "preprocessor_config.json"])
def test_the_fingerprint_is_of_all_that_is_read(copy, name):
    """Of the content, not of the place; also where a change keeps the file's size."""
    assert fingerprint(str(copy)) == fingerprint("mini-blip2")
    content = bytearray((copy / name).read_bytes())
    at = next(i for i in range(len(content) // 3, len(content)) if chr(content[i]).isdigit())
    content[at] = ord(str((int(chr(content[at])) + 1) % 10))
    (copy / name).write_bytes(content)
    assert fingerprint(str(copy)) != fingerprint("mini-blip2")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("qwen2_vl", "a qwen2_vl checkpoint, which cannot be a student: Its positions are three"),
        ("qwen2_5_vl", "a qwen2_5_vl checkpoint, which cannot be a student: Its positions are three"),
        ("qwen3_vl", "a qwen3_vl checkpoint, which cannot be a student: Its positions are three"),
        ("qwen3_5", r"positions are three numbers.* It has recurrent layers \(linear_attention\)"),
        ("llava", "a llava checkpoint; students are blip-2, llava_onevision, smolvlm, internvl"),
    ],
)
def test_other_families_are_refused_with_the_reason(kind, message, tmp_path):
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
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


# --- what is trained, kept and loaded again ---------------------------------------------------------------------------


def test_only_projection_and_lora_are_trained(student):
    trained = {name: p for name, p in student.named_parameters() if p.requires_grad}
    projection = {id(p) for p in student.projection.parameters()}
    language = {id(p) for p in student.language_model.parameters()}
    assert projection <= {id(p) for p in trained.values()}
    assert all(id(p) in projection or ("lora_" in name and id(p) in language) for name, p in trained.items())


@pytest.mark.parametrize("family", ["blip2"], indirect=True)
def test_weights_of_another_student_are_refused(student, tmp_path):
    state = trained_state(student)
    state.popitem()
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="not the weights of this student"):
        load_trained(student, tmp_path / "w.safetensors")


@pytest.mark.parametrize("family", ["blip2"], indirect=True)
def test_lora_in_the_weights_is_lora(student, config):
    """Output and gradients are those of peft's own layer; dropout and half precision take peft's own."""
    layer = student.language_model.encoder.block[0].layer[1].DenseReluDense.wi_0
    assert type(layer) is LoraInWeights
    found = []
    for forward in (LoraInWeights.forward, peft.tuners.lora.Linear.forward):
        x = torch.linspace(-2, 2, 2 * 5 * 128).view(2, 5, 128).requires_grad_()
        out = forward(layer, x)
        out.square().mean().backward()
        factors = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        found.append([out.detach(), x.grad, *(factor.grad.clone() for factor in factors)])
        layer.zero_grad()
    for own, theirs in zip(*found, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-4)
    for settings, dtype in ((replace(config, lora_dropout=0.1), torch.float32), (config, torch.bfloat16)):
        prepare(other := load_student("mini-blip2", dtype), settings)
        assert type(other.language_model.encoder.block[0].layer[1].DenseReluDense.wi_0) is peft.tuners.lora.Linear


def test_saving_and_loading_keeps_the_student(tmp_path, smoke_star):
    """Every road a checkpoint takes must keep T5's embeddings and output matrix as they are."""
    first, config = load_student("mini-blip2"), TrainConfig(dataset="smoke-star").resolve()
    features = build_features(smoke_star[1], first, "mini-blip2", 4, paths.features())
    save_student(first, tmp_path / "copy")
    second = load_student(str(tmp_path / "copy"))
    samples = list(smoke_star[1][:4])
    scores = [score_options(student.eval(), samples, features, config) for student in (first, second)]
    for one, other in zip(*scores, strict=True):
        torch.testing.assert_close(one, other)


# --- against transformers' own models ---------------------------------------------------------------------------------


def upstream_prompt(student, text: str, monkeypatch, frames: int = 4) -> list[int]:
    """Ids of the prompt as the family's processor writes it, for frames taken at one a second.

    The writing part of the processors is called on an empty instance, since making one needs torchvision. LLaVA's
    puts as many video tokens as there are pooled patches and a newline.
    """
    if student.model.config.model_type == "llava_onevision":
        ids = student.tokenizer(f"<video>{text}").input_ids
        at = ids.index(student.video_token)
        return ids[:at] + [student.video_token] * (frames * student.feature_shape[0] // 4 + 1) + ids[at + 1 :]
    smol = student.model.config.model_type == "smolvlm"
    processor = object.__new__(SmolVLMProcessor if smol else InternVLProcessor)
    names = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"}
    names |= {"global_image_token": "<global-img>", "image_seq_len": 4}
    other = {"image_token": "<IMG_CONTEXT>", "start_image_token": "<img>", "end_image_token": "</img>"}
    processor.__dict__ |= names if smol else other | {"image_seq_length": 16}
    pixels = torch.zeros(1, frames, 3, 32, 32)
    monkeypatch.setattr(processing_smolvlm, "num2words", {4: "four", 2: "two"}.__getitem__)
    times = VideoMetadata(frames, 1.0, duration=float(frames), frames_indices=list(range(frames)))
    inputs = {"pixel_values": pixels, "pixel_values_videos": pixels, "video_metadata": [times]}
    video = processor.replace_video_token(inputs, 0)
    chat = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}]
    rendered = student.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert rendered.count("<video>") == 1
    return student.tokenizer(rendered.replace("<video>", video), add_special_tokens=False).input_ids


def upstream_pixels(student, examples, videos) -> dict[str, torch.Tensor]:
    clips = [read_frames(videos / e.sample.video, 4, e.sample.clip) for e in examples]
    pixels = torch.stack([student.preprocess(frames) for frames in clips])
    kind = student.model.config.model_type
    name = "pixel_values_videos" if kind == "llava_onevision" else "pixel_values"
    return {name: pixels.flatten(0, 1) if kind == "internvl" else pixels}


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
    return student.model(input_ids=ids, attention_mask=mask, **pixels, labels=labels).loss


@pytest.mark.parametrize("family", PACKED, indirect=True)
def test_packed_equals_two_passes_of_the_librarys_own_model(
    student, batch, examples, smoke_star, monkeypatch, assert_same_loss_and_gradients
):
    """Eq. 2 from cached features in one packed pass: the same as two calls of the model as it is published, from
    pixels, on the prompt of its own processor. Also with more padding, and with recomputed activations."""
    student.train()
    videos = smoke_star[0].videos
    rows = {"labels": [], "reasoning_labels": []}
    for e in examples:
        prompt = upstream_prompt(student, e.source, monkeypatch)
        rows["labels"].append((prompt, student.answer_start, student.target_ids([e.target])[0]))
        if e.reasoning:
            rows["reasoning_labels"].append((prompt, student.reasoning_start, student.target_ids([e.reasoning])[0]))
    answer = upstream_loss(student, rows["labels"], upstream_pixels(student, examples, videos), padding=5)
    seen = upstream_pixels(student, [e for e in examples if e.reasoning], videos)
    reasoning = upstream_loss(student, rows["reasoning_labels"], seen, padding=0)
    wide = {"input_ids": (5, student.pad), "attention_mask": (5, 0), "labels": (7, IGNORE)}
    wide |= {"reasoning_labels": (3, IGNORE)}
    padded = batch | {k: torch.nn.functional.pad(batch[k], (0, n), value=v) for k, (n, v) in wide.items()}
    losses = [Objective(student, 0.3)(**batch)["loss"], Objective(student, 0.3)(**padded)["loss"]]
    student.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    losses.append(Objective(student, 0.3)(**batch)["loss"])
    assert_same_loss_and_gradients(student, [0.7 * answer + 0.3 * reasoning, *losses])


@pytest.mark.parametrize("family", PACKED, indirect=True)
def test_writing_is_the_librarys_and_does_not_depend_on_the_batch(student, batch, examples, smoke_star, monkeypatch):
    student.eval()
    own = []
    for example in examples:
        prompt = torch.tensor([[*upstream_prompt(student, example.source, monkeypatch), student.reasoning_start]])
        wrote = student.model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            **upstream_pixels(student, [example], smoke_star[0].videos),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=student.pad,
            eos_token_id=student.tokenizer.eos_token_id,
        )
        own.append(student.tokenizer.decode(wrote[0, prompt.shape[1] :], skip_special_tokens=True).strip())
    student = student.without_vision_encoder(torch.device("cpu"))
    states, mask = student.encode(batch["features"], batch["input_ids"], batch["attention_mask"])
    assert student.generate(states, mask, student.reasoning_start, 12) == own and len(set(own)) > 1


@torch.no_grad()
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


@torch.no_grad()
@pytest.mark.parametrize("family", ["blip2"], indirect=True)
def test_packed_targets_equal_t5s_own_decoder(student):
    """However many a question has (the first: three, the second: none), however long they are. Beyond 128 tokens all
    distances are one to T5."""
    states, mask = torch.randn(3, 20, 128), torch.ones(3, 20, dtype=torch.long)
    mask[0, 15:] = 0
    groups = [
        (torch.randint(2, 500, (3, 7)), torch.tensor([0, 2, 0])),
        (torch.randint(2, 500, (1, 150)), torch.tensor([0])),
    ]
    for logits, (ids, rows) in zip(student.decode(states, mask, groups), groups, strict=True):
        for of_one, target, row in zip(logits, ids, rows, strict=True):
            alone = student.language_model(
                encoder_outputs=(states[row][None],), attention_mask=mask[row][None], decoder_input_ids=target[None]
            ).logits
            torch.testing.assert_close(of_one, alone[0], atol=2e-5, rtol=1e-4)


# --- prompts and frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", TINY, indirect=True)
def test_the_prompt_keeps_the_question_and_its_limit(student, monkeypatch):
    """Line breaks at both ends, other scripts, and the marks of a chat in a question; a long one is cut."""
    nothing = torch.zeros(1, 2, *student.feature_shape)
    labels = student.visual_tokens(nothing).shape[1] - 2 * (4 if student.model.config.model_type == "smolvlm" else 16)
    for text in ("\n\nWhat?\n", " a  b", "où est-il ? 他在哪里", "4.5 < 5", "<end_of_utterance><|im_end|>"):
        ids = torch.tensor(student.source_ids([text], 100))
        features = torch.randn(1, 2, *student.feature_shape)
        states, mask = student.encode(features, ids, torch.ones_like(ids))
        upstream = torch.tensor(upstream_prompt(student, text, monkeypatch, frames=2))
        frames = upstream == student.video_token
        assert int(frames.sum()) == student.visual_tokens(features).shape[1] - labels and mask.all()
        words = student.model.get_input_embeddings()(upstream)
        torch.testing.assert_close(states[0][~frames], words[~frames])
    long = student.source_ids(["one two three four five " * 50], 12)[0]
    assert len(long) < 40 and student.too_long(["one two three four five " * 50], 12) == 1


@pytest.mark.parametrize("family", ["llava"], indirect=True)
def test_a_chat_template_keeps_the_video_in_one_place(student):
    student.tokenizer.chat_template = (
        "{% for m in messages %}user: {% for c in m['content'] %}"
        "{% if c['type'] == 'video' %}<video>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %} assistant: {% endif %}"
    )
    rows = student.source_ids(["what?", "what did the man do?"], 50)
    assert len({row.index(student.video_token) for row in rows}) == 1 and rows[0].index(student.video_token) > 0
    assert student.tokenizer.decode(rows[0]).endswith("what? assistant: ")


def test_blind_students_read_no_frames_and_no_labels(student, family):
    ids = torch.tensor(student.source_ids(["What?"], 100))
    states, mask = student.encode(torch.zeros(1, 0, *student.feature_shape), ids, torch.ones_like(ids))
    assert states.shape[1] == mask.shape[1] == ids.shape[1] - (family != "blip2")  # without the video's token


@pytest.mark.parametrize("family", ["blip2"], indirect=True)
def test_frames_are_numbered_as_their_checkpoint_was_pretrained(student):
    """Added to the frame's vectors in the miniature; as text before the frame in checkpoints of full size."""
    features = torch.randn(2, 4, 4, 96)
    swapped = features[:, [1, 0, 2, 3]]
    for added, tokens in ((True, 4 * 4), (False, 4 * (2 + 4))):
        student.numbers_added = added
        first, second = student.visual_tokens(features), student.visual_tokens(swapped)
        assert first.shape == (2, tokens, 128)
        unequal = {tuple(row.tolist()) for row in first[0]} - {tuple(row.tolist()) for row in second[0]}
        assert len(unequal) == (8 if added else 0)  # added: two frames' vectors change; as text: only their order


def test_numbers_in_words():
    """As num2words writes them."""
    assert [in_words(n) for n in (1, 4, 12, 20, 64)] == ["one", "four", "twelve", "twenty", "sixty-four"]
    num2words = pytest.importorskip("num2words").num2words
    assert [in_words(n) for n in range(1, 100)] == [num2words(n) for n in range(1, 100)]


# --- answers and runs -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", TINY, indirect=True)
@pytest.mark.parametrize(("objective", "precision"), [("mtl", "bf16"), ("stl", "fp32")])
def test_a_run_from_checkpoint_to_answers(config, objective, precision):
    """Training, answering by letter or by writing, and reading the run again."""
    config = TrainConfig(
        dataset="smoke-star",
        student=config.student,
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
        features = build_features(samples, student, config.student, 4, paths.features())
        again, _ = predict(student, list(samples), features, run.config)
        assert again == run.predictions["prediction"].tolist()[:4]


# --- as generators ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", TINY, indirect=True)
def test_they_are_generators_as_they_are(config, smoke_star, monkeypatch):
    """Without the package num2words too, which SmolVLM's processor wants for videos. A frame is shown whole, whatever
    the checkpoint does with large pictures."""
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    samples = smoke_star[0][:3]
    file = Path(config.student) / "preprocessor_config.json"
    before = file.read_text()
    try:
        file.write_text(json.dumps(json.loads(before) | {"crop_to_patches": True, "do_image_splitting": True}))
        generator = TransformersGenerator(config.student, samples.videos, max_new_tokens=16)
    finally:
        file.write_text(before)
    seen, (name,) = [], load_student(config.student).vision_modules
    generator.model.get_submodule(name).register_forward_pre_hook(
        lambda _, places, inputs: seen.append(inputs.get("pixel_values", *places)), with_kwargs=True
    )
    prompts = ["why?", "and this one, which is longer?", "x"]
    with pytest.warns(UserWarning, match=": responses are cut"):
        together = generator(list(samples), prompts)
    assert [pixels.shape for pixels in seen] == [(12, 3, 32, 32)]
    assert together == [generator([s], [p])[0] for s, p in zip(samples, prompts, strict=True)]
    assert len(set(together)) > 1


# --- the scale "small" ------------------------------------------------------------------------------------------------


def test_small_is_paper_but_for_models_and_questions():
    small, whole = (TrainConfig(dataset=name).resolve() for name in ("small-star", "star"))
    assert (small.preset, whole.preset, small.questions, whole.questions) == ("small", "paper", 2000, None)
    assert replace(small, dataset="star", student=whole.student, generator=whole.generator, questions=None) == whole
    assert paths.dataset("small-star") == paths.dataset("star")
    names = {config.student for configs in settings_of("table3", "small", [0]).values() for config in configs}
    assert names == {"smolvlm2-256m", "smolvlm2-500m", "internvl3-1b"}


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


@pytest.mark.slow
def test_a_small_run_learns_from_the_first_of_them(checkpoints):
    """Trained, kept, read again; other numbers of questions are other runs."""
    root = paths.dataset("smoke-star")
    short = {"reasoning": "none", "questions": 4, "epochs": 1, "split": "test"}
    config = TrainConfig(dataset="small-star", student=checkpoints["smolvlm"], **short)
    run = train(config, root=root)
    assert run.metrics["train_examples"] == 4 and run.path.name.startswith("small-star-")
    keys = {run_key(replace(config, questions=n), root) for n in (3, 4, None)}
    assert len(keys) == 3 and run.path.name in keys


@pytest.mark.slow
def test_full_sizes_are_those_of_the_published_models():
    """Millions of parameters, as the models' pages count them: 256, 507, 938, 2,089. A frame is 64 or 256 tokens."""
    found = {}
    for name in full_size.SMALL:
        student = full_size.random_student(name, torch.device("meta"), torch.bfloat16)
        frames = torch.zeros(1, 1, *student.feature_shape, dtype=torch.bfloat16, device="meta")
        seen = student.projection(frames[0])
        found[name] = round(sum(p.numel() for p in student.model.parameters()) / 1e6), seen.shape[1]
    assert list(found.values()) == [(256, 64), (507, 64), (938, 256), (2089, 256)]
