"""Layers of torch.nn: the operation of each, its parameters by position, and the methods that all modules have."""

from __future__ import annotations

LAYERS = {
    "Linear": "linear",
    "LazyLinear": "linear",
    "Bilinear": "linear",
    **{f"{lazy}Conv{kind}{n}d": "conv" for lazy in ("", "Lazy") for kind in ("", "Transpose") for n in (1, 2, 3)},
    **{f"{lazy}BatchNorm{n}d": "batchnorm" for lazy in ("", "Lazy") for n in (1, 2, 3)},
    "SyncBatchNorm": "batchnorm",
    **{f"{lazy}InstanceNorm{n}d": "norm" for lazy in ("", "Lazy") for n in (1, 2, 3)},
    **dict.fromkeys(("LayerNorm", "GroupNorm", "RMSNorm", "LocalResponseNorm"), "norm"),
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"), "dropout"),
    **dict.fromkeys(("AlphaDropout", "FeatureAlphaDropout"), "dropout"),
    "Embedding": "embedding",
    "EmbeddingBag": "embeddingbag",
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "rnn"),
    **dict.fromkeys(("LSTMCell", "GRUCell", "RNNCell"), "rnncell"),
    "MultiheadAttention": "attention",
    "Transformer": "transformer",
    **{f"Transformer{half}{depth}": "transformer" for half in ("Encoder", "Decoder") for depth in ("", "Layer")},
    "Softmax": "softmax",
    "Softmax2d": "softmax",
    "Softmin": "softmax",
    "LogSoftmax": "log_softmax",
    **{
        name: name.lower()
        for name in """Sigmoid LogSigmoid ReLU ReLU6 Tanh Hardtanh Hardsigmoid Softsign LeakyReLU PReLU RReLU ELU SELU
        CELU GELU SiLU Mish Softplus Hardswish Hardshrink Softshrink Tanhshrink Threshold GLU""".split()
    },
    **{f"{kind}Pool{n}d": "pool" for kind in ("Max", "Avg", "LP") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": "pool" for kind in ("Avg", "Max") for n in (1, 2, 3)},
    **{f"FractionalMaxPool{n}d": "pool" for n in (2, 3)},
    **{
        f"{kind}Pad{n}d": "pad"
        for kind in ("Zero", "Reflection", "Replication", "Constant", "Circular")
        for n in (1, 2, 3)
    },
    "Flatten": "flatten",
    "Unflatten": "unflatten",
    "Identity": "identity",
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), "upsample"),
    "PixelShuffle": "pixel_shuffle",
    "PixelUnshuffle": "pixel_unshuffle",
    "ChannelShuffle": "channel_shuffle",
    "Fold": "fold",
    "Unfold": "im2col",
    "CosineSimilarity": "similarity",
    "PairwiseDistance": "similarity",
}
CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})

_BATCH_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")
_CONV_TRANSPOSE = (*_CONV[:5], "output_padding", "groups", "bias", "dilation")
_RNN = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_EMBEDDING = ("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
_ATTENTION = (
    "embed_dim",
    "num_heads",
    "dropout",
    "bias",
    "add_bias_kv",
    "add_zero_attn",
    "kdim",
    "vdim",
    "batch_first",
)
_TRANSFORMER_LAYER = ("d_model", "nhead", "dim_feedforward", "dropout", "activation", "layer_norm_eps", "batch_first")
_TRANSFORMER = (
    *("d_model", "nhead", "num_encoder_layers", "num_decoder_layers", "dim_feedforward", "dropout", "activation"),
    *("custom_encoder", "custom_decoder", "layer_norm_eps", "batch_first"),
)

# By position, as far as rules or shapes need them; for the classes of an operation, but for those named apart.
_OF_OPERATION: dict[str, tuple[str, ...]] = {
    "linear": ("in_features", "out_features", "bias"),
    "conv": _CONV,
    "batchnorm": _BATCH_NORM,
    "dropout": ("p", "inplace"),
    "embedding": _EMBEDDING,
    "rnn": _RNN,
    "rnncell": ("input_size", "hidden_size", "bias"),
    "softmax": ("dim",),
    "log_softmax": ("dim",),
    "flatten": ("start_dim", "end_dim"),
    "unflatten": ("dim", "unflattened_size"),
    "attention": _ATTENTION,
    "pool": ("kernel_size", "stride", "padding"),
    **dict.fromkeys(("relu", "relu6", "selu", "silu", "mish", "hardswish", "hardsigmoid"), ("inplace",)),
    "leakyrelu": ("negative_slope", "inplace"),
    **dict.fromkeys(("elu", "celu"), ("alpha", "inplace")),
}
_OF_CLASS: dict[str, tuple[str, ...]] = {
    "LazyLinear": ("out_features", "bias"),
    "Bilinear": ("in1_features", "in2_features", "out_features", "bias"),
    "RNN": (*_RNN[:3], "nonlinearity", *_RNN[3:]),
    "Softmax2d": (),
    "Transformer": _TRANSFORMER,
    "TransformerEncoderLayer": _TRANSFORMER_LAYER,
    "TransformerDecoderLayer": _TRANSFORMER_LAYER,
    "TransformerEncoder": ("encoder_layer", "num_layers"),
    "TransformerDecoder": ("decoder_layer", "num_layers"),
    **{f"ConvTranspose{n}d": _CONV_TRANSPOSE for n in (1, 2, 3)},
    **{f"LazyConv{n}d": _CONV[1:] for n in (1, 2, 3)},
    **{f"LazyConvTranspose{n}d": _CONV_TRANSPOSE[1:] for n in (1, 2, 3)},
    **{f"LazyBatchNorm{n}d": _BATCH_NORM[1:] for n in (1, 2, 3)},
    **{f"LPPool{n}d": ("norm_type", "kernel_size", "stride") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": ("output_size",) for kind in ("Avg", "Max") for n in (1, 2, 3)},
    **{f"FractionalMaxPool{n}d": ("kernel_size",) for n in (2, 3)},
}


def parameters_of(layer: str) -> tuple[str, ...]:
    """The names of a layer's parameters by position; those that nothing asks for are left out at the end."""
    own = _OF_CLASS.get(layer)
    return own if own is not None else _OF_OPERATION.get(LAYERS[layer], ())


# Operations of layers that hold weights.
WEIGHTED_OPS = frozenset(
    "linear conv batchnorm norm embedding embeddingbag rnn rnncell attention transformer prelu".split()
)

# What makes a model behave differently in training and in evaluation.
MODE_OPS = frozenset({"dropout", "batchnorm"})

# Layers whose applications are noted for the rules.
NOTED_LAYERS = MODE_OPS | {"linear", "conv", "rnn", "attention", "transformer"}

# Families of torchvision and timm models that contain batch norm or dropout.
LIBRARY_MODELS = (
    "torchvision.models.",
    "timm.create_model",
    "timm.models.",
    "segmentation_models_pytorch.",
    "efficientnet_pytorch.",
    "pretrainedmodels.",
)

# Methods of torch.nn.Module, and of the containers, which every module is allowed to have.
MODULE_METHODS = frozenset(
    """train eval parameters named_parameters modules named_modules children named_children state_dict load_state_dict
    to cuda cpu float half double bfloat16 apply zero_grad requires_grad_ register_buffer register_parameter add_module
    register_module register_forward_hook register_forward_pre_hook register_full_backward_hook get_submodule
    get_parameter buffers named_buffers share_memory type compile extra_repr to_empty forward __call__ __init__
    register_backward_hook _apply set_extra_state get_extra_state append extend insert keys values items""".split()
)
