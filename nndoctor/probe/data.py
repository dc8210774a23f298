"""DATA as the user named it (a loader, data set, iterable, factory, pair or batch) becomes loaders of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from nndoctor.findings import Location
from nndoctor.probe.batch import children, tensors
from nndoctor.probe.batches import as_tensors
from nndoctor.probe.blame import place_of_definition
from nndoctor.probe.entrypoint import call_factory
from nndoctor.probe.errors import EntrypointError

DEFAULT_BATCH_SIZE = 32  # for a data set that came without a loader; the report says so
DATA_TYPES = (DataLoader, Dataset)
VALIDATION_NAMES = ("val", "valid", "validation", "dev", "eval", "test")


@dataclass(frozen=True, slots=True)
class Loaders:
    """The training batches, and the validation batches if the user gave any."""

    train: Iterable[Any]
    validation: Iterable[Any] | None = None
    notes: tuple[str, ...] = ()
    location: Location | None = None  # where the loader is made, or else the data set
    source_line: str | None = None


def open_data(value: Any, name: str) -> Loaders:
    """Find the loaders in what the user named; raises EntrypointError."""
    named = value
    if _is_factory(value):
        value = call_factory(value, name)
    train, validation = _pair(value)
    notes: list[str] = []
    first = _as_loader(train, name, notes)
    second = None if validation is None else _as_loader(validation, name, [])
    place, line = place_of_definition(named, type(getattr(first, "dataset", first))) or (None, None)
    return Loaders(first, second, tuple(notes), place, line)


def _is_factory(value: Any) -> bool:
    if isinstance(value, type):
        return True
    return callable(value) and not hasattr(value, "__iter__") and not hasattr(value, "__getitem__")


def _pair(value: Any) -> tuple[Any, Any]:
    """Training and validation data; the latter None for data that come alone."""
    if hasattr(value, "train_dataloader"):
        return _data_module(value)
    if isinstance(value, Mapping) and "train" in value and not isinstance(value["train"], Tensor):
        named = next((name for name in VALIDATION_NAMES if name in value), None)
        return value["train"], value[named] if named else None
    if isinstance(value, tuple) and len(value) in (2, 3) and all(_is_many(part) for part in value):
        return value[0], value[1]
    if isinstance(value, list) and len(value) in (2, 3) and all(isinstance(part, DATA_TYPES) for part in value):
        return value[0], value[1]
    return value, None


def _data_module(module: Any) -> tuple[Any, Any]:
    """A LightningDataModule, or a LightningModule with loaders of its own, prepared as its trainer would."""
    if hasattr(module, "prepare_data"):
        module.prepare_data()
    if hasattr(module, "setup"):
        module.setup("fit")
    return module.train_dataloader(), _validation_of(module)


def _validation_of(module: Any) -> Any:
    """The first of the validation loaders; None where there is none, or where the method is the framework's own."""
    if not hasattr(module, "val_dataloader"):
        return None
    try:
        loaders = module.val_dataloader()
    except NotImplementedError:
        return None
    except Exception as error:
        if type(error).__name__ == "MisconfigurationException":  # lightning's word for: not overridden
            return None
        raise
    return next(iter(loaders), None) if isinstance(loaders, (list, tuple)) else loaders


def _is_many(value: Any) -> bool:
    """Whether it is a source of batches rather than a part of one."""
    if isinstance(value, DATA_TYPES):
        return True
    if isinstance(value, list):
        return bool(value) and all(children(part) is not None for part in value)
    return children(value) is None and hasattr(value, "__iter__") and not isinstance(value, (Tensor, str))


def _as_loader(value: Any, name: str, notes: list[str]) -> Iterable[Any]:
    if isinstance(value, DataLoader):
        return value
    if isinstance(value, Dataset) or _looks_like_dataset(value):
        notes.append(f"data: `{name}` is a data set; it was read in batches of {DEFAULT_BATCH_SIZE}")
        return DataLoader(value, DEFAULT_BATCH_SIZE, shuffle=not isinstance(value, IterableDataset))
    if _is_batch(value):
        notes.append(f"data: `{name}` is a single batch")
        return [value]
    is_sequence = hasattr(value, "__getitem__")  # iter() counts indices up where there is no __iter__
    if (isinstance(value, Iterable) or is_sequence) and not isinstance(value, (str, bytes)):
        return value  # type: ignore[no-any-return]
    raise EntrypointError(
        f"`{name}` gives an object of type {type(value).__name__}: it must be a DataLoader, a Dataset, an iterable of "
        "batches or one batch, or a function without arguments that returns one of these"
    )


def _looks_like_dataset(value: Any) -> bool:
    """Map-style without the base class: reached by index and length, and no container of batches."""
    indexed = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return indexed and (not hasattr(value, "__iter__") or hasattr(value, "__getitems__"))


def _is_batch(value: Any) -> bool:
    """One batch: a tensor, a mapping or record that holds tensors, a tuple or list of tensors that are not alike."""
    value = as_tensors(value) if isinstance(value, (tuple, list, Mapping)) else value
    parts = [part for _, part in children(value) or []]
    if isinstance(value, list) and parts:
        return any(isinstance(part, Tensor) for part in parts) and not _alike(parts)
    if isinstance(value, tuple) and parts and not hasattr(value, "_fields"):
        return any(isinstance(part, Tensor) for part in parts)
    return isinstance(value, Tensor) or bool(parts and tensors(value))


def _alike(parts: list[Any]) -> bool:
    """Whether all are tensors of one kind: then the list holds batches of inputs, not inputs beside targets."""
    kind: Callable[[Tensor], Any] = lambda tensor: (tensor.dtype, tensor.shape[1:])  # noqa: E731
    return all(isinstance(part, Tensor) for part in parts) and len({kind(part) for part in parts}) == 1
