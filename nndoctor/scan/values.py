"""The abstract values of the static pass: what the interpreter knows of each expression.

Values are compared by identity. A `Term` is immutable but for its lazily made attributes; an `Instance`, a `Lib` or a
`Container` is an object on the heap, and its `attrs` are written only through the interpreter's trail, so that
branches can be undone and joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import libcst as cst

    from nndoctor.scan.shapes import Shape
    from nndoctor.scan.source import SourceFile

# What was last applied to a tensor; views, casts, indexing and the like leave it as it is.
SOFTMAX, LOG_SOFTMAX, SIGMOID, LOG, RELU, BOUNDED, RAW, LOSS = (
    "softmax", "log_softmax", "sigmoid", "log", "relu", "bounded", "raw", "loss",
)  # fmt: skip


class Site:
    """A place in the user's code; the position is computed only if a finding needs it."""

    __slots__ = ("node", "source")

    def __init__(self, source: SourceFile, node: cst.CSTNode) -> None:
        self.source = source
        self.node = node


class Const:
    """A Python constant: number, string, bool or None."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Term:
    """An unknown value or a tensor, as the operation and the operands that made it.

    `act` is the activation that the tensor still shows, `dtype` its element type where known, `grad` whether it was
    made with the graph on (None: unknown), `info` what else the operation said (dim, bounds, the called object).
    """

    __slots__ = ("act", "attrs", "dtype", "grad", "info", "inputs", "node", "op", "shape", "source")

    def __init__(
        self,
        op: str,
        inputs: tuple[Value, ...] = (),
        source: SourceFile | None = None,
        node: cst.CSTNode | None = None,
        act: str | None = None,
        info: dict[str, Any] | None = None,
        grad: Value | None = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.source = source
        self.node = node
        self.act = act
        self.info = info
        self.grad = grad
        self.dtype: str | None = None
        self.shape: Shape | None = None
        self.attrs: dict[Any, Any] | None = None

    @property
    def site(self) -> Site | None:
        """The place of the operation; None if it stands nowhere in particular."""
        return Site(self.source, self.node) if self.source is not None and self.node is not None else None


class Tuple:
    """An immutable sequence whose items are known."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[Value, ...]) -> None:
        self.items = items


ITEMS, REST = "$items", "$rest"


class Container:
    """A list, set or dict.

    `attrs` holds ITEMS (a tuple, or a dict by constant key) and REST, an element at an unknown place. So do the
    containers of torch.nn.
    """

    __slots__ = ("attrs", "kind")

    def __init__(self, kind: str, items: Any, rest: Value | None = None) -> None:
        self.kind = kind  # "list", "set" or "dict"
        self.attrs: dict[str, Any] = {ITEMS: items, REST: rest}


class Function:
    """A function of the project: its node, the scope it closes over, and the object it is bound to."""

    __slots__ = ("attrs", "decorators", "defaults", "node", "owner", "receiver", "scope", "source")

    def __init__(self, node: Any, source: SourceFile, scope: Scope, owner: Class | None = None) -> None:
        self.node = node
        self.source = source
        self.scope = scope
        self.owner = owner  # the class whose body defines it
        self.receiver: Value | None = None
        self.defaults: dict[str, Value] = {}
        self.decorators: tuple[Value, ...] = ()
        self.attrs: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The name it was defined under, or `<lambda>`."""
        name = getattr(self.node, "name", None)
        return name.value if name is not None else "<lambda>"

    @property
    def site(self) -> Site:
        """Where it is defined."""
        return Site(self.source, self.node)

    def bind(self, receiver: Value) -> Function:
        """The same function as a method of `receiver`."""
        bound = Function(self.node, self.source, self.scope, self.owner)
        bound.receiver, bound.defaults, bound.decorators = receiver, self.defaults, self.decorators
        bound.attrs = self.attrs
        return bound


_MODULE_ROOTS = ("torch.nn.", "lightning.", "torchvision.models.")
_MODULE_NAMES = ("PreTrainedModel", "ScriptModule", "LightningModule", "BaseModule", "nn.Module")


class Class:
    """A class of the project."""

    __slots__ = ("attrs", "bases", "mro", "node", "roots", "source")

    def __init__(self, node: Any, source: SourceFile, bases: tuple[Value, ...]) -> None:
        self.node = node
        self.source = source
        self.bases = bases
        self.attrs: dict[str, Any] = {}
        self.mro: tuple[Class, ...] = (self, *_linearised(bases))
        self.roots = _library_roots(bases)  # names of library classes it derives from; "?" if a base is unknown

    @property
    def name(self) -> str:
        """The name of the class."""
        return str(self.node.name.value)

    @property
    def is_module(self) -> bool:
        """Whether it derives from torch.nn.Module."""
        return any(root.startswith(_MODULE_ROOTS) or root.endswith(_MODULE_NAMES) for root in self.roots)

    def find(self, name: str) -> Value | None:
        """The attribute of that name along the method resolution order."""
        for cls in self.mro:
            found = cls.attrs.get(name)
            if found is not None:
                return found
        return None


class Instance:
    """An object of a class of the project."""

    __slots__ = ("attrs", "cls", "node", "source")

    def __init__(self, cls: Class, source: SourceFile, node: cst.CSTNode) -> None:
        self.cls = cls
        self.source = source
        self.node = node
        self.attrs: dict[str, Any] = {}

    @property
    def site(self) -> Site:
        """The place that made it."""
        return Site(self.source, self.node)


class Lib:
    """An object that a library made: a layer, a loss, an optimizer, a loader; `args` are bound to parameter names."""

    __slots__ = ("api", "args", "attrs", "kind", "node", "source")

    def __init__(self, api: str, kind: str, args: dict[str, Value], source: SourceFile, node: cst.CSTNode) -> None:
        self.api = api  # canonical dotted name
        # Of models: "layer", "container", "model", "loss"; of the step: "optimizer", "scaler", "scheduler"; of data:
        # "loader", "dataset", "sampler", "transform", "estimator", "generator".
        self.kind = kind
        self.args = args
        self.source = source
        self.node = node
        self.attrs: dict[str, Any] = {}

    @property
    def site(self) -> Site:
        """The place that made it."""
        return Site(self.source, self.node)

    @property
    def name(self) -> str:
        """The last part of the dotted name, for messages."""
        return self.api.rpartition(".")[2]


class Api:
    """A name of a library or of Python itself, by its canonical dotted name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Method:
    """A bound method of anything but a project function: a receiver and a name."""

    __slots__ = ("name", "receiver")

    def __init__(self, receiver: Value, name: str) -> None:
        self.receiver = receiver
        self.name = name


