"""The models of fixtures/probe with data, loss and optimizer: the healthy no probe may report, the sick one must.

Each module is a target of `nndoctor probe`: `build_model` and `loader`, and where they have them `loss`,
`optimizer` or `step`. A sick module marks the line to blame with `# <- sick`.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from nndoctor.probe.build import build_subject
from nndoctor.probe.effort import EFFORTS, Effort
from nndoctor.probe.subject import Subject
from nndoctor.requests import ProbeRequest

FIXTURES = Path(__file__).parents[2] / "fixtures"
PACKAGE = "probe"  # what the modules are called from fixtures/
sys.path.insert(0, str(FIXTURES))

HEALTHY = tuple(sorted(path.stem for path in (FIXTURES / PACKAGE / "healthy").glob("[a-z]*.py")))

SICK = {
    "all_zero_init": "NDP03",
    "annealed_temperature": "NDP19",
    "attention_batch_first": "NDP04",
    "attention_dropout_always_on": "NDP10",
    "attention_scale_forgotten": "NDP16",
    "batch_size_in_the_model": "NDP20",
    "batchnorm_hides_large_weights": "NDP09",
    "batchnorm_hides_small_weights": "NDP09",
    "batchnorm_never_updates": "NDP10",
    "batchnorm_without_statistics": "NDP04",
    "bidirectional_language_model": "NDP05",
    "broadcast_in_step": "NDP03",
    "broadcast_loss": "NDP03",
    "causal_mask_missing": "NDP05",
    "class_token_alone": "NDP07",
    "collapse_of_lstm": "NDP17",
    "collapse_of_transformer": "NDP17",
    "constant_init": "NDP08",
    "constant_inputs": "NDP11",
    "cosine_per_batch": "NDP14",
    "cycle_of_epochs": "NDP14",
    "dead_first_layer": "NDP07",
    "dead_graph": "NDP08",
    "dead_relu_conv": "NDP09",
    "dead_relu_init": "NDP09",
    "decay_drowns": "NDP15",
    "decay_forgets_accumulation": "NDP14",
    "decayed_twice": "NDP15",
    "depth_without_activations": "NDP18",
    "detached_features": "NDP08",
    "detached_states": "NDP08",
    "deviation_of_the_batch": "NDP04",
    "discarded_block": "NDP08",
    "distances_in_half": "NDP21",
    "dropout_always_on": "NDP10",
    "dropout_before_batchnorm": "NDP10",
    "dropout_between_convolutions": "NDP10",
    "dropout_on_forecast": "NDP10",
    "dropout_on_logits": "NDP10",
    "encoder_without_mask": "NDP05",
    "entropy_in_the_loss": "NDP13",
    "eval_in_forward": "NDP10",
    "everything_frozen": "NDP08",
    "exploding_cell": "NDP09",
    "exploding_init": "NDP09",
    "exploding_rnn": "NDP09",
    "files_and_table_out_of_step": "NDP12",
    "first_block_skipped": "NDP08",
    "forecast_same_padding": "NDP05",
    "frozen_head": "NDP08",
    "half_precision_weights": "NDP08",
    "head_not_in_optimizer": "NDP08",
    "hidden_state_view": "NDP04",
    "ignored_condition": "NDP07",
    "inputs_fade": "NDP07",
    "jittering_cnn": "NDP17",
    "label_too_high": "NDP11",
    "labels_shifted_twice": "NDP05",
    "labels_shuffled_apart": "NDP12",
    "language_model_batch_first": "NDP04",
    "layer_made_in_forward": "NDP19",
    "layers_in_list": "NDP08",
    "leak_behind_zeros": "NDP04",
    "leaking_split": "NDP11",
    "likelihood_not_negated": "NDP03",
    "log_of_zero": "NDP03",
    "lora_both_zero": "NDP08",
    "loss_with_reversed_gradient": "NDP16",
    "lstm_batch_first": "NDP04",
    "mean_fifty": "NDP02",
    "mean_fifty_forecast": "NDP02",
    "mean_over_batch": "NDP04",
    "milestones_in_batches": "NDP14",
    "nan_gradient": "NDP03",
    "nan_in_data": "NDP11",
    "norm_of_one_feature": "NDP09",
    "optimizer_before_head_swap": "NDP08",
    "oversampled_before_split": "NDP11",
    "padding_mask_ignored": "NDP24",
    "penalty_drowns": "NDP15",
    "pixels_as_bytes": "NDP11",
    "random_features_not_buffer": "NDP19",
    "rare_positives": "NDP11",
    "rate_too_high": "NDP06",
    "rate_too_low": "NDP06",
    "rate_too_low_for_transformer": "NDP06",
    "raw_inputs": "NDP01",
    "relu_on_logits": "NDP03",
    "ridge_decayed_twice": "NDP15",
    "same_sentence": "NDP11",
    "same_workers": "NDP11",
    "saturated_sigmoid": "NDP09",
    "saturated_tanh": "NDP09",
    "scores_of_the_future": "NDP05",
    "shared_batchnorm": "NDP10",
    "shuffled_rows": "NDP04",
    "sigmoid_before_logits_loss": "NDP03",
    "slow_loader": "NDP22",
    "softmax_before_cross_entropy": "NDP03",
    "softmax_in_sequential": "NDP03",
    "softmax_of_one_score": "NDP09",
    "softmax_over_batch": "NDP04",
    "softmax_over_queries": "NDP09",
    "softmax_over_time": "NDP03",
    "sorted_by_label": "NDP17",
    "sorted_labels": "NDP11",
    "squeeze_drops_batch": "NDP20",
    "squeeze_in_features": "NDP20",
    "stuck_in_eval_mode": "NDP10",
    "sum_of_squares": "NDP15",
    "summed_cross_entropy": "NDP15",
    "swish_without_product_rule": "NDP16",
    "tagger_reads_padding": "NDP24",
    "targets_equal_inputs": "NDP05",
    "targets_not_shifted": "NDP05",
    "targets_sorted_apart": "NDP12",
    "unscaled_second_task": "NDP15",
    "unseeded_augmentation": "NDP13",
    "unused_attention": "NDP08",
    "unused_layer": "NDP08",
    "vae_sum_and_mean": "NDP15",
    "vanishing_sigmoid": "NDP09",
    "view_for_permute": "NDP04",
    "view_in_attention": "NDP04",
    "view_of_channels": "NDP04",
    "warmup_longer_than_run": "NDP14",
    "width_ignored": "NDP18",
    "workers_draw_alike": "NDP11",
    "wrong_sign": "NDP03",
}
"""Sick module to the code of the probe that must find it."""

CAUSES = {
    "all_zero_init": "same units",
    "annealed_temperature": "state outside",
    "attention_batch_first": "batch taken for time",
    "attention_dropout_always_on": "dropout in eval mode",
    "attention_scale_forgotten": "wrong backward",
    "batch_size_in_the_model": "smaller batch fails",
    "batchnorm_hides_large_weights": "weights hidden by batch norm",
    "batchnorm_hides_small_weights": "weights hidden by batch norm",
    "batchnorm_never_updates": "never updates",
    "batchnorm_without_statistics": "batch statistics in eval mode",
    "bidirectional_language_model": "read from both ends",
    "broadcast_in_step": "broadcast shapes",
    "broadcast_loss": "broadcast shapes",
    "causal_mask_missing": "no causal mask",
    "class_token_alone": "inputs ignored",
    "collapse_of_lstm": "rate too high",
    "collapse_of_transformer": "rate too high",
    "constant_init": "same units",
    "constant_inputs": "same inputs",
    "cosine_per_batch": "wrong pace",
    "cycle_of_epochs": "wrong pace",
    "dead_first_layer": "dead units",
    "dead_graph": "no gradient",
    "dead_relu_conv": "dead units",
    "dead_relu_init": "dead units",
    "decay_drowns": "decay drowns the data",
    "decay_forgets_accumulation": "falls too early",
    "decayed_twice": "decayed twice",
    "depth_without_activations": "capacity without effect",
    "detached_features": "cut off",
    "detached_states": "cut off",
    "deviation_of_the_batch": "statistic of the batch",
    "discarded_block": "not used",
    "distances_in_half": "lost in bfloat16",
    "dropout_always_on": "dropout in eval mode",
    "dropout_before_batchnorm": "dropout before batch norm",
    "dropout_between_convolutions": "dropout before batch norm",
    "dropout_on_forecast": "dropout on the outputs",
    "dropout_on_logits": "dropout on the outputs",
    "encoder_without_mask": "no causal mask",
    "entropy_in_the_loss": "not repeatable",
    "eval_in_forward": "stuck mode",
    "everything_frozen": "everything frozen",
    "exploding_cell": "exploding",
    "exploding_init": "exploding",
    "exploding_rnn": "exploding",
    "files_and_table_out_of_step": "labels without relation to the inputs",
    "first_block_skipped": "never used",
    "forecast_same_padding": "padded on both sides",
    "frozen_head": "frozen head",
    "half_precision_weights": "lost in rounding",
    "head_not_in_optimizer": "in no optimizer",
    "hidden_state_view": "batch mixed by view",
    "ignored_condition": "input ignored",
    "inputs_fade": "inputs fade",
    "jittering_cnn": "rate too high",
    "label_too_high": "label outside the outputs",
    "labels_shifted_twice": "targets shifted twice",
    "labels_shuffled_apart": "labels without relation to the inputs",
    "language_model_batch_first": "batch taken for time",
    "layer_made_in_forward": "other names",
    "layers_in_list": "not registered",
    "leak_behind_zeros": "statistic of the batch",
    "leaking_split": "validation data in training",
    "likelihood_not_negated": "wrong sign",
    "log_of_zero": "not finite",
    "lora_both_zero": "zero gradient",
    "loss_with_reversed_gradient": "wrong backward",
    "lstm_batch_first": "batch taken for time",
    "mean_fifty": "bias far from the targets",
    "mean_fifty_forecast": "bias far from the targets",
    "mean_over_batch": "statistic of the batch",
    "milestones_in_batches": "wrong pace",
    "nan_gradient": "not finite",
    "nan_in_data": "NaN in the data",
    "norm_of_one_feature": "constant",
    "optimizer_before_head_swap": "optimizer made too early",
    "oversampled_before_split": "validation data in training",
    "padding_mask_ignored": "padding read",
    "penalty_drowns": "decay drowns the data",
    "pixels_as_bytes": "raw pixels",
    "random_features_not_buffer": "state outside",
    "rare_positives": "uneven classes",
    "rate_too_high": "rate too high",
    "rate_too_low": "rate too low",
    "rate_too_low_for_transformer": "rate too low",
    "raw_inputs": "raw pixels",
    "relu_on_logits": "ReLU on the outputs",
    "ridge_decayed_twice": "decayed twice",
    "same_sentence": "same inputs",
    "same_workers": "workers alike",
    "saturated_sigmoid": "inputs not scaled",
    "saturated_tanh": "saturated units",
    "scores_of_the_future": "statistic over time",
    "shared_batchnorm": "shared",
    "shuffled_rows": "rows of other examples",
    "sigmoid_before_logits_loss": "sigmoid on the outputs",
    "slow_loader": "slow loader",
    "softmax_before_cross_entropy": "softmax twice",
    "softmax_in_sequential": "softmax twice",
    "softmax_of_one_score": "constant",
    "softmax_over_batch": "softmax over the batch",
    "softmax_over_queries": "softmax over the wrong dimension",
    "softmax_over_time": "softmax over the wrong dimension",
    "sorted_by_label": "sorted labels",
    "sorted_labels": "sorted labels",
    "squeeze_drops_batch": "batch dimension lost",
    "squeeze_in_features": "batch dimension lost",
    "stuck_in_eval_mode": "stuck mode",
    "sum_of_squares": "sum instead of mean",
    "summed_cross_entropy": "sum instead of mean",
    "swish_without_product_rule": "wrong backward",
    "tagger_reads_padding": "padding read",
    "targets_equal_inputs": "targets not shifted",
    "targets_not_shifted": "targets not shifted",
    "targets_sorted_apart": "labels without relation to the inputs",
    "unscaled_second_task": "terms out of proportion",
    "unseeded_augmentation": "not repeatable",
    "unused_attention": "never used",
    "unused_layer": "never used",
    "vae_sum_and_mean": "sum and mean",
    "vanishing_sigmoid": "vanishing",
    "view_for_permute": "batch mixed by view",
    "view_in_attention": "batch mixed by view",
    "view_of_channels": "batch mixed by view",
    "warmup_longer_than_run": "warm-up",
    "width_ignored": "argument ignored",
    "workers_draw_alike": "workers alike",
    "wrong_sign": "wrong sign",
}
"""Sick module to the cause that the whole check-up must name first; see `nndoctor.probe.causes`."""


def path(name: str) -> Path:
    """The file of a module of the zoo."""
    return FIXTURES / PACKAGE / _kind(name) / f"{name}.py"


def entrypoint(name: str, attribute: str) -> str:
    """What a user would write on the command line for it."""
    return f"{PACKAGE}.{_kind(name)}.{name}:{attribute}"


def module(name: str) -> ModuleType:
    """The module itself."""
    return import_module(f"{PACKAGE}.{_kind(name)}.{name}")


def request(name: str, **options: Any) -> ProbeRequest:
    """The check-up of a module, with the loss, optimizer or step that it defines."""
    wanted = ("loss", "optimizer", "scheduler", "step")
    parts = {part: entrypoint(name, part) for part in wanted if hasattr(module(name), part)}
    parts |= {option: getattr(module(name), option) for option in ("epochs", "grow") if hasattr(module(name), option)}
    model, data = entrypoint(name, "build_model"), entrypoint(name, "loader")
    return ProbeRequest(model=model, data=data, root=Path.cwd(), **(parts | options))


def subject(name: str, effort: Effort = EFFORTS["quick"], **options: Any) -> Subject:
    """A module as the probes get it."""
    return build_subject(request(name, **options), effort)


def sick_line(name: str) -> int:
    """The line to blame, counted from 1."""
    return sick_lines(name)[0]


def sick_lines(name: str) -> list[int]:
    """Every line to blame."""
    lines = path(name).read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, start=1) if line.endswith("# <- sick")]


def _kind(name: str) -> str:
    return "healthy" if name in HEALTHY else "sick"
