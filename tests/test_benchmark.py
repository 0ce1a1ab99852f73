"""What is compared is the same computation, and the plan follows from it. Nothing here is timed."""

import pytest
import torch

from reasvqa.companion import benchmark, full_size
from reasvqa.learning.objective import Objective
from reasvqa.students import adapters


@pytest.mark.slow
@pytest.mark.parametrize("student", ["mini-blip2", "mini-llava-ov-small"])
def test_all_recipes_have_the_same_loss_and_gradient(student):
    work = benchmark.mini_workload(student, "smoke-star", 4, questions=8)
    for name, parameter in work.student.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    for by_length in (False, True):
        assert sorted(row for batch in work.batches(by_length) for row in batch) == list(range(8))
    objective, rows, gradients = Objective(work.student, 0.5), work.batches(True)[1], {}
    for name, recipe in benchmark.RECIPES.items():
        objective.zero_grad()
        benchmark.step_loss(work, objective, rows, recipe).backward()
        gradients[name] = [p.grad.clone() for p in objective.parameters() if p.requires_grad]
        assert any(g.abs().max() > 0 for g in gradients[name])
    for name, these in gradients.items():
        for ours, reference in zip(these, gradients["reference"], strict=True):
            torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.slow
def test_recipes_side_by_side():
    """All are timed, by the same loss; activations are recomputed for the one recipe that says so, and no longer than
    that."""
    work = benchmark.mini_workload("mini-blip2", "smoke-star", 4, questions=8)
    table = benchmark.compare_recipes(work, 1, 2, benchmark.FULL_SIZE_RECIPES)
    assert list(table.index) == list(benchmark.FULL_SIZE_RECIPES) and (table["loss_gap"] < 1e-5).all()
    assert table.loc["reference", "times_reference"] == 1 and (table["smallest"] <= table["largest"]).all()
    assert (table["samples_per_s"] > 0).all() and ("peak_gb" in table) == torch.cuda.is_available()
    assert not any(getattr(module, "gradient_checkpointing", False) for module in work.student.modules())
    alone = benchmark.compare_recipes(work, 1, 1, {"ours": benchmark.RECIPES["ours"]})
    assert alone["times_reference"].isna().all() and alone["samples_per_s"].notna().all()


def test_sizes_are_those_of_the_published_models():
    """BLIP-2 FlanT5-XL: ViT-g 0.99 and Q-Former 0.1 billion, T5 2.8 (embeddings and output counted once); SigLIP so400m
    0.4; Qwen2 0.5 and 7.6."""
    xl, small, large = (full_size.sizes(name) for name in full_size.PAPERS)
    assert (xl["language_b"], xl["vision_b"]) == (pytest.approx(2.8, abs=0.05), pytest.approx(1.09, abs=0.02))
    assert large["language_b"] == pytest.approx(7.6, abs=0.05) and small["vision_b"] == pytest.approx(0.4, abs=0.02)
    assert (xl["tokens_read"], large["tokens_read"]) == (4 * (32 + 2) + 80, 4 * 196 + 1 + 80)
    assert xl["cache_mb_per_clip"] == pytest.approx(4 * 32 * 768 * 2 / 1e6)


@pytest.mark.slow
def test_the_rule_for_flop_agrees_with_a_count(monkeypatch):
    """4 FLOP a frozen weight and token, against torch's count of a real step. The rule leaves out attention and LoRA,
    and lets the decoder multiply what it reads of the encoder for every token it writes. It is for students of full
    size, so LoRA is as wide ones have it.
    """
    monkeypatch.setattr(adapters, "NARROW", 0)
    work = benchmark.mini_workload("mini-blip2", "smoke-star", 4, questions=8)
    counted = benchmark.matrix_fraction(work, 1.0)["gflop_per_sample"]
    model, rows = work.student.model.language_model, work.batches(True)[1]
    batch = work.collator(rows)
    tokens_read = (batch["input_ids"].shape[1] + 16) * len(rows)
    tokens_written = batch["labels"].numel() + batch["reasoning_labels"].numel()
    own = {
        name: sum(p.numel() for n, p in part.named_parameters() if "lora" not in n)
        for name, part in (("encoder", model.encoder), ("decoder", model.decoder))
    }
    words = model.shared.weight.numel()
    rule = 4 * ((own["encoder"] - words) * tokens_read + own["decoder"] * tokens_written) / len(rows) / 1e9
    assert rule == pytest.approx(counted, rel=0.25)