class Module:
    """A Python module of the project."""

    __slots__ = ("attrs", "name", "source")

    def __init__(self, source: SourceFile, name: str) -> None:
        self.source = source
        self.name = name
        self.attrs: dict[str, Any] = {}


class Choice:
    """One of two values, decided by `guard` (a Term) where both were reached by branches on it."""

    __slots__ = ("guard", "otherwise", "then")

    def __init__(self, guard: Term, then: Value, otherwise: Value) -> None:
        self.guard = guard
        self.then = then
        self.otherwise = otherwise


class State:
    """A state of a protocol, such as the mode of a model, the place that set it, and the state before."""

    __slots__ = ("before", "name", "site")

    def __init__(self, name: str, site: Site | None = None) -> None:
        self.name = name
        self.site = site
        self.before: State | None = None


class Scope:
    """Names of a function, class body or module, and the scope outside of it."""

    __slots__ = ("globals", "names", "parent")

    def __init__(self, names: dict[str, Any], parent: Scope | None) -> None:
        self.names = names
        self.parent = parent
        self.globals: set[str] | None = None  # names declared global or nonlocal


# Any of the kinds above. They are told apart by `type(value) is Kind`, which mypy narrows from `Any`; a union of them
# would make it ask for a case for each kind wherever an attribute is read.
Value = Any


def is_none(value: Value | None) -> bool:
    """Whether a value is the constant None."""
    return type(value) is Const and value.value is None


def is_false(value: Value | None) -> bool:
    """Whether a value is a constant that Python takes for false."""
    return type(value) is Const and not value.value


NONE, TRUE, FALSE = Const(None), Const(True), Const(False)


def leaves(value: Value, assumed: dict[Term, bool] | None = None) -> Iterator[Value]:
    """Every value that `value` can be, given what is assumed of the guards."""
    if type(value) is not Choice:
        yield value
        return
    known = assumed.get(value.guard) if assumed else None
    if known is not False:
        yield from leaves(value.then, assumed)
    if known is not True:
        yield from leaves(value.otherwise, assumed)


def _linearised(bases: tuple[Value, ...]) -> tuple[Class, ...]:
    """Python's own order (C3) of the classes that these bases bring; depth first where they admit no such order."""
    direct = [base for base in bases if type(base) is Class]
    if len(direct) < 2:
        return direct[0].mro if direct else ()
    merged = _merged([*(list(base.mro) for base in direct), list(direct)])
    return tuple(merged if merged is not None else dict.fromkeys(cls for base in direct for cls in base.mro))


def _merged(orders: list[list[Class]]) -> list[Class] | None:
    """One order that keeps each of these; None if they contradict each other."""
    merged: list[Class] = []
    while orders := [order for order in orders if order]:
        later = {cls for order in orders for cls in order[1:]}
        head = next((order[0] for order in orders if order[0] not in later), None)
        if head is None:
            return None
        merged.append(head)
        orders = [order[1:] if order[0] is head else order for order in orders]
    return merged


def _library_roots(bases: tuple[Value, ...]) -> frozenset[str]:
    roots: set[str] = set()
    for base in bases:
        if type(base) is Class:
            roots |= base.roots
        elif type(base) is Api:
            roots.add(base.name)
        else:
            roots.add("?")
    return frozenset(roots)
