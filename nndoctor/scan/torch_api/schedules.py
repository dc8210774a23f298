"""Learning-rate schedules: the classes and functions that make them, and their parameters."""

from __future__ import annotations

from functools import cache

SCHEDULER_MODULE = "torch.optim.lr_scheduler."
_OF_TORCH = {
    "StepLR": ("optimizer", "step_size", "gamma", "last_epoch"),
    "MultiStepLR": ("optimizer", "milestones", "gamma", "last_epoch"),
    "ExponentialLR": ("optimizer", "gamma", "last_epoch"),
    "CosineAnnealingLR": ("optimizer", "T_max", "eta_min", "last_epoch"),
    "CosineAnnealingWarmRestarts": ("optimizer", "T_0", "T_mult", "eta_min", "last_epoch"),
    "OneCycleLR": ("optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch", "pct_start", "anneal_strategy"),
    "CyclicLR": ("optimizer", "base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma"),
    "PolynomialLR": ("optimizer", "total_iters", "power", "last_epoch"),
    "ReduceLROnPlateau": ("optimizer", "mode", "factor", "patience", "threshold", "threshold_mode", "cooldown"),
    "LambdaLR": ("optimizer", "lr_lambda", "last_epoch"),
    "SequentialLR": ("optimizer", "schedulers", "milestones", "last_epoch"),
    "ChainedScheduler": ("schedulers", "optimizer"),
}
# Functions of transformers whose schedule ends after a number of steps that they are told.
_OF_TRANSFORMERS = {
    "get_linear_schedule_with_warmup": ("optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"),
    "get_cosine_schedule_with_warmup": ("optimizer", "num_warmup_steps", "num_training_steps", "num_cycles"),
    "get_polynomial_decay_schedule_with_warmup": ("optimizer", "num_warmup_steps", "num_training_steps", "lr_end"),
}


@cache
def scheduler_parameters(name: str) -> tuple[str, ...] | None:
    """The parameters of what makes a schedule, by its canonical name; None if it makes none."""
    if name.startswith(SCHEDULER_MODULE):
        return _OF_TORCH.get(name[len(SCHEDULER_MODULE) :], ("optimizer",))
    return _OF_TRANSFORMERS.get(name.rpartition(".")[2]) if name.startswith("transformers.") else None
