"""Turn training examples into batches of token ids with little padding."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers.trainer_pt_utils import LengthGroupedSampler

from reasvqa.config import TrainConfig
from reasvqa.learning.answering import pad
from reasvqa.learning.features import Features
from reasvqa.learning.targets import Example
from reasvqa.losses import IGNORE
from reasvqa.students import Student


class Collator:
    """Collate examples into the arguments of `Objective.forward`. The constructor tokenizes each text once.

    Attributes:
        cut: how many "sources", "targets" and "reasonings" were cut to the settings' token limits.
    """

    def __init__(self, student: Student, examples: Sequence[Example], features: Features, config: TrainConfig) -> None:
        self.features, self.examples, self.pad = features, examples, student.pad
        sources, limit = [e.source for e in examples], config.max_target_tokens
        self.sources = student.source_ids(sources, config.max_source_tokens)
        targets = student.target_ids([e.target for e in examples])
        endings = student.target_ids([e.ending for e in examples])  # of "": the end-of-text token
        self.targets = [truncate(ids, limit, ending) for ids, ending in zip(targets, endings, strict=True)]
        # Options are decoded only where the answer is a choice among their texts.
        chosen = config.answer_format == "choice" and (config.objective == "mtl" or config.reasoning == "none")
        self.options = [student.target_ids(e.sample.options) for e in examples] if chosen else None
        reasonings = student.target_ids([e.reasoning or "" for e in examples])
        self.reasonings = [
            truncate(ids, limit, ids[-1:]) if e.reasoning else [] for e, ids in zip(examples, reasonings, strict=True)
        ]
        self.cut = {
            "sources": student.too_long(sources, config.max_source_tokens),
            "targets": sum(len(ids) > limit for ids in targets),
            "reasonings": sum(len(ids) > limit for ids in reasonings),
        }

    def lengths(self) -> list[int]:
        """Return for each example the number of tokens that the student reads and writes."""
        return [sum(map(len, row)) for row in zip(self.sources, self.targets, self.reasonings, strict=True)]

    def __call__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        source, mask = pad([self.sources[i] for i in indices], self.pad)
        features = self.features.tensor([self.examples[i].sample for i in indices])
        batch = {"features": features, "input_ids": source, "attention_mask": mask}
        if self.options is None:
            batch["labels"], _ = pad([self.targets[i] for i in indices], IGNORE)
        else:
            options = [self.options[i] for i in indices]
            batch["labels"], _ = pad([ids for of_sample in options for ids in of_sample], IGNORE)
            batch["option_rows"] = torch.arange(len(options)).repeat_interleave(torch.tensor([len(o) for o in options]))
            batch["answers"] = torch.tensor([self.examples[i].sample.answer for i in indices])
        rows = [row for row, i in enumerate(indices) if self.reasonings[i]]
        if rows:
            batch["reasoning_labels"], _ = pad([self.reasonings[indices[row]] for row in rows], IGNORE)
            batch["reasoning_rows"] = torch.tensor(rows)
        return batch


def truncate(ids: list[int], limit: int, ending: list[int]) -> list[int]:
    """Cut `ids` to `limit` tokens: keep the beginning and the whole `ending`."""
    return ids if len(ids) <= limit else ids[: max(0, limit - len(ending))] + ending


class ByLength(LengthGroupedSampler):
    """Sample examples in a random order that puts texts of similar length into one batch. Seed and epoch determine the
    order, so a resumed run continues in it."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the order depends; the Trainer calls this before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        return super().__iter__()
