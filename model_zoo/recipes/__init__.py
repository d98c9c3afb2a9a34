"""Training recipes, so that the zoo's checkpoints can be made again and others added offline."""

from model_zoo.checkpoints.safetensors import write_checkpoint
from model_zoo.recipes.loop import Snapshots, train, train_network
from model_zoo.recipes.progress import Trained, TrainingFailed, TrainingInterrupted, TrainingProgress

__all__ = [
    "Snapshots",
    "Trained",
    "TrainingFailed",
    "TrainingInterrupted",
    "TrainingProgress",
    "train",
    "train_network",
    "write_checkpoint",
]
