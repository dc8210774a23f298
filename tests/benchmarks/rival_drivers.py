"""Runs one rival tool over modules of the zoo, in the rivals' environment: `python rival_drivers.py TOOL NAME...`.

Prints a JSON line for each thing told, and one with the CPU seconds at the end of each module. Each module has a
process of its own with a deadline. The subject says what is input, target and loss, as the author of a script knows it;
only the call of the tool counts as its cost.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nndoctor.probe.batch import clone, tensors
from nndoctor.probe.counting import likely_sizes
from nndoctor.probe.subject import Subject, TaskKind
from nndoctor.probe.sweep import user_optimizer

sys.path[0] = str(Path(__file__).parents[1] / "probe")  # not this folder: its `probe.py` would hide that of the zoo
zoo = import_module("zoo")

DEADLINE = 120  # seconds of CPU for one module
FAR = 30.0  # the factor from which the doctor tries the user's rate out
ENOUGH = 0.1  # of the initial loss counts as learned by heart, as in torchtest2 and in the checklist for transformers
OVERFIT_STEPS = 1000  # the checklist's own limit are 65536

Told = Iterator[tuple[str, str]]
"""What a tool told: the name of its check, and its message."""


class InapplicableError(Exception):
    """The tool's documentation does not cover such a model."""


def torchtest2(subject: Subject, name: str) -> Told:
    """`check_model` on the first batch with everything that applies, opt-in gradcheck included."""
    from torchtest2 import check_model

    batch = subject.batches.first(1)[0]
    parts = subject.split(batch)
    inputs: Any = {**parts.kwargs} if parts.kwargs and not parts.args else tuple(parts.args)
    loss = getattr(zoo.module(name), "loss", None)
    options: dict[str, Any] = {"loss_fn": loss, "targets": parts.targets}
    if loss is None:  # a step of the user's, or a loss inside of the model
        options = {
            "forward_fn": lambda model, *_: subject.compute_loss(model, clone(batch))[0],
            "loss_fn": lambda value, *_: value,
            "targets": parts.targets,
        }
    size = likely_sizes(batch, subject.batches.size)[0]
    first = next(iter(tensors(inputs)))
    if first.ndim > 1 and first.shape[0] != size == first.shape[1]:
        output = subject.output_tensor(subject.forward(subject.model, clone(batch)))
        options |= {"batch_dim": 1, "output_batch_dim": 0 if output.shape[0] == size else 1}
    optimizer = subject.make_optimizer(subject.model)
    report = check_model(subject.model, inputs, optimizer=optimizer, gradcheck=True, **options)
    for result in (*report.failures, *report.warnings):
        yield result.name, result.message


