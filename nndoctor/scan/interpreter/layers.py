"""Layers and losses of libraries: made from their class, called like the model's own parts."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import (
    calls,
    containers,
    data,
    layer_shapes,
    library_models,
    modes,
    noting,
    sequences,
    shape_arguments,
    tensors,
)
from nndoctor.scan.interpreter.machine import MAX_STATEMENTS, Machine
from nndoctor.scan.values import FALSE, LOSS, TRUE, Choice, Const, Container, Lib, Method, Term, Tuple, Value

OPERATION = "$operation"
OPEN = "$open"  # among the arguments: unknown ones may have been passed too


def make(run: Machine, api: str, args: Any, node: Any) -> Lib | None:
    """An object of a class of torch.nn; None if the name is none."""
    name = api.rpartition(".")[2]
    if name in torch_api.CONTAINERS:
        return _make_container(run, api, name, args, node)
    operation = torch_api.LAYERS.get(name)
    if operation is not None:
        layer = Lib(api, "layer", bound(args, torch_api.parameters_of(name)), run.frame.source, node)
        layer.attrs[OPERATION] = operation
        layer.attrs["$frame"] = run.frame
        if operation == "batchnorm" and len(args.positional) > 1:
            run.note("layer", node, layer, args=args, operation=operation)
        return run.born(layer)  # type: ignore[no-any-return]
    if name in torch_api.LOSSES:
        loss = Lib(api, "loss", bound(args, torch_api.options_of(name)), run.frame.source, node)
        return run.born(loss)  # type: ignore[no-any-return]
    return None


def bound(args: Any, parameters: tuple[str, ...]) -> dict[str, Value]:
    """Arguments by the names of the parameters they stand for."""
    found = {**dict(zip(parameters, args.positional, strict=False)), **args.keywords}
    return {**found, OPEN: TRUE} if args.open else found


def _make_container(run: Machine, api: str, name: str, args: Any, node: Any) -> Lib:
    made = Lib(api, "container", {}, run.frame.source, node)
    fill(run, made, name, args, node)
    run.program.containers.append(made)
    return run.born(made)  # type: ignore[no-any-return]


def fill(run: Machine, module: Any, name: str, args: Any, node: Any) -> None:
    """Give a Sequential, ModuleList or ModuleDict (or an instance of a subclass) its children."""
    module.attrs["$items"], module.attrs["$rest"] = (), None
    given = args.positional
    if len(given) == 1 and type(run.resolve(given[0])) is Container and run.resolve(given[0]).kind == "dict":
        table = run.resolve(given[0])
        module.attrs["$items"], module.attrs["$rest"] = dict(table.attrs["$items"]), table.attrs.get("$rest")
    elif len(given) == 1 and (name != "Sequential" or _is_ordered_dict(given[0])):
        sequences.extend(run, module, _values_of_pairs(run, given[0]), node)
    else:
        for value in given:
            if type(value) is Term and value.op == "spread":
                run.write(module.attrs, "$rest", containers.element(run, value.inputs[0], node))
            else:
                sequences.append(run, module, value)


def _is_ordered_dict(value: Value) -> bool:
    return type(value) is Term and value.op == "ordered dict"


def _values_of_pairs(run: Machine, value: Value) -> Value:
    """The modules of `OrderedDict([("name", module), ...])`."""
    if not _is_ordered_dict(value):
        return value
    given = run.resolve(value.inputs[0])
    if type(given) is Container and given.kind == "dict":
        return Tuple(tuple(given.attrs["$items"].values()))
    items = containers.known_items(run, given)
    if items is None or not all(type(item) is Tuple and len(item.items) == 2 for item in items):
        return Term("unknown")
    return Tuple(tuple(item.items[1] for item in items))


def attribute(run: Machine, lib: Lib, name: str, node: Any) -> Value:
    """An attribute of a library object that is not called at once."""
    found = run.read(lib.attrs, name)
    if found is not None:
        return run.resolve(found)
    items = lib.attrs.get("$items")
    if type(items) is dict and name in items:
        return items[name]
    if name == "training":
        return modes.is_training(run, lib)
    if name == "module" and lib.kind in ("layer", "model", "container"):
        return lib
    if name in torch_api.MODULE_METHODS or name in ("step", "zero_grad", "backward", "state_dict"):
        return Method(lib, name)
    if name in lib.args:
        return run.resolve(lib.args[name])
    return run.pure("attribute", lib, name)


def call(run: Machine, lib: Lib, args: Any, node: Any) -> Value:
    """Call a library object: a layer, a container of layers, a loss."""
    if lib.kind == "layer":
        return _call_layer(run, lib, args, node)
    if lib.kind == "container":
        return modes.noted_forward(run, lib, call_sequential(run, lib, args, node), args, node)
    if lib.kind == "loss":
        return call_loss(run, lib.name, args, node, lib)
    if lib.kind == "model":
        output = library_models.output(run, lib, args, node)
        return modes.noted_forward(run, lib, output, args, node)
    if lib.kind == "transform":
        return data.apply_transform(run, lib, args, node)
    return calls.unknown_call(run, lib, args, node)


def call_sequential(run: Machine, module: Any, args: Any, node: Any) -> Value:
    """Pass the first argument through the modules of a Sequential, one after the other."""
    run.statements += 1
    if module in run.applied or run.statements > MAX_STATEMENTS:
        return Term("unknown")
    run.applied.append(module)
    items = run.read(module.attrs, "$items") or ()
    run.in_forward += 1
    module.attrs["$applied"] = True
    value: Value = args.positional[0] if args.positional else Term("unknown")
    rest = run.read(module.attrs, "$rest")
    for layer in (*(items.values() if type(items) is dict else items), *((rest, rest) if rest is not None else ())):
        value = _call_child(run, layer, value, node)
    run.applied.pop()
    run.in_forward -= 1
    return value


def _call_child(run: Machine, layer: Value, value: Value, node: Any) -> Value:
    """Call one module of a Sequential; what a layer does is told at the line that made it."""
    if type(layer) is Choice:
        return run.each(layer, lambda leaf: _call_child(run, leaf, value, node))
    if type(layer) is not Lib:
        return calls.call_value(run, layer, calls.Arguments((value,)), node)
    outer = run.frame.source
    run.frame.source = layer.source
    result = calls.call_value(run, layer, calls.Arguments((value,)), layer.node)
    run.frame.source = outer
    return result


def _call_layer(run: Machine, layer: Lib, args: Any, node: Any) -> Value:
    operation = layer.attrs[OPERATION]
    first = run.resolve(args.positional[0]) if args.positional else next(iter(args.all), Term("unknown"))
    if operation == "identity":
        return first
    if operation == "rnn":
        return _call_rnn(run, layer, first, args, node)
    if operation == "attention":
        output = run.term("attention", args.all, node, info={"layer": layer, "args": args})
        output.shape = shape_arguments.shape_of(run, first)
        run.note("apply", node, layer, operation=operation, input=first, output=output)
        return Tuple((output, run.term("attention weights", (first,), node)))
    return run.each(first, lambda leaf: _apply(run, layer, operation, leaf, args, node))


def _apply(run: Machine, layer: Lib, operation: str, tensor: Value, args: Any, node: Any) -> Term:
    others = (*args.positional[1:], *args.keywords.values())
    output = run.term(operation, (tensor, *others, layer), node, info={"layer": layer, "args": args})
    output.act = tensors.act_of(run, operation, tensor)
    if operation == "batchnorm":
        output.act = "raw" if type(tensor) is Term and tensor.act == "raw" else None
    if output.dtype is None and operation not in ("flatten", "identity", "pad"):
        output.dtype = "float"
    if output.shape is None and type(tensor) is Term:
        output.shape = layer_shapes.of_layer(run, layer, operation, tensor, args)
    if run.truth(layer.args.get("inplace") or FALSE):
        noting.in_place(run, tensor, output, node)
    if operation in torch_api.NOTED_LAYERS:
        run.note("apply", node, layer, operation=operation, input=tensor, output=output)
    elif operation in tensors.SOFTMAXES:
        axis = Const(1) if layer.name == "Softmax2d" else layer.args.get("dim")
        tensors.note_softmax(run, output, axis, OPEN in layer.args, node)
    return output


def _call_rnn(run: Machine, layer: Lib, tensor: Value, args: Any, node: Any) -> Value:
    output = run.term("rnn", args.all, node, info={"layer": layer, "args": args})
    state = run.term("hidden state", args.all, node, info={"layer": layer})
    if output.shape is None and type(tensor) is Term:
        output.shape, state.shape = layer_shapes.of_recurrent(run, layer, tensor, args)
    run.note("apply", node, layer, operation="rnn", input=tensor, output=output)
    if layer.name == "LSTM":
        cell = run.term("cell state", args.all, node, info={"layer": layer})
        cell.shape = state.shape
        return Tuple((output, Tuple((state, cell))))
    return Tuple((output, state))


# Losses


_INPUT_NAMES = ("input", "log_input", "anchor", "input1", "log_probs", "inputs")
_TARGET_NAMES = ("target", "targets", "positive", "input2", "labels")


def call_loss(run: Machine, name: str, args: Any, node: Any, loss: Lib | None = None) -> Value:
    """A loss applied to its input and target."""
    given = next((args.keywords[n] for n in _INPUT_NAMES if n in args.keywords), None)
    target = next((args.keywords[n] for n in _TARGET_NAMES if n in args.keywords), None)
    if given is None:
        given = args.positional[0] if args.positional else Term("unknown")
    if target is None:
        target = args.positional[1] if len(args.positional) > 1 else Term("unknown")
    behind = calls.Arguments(args.positional[2:], args.keywords)
    options = loss.args if loss is not None else bound(behind, torch_api.options_of(name))
    reduction = run.resolve(options.get("reduction", Const("mean")))
    whole = type(reduction) is Const and reduction.value != "none"
    result = run.term("loss", (given, target), node, LOSS, {"name": name, "options": options})
    expects = torch_api.LOSSES[name]
    told = {"name": name, "expects": expects, "target": target, "options": options, "result": result, "whole": whole}
    run.note("loss", node, given, **told)
    return result
