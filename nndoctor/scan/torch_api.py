"""What the static pass knows of torch and its neighbours, as data: names, kinds, parameters and meanings."""

from __future__ import annotations

from nndoctor.scan.values import BOUNDED, LOG, LOG_SOFTMAX, RELU, SIGMOID, SOFTMAX

# Names ------------------------------------------------------------------------------------------------------------

_PREFIXES = {
    "torch.nn.modules.activation": "torch.nn",
    "torch.nn.modules.batchnorm": "torch.nn",
    "torch.nn.modules.container": "torch.nn",
    "torch.nn.modules.conv": "torch.nn",
    "torch.nn.modules.dropout": "torch.nn",
    "torch.nn.modules.linear": "torch.nn",
    "torch.nn.modules.loss": "torch.nn",
    "torch.nn.modules.module": "torch.nn",
    "torch.nn.modules.rnn": "torch.nn",
    "torch.nn.modules": "torch.nn",
    "torch.utils.data.dataloader": "torch.utils.data",
    "torch.utils.data.dataset": "torch.utils.data",
    "torch.cuda.amp.autocast_mode": "torch.amp",
    "torch.cuda.amp.grad_scaler": "torch.amp",
    "torch.cuda.amp": "torch.amp",
    "torch.optim.adam": "torch.optim",
    "torch.optim.adamw": "torch.optim",
    "torch.optim.sgd": "torch.optim",
    "torch.optim.optimizer": "torch.optim",
    "torch.nn.utils.clip_grad": "torch.nn.utils",
    "torch.autograd.variable": "torch.autograd",
    "torch.autograd.grad_mode": "torch",
    "pytorch_lightning": "lightning",
    "lightning.pytorch": "lightning",
    "lightning.fabric": "lightning",
    "lightning_fabric": "lightning",
}
_ALIASES = {
    "torch.special.expit": "torch.sigmoid",
    "torch.special.softmax": "torch.softmax",
    "torch.special.log_softmax": "torch.log_softmax",
    "torch.clip": "torch.clamp",
}


def canonical(name: str) -> str:
    """The name under which the tables below know a library object."""
    if not name.startswith(("torch", "pytorch_l", "lightning")):
        return name
    prefix, _, last = name.rpartition(".")
    replaced = _PREFIXES.get(prefix)
    name = f"{replaced}.{last}" if replaced is not None else _PREFIXES.get(name, name)
    return _ALIASES.get(name, name)


def star_names(module: str) -> tuple[str, ...]:
    """The names that `from module import *` is assumed to bind."""
    return _STAR.get(canonical(module), ())


# Layers: class name in torch.nn -> operation --------------------------------------------------------------------------

LAYERS = {
    "Linear": "linear",
    "LazyLinear": "linear",
    "Bilinear": "linear",
    **{f"{lazy}Conv{kind}{n}d": "conv" for lazy in ("", "Lazy") for kind in ("", "Transpose") for n in (1, 2, 3)},
    **{f"{lazy}BatchNorm{n}d": "batchnorm" for lazy in ("", "Lazy") for n in (1, 2, 3)},
    "SyncBatchNorm": "batchnorm",
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"), "dropout"),
    **dict.fromkeys(("LayerNorm", "GroupNorm", "RMSNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"), "norm"),
    "LocalResponseNorm": "norm",
    "Embedding": "embedding",
    "EmbeddingBag": "embedding",
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "rnn"),
    **dict.fromkeys(("LSTMCell", "GRUCell", "RNNCell"), "rnncell"),
    "MultiheadAttention": "attention",
    **dict.fromkeys(
        ("Transformer", "TransformerEncoder", "TransformerDecoder", "TransformerEncoderLayer", "TransformerDecoderLayer"),
        "transformer",
    ),
    "Softmax": "softmax",
    "Softmax2d": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "logsigmoid",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "Tanh": "tanh",
    "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid",
    "Softsign": "softsign",
    **{n: n.lower() for n in ("LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Softplus", "Hardswish", "Hardshrink", "Softshrink", "Tanhshrink", "Threshold", "GLU", "Softmin")},
    **{f"{kind}Pool{n}d": "pool" for kind in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax", "LP", "FractionalMax") for n in (1, 2, 3)},
    **{f"{kind}Pad{n}d": "pad" for kind in ("Zero", "Reflection", "Replication", "Constant") for n in (1, 2, 3)},
    "Flatten": "flatten",
    "Unflatten": "unflatten",
    "Identity": "identity",
    "Upsample": "upsample",
    "UpsamplingNearest2d": "upsample",
    "UpsamplingBilinear2d": "upsample",
    "PixelShuffle": "upsample",
    "PixelUnshuffle": "upsample",
    "Fold": "fold",
    "Unfold": "fold",
    "ChannelShuffle": "upsample",
    "CosineSimilarity": "similarity",
    "PairwiseDistance": "similarity",
}  # fmt: skip
CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})

