"""Scikit-learn's part in a training script: what estimators were fitted on, and arrays split into train and test."""

from __future__ import annotations

from typing import Any

from nndoctor.scan import torch_api
from nndoctor.scan.interpreter import layers
from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import Lib, Term, Tuple, Value

FITTED = "fitted"  # the operation of what an estimator returns: the array, the estimator, what it was fitted on
SPLITS = ("train split", "test split")  # the operations of the parts that `train_test_split` returns
_FITTED_ON = "$fitted on"


def make(run: Machine, name: str, args: Any, node: Any) -> Value | None:
    """An estimator that learns from the values of an array, or the parts of arrays that are split."""
    if name == "sklearn.model_selection.train_test_split" and not args.open:
        return _split(run, args, node)
    last = name.rpartition(".")[2]
    if last in torch_api.LEARNING_ESTIMATORS and name.startswith(torch_api.ESTIMATOR_MODULES):
        return run.born(Lib(name, "estimator", layers.bound(args, ()), run.frame.source, node))
    return None


def _split(run: Machine, args: Any, node: Any) -> Value:
    """`train_test_split(x, y, ...)`: for each array the training part and the test part."""
    parts: list[Value] = []
    run.note("split", node, Tuple(args.positional), args=args)
    for array in args.positional:
        for op in SPLITS:
            part = run.term(op, (array,), node)
            part.dtype = array.dtype if type(array) is Term else None
            parts.append(part)
    return Tuple(tuple(parts))


def fit(run: Machine, estimator: Lib, args: Any, node: Any) -> Value:
    """`estimator.fit(x)`."""
    run.write(estimator.attrs, _FITTED_ON, args.all[0] if args.all else Term("unknown"))
    return estimator


def transform(run: Machine, estimator: Lib, args: Any, node: Any) -> Value:
    """`estimator.transform(x)`."""
    fitted_on = run.read(estimator.attrs, _FITTED_ON)
    info = {"layer": estimator, "on": fitted_on if fitted_on is not None else Term("unknown")}
    return run.term(FITTED, (*args.all[:1], estimator), node, info=info)


def fit_transform(run: Machine, estimator: Lib, args: Any, node: Any) -> Value:
    """`estimator.fit_transform(x)`."""
    fit(run, estimator, args, node)
    return transform(run, estimator, args, node)


def stored(run: Machine, table: Term, value: Value, node: Any) -> None:
    """Note `table[columns] = scaler.fit_transform(table[columns])`."""
    if type(value) is Term and value.op == FITTED:
        run.note("fitted column", node, table, value=value)
