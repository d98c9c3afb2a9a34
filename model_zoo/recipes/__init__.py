"""Training recipes, so that the zoo's checkpoints can be made again and others added offline."""

from model_zoo.checkpoints.safetensors import write_checkpoint
from model_zoo.recipes.loop import TrainingProgress, train

__all__ = ["TrainingProgress", "train", "write_checkpoint"]