# Parameters of constructors by position, as far as rules or shapes need them.
_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")
_RNN = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
PARAMETERS: dict[str, tuple[str, ...]] = {
    "linear": ("in_features", "out_features", "bias"),
    "conv": _CONV,
    "batchnorm": _NORM,
    "dropout": ("p", "inplace"),
    "embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    "rnn": _RNN,
    "softmax": ("dim",),
    "log_softmax": ("dim",),
    "flatten": ("start_dim", "end_dim"),
    "attention": ("embed_dim", "num_heads", "dropout", "bias", "add_bias_kv", "add_zero_attn", "kdim", "vdim", "batch_first"),
    "pool": ("kernel_size", "stride", "padding"),
}  # fmt: skip

# What an operation leaves on its result. Operations that are in neither table leave nothing.
ACTS = {
    "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
    "sigmoid": SIGMOID,
    "logsigmoid": LOG,
    "log": LOG,
    "relu": RELU,
    "relu6": RELU,
    "softplus": RELU,
    "tanh": BOUNDED,
    "hardtanh": BOUNDED,
    "hardsigmoid": SIGMOID,
    "softsign": BOUNDED,
    "linear": "raw",
    "conv": "raw",
    "batchnorm": "raw",
    "logits": "raw",
}
TRANSPARENT = frozenset(
    """view reshape flatten unflatten squeeze unsqueeze permute transpose t T mT contiguous to cuda cpu float double
    half bfloat16 type type_as clone expand expand_as repeat repeat_interleave narrow select index slice chunk split
    unbind movedim swapaxes swapdims detach requires_grad_ data identity forward returned masked_select index_select
    gather masked_fill view_as reshape_as retain_grad checkpoint xpu npu mps pad_sequence stack cat item_of pin_memory
    flip roll nan_to_num clamp reversed element joined""".split()
)
ACTIVATION_OPS = frozenset(
    """relu relu6 tanh hardtanh hardsigmoid softsign leakyrelu prelu rrelu elu selu celu gelu silu mish softplus
    hardswish sigmoid leaky_relu glu hardshrink softshrink tanhshrink threshold swish""".split()
)

# Functions ---------------------------------------------------------------------------------------------------------------

_FUNCTIONAL = "torch.nn.functional."
_ROOTS = ("torch.", _FUNCTIONAL, "torch.nn.init.", "numpy.", "torch.fft.", "torch.linalg.")


def operation(name: str) -> str | None:
    """The operation of a function of torch, torch.nn.functional or numpy; None for anything else."""
    for root in _ROOTS:
        last = name[len(root) :]
        if name.startswith(root) and "." not in last:
            return _RENAMED.get(last, last)
    return None


_RENAMED = {
    "relu_": "relu", "sigmoid_": "sigmoid", "tanh_": "tanh", "batch_norm": "batchnorm", "clip": "clamp", "clamp_": "clamp",
    "clip_": "clamp", "dropout1d": "dropout", "dropout2d": "dropout", "dropout3d": "dropout", "dropout_": "dropout",
    "alpha_dropout": "alphadropout", "feature_alpha_dropout": "alphadropout", "feature_dropout": "alphadropout",
    "conv1d": "conv", "conv2d": "conv", "conv3d": "conv", "conv_transpose1d": "conv", "conv_transpose2d": "conv",
    "max_pool1d": "pool", "max_pool2d": "pool", "max_pool3d": "pool", "avg_pool1d": "pool", "avg_pool2d": "pool",
    "avg_pool3d": "pool", "adaptive_avg_pool2d": "pool", "adaptive_max_pool2d": "pool", "adaptive_avg_pool1d": "pool",
    "adaptive_max_pool1d": "pool", "layer_norm": "norm", "group_norm": "norm", "instance_norm": "norm", "leaky_relu": "leakyrelu",
    "interpolate": "upsample", "upsample": "upsample", "log10": "log", "log2": "log", "concat": "cat", "concatenate": "cat",
    "swapaxes": "transpose", "swapdims": "transpose", "moveaxis": "movedim", "where": "where", "absolute": "abs", "squeeze_": "squeeze",
    "unsqueeze_": "unsqueeze", "logsigmoid": "logsigmoid", "mul_": "*", "add_": "+", "sub_": "-", "div_": "/", "mul": "*", "add": "+",
    "sub": "-", "div": "/", "multiply": "*", "subtract": "-", "divide": "/", "true_divide": "/", "matmul": "@", "mm": "@", "bmm": "@",
    "softmin": "softmax", "gumbel_softmax": "gumbel_softmax", "pow": "**", "square": "**", "masked_fill_": "masked_fill", "negative": "neg",
    "detach_": "detach", "transpose_": "transpose", "data": "data", "astype": "type", "long": "long", "int": "long",
}  # fmt: skip

