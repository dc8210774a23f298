"""Classes, instances and attributes."""

from __future__ import annotations

from typing import Any

import libcst as cst

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import (
    calls,
    contexts,
    following,
    imports,
    kinds,
    layers,
    library_models,
    modes,
    module_methods,
    noting,
    statements,
    tensors,
)
from nndoctor.scan.interpreter.frames import Frame
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import (
    NONE,
    Api,
    Choice,
    Class,
    Function,
    Instance,
    Lib,
    Method,
    Module,
    Scope,
    Term,
    Value,
)

_PROPERTY = frozenset({"builtins.property", "functools.cached_property", "abc.abstractproperty"})
SETTER = "$setter"


def get_attribute(run: Machine, receiver: Value, name: str, node: Any) -> Value:
    """`receiver.name`."""
    receiver = run.resolve(receiver)
    kind = type(receiver)
    if kind is Api:
        return run.api(torch_api.canonical(f"{receiver.name}.{name}"))
    if kind is Instance:
        return _of_instance(run, receiver, name, node)
    if kind is Term:
        return tensors.attribute(run, receiver, name, node)
    if kind is Module:
        return imports.member(run, receiver, name)
    if kind is Lib:
        return layers.attribute(run, receiver, name, node)
    if kind is Class:
        return _of_class(run, receiver, name)
    if kind is Choice:
        return run.each(receiver, lambda leaf: get_attribute(run, leaf, name, node))
    if kind is Function and name in receiver.attrs:
        return receiver.attrs[name]
    if kind is Function and name == "__name__":
        return run.constant(receiver.name)
    return Method(receiver, name)


def _of_instance(run: Machine, instance: Instance, name: str, node: Any) -> Value:
    found = run.read(instance.attrs, name)
    if found is not None:
        return run.resolve(found) if type(found) is Choice else found
    if name == "training" and instance.cls.is_module:
        return modes.is_training(run, instance)
    if name == "__class__":
        return instance.cls
    member = instance.cls.find(name)
    if member is not None:
        return _bound(run, member, instance, node)
    return (
        Method(instance, name) if module_methods.knows_method(instance, name) else run.pure("attribute", instance, name)
    )


def _bound(run: Machine, member: Value, instance: Instance, node: Any) -> Value:
    if type(member) is not Function:
        return member
    names = [d.name for d in member.decorators if type(d) is Api]
    if "builtins.staticmethod" in names:
        return member
    if "builtins.classmethod" in names:
        return member.bind(instance.cls)
    if any(name in _PROPERTY for name in names):
        return following.call_function(run, member.bind(instance), calls.Arguments(), node)
    return member.bind(instance)


def _of_class(run: Machine, cls: Class, name: str) -> Value:
    found = cls.find(name)
    if found is None:
        known = {"__name__": cls.name, "__doc__": None}
        return run.constant(known[name]) if name in known else run.pure("attribute", cls, name)
    if type(found) is Function and any(type(d) is Api and d.name == "builtins.classmethod" for d in found.decorators):
        return found.bind(cls)
    return found


def set_attribute(run: Machine, receiver: Value, name: str, value: Value, node: Any) -> None:
    """`receiver.name = value`."""
    receiver = run.resolve(receiver)
    kind = type(receiver)
    if kind is Choice:
        _set_on_either(run, receiver, name, value, node)
        return
    if name in torch_api.NOTED_ATTRIBUTES:
        run.note("attribute", node, receiver, name=name, value=value)
    elif kind is Lib and kinds.is_model(receiver):
        noting.stored(run, receiver, value, node)
    if kind is Instance:
        member = receiver.cls.find(name)
        if type(member) is Function and SETTER in member.attrs:
            following.call_function(run, member.attrs[SETTER].bind(receiver), calls.Arguments((value,)), node)
            return
    if kind is Instance or kind is Lib or kind is Class or kind is Module:
        run.write(receiver.attrs, name, value)
        noting.part(run, receiver, name, value, node)
        noting.tensor(run, receiver, name, value, node)
        contexts.attribute_set(run, receiver, name, value, node)
    elif kind is Term:
        run.program.handed[id(value)] = value
        if receiver.attrs is None:
            receiver.attrs = {}
        run.write(receiver.attrs, name, value)
        library_models.change_part(run, receiver, value)
        contexts.attribute_set(run, receiver, name, value, node)


def _set_on_either(run: Machine, receiver: Choice, name: str, value: Value, node: Any) -> None:
    """`p.grad = None` where p is one of several parameters: which one has it now is not kept."""
    for leaf in run.leaves(receiver):
        if type(leaf) is Term and name in torch_api.NOTED_ATTRIBUTES:
            run.note("attribute", node, leaf, name=name, value=value)
        contexts.attribute_set(run, leaf, name, value, node)


def delete_attribute(run: Machine, receiver: Value, name: str, node: Any) -> None:
    """`del receiver.name`."""
    receiver = run.resolve(receiver)
    if type(receiver) is Instance or type(receiver) is Lib:
        run.write(receiver.attrs, name, None)
    contexts.attribute_set(run, receiver, name, NONE, node)


