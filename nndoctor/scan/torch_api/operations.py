"""Operations on tensors: one name for each, whatever function, layer or method it is written as, and what it leaves."""

from __future__ import annotations

from functools import cache

from nndoctor.scan.values import BOUNDED, LOG, LOG_SOFTMAX, RAW, RELU, SIGMOID, SOFTMAX

# What an operation leaves on its result. Operations that are in neither table leave nothing.
ACTS = {
    "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
    "sigmoid": SIGMOID,
    "hardsigmoid": SIGMOID,
    "logsigmoid": LOG,
    "log": LOG,
    "relu": RELU,
    "relu6": RELU,
    "softplus": RELU,
    "tanh": BOUNDED,
    "hardtanh": BOUNDED,
    "softsign": BOUNDED,
    "linear": RAW,
    "conv": RAW,
    "batchnorm": RAW,
    "logits": RAW,
}
TRANSPARENT = frozenset(
    """view reshape flatten unflatten squeeze unsqueeze permute transpose t T mT contiguous to cuda cpu float double
    half bfloat16 type type_as clone expand expand_as repeat repeat_interleave narrow select index slice chunk split
    unbind movedim swapaxes swapdims detach requires_grad_ data identity forward returned masked_select index_select
    gather masked_fill view_as reshape_as retain_grad checkpoint xpu npu pad_sequence stack cat item_of pin_memory
    flip roll nan_to_num clamp reversed element joined rearrange ravel""".split()
)
ACTIVATION_OPS = frozenset(
    """relu relu6 tanh hardtanh hardsigmoid softsign leakyrelu prelu rrelu elu selu celu gelu silu mish softplus
    hardswish sigmoid glu hardshrink softshrink tanhshrink threshold""".split()
)
# What only computes: a statement that is such a call, and does not write in place, does nothing.
WITHOUT_EFFECT = ACTIVATION_OPS | frozenset(
    """view reshape flatten permute transpose movedim squeeze unsqueeze expand repeat to cuda cpu float double half
    bfloat16 long detach contiguous clamp abs neg exp log sqrt round masked_fill softmax log_softmax dropout normalize
    cat stack + - * / **""".split()
)
CASTS = frozenset("to cuda cpu float half double type bfloat16".split())

_RENAMED = {
    name: operation
    for operation, names in {
        "relu": "relu_",
        "sigmoid": "sigmoid_",
        "tanh": "tanh_",
        "softmax": "softmin",
        "leakyrelu": "leaky_relu",
        "log": "log10 log2",
        "batchnorm": "batch_norm",
        "norm": "layer_norm group_norm instance_norm rms_norm",
        "vector_norm": "norm",
        "dropout": "dropout1d dropout2d dropout3d dropout_",
        "alphadropout": "alpha_dropout feature_alpha_dropout feature_dropout",
        "conv": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
        "pool": """max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d""",
        "adaptive_pool": """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool2d adaptive_max_pool3d""",
        "upsample": "interpolate",
        "clamp": "clip clamp_ clip_",
        "cat": "concat concatenate",
        "transpose": "swapaxes swapdims transpose_",
        "movedim": "moveaxis",
        "squeeze": "squeeze_",
        "unsqueeze": "unsqueeze_ expand_dims",
        "expand": "broadcast_to",
        "masked_fill": "masked_fill_",
        "detach": "detach_",
        "abs": "absolute abs_",
        "neg": "negative neg_",
        "*": "mul mul_ multiply",
        "+": "add add_",
        "-": "sub sub_ subtract",
        "/": "div div_ divide true_divide",
        "@": "matmul mm bmm",
        "**": "pow square",
        "type": "astype",
        "long": "int short",
    }.items()
    for name in names.split()
}
# Functions whose name means something else than the operation of that name.
_BY_FULL_NAME = {
    "numpy.repeat": "repeat_interleave",
    "numpy.tile": "repeat",
    "numpy.split": "tensor_split",
    "numpy.transpose": "permute",
    "numpy.max": "amax",
    "numpy.min": "amin",
    "numpy.uint8": "byte",
    "torch.nn.functional.unfold": "im2col",
    "einops.rearrange": "rearrange",
    "einops.einops.rearrange": "rearrange",
    "einops.reduce": "einops_reduce",
    "einops.repeat": "einops_repeat",
}
ARITHMETIC = frozenset("+ - * / @ **".split())  # operations of two operands
# What the interpreter calls its own operations. No library has a function of such a name, whatever a script imports.
_OWN = frozenset(
    """attention attribute branch call case chain context counter dim element ellipsis engine entered enumerate example
    exception features forward frames generator hasattr import index isinstance item iter joined key keywords len
    lengths logits loss modules name overwritten pad_packed_sequence parameter parameters part partial path raised
    returned reversed rnn scaled sdpa sent slice sound spread super text training transposed unknown zip""".split()
)
_ROOTS = ("torch.", "torch.nn.functional.", "torch.nn.init.", "numpy.", "torch.fft.", "torch.linalg.")


@cache
def operation(name: str) -> str | None:
    """The operation of a function of torch, torch.nn.functional, numpy or einops; None for anything else."""
    for root in _ROOTS:
        last = name[len(root) :]
        if name.startswith(root) and "." not in last and last not in _OWN:
            return _BY_FULL_NAME.get(name) or _RENAMED.get(last, last)
    return _BY_FULL_NAME.get(name)


def operands(operation: str) -> int:
    """How many values an operation takes at least: a call with fewer raises, and nothing is known of its result."""
    return 2 if operation in ARITHMETIC else 1


# Operations that no tensor has as a method of that name.
_NOT_METHODS = frozenset(
    """forward returned element index item_of checkpoint slice cat stack pad_sequence identity data reversed joined
    rearrange""".split()
)
_METHODS = (TRANSPARENT - _NOT_METHODS) | frozenset(
    """abs abs_ add add_ all amax amin any argmax argmin astype baddbmm bernoulli_ bmm bool broadcast_to byte ceil
    clamp_ clip cumsum detach_ dim div div_ dot eq exp floor ge gt int isnan le log log_softmax logical_not
    logsumexp long lt masked_fill_ matmul max mean median min mm mul mul_ ne neg neg_ nonzero norm numel numpy
    outer pow prod relu relu_ round short sigmoid sigmoid_ softmax sort sqrt square squeeze_ std sub sub_ sum
    tanh tolist topk transpose_ tril triu unfold unsqueeze_ var""".split()
)


@cache
def method_operation(name: str) -> str | None:
    """The operation of a tensor's method; None if tensors have no such method that we follow."""
    return _RENAMED.get(name, name) if name in _METHODS else None
