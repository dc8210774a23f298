"""Functions and classes that newer torch and torchvision removed or deprecated, and what took their place.

Sources: the release notes of torch 1.0 to 2.13 and torchvision 0.8 to 0.28, and what torch 2.13 itself says when they
are called.
"""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Replaced:
    """What happened to a name: gone since `removed`, or deprecated if that is None."""

    by: str  # the dotted name to use instead, or words where there is no such name
    since: Version  # the first torch that has the replacement
    removed: Version | None = None
    same_call: bool = False  # whether the same arguments mean the same, so that writing the new name is all


def _renamed(names: str, since: Version, removed: Version | None = None) -> dict[str, Replaced]:
    """Lines of an old and a new name that takes the same arguments."""
    pairs = (line.split() for line in names.strip().splitlines())
    return {old: Replaced(new, since, removed, same_call=True) for old, new in pairs}


_INITIALISERS = """uniform normal constant eye dirac xavier_uniform xavier_normal kaiming_uniform kaiming_normal
    orthogonal sparse""".split()
_FUNCTORCH = "vmap grad grad_and_value vjp jvp jacrev jacfwd hessian functionalize".split()
_FIELDS = "Field LabelField NestedField RawField BucketIterator BPTTIterator Iterator TabularDataset Example".split()

REPLACED: dict[str, Replaced] = {
    **_renamed("torch.set_deterministic torch.use_deterministic_algorithms", since=(1, 8), removed=(1, 11)),
    **_renamed("torch.is_deterministic torch.are_deterministic_algorithms_enabled", since=(1, 8), removed=(1, 11)),
    **_renamed("torch.potrf torch.linalg.cholesky", since=(1, 8), removed=(1, 2)),
    "torch.btrifact": Replaced("torch.linalg.lu_factor", (1, 11), (1, 2)),
    # The transforms took complex numbers as pairs of real ones: a look is needed.
    **{
        name: Replaced(f"torch.fft.{name.rpartition('.')[2]}", (1, 8), (1, 8))
        for name in ("torch.rfft", "torch.irfft", "torch.ifft", "torch.fft")
    },
    "torch.eig": Replaced("torch.linalg.eig", (1, 9), (2, 0)),
    "torch.matrix_rank": Replaced("torch.linalg.matrix_rank", (1, 9), (2, 0)),
    "torch.symeig": Replaced("torch.linalg.eigh", (1, 9), (2, 0)),
    "torch.lstsq": Replaced("torch.linalg.lstsq", (1, 9), (2, 0)),
    "torch.gels": Replaced("torch.linalg.lstsq", (1, 9), (1, 5)),
    "torch.solve": Replaced("torch.linalg.solve", (1, 9), (2, 0)),
    "torch.gesv": Replaced("torch.linalg.solve", (1, 9), (1, 2)),
    "torch.trtrs": Replaced("torch.linalg.solve_triangular", (1, 11), (1, 2)),
    "torch._six": Replaced("the types of Python itself (`str`, `int`, `collections.abc`)", (1, 0), (2, 0)),
    "torch.utils.ffi": Replaced("torch.utils.cpp_extension", (1, 0), (1, 0)),
    **{f"torchtext.data.{name}": Replaced("a DataLoader with a collate_fn", (1, 0), (1, 10)) for name in _FIELDS},
    **_renamed(
        """
        torchvision.transforms.Scale torchvision.transforms.Resize
        torchvision.transforms.RandomSizedCrop torchvision.transforms.RandomResizedCrop
        torchvision.models.utils.load_state_dict_from_url torch.hub.load_state_dict_from_url
        torchvision.transforms.functional_tensor.rgb_to_grayscale torchvision.transforms.functional.rgb_to_grayscale
        """,
        since=(1, 1),
        removed=(1, 12),
    ),
    "torchvision.transforms.functional_tensor": Replaced("torchvision.transforms.functional", (1, 1), (2, 2)),
    # Deprecated: they work and warn.
    **_renamed(
        """
        torch.cholesky torch.linalg.cholesky
        torch.ger torch.outer
        torch.nn.functional.upsample torch.nn.functional.interpolate
        torch.nn.NLLLoss2d torch.nn.NLLLoss
        torch.cuda.memory_cached torch.cuda.memory_reserved
        torch.cuda.max_memory_cached torch.cuda.max_memory_reserved
        torch.cuda.reset_max_memory_allocated torch.cuda.reset_peak_memory_stats
        torch.cuda.reset_max_memory_cached torch.cuda.reset_peak_memory_stats
        torch.nn.utils.weight_norm torch.nn.utils.parametrizations.weight_norm
        torch.nn.utils.stateless.functional_call torch.func.functional_call
        torch.testing.assert_allclose torch.testing.assert_close
        """,
        since=(1, 8),
    ),
    **_renamed(
        "\n".join(f"torch.nn.init.{name} torch.nn.init.{name}_" for name in _INITIALISERS),
        since=(0, 4),
    ),
    **_renamed("\n".join(f"functorch.{name} torch.func.{name}" for name in _FUNCTORCH), since=(2, 0)),
    "functorch.make_functional": Replaced("torch.func.functional_call", (2, 0)),
    "functorch.make_functional_with_buffers": Replaced("torch.func.functional_call", (2, 0)),
    "torch.nn.functional.upsample_bilinear": Replaced('torch.nn.functional.interpolate(mode="bilinear")', (1, 0)),
    "torch.nn.functional.upsample_nearest": Replaced('torch.nn.functional.interpolate(mode="nearest")', (1, 0)),
    "torch.chain_matmul": Replaced("torch.linalg.multi_dot", (1, 8)),
    "torch.qr": Replaced("torch.linalg.qr", (1, 8)),
    "torch.lu": Replaced("torch.linalg.lu_factor", (1, 11)),
    "torch.triangular_solve": Replaced("torch.linalg.solve_triangular", (1, 11)),
    "torch.range": Replaced("torch.arange, whose end is exclusive", (0, 4)),
    "torch.set_default_tensor_type": Replaced("torch.set_default_dtype and torch.set_default_device", (2, 0)),
    "torch.backends.cuda.sdp_kernel": Replaced("torch.nn.attention.sdpa_kernel", (2, 3)),
    "torch.cuda.amp.autocast": Replaced('torch.amp.autocast("cuda")', (1, 10)),
    "torch.cpu.amp.autocast": Replaced('torch.amp.autocast("cpu")', (1, 10)),
    "torch.cuda.amp.GradScaler": Replaced('torch.amp.GradScaler("cuda")', (2, 3)),
    "torch.cpu.amp.GradScaler": Replaced('torch.amp.GradScaler("cpu")', (2, 3)),
    "torch.cuda.amp.custom_fwd": Replaced('torch.amp.custom_fwd(device_type="cuda")', (2, 4)),
    "torch.cuda.amp.custom_bwd": Replaced('torch.amp.custom_bwd(device_type="cuda")', (2, 4)),
    "torch.is_autocast_cpu_enabled": Replaced('torch.is_autocast_enabled("cpu")', (2, 4)),
    "torch.get_autocast_gpu_dtype": Replaced('torch.get_autocast_dtype("cuda")', (2, 4)),
    "torch.distributed.reduce_op": Replaced("torch.distributed.ReduceOp", (1, 0)),
    "torch.distributed._all_gather_base": Replaced("torch.distributed.all_gather_into_tensor", (1, 13)),
    "torch.distributed._reduce_scatter_base": Replaced("torch.distributed.reduce_scatter_tensor", (1, 13)),
    "torch.quantization.quantize_dynamic": Replaced("torchao.quantization.quantize_", (2, 3)),
    "torchvision.transforms.v2.ToTensor": Replaced("v2.ToImage and v2.ToDtype(torch.float32, scale=True)", (2, 0)),
}
# Replaced ones whose first argument became the device: written before what is passed.
DEVICE_FIRST = {
    "torch.cuda.amp.autocast": ("torch.amp.autocast", '"cuda"'),
    "torch.cpu.amp.autocast": ("torch.amp.autocast", '"cpu"'),
    "torch.cuda.amp.GradScaler": ("torch.amp.GradScaler", '"cuda"'),
    "torch.cpu.amp.GradScaler": ("torch.amp.GradScaler", '"cpu"'),
}