def define_class(run: Machine, node: cst.ClassDef) -> None:
    """Run a class body and bind the class."""
    bases = tuple(run.resolve(run.dispatch[type(arg.value)](run, arg.value)) for arg in node.bases)
    cls = Class(node, run.frame.source, bases)
    outer = run.frame
    frame = Frame(outer.source, Scope(cls.attrs, outer.scope), outer.depth, outer.function)
    frame.is_class = True
    frame.receiver = outer.receiver
    run.frames.append(frame)
    statements.run_suite(run, node.body)
    run.frames.pop()
    for member in cls.attrs.values():
        if type(member) is Function and member.owner is None:
            member.owner = cls
    for path in frame.pending:
        del path
        run.release()
    run.program.classes.append(cls)
    run.assign(node.name.value, _decorated_class(run, cls, node))


def _decorated_class(run: Machine, cls: Class, node: cst.ClassDef) -> Value:
    """What the name of a decorated class is bound to; a decorator may also enter it into a registry."""
    result: Value = cls
    for expression in [d.decorator for d in reversed(node.decorators)]:
        decorator = run.resolve(run.dispatch[type(expression)](run, expression))
        if type(decorator) is Function:
            wrapped = calls.call_value(run, decorator, calls.Arguments((result,)), node)
            result = wrapped if type(wrapped) is Class else result
    return result


def decorated(run: Machine, function: Function, node: cst.FunctionDef) -> Value:
    """What the name of a decorated function is bound to: those of the project are called, others are transparent."""
    result: Value = function
    for decorator in reversed(function.decorators):
        if type(decorator) is Method and type(decorator.receiver) is Function:  # @x.setter, @x.getter, @x.deleter
            result = property_with(decorator.receiver, function) if decorator.name == "setter" else decorator.receiver
        elif type(decorator) in (Function, Choice) or (type(decorator) is Term and decorator.op == "context"):
            wrapped = calls.call_value(run, decorator, calls.Arguments((result,)), node)
            result = wrapped if all(type(leaf) is Function for leaf in run.leaves(wrapped)) else result
    return result


def property_with(getter: Function, setter: Function | None) -> Function:
    """A property that also sets."""
    both = getter.bind(getter.receiver)
    both.attrs = {**getter.attrs, SETTER: setter} if setter is not None else getter.attrs
    return both


def instantiate(run: Machine, cls: Class, args: calls.Arguments, node: Any) -> Value:
    """`Class(args)`."""
    if any(root in torch_api.AUTOGRAD_FUNCTIONS for root in cls.roots):
        return run.term("call", (cls, *args.all), node)
    instance = Instance(cls, run.frame.source, node)
    run.born(instance)
    initialise(run, instance, args, node)
    return instance


def initialise(run: Machine, instance: Instance, args: calls.Arguments, node: Any) -> None:
    """Run `__init__`, or set the fields of a dataclass."""
    cls = instance.cls
    contexts.made(run, instance, node)
    init = cls.find("__init__")
    if type(init) is Function:
        following.call_function(run, init.bind(instance), args, node)
        return
    module_methods.initialise_base(run, instance, args, node)
    _initialise_fields(run, instance, args, node)


def _initialise_fields(run: Machine, instance: Instance, args: calls.Arguments, node: Any) -> None:
    """What the `__init__` of a dataclass does."""
    cls = instance.cls
    fields = {name: initial for base in reversed(cls.mro) for name, initial in _fields(base).items()}
    only_initial: list[Value] = []
    for i, (name, initial) in enumerate(fields.items()):
        value = args.get(i, name)
        if initial:
            only_initial.append(value or cls.find(name) or Term("unknown"))
        elif value is not None or args.open:
            run.write(instance.attrs, name, value or run.pure("attribute", instance, name))
    after = cls.find("__post_init__")
    if type(after) is Function:
        following.call_function(run, after.bind(instance), calls.Arguments(tuple(only_initial)), node)


def _fields(cls: Class) -> dict[str, bool]:
    """The annotated names of a class body, and whether `__post_init__` alone gets them (`InitVar`)."""
    fields: dict[str, bool] = {}
    body = cls.node.body.body if type(cls.node.body) is cst.IndentedBlock else ()
    lines = (line for line in body if type(line) is cst.SimpleStatementLine)
    for small in (small for line in lines for small in line.body):
        if type(small) is cst.AnnAssign and type(small.target) is cst.Name:
            kind = _outer_name(small.annotation.annotation)
            if kind != "ClassVar":
                fields[small.target.value] = kind == "InitVar"
    return fields


def _outer_name(annotation: cst.BaseExpression) -> str:
    """`InitVar` of `dataclasses.InitVar[int]`."""
    outer = annotation.value if type(annotation) is cst.Subscript else annotation
    name = outer.attr if type(outer) is cst.Attribute else outer
    return name.value if type(name) is cst.Name else ""