def neural_net_checklist(subject: Subject, name: str) -> Told:
    """Every assertion of its set for classifiers or causal language models, each by itself."""
    from neural_net_checklist import torch_diagnostics as checklist

    if subject.task.kind not in (TaskKind.CLASSIFICATION, TaskKind.LANGUAGE_MODEL) or not subject.task.classes:
        raise InapplicableError("it checks classifiers and causal language models")
    batch = subject.batches.first(1)[0]
    parts = subject.split(batch)
    targets = next(iter(tensors(parts.targets)), None)
    inputs = [tensor for tensor in tensors((parts.args, parts.kwargs)) if tensor is not targets]
    if targets is None or len(inputs) != 1:
        raise InapplicableError("it checks models of one input")
    if inputs[0].shape[0] != likely_sizes(batch, subject.batches.size)[0]:
        raise InapplicableError("it takes the first dimension for the examples")
    classes, given = subject.task.classes, (inputs[0], targets)
    calls: dict[str, Callable[[], Any]] = {}
    kept = zoo.module(name)

    class Logits(nn.Module):
        """The model as the checklist calls it: one tensor in, logits out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = kept.build_model()

        def forward(self, given: Any) -> Any:
            return subject.output_tensor(self.model(given))

    def loss(outputs: Any, wanted: Any) -> Any:
        return nn.functional.cross_entropy(outputs.reshape(-1, classes), wanted.reshape(-1))

    factory: Callable[[], nn.Module] = Logits
    if subject.task.kind is TaskKind.LANGUAGE_MODEL:
        factory, given = _one_hot(checklist, factory, given)
        calls["forward_causal_property"] = lambda: checklist.assert_forward_causal_property(factory, given)
        calls["backward_causal_property"] = lambda: checklist.assert_backward_causal_property(factory, given)
    start = float(loss(factory()(given[0]), given[1]).detach())
    calls |= {
        "loss_at_init": lambda: checklist.assert_balanced_classification_cross_entropy_loss_at_init(
            factory(), given, num_classes=classes, loss_fn=loss
        ),
        "init_calibrated": lambda: checklist.assert_balanced_classification_cross_entropy_init_calibrated(
            factory(), given, num_classes=classes
        ),
        "forward_batch_independence": lambda: checklist.assert_forward_batch_independence(factory, given),
        "non_zero_gradients": lambda: checklist.assert_non_zero_gradients(factory(), given),
        "backward_batch_independence": lambda: checklist.assert_backward_batch_independence(factory, given),
        "input_independent_baseline_worse": lambda: checklist.assert_input_independent_baseline_worse(
            factory, given, loss_fn=loss
        ),
        "overfit_to_batch": lambda: checklist.assert_overfit_to_batch(
            factory(), given, loss_fn=loss, threshold=ENOUGH * start, max_steps=OVERFIT_STEPS
        ),
    }
    for check, call in calls.items():
        try:
            call()
        except AssertionError as error:
            yield check, str(error)[:200]
        except Exception:  # what its helper cannot do with this model, as to cut it out of a batch
            continue


def _one_hot(checklist: Any, factory: Callable[[], nn.Module], given: Any) -> Any:
    """Tokens as vectors, so that they have a gradient; as its function for language models does it."""
    names = [name for name, module in factory().named_modules() if isinstance(module, nn.Embedding)]
    if not names:
        raise InapplicableError("the language model has no embedding")
    vocabulary = factory().get_submodule(names[0]).num_embeddings
    vectors = nn.functional.one_hot(given[0], num_classes=vocabulary).float()
    return checklist.replace_input_embedding_layer(factory, names[0]), (vectors, given[1])


def torch_lr_finder(subject: Subject, name: str) -> Told:
    """A range test of 100 steps as in its README, and the steepest point beside the user's rate."""
    import matplotlib as mpl
    from torch_lr_finder import LRFinder, TrainDataLoaderIter

    optimizer = subject.make_optimizer(subject.model)
    if optimizer is None:
        raise InapplicableError("the script names no optimizer")
    rate = optimizer.param_groups[0]["lr"]
    mpl.use("Agg")

    class Whole(nn.Module):
        """Takes a batch and gives its loss."""

        def __init__(self) -> None:
            super().__init__()
            self.model = subject.model

        def forward(self, number: Any) -> Any:
            return subject.compute_loss(self.model, subject.batches.first()[int(number)])[0]

    class Numbers(TrainDataLoaderIter):  # type: ignore[misc]
        """Batches by number."""

        def inputs_labels_from_batch(self, batch_data: Any) -> Any:
            return batch_data, batch_data

    for group in optimizer.param_groups:
        group["lr"] = 1e-7
        group.pop("initial_lr", None)  # of a schedule, which the test refuses
    numbers = torch.utils.data.DataLoader(torch.arange(len(subject.batches)), batch_size=1)
    finder = LRFinder(Whole(), optimizer, lambda value, _: value)
    finder.range_test(Numbers(numbers), end_lr=100, num_iter=100)
    _, suggested = finder.plot(suggest_lr=True)
    if not 1 / FAR <= rate / suggested <= FAR:
        yield "rate", f"the rate is {rate:.1e}, the suggested one {suggested:.1e}"


