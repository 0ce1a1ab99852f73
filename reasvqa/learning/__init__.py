"""Teach a student to answer and to re-create the reasoning: phase 3, LR (paper, section 3.3)."""

from reasvqa.config import TrainConfig
from reasvqa.learning.key import run_key
from reasvqa.learning.runs import DamagedRun, Run
from reasvqa.learning.targets import build_examples
from reasvqa.learning.training import Diverged, train, train_all

__all__ = ["DamagedRun", "Diverged", "Run", "TrainConfig", "build_examples", "run_key", "train", "train_all"]
