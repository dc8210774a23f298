"""Names of library objects: one canonical dotted name for each, and what a star import binds."""

from __future__ import annotations

from functools import cache

from nndoctor.scan.torch_api.layers import CONTAINERS, LAYERS
from nndoctor.scan.torch_api.losses import LOSSES
from nndoctor.scan.torch_api.training import TORCH_OPTIMIZERS

_PREFIXES = {
    **dict.fromkeys(
        (
            "torch.nn.modules",
            "torch.nn.modules.activation",
            "torch.nn.modules.batchnorm",
            "torch.nn.modules.container",
            "torch.nn.modules.conv",
            "torch.nn.modules.dropout",
            "torch.nn.modules.linear",
            "torch.nn.modules.loss",
            "torch.nn.modules.module",
            "torch.nn.modules.rnn",
            "torch.nn.parameter",
        ),
        "torch.nn",
    ),
    "torch.utils.data.dataloader": "torch.utils.data",
    "torch.utils.data.dataset": "torch.utils.data",
    "torch.utils.data.sampler": "torch.utils.data",
    "torch.utils.data.distributed": "torch.utils.data",
    "torch.cuda.amp": "torch.amp",
    "torch.cuda.amp.autocast_mode": "torch.amp",
    "torch.cuda.amp.grad_scaler": "torch.amp",
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


@cache
def canonical(name: str) -> str:
    """The name under which the tables know a library object."""
    if not name.startswith(("torch", "pytorch_l", "lightning")):
        return name
    whole = _PREFIXES.get(name)
    if whole is not None:
        return whole
    prefix, _, last = name.rpartition(".")
    replaced = _PREFIXES.get(prefix)
    name = f"{replaced}.{last}" if replaced is not None else name
    return _ALIASES.get(name, name)


def star_names(module: str) -> tuple[str, ...]:
    """The names that `from module import *` is assumed to bind; only those that scripts use."""
    return _STAR.get(canonical(module), ())


_STAR = {
    "torch": tuple(
        """tensor zeros ones randn rand arange cat stack softmax sigmoid relu tanh exp log sum mean
        no_grad save load device float32 long Tensor FloatTensor LongTensor from_numpy matmul clamp manual_seed max min
        argmax""".split()
    ),
    "torch.nn": (
        *LAYERS,
        *CONTAINERS,
        *(name for name in LOSSES if name[0].isupper()),
        *("Module", "Parameter", "functional", "init", "DataParallel"),
    ),
    "torch.nn.functional": (
        *(name for name in LOSSES if name[0].islower()),
        *"""relu softmax log_softmax sigmoid tanh dropout dropout2d max_pool2d avg_pool2d conv2d linear leaky_relu pad
        interpolate normalize gelu elu one_hot""".split(),
    ),
    "torch.optim": (*TORCH_OPTIMIZERS, "lr_scheduler"),
    "torch.utils.data": tuple(
        """DataLoader Dataset TensorDataset random_split Subset IterableDataset ConcatDataset SubsetRandomSampler
        RandomSampler SequentialSampler WeightedRandomSampler""".split()
    ),
    "torch.autograd": ("Variable", "Function", "grad", "no_grad"),
    "numpy": ("array", "zeros", "ones", "mean", "sum", "arange", "random"),
}