def torch_audit(subject: Subject, name: str) -> Told:
    """The wrappers of its README around a step on each batch; hints about speed are no findings."""
    from torch_audit import audit_dynamic

    optimizer = user_optimizer(subject)
    with audit_dynamic(subject.model, optimizer=optimizer, every_n_steps=1, fail_level="FATAL") as auditor:
        auditor.audit_static()
        auditor.audit_init()
        for batch in subject.batches.first():
            auditor.audit_data(clone(batch))
            optimizer.zero_grad(set_to_none=True)
            auditor.backward(subject.compute_loss(subject.model, batch)[0])
            auditor.optimizer_step()
        result = auditor.finish()
    for finding in result.findings:
        if finding.severity.value != "INFO" and not finding.rule_id.startswith("TA2"):
            yield finding.rule_id, finding.message


def guardtower(subject: Subject, name: str) -> Told:
    """`audit` of one step, in the mode in which the script hands the model over."""
    import guardtower as tool

    batch = subject.batches.first(1)[0]
    parts = subject.split(batch)
    targets = {id(tensor) for tensor in tensors(parts.targets)}
    inputs = [tensor for tensor in tensors((parts.args, parts.kwargs)) if id(tensor) not in targets]
    subject.model.train()
    optimizer = subject.make_optimizer(subject.model)
    report = tool.audit(
        subject.model, lambda: subject.compute_loss(subject.model, batch)[0], optimizer=optimizer, inputs=inputs
    )
    for finding in (*report.errors, *report.warnings):
        yield finding.catalog_id or finding.check, finding.message


def nndoctor(subject: Subject, name: str) -> Told:
    """The quick check-up as the command line does it, with the scan of the same file."""
    from calibration import checked

    for finding in checked(name, 0).findings:
        if not finding.is_advice:
            yield finding.cause or finding.code, finding.message


TOOLS: dict[str, Callable[[Subject, str], Told]] = {
    "nndoctor": nndoctor,
    "torchtest2": torchtest2,
    "neural-net-checklist": neural_net_checklist,
    "torch-lr-finder": torch_lr_finder,
    "torch-audit": torch_audit,
    "guardtower": guardtower,
}


PACKAGES = {tool: tool.replace("-", "_") for tool in TOOLS} | {
    "nndoctor": "calibration",
    "neural-net-checklist": "neural_net_checklist.torch_diagnostics",
}


def examine(tool: str, name: str, say: Callable[..., None]) -> None:
    """One module, in this process."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (DEADLINE, DEADLINE))
    started = 0.0
    error = ""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            subject = zoo.subject(name)
            torch.manual_seed(0)
            started = _cpu()
            for check, message in TOOLS[tool](subject, name):
                say(name, check=check, message=message[:300])
    except InapplicableError as reason:
        error = f"not applicable: {reason}"
    except Exception as raised:  # whatever the tool or the module raises
        error = f"{type(raised).__name__}: {str(raised)[:200]}".replace("\n", " ")
    say(name, cpu=_cpu() - started, error=error)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main(tool: str, names: list[str]) -> None:
    """Fork a process for each module, so that torch is imported once."""
    torch.set_num_threads(1)
    sys.modules["torchvision"] = None  # type: ignore[assignment]  # that of the index may be made for another torch
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)  # imports much of torch, which is not the tool's cost
    with contextlib.suppress(ImportError):
        import_module(PACKAGES[tool])
    messages = os.dup(1)

    def say(name: str, **told: Any) -> None:
        os.write(messages, json.dumps({"name": name, **told}).encode() + b"\n")

    for name in names:
        child = os.fork()
        if not child:
            examine(tool, name, say)
            os._exit(0)
        began = time.monotonic()
        _, status = os.waitpid(child, 0)
        if status:
            say(name, cpu=float(DEADLINE), error=f"ended by {status} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
