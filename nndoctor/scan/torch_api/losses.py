"""Losses of torch: what each expects of its input, and its options by position."""

from __future__ import annotations

LOGITS, LOG_PROBABILITIES, BINARY_LOGITS = "logits", "log-probabilities", "binary logits"
PROBABILITIES, _ANY = "probabilities", "any"

LOSSES = {
    "CrossEntropyLoss": LOGITS,
    "cross_entropy": LOGITS,
    "NLLLoss": LOG_PROBABILITIES,
    "NLLLoss2d": LOG_PROBABILITIES,
    "nll_loss": LOG_PROBABILITIES,
    "BCEWithLogitsLoss": BINARY_LOGITS,
    "binary_cross_entropy_with_logits": BINARY_LOGITS,
    "MultiLabelSoftMarginLoss": BINARY_LOGITS,
    "multilabel_soft_margin_loss": BINARY_LOGITS,
    "sigmoid_focal_loss": BINARY_LOGITS,  # of torchvision.ops
    "BCELoss": PROBABILITIES,
    "binary_cross_entropy": PROBABILITIES,
    **dict.fromkeys(
        """MSELoss L1Loss SmoothL1Loss HuberLoss KLDivLoss PoissonNLLLoss GaussianNLLLoss CTCLoss TripletMarginLoss
        TripletMarginWithDistanceLoss CosineEmbeddingLoss HingeEmbeddingLoss MarginRankingLoss MultiMarginLoss
        SoftMarginLoss MultiLabelMarginLoss
        mse_loss l1_loss smooth_l1_loss huber_loss kl_div poisson_nll_loss gaussian_nll_loss ctc_loss
        triplet_margin_loss triplet_margin_with_distance_loss cosine_embedding_loss hinge_embedding_loss
        margin_ranking_loss multi_margin_loss soft_margin_loss multilabel_margin_loss""".split(),
        _ANY,
    ),
}

_REDUCED = ("size_average", "reduce", "reduction")
_CLASSES = ("weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing")
_BINARY = ("weight", *_REDUCED, "pos_weight")
_OPTIONS = {
    **dict.fromkeys(("CrossEntropyLoss", "cross_entropy", "NLLLoss", "NLLLoss2d", "nll_loss"), _CLASSES),
    **dict.fromkeys(("BCELoss", "binary_cross_entropy"), _BINARY),
    **dict.fromkeys(("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"), _BINARY),
    **dict.fromkeys(("MSELoss", "mse_loss", "L1Loss", "l1_loss"), _REDUCED),
    **dict.fromkeys(("KLDivLoss", "kl_div"), (*_REDUCED, "log_target")),
}


def options_of(loss: str) -> tuple[str, ...]:
    """The names of a loss's options by position; functions take them behind input and target."""
    return _OPTIONS.get(loss, ())