# Losses: name -> (what it expects of its input, names of its arguments) -------------------------------------------------

LOGITS, LOG_PROBABILITIES, BINARY_LOGITS, PROBABILITIES, ANY = "logits", "log-probabilities", "binary logits", "probabilities", "any"
LOSSES = {
    "CrossEntropyLoss": LOGITS, "cross_entropy": LOGITS,
    "NLLLoss": LOG_PROBABILITIES, "nll_loss": LOG_PROBABILITIES, "NLLLoss2d": LOG_PROBABILITIES,
    "BCEWithLogitsLoss": BINARY_LOGITS, "binary_cross_entropy_with_logits": BINARY_LOGITS,
    "MultiLabelSoftMarginLoss": BINARY_LOGITS, "multilabel_soft_margin_loss": BINARY_LOGITS,
    "BCELoss": PROBABILITIES, "binary_cross_entropy": PROBABILITIES,
    "sigmoid_focal_loss": BINARY_LOGITS,
    **dict.fromkeys(
        ("MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss", "KLDivLoss", "kl_div",
         "PoissonNLLLoss", "poisson_nll_loss", "GaussianNLLLoss", "gaussian_nll_loss", "CTCLoss", "ctc_loss", "TripletMarginLoss",
         "triplet_margin_loss", "CosineEmbeddingLoss", "cosine_embedding_loss", "HingeEmbeddingLoss", "hinge_embedding_loss",
         "MarginRankingLoss", "margin_ranking_loss", "MultiMarginLoss", "multi_margin_loss", "SoftMarginLoss", "soft_margin_loss",
         "MultiLabelMarginLoss", "multilabel_margin_loss", "TripletMarginWithDistanceLoss", "triplet_margin_with_distance_loss"), ANY),
}  # fmt: skip

# Optimisation --------------------------------------------------------------------------------------------------------------

OPTIMIZERS = frozenset(
    """SGD Adam AdamW Adamax Adagrad Adadelta RMSprop Rprop ASGD LBFGS NAdam RAdam SparseAdam Adafactor Muon Lamb LAMB
    AdamP SGDP Lion RAdam AdaBelief Ranger Optimizer AdaBound Yogi Novograd NovoGrad FusedAdam FusedLAMB Adam8bit AdamW8bit
    PagedAdamW8bit Sophia Prodigy""".split()
)
OPTIMIZER_MODULES = ("torch.optim", "torch_optimizer", "timm.optim", "apex.optimizers", "bitsandbytes.optim", "pytorch_optimizer", "lion_pytorch", "transformers")
CLIPS = frozenset(
    {"torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad_norm", "torch.nn.utils.clip_grad_value_", "torch.nn.utils.clip_grads_with_norm_"}
)
NO_GRAD = frozenset({"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.inference_mode"})
AUTOCAST = frozenset({"torch.autocast", "torch.amp.autocast", "torch.cpu.amp.autocast"})
SCALERS = frozenset({"torch.amp.GradScaler", "torch.cpu.amp.GradScaler", "torch.GradScaler"})
AUTOGRAD_FUNCTIONS = frozenset({"torch.autograd.Function", "torch.autograd.function.Function", "torch.autograd.function.InplaceFunction"})

# Libraries that own backward, step or the whole loop: objects made from them take over what they are given.
ENGINES = (
    "accelerate", "lightning", "deepspeed", "ignite", "apex", "fairseq", "mmengine", "mmcv", "skorch", "fastai", "timm.utils",
    "composer", "catalyst", "colossalai", "fairscale", "horovod", "poptorch", "torch_xla", "pytorch_metric_learning", "torchtnt",
    "transformers.Trainer", "transformers.Seq2SeqTrainer", "tianshou", "ray", "detectron2", "torchbearer", "poutyne", "argus", "pytorch_accelerated",
)  # fmt: skip

