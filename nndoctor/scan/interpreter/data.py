"""Loaders, datasets, samplers and transforms: how they are made, and what iterating, indexing or calling yields."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import calls, containers, dtypes, following, layers
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import NONE, Container, Function, Instance, Lib, Term, Tuple, Value

OPEN = "$open"  # set on an object that may have been given arguments nobody can see (`**kwargs`)

MADE_IN = "$frame"  # the activation in which a random generator was made

_DATA = "torch.utils.data."


def make(run: Machine, name: str, args: Any, node: Any) -> Value | None:
    """What a class or function that has to do with data returns; None for any other name."""
    if name.startswith(_DATA):
        return _make_of_torch(run, name, args, node)
    if name.startswith("torchvision.datasets."):
        return _make(run, name, "dataset", torch_api.dataset_parameters(name.rpartition(".")[2]), args, node)
    if torch_api.is_transform(name):
        return _make_transform(run, name, args, node)
    if name in torch_api.GENERATORS:
        made = _make(run, name, "generator", ("seed",), args, node)
        made.attrs[MADE_IN] = run.frame
        return made
    return None


def _make_of_torch(run: Machine, name: str, args: Any, node: Any) -> Value | None:
    last = name[len(_DATA) :]
    if last == "DataLoader":
        made = _make(run, name, "loader", torch_api.LOADER_PARAMETERS, args, node)
        _seed_worker(run, made, node)
        return _collating(run, made, node)
    if last in torch_api.WRAPPERS:
        made = _make(run, name, "dataset", torch_api.WRAPPERS[last], args, node)
        if last == "TensorDataset":
            made.args["tensors"] = Tuple(args.positional)
        return made
    if last in torch_api.SAMPLERS:
        return _make(run, name, "sampler", torch_api.SAMPLERS[last], args, node)
    return _random_split(run, args, node) if last == "random_split" else None


def _collating(run: Machine, loader: Lib, node: Any) -> Lib:
    """Note what the project's own `collate_fn` makes of a list of examples."""
    own = run.resolve(loader.args.get("collate_fn") or NONE)
    if type(own) is Function:
        examples = run.born(Container("list", (), run.pure("element", loader.args.get("dataset") or NONE)))
        made = following.call_function(run, own, calls.Arguments((examples,)), node)
        run.note("collated", node, loader, result=made)
    return loader


def _seed_worker(run: Machine, loader: Lib, node: Any) -> None:
    """Run the project's own `worker_init_fn`, as a worker does that starts."""
    own = run.resolve(loader.args.get("worker_init_fn") or NONE)
    if type(own) is Function:
        following.call_function(run, own, calls.Arguments((Term(WORKER),)), node)


WORKER = "number of the worker"  # the operation of what a `worker_init_fn` is given


def _make(run: Machine, name: str, kind: str, parameters: tuple[str, ...], args: Any, node: Any) -> Lib:
    made = Lib(name, kind, layers.bound(args, parameters), run.frame.source, node)
    if args.open:
        made.attrs[OPEN] = True
    return run.born(made)  # type: ignore[no-any-return]


def _random_split(run: Machine, args: Any, node: Any) -> Value:
    """`random_split(dataset, lengths)`: as many subsets as there are lengths."""
    dataset = args.get(0, "dataset") or Term("unknown")
    lengths = containers.known_items(run, args.get(1, "lengths") or Term("unknown"))
    if lengths is None:
        return run.term("call", args.all, node)
    return Tuple(tuple(_random_part(run, dataset, length, node) for length in lengths))


def _random_part(run: Machine, dataset: Value, length: Value, node: Any) -> Lib:
    indices = run.term(RANDOM_PART, (dataset, length), node)
    return run.born(Lib(f"{_DATA}Subset", "dataset", {"dataset": dataset, "indices": indices}, run.frame.source, node))  # type: ignore[no-any-return]


RANDOM_PART = "random part"  # the operation of the indices that `random_split` draws


def initialise_dataset(run: Machine, instance: Instance, args: Any) -> None:
    """`super().__init__(...)` of a dataset that derives from one of torchvision: its arguments become attributes."""
    for root in instance.cls.roots:
        if root.startswith("torchvision.datasets."):
            parameters = torch_api.dataset_parameters(root.rpartition(".")[2])
            for name, value in layers.bound(args, parameters).items():
                run.write(instance.attrs, name, value)


def batch(run: Machine, source: Lib) -> Value:
    """What one iteration over a loader, or over a dataset without one, yields."""
    return run.pure("example" if source.kind == "dataset" else "batch", source)


def draw(run: Machine, generator: Lib, args: Any, node: Any) -> Value:
    """A method of a random generator, such as `rng.random()`."""
    run.note("drawn", node, generator)
    return run.term("call", (generator, *args.all), node)


# Transforms -----------------------------------------------------------------------------------------------------------

TRANSFORMED = "transformed"  # the operation of what a transform returns
PIXELS = "pixels"  # the operation of what is handed to the function of a `Lambda`
RESULT = "$result"  # what that function makes of it


def _make_transform(run: Machine, name: str, args: Any, node: Any) -> Lib:
    made = _make(run, name, "transform", torch_api.transform_parameters(name.rpartition(".")[2]), args, node)
    function = run.resolve(made.args.get("lambd") or NONE)
    if type(function) is Function:
        made.attrs[RESULT] = following.call_function(run, function, calls.Arguments((Term(PIXELS),)), node)
    return made


def apply_transform(run: Machine, transform: Lib, args: Any, node: Any) -> Value:
    """`transform(image)`, `transform(image=image, mask=mask)`."""
    result = run.term(TRANSFORMED, (*args.all, transform), node, info={"layer": transform})
    result.dtype = _dtype_after(run, transform, args)
    run.note("transform", node, transform, args=args, result=result)
    return result


def _dtype_after(run: Machine, transform: Lib, args: Any) -> str | None:
    name = transform.name
    if name == "ToTensor":
        return dtypes.FLOAT
    if name == "PILToTensor":
        return dtypes.UINT8
    steps = containers.known_items(run, transform.args.get("transforms")) if name == "Compose" else None
    made = [step.name for step in steps or () if type(step) is Lib and step.kind == "transform"]
    return dtypes.FLOAT if "ToTensor" in made and len(made) == len(steps or ()) else None


# Objects of the project -----------------------------------------------------------------------------------------------


def iterate_instance(run: Machine, instance: Instance, node: Any) -> Value:
    """What one iteration over an object of the project yields."""
    own = instance.cls.find("__iter__")
    if type(own) is Function:
        made = following.call_function(run, own.bind(instance), calls.Arguments(), node)
        if type(made) is Term and made.op == "generator":
            return made.inputs[0] if made.inputs else Term("unknown")
    return run.pure("element", instance)


def item_of_instance(run: Machine, instance: Instance, index: Value, node: Any) -> Value:
    """`instance[index]`."""
    own = instance.cls.find("__getitem__")
    if type(own) is Function:
        result = following.call_function(run, own.bind(instance), calls.Arguments((index,)), node)
        run.note("example", node, instance, result=result)
        return result
    return run.pure("item", instance, index)
