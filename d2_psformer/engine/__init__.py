"""The training path of both backends."""

from ..data.class_metadata import class_metadata, restore_class_metadata
from .checkpoint_files import last_checkpoint
from .checkpointer import AtomicCheckpointer
from .data_loader import build_test_loader, build_train_loader
from .data_sets import align_data_sets
from .evaluate import evaluate, test
from .model import build_model
from .optimizer import build_gradient_clipper, build_optimizer
from .predictor import Predictor, return_one_result
from .processes import run
from .setup import load_config, setup
from .train_step import TrainStep
from .trainer import Trainer

__all__ = [
    "AtomicCheckpointer",
    "Predictor",
    "TrainStep",
    "Trainer",
    "align_data_sets",
    "build_gradient_clipper",
    "build_model",
    "build_optimizer",
    "build_test_loader",
    "build_train_loader",
    "class_metadata",
    "evaluate",
    "last_checkpoint",
    "load_config",
    "restore_class_metadata",
    "return_one_result",
    "run",
    "setup",
    "test",
]
