"""Phase 3, LR: the student learns to answer and to re-create the reasoning (paper, section 3.3)."""

from reasvqa.learning.students import STUDENTS, Student, load_student
from reasvqa.learning.targets import build_examples
from reasvqa.learning.training import RECIPES, Run, TrainConfig, train

__all__ = ["RECIPES", "STUDENTS", "Run", "Student", "TrainConfig", "build_examples", "load_student", "train"]