# Calls that leave the models and optimizers they are given as they are.
HARMLESS = (
    "builtins.", "torch.", "math.", "os.", "sys.", "time.", "logging.", "json.", "numpy.", "tqdm", "wandb.", "matplotlib.", "copy.",
    "itertools.", "functools.", "collections.", "random.", "re.", "pickle.", "datetime.", "pathlib.", "torchinfo.", "torchsummary.", "thop.",
    "tensorboardX.", "sklearn.", "pandas.", "scipy.", "PIL.", "cv2.", "torchvision.", "argparse.", "pprint.", "gc.", "string.", "typing.",
    "einops.", "rich.", "click.", "yaml.", "loguru.", "mlflow.", "hydra.", "omegaconf.", "shutil.", "glob.", "ptflops.", "fvcore.", "dataclasses.",
    "torchmetrics.", "psutil.", "warnings.", "operator.", "statistics.", "csv.", "contextlib.", "types.", "inspect.", "enum.", "abc.",
)  # fmt: skip

MODULE_METHODS = frozenset(
    """train eval parameters named_parameters modules named_modules children named_children state_dict load_state_dict to
    cuda cpu float half double bfloat16 apply zero_grad requires_grad_ register_buffer register_parameter add_module
    register_module register_forward_hook register_forward_pre_hook register_full_backward_hook get_submodule
    get_parameter buffers named_buffers share_memory type compile extra_repr to_empty forward __call__ __init__
    register_backward_hook _apply set_extra_state get_extra_state append extend insert keys values items""".split()
)


def is_module_method(name: str) -> bool:
    """Whether torch.nn.Module defines a method of that name."""
    return name in MODULE_METHODS


# What makes a model behave differently in training and in evaluation.
MODE_OPS = frozenset({"dropout", "batchnorm"})
# Families of torchvision and timm models that contain batch norm or dropout.
LIBRARY_MODELS = ("torchvision.models.", "timm.create_model", "timm.models.", "segmentation_models_pytorch.", "efficientnet_pytorch.", "pretrainedmodels.")

_STAR = {
    "torch": tuple("nn optim tensor zeros ones randn rand arange cat stack softmax sigmoid relu tanh exp log sum mean no_grad save load device float32 long Tensor FloatTensor LongTensor from_numpy matmul clamp manual_seed max min argmax".split()),
    "torch.nn": (*LAYERS, *CONTAINERS, *(name for name in LOSSES if name[0].isupper()), "Module", "Parameter", "functional", "init", "DataParallel"),
    "torch.nn.functional": ("relu", "softmax", "log_softmax", "sigmoid", "tanh", "dropout", "cross_entropy", "nll_loss", "mse_loss", "max_pool2d", "avg_pool2d", "conv2d", "linear", "leaky_relu", "pad", "interpolate", "binary_cross_entropy", "binary_cross_entropy_with_logits", "normalize", "gelu", "elu", "dropout2d", "kl_div", "l1_loss", "smooth_l1_loss", "one_hot"),
    "torch.optim": tuple(OPTIMIZERS) + ("lr_scheduler",),
    "torch.utils.data": ("DataLoader", "Dataset", "TensorDataset", "random_split", "Subset", "IterableDataset", "ConcatDataset", "SubsetRandomSampler", "RandomSampler", "SequentialSampler", "WeightedRandomSampler"),
    "torch.autograd": ("Variable", "Function", "grad", "no_grad"),
    "numpy": ("array", "zeros", "ones", "mean", "sum", "arange", "random"),
}  # fmt: skip

# Methods of tensors: name -> operation (by the same names as the functions, where the two mean the same).
_NOT_METHODS = frozenset({"forward", "returned", "element", "index", "item_of", "checkpoint", "slice", "cat", "stack", "pad_sequence", "identity", "data"})
_METHODS = (TRANSPARENT - _NOT_METHODS) | frozenset(
    """softmax log_softmax sigmoid relu tanh log exp sum mean max min argmax argmin byte long int short bool abs sqrt clamp clip std var
    norm eq ne gt lt ge le sigmoid_ relu_ clamp_ mul add sub div matmul mm bmm mul_ add_ sub_ div_ pow square tril triu masked_fill_
    topk sort logsumexp cumsum numel dim tolist numpy any all astype squeeze_ unsqueeze_ transpose_ detach_ round floor ceil bernoulli_
    logsigmoid logical_not isnan amax amin nonzero dot outer""".split()
)
CASTS = frozenset("to cuda cpu float half double type bfloat16".split())


def method_operation(name: str) -> str | None:
    """The operation of a tensor's method; None if tensors have no such method that we follow."""
    return _RENAMED.get(name, name) if name in _METHODS else None
