"""Subjects: any form of model, any split of a batch, any source of a loss, any optimizer; and the errors."""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from making import labels, mlp, points, subject
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForTokenClassification, GPT2Config, GPT2LMHeadModel

from nndoctor.errors import UserError
from nndoctor.probe.batch import tensors
from nndoctor.probe.build import build_subject, find_device
from nndoctor.probe.effort import EFFORTS
from nndoctor.probe.errors import NotApplicableError, SubjectError
from nndoctor.probe.optimizers import learning_rate
from nndoctor.probe.subject import Subject, TaskKind
from nndoctor.requests import ProbeRequest


def batches(*parts: Any) -> Callable[[], list[Any]]:
    return lambda: [parts]


class Takes(nn.Module):
    """A model of one linear layer whose forward has the given parameters."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Linear(16, classes)


class TakesImage(Takes):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"features": image, "logits": self.body(image)}


class TakesTwo(Takes):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.body(left + right)  # type: ignore[no-any-return]


class TakesTargets(Takes):
    def forward(self, x: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        logits = self.body(x)
        return logits, None if targets is None else F.cross_entropy(logits, targets)


class TakesMask(Takes):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.body(x if mask is None else x * mask)  # type: ignore[no-any-return]


class TakesBatch(Takes):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.body(batch["image"])  # type: ignore[no-any-return]


class TakesAnything(Takes):
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.body(args[0])  # type: ignore[no-any-return]


@dataclass
class Record:
    image: Tensor
    label: Tensor


Named = collections.namedtuple("Named", ["x", "y"])
X, Y = points(), labels()

SPLITS: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "inputs and targets": (mlp, (X, Y), "input: batch[0]; target: batch[1]"),
    "as the loader collates them": (mlp, [X, Y], "input: batch[0]; target: batch[1]"),
    "targets first": (mlp, (Y, X), "input: batch[1]; target: batch[0]"),
    "two inputs": (TakesTwo, (X, X, Y), "input: batch[0], batch[1]; target: batch[2]"),
    "nested inputs": (TakesTwo, ((X, X), Y), 'input: batch["0.0"], batch["0.1"]; target: batch[1]'),
    "nested dictionary": (
        TakesTwo,
        ({"left": X, "right": X}, Y),
        'input: batch["0.left"], batch["0.right"]; target: batch[1]',
    ),
    "the model takes the targets": (TakesTargets, (X, Y), "input: batch[0], batch[1]; target: batch[1]"),
    "an optional mask that is not there": (TakesMask, (X, Y), "input: batch[0]; target: batch[1]"),
    "an optional mask that is there": (TakesMask, (X, X > 0, Y), "input: batch[0], batch[1]; target: batch[2]"),
    "variable arguments": (TakesAnything, (X, Y), "input: batch[0]; target: batch[1]"),
    "dictionary by name": (TakesImage, {"image": X, "label": Y}, 'input: batch["image"]; target: batch["label"]'),
    "dictionary with other names": (mlp, {"picture": X, "label": Y}, 'input: batch["picture"]; target: batch["label"]'),
    "dictionary with text": (
        mlp,
        {"x": X, "name": ["a"] * 32, "y": Y},
        'input: batch["x"]; target: batch["y"]',
    ),
    "the whole dictionary": (TakesBatch, {"image": X, "label": Y}, 'input: the whole batch; target: batch["label"]'),
    "dataclass": (TakesImage, Record(X, Y), 'input: batch["image"]; target: batch["label"]'),
    "named tuple": (mlp, Named(X, Y), 'input: batch["x"]; target: batch["y"]'),
    "inputs only": (lambda: mlp(classes=16), X, "input: the whole batch; target: none"),
    "inputs only, in a list": (lambda: mlp(classes=16), (X,), "input: batch[0]; target: none"),
}


@pytest.mark.parametrize("name", SPLITS)
def test_finds_inputs_and_targets(name: str) -> None:
    build, batch, description = SPLITS[name]
    made = subject(build_model=build, loader=lambda: [batch])
    assert f"batch: {description}" in made.notes
    first = made.batches.first(1)[0]
    assert made.output_tensor(made.forward(made.model, first)).shape[0] == 32
    assert made.compute_loss(made.model, first)[0].requires_grad


def test_the_user_may_say_what_is_what() -> None:
    batch = {"a": X, "b": points(features=16) + 1, "c": labels(), "d": labels(classes=3)}
    made = subject(
        request={"inputs": "b,a", "targets": "d"}, build_model=lambda: TakesTwo(classes=3), loader=lambda: [batch]
    )
    split = made.split(made.batches.first(1)[0])
    assert torch.equal(split.args[0], batch["b"])
    assert torch.equal(split.args[1], batch["a"])
    assert torch.equal(split.targets, batch["d"])


def test_a_part_that_the_batch_does_not_have_is_an_error() -> None:
    with pytest.raises(SubjectError, match="--targets: the batch has no `labels`; its parts are x, y"):
        subject(request={"targets": "labels"}, build_model=mlp, loader=lambda: [{"x": X, "y": Y}])


# --------------------------------------------------------------------------------------------------- losses


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


class Sigmoid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(classes=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.body(x)).squeeze(1)


class Probabilities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).softmax(1)  # type: ignore[no-any-return]


class Losses(Takes):
    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        outputs = self.body(x)
        return {"loss_class": F.cross_entropy(outputs, y), "loss_size": outputs.square().mean()}


class Lightning(Takes):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]

    def training_step(self, batch: Any, index: int) -> dict[str, Tensor]:
        x, y = batch
        return {"loss": F.cross_entropy(self(x), y)}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.25)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1)]


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(24, 16), nn.Linear(16, 24)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids))  # type: ignore[no-any-return]


TOKENS = torch.arange(4 * 12).view(4, 12) % 24
CONVOLUTION = lambda: nn.Conv2d(3, 5, 3, padding=1)  # noqa: E731
PICTURES, MASKS = (
    torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    torch.arange(256).view(4, 8, 8) % 5,
)

CLASSES, LABELS, NUMBERS, LANGUAGE = (
    TaskKind.CLASSIFICATION,
    TaskKind.MULTI_LABEL,
    TaskKind.REGRESSION,
    TaskKind.LANGUAGE_MODEL,
)
OF_PROBABILITIES = "negative log-likelihood of the model's probabilities"
WITH_LOGITS = "binary cross-entropy with logits"
ONE_HOT = torch.eye(10)[Y]
INFERRED: dict[str, tuple[Callable[[], nn.Module], Any, str, TaskKind, int | None]] = {
    "class indices": (mlp, (X, Y), "cross-entropy", CLASSES, 10),
    "class indices as bytes": (mlp, (X, Y.byte()), "cross-entropy", CLASSES, 10),
    "class indices in a column": (mlp, (X, Y[:, None]), "cross-entropy", CLASSES, 10),
    "class indices, some ignored": (mlp, (X, Y.where(Y > 2, -100)), "cross-entropy", CLASSES, 10),
    "class indices, some -1": (mlp, (X, Y.where(Y > 2, -1)), "cross-entropy", CLASSES, 10),
    "a mask of classes": (CONVOLUTION, (PICTURES, MASKS), "cross-entropy", CLASSES, 5),
    "a mask with a border": (CONVOLUTION, (PICTURES, MASKS.where(MASKS > 0, 255)), "cross-entropy", CLASSES, 5),
    "soft labels": (mlp, (X, 0.9 * ONE_HOT + 0.01), "cross-entropy with soft targets", CLASSES, 10),
    "probabilities": (Probabilities, (X, Y), OF_PROBABILITIES, CLASSES, 10),
    "zeros and ones": (lambda: mlp(classes=1), (X, (Y > 4).float()), WITH_LOGITS, LABELS, 1),
    "zeros and ones for a sigmoid": (Sigmoid, (X, (Y > 4).float()), "binary cross-entropy", LABELS, 1),
    "several labels": (mlp, (X, ONE_HOT + ONE_HOT.flip(1)), WITH_LOGITS, LABELS, 10),
    "numbers": (lambda: mlp(classes=2), (X, X[:, :2]), "mean squared error", NUMBERS, None),
    "numbers in a row": (lambda: mlp(classes=1), (X, X[:, 0]), "mean squared error", NUMBERS, None),
    "no targets": (lambda: mlp(classes=16), (X,), "mean squared error", NUMBERS, None),
    "shifted tokens": (Tokens, (TOKENS[:, :-1], TOKENS[:, 1:]), "cross-entropy", LANGUAGE, 24),
    "tokens only": (Tokens, TOKENS, "cross-entropy of the next token", LANGUAGE, 24),
}


@pytest.mark.parametrize("name", INFERRED)
def test_infers_the_loss_from_outputs_and_targets(name: str) -> None:
    build, batch, loss, kind, classes = INFERRED[name]
    made = subject(build_model=build, loader=lambda: [batch])
    assert made.loss_origin.startswith(f"{loss}, inferred: outputs are ")
    assert (made.task.kind, made.task.classes) == (kind, classes)
    assert made.compute_loss(made.model, made.batches.first(1)[0])[0].isfinite()


def test_ignored_labels_do_not_count() -> None:
    made = subject(build_model=mlp, loader=lambda: [(X, Y.where(Y > 2, -1))])
    counted = Y > 2
    expected = F.cross_entropy(made.model(X)[counted], Y[counted])
    assert made.compute_loss(made.model, (X, Y.where(counted, -1)))[0].item() == pytest.approx(expected.item())


GIVEN: dict[str, tuple[dict[str, Any], str, TaskKind]] = {
    "an instance": (
        {"loss": nn.CrossEntropyLoss()},
        "`CrossEntropyLoss`, called with outputs and targets (cross-entropy)",
        TaskKind.CLASSIFICATION,
    ),
    "a class": (
        {"loss": nn.CrossEntropyLoss},
        "`CrossEntropyLoss`, called with outputs and targets (cross-entropy)",
        TaskKind.CLASSIFICATION,
    ),
    "a factory": (
        {"loss": lambda: nn.CrossEntropyLoss(label_smoothing=0.1)},
        "`CrossEntropyLoss`, called with outputs and targets",
        TaskKind.CLASSIFICATION,
    ),
    "a function": (
        {"loss": squared, "build_model": lambda: mlp(classes=16), "loader": batches(X, X)},
        "`squared`, called with outputs and targets (mean squared error)",
        TaskKind.REGRESSION,
    ),
    "a function of torch": (
        {"loss": F.cross_entropy},
        "`cross_entropy`, called with outputs and targets (cross-entropy)",
        TaskKind.CLASSIFICATION,
    ),
    "for one of several outputs": (
        {"loss": nn.CrossEntropyLoss(), "build_model": TakesImage},
        "`CrossEntropyLoss`, called with main output and targets (cross-entropy)",
        TaskKind.CLASSIFICATION,
    ),
    "over positions": (
        {"loss": nn.CrossEntropyLoss(), "build_model": Tokens, "loader": batches(TOKENS[:, :-1], TOKENS[:, 1:])},
        "`CrossEntropyLoss`, called with outputs and targets, both flattened over positions (cross-entropy)",
        TaskKind.LANGUAGE_MODEL,
    ),
    "of the outputs alone": (
        {"loss": lambda outputs: outputs.square().mean()},
        "`<lambda>`, called with the outputs",
        TaskKind.CLASSIFICATION,
    ),
    "from the factory": (
        {"build_model": lambda: (mlp(), nn.CrossEntropyLoss())},
        "`CrossEntropyLoss`, called with outputs and targets (cross-entropy)",
        TaskKind.CLASSIFICATION,
    ),
    "a step": (
        {"step": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])},
        "computed by the step that was given with --step (cross-entropy)",
        TaskKind.CLASSIFICATION,
    ),
    "a training step": (
        {"build_model": Lightning},
        "the model's training_step (cross-entropy)",
        TaskKind.CLASSIFICATION,
    ),
    "in a tuple": ({"build_model": TakesTargets}, "the model's own (cross-entropy)", TaskKind.CLASSIFICATION),
    "a dictionary of losses": ({"build_model": Losses}, "the model's own", TaskKind.UNKNOWN),
    "one that the doctor does not know": (
        {"step": lambda model, batch: model(batch[0]).exp().mean()},
        "computed by the step that was given with --step",
        TaskKind.UNKNOWN,
    ),
}


@pytest.mark.parametrize("name", GIVEN)
def test_takes_the_loss_from_where_it_is(name: str) -> None:
    attributes, origin, kind = GIVEN[name]
    made = subject(**{"build_model": mlp, "loader": batches(X, Y), **attributes})
    assert made.loss_origin == origin
    assert made.task.kind is kind
    loss, _ = made.compute_loss(made.model, made.batches.first(1)[0])
    assert loss.ndim == 0
    assert loss.requires_grad


def test_a_loss_of_its_own_is_taken_as_it_is() -> None:
    made = subject(build_model=Losses, loader=batches(X, Y))
    returned = made.model(X, Y)
    loss, _ = made.compute_loss(made.model, (X, Y))
    assert loss.item() == pytest.approx(sum(value.item() for value in returned.values()))


def test_a_model_that_brings_its_loss_needs_nothing_else() -> None:
    configuration = GPT2Config(vocab_size=24, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    tokens = {"input_ids": TOKENS, "labels": TOKENS}
    made = subject(build_model=lambda: GPT2LMHeadModel(configuration), loader=lambda: [tokens])
    assert made.loss_origin == "the model's own (cross-entropy of the next token)"
    assert made.task.kind is TaskKind.LANGUAGE_MODEL
    assert made.output_tensor(made.forward(made.model, tokens)).shape == (4, 12, 24)


def test_tags_of_tokens_are_no_language_model() -> None:
    configuration = BertConfig(
        vocab_size=24, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    batch = {"input_ids": TOKENS, "labels": (TOKENS % 3).where(TOKENS > 5, -100)}
    made = subject(build_model=lambda: BertForTokenClassification(configuration), loader=lambda: [batch])
    assert (made.task.kind, made.task.classes) == (TaskKind.CLASSIFICATION, 3)


def test_zeros_and_ones_beside_many_outputs_are_no_classes() -> None:
    assert subject(build_model=mlp, loader=lambda: [(X, (Y > 4).float())]).objective is None


def test_a_method_for_optimizers_with_arguments_is_not_called() -> None:
    class Own(Takes):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)  # type: ignore[no-any-return]

        def configure_optimizers(self, rate: float) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=rate)

    assert subject(build_model=Own, loader=batches(X, Y)).optimizer is None


def test_without_a_loss_the_outputs_can_still_be_examined() -> None:
    made = subject(build_model=lambda: mlp(classes=3), loader=lambda: [X])
    assert made.objective is None
    assert "loss: none found; give one with --loss or --step" in made.notes
    assert made.forward(made.model, X).shape == (32, 3)
    with pytest.raises(NotApplicableError, match="--loss or --step"):
        made.compute_loss(made.model, X)


# --------------------------------------------------------------------------------------------------- models


def test_a_module_a_class_and_a_factory_are_models() -> None:
    model = mlp()
    assert subject(build_model=model, loader=batches(X, Y)).model is model
    assert isinstance(subject(build_model=TakesImage, loader=batches(X, Y)).model, TakesImage)
    assert isinstance(subject(build_model=mlp, loader=batches(X, Y)).model, nn.Sequential)


def test_the_factory_takes_arguments_from_the_command_line() -> None:
    made = subject(request={"arguments": {"hidden": "7"}}, build_model=mlp, loader=batches(X, Y))
    assert made.model[0].out_features == 7


def test_wrappers_are_taken_off() -> None:
    core = mlp()
    made = subject(build_model=nn.DataParallel(core), loader=batches(X, Y))
    assert made.model is core
    assert "the model is probed without its wrapper DataParallel" in made.notes


def test_lazy_layers_take_their_shapes_once() -> None:
    made = subject(
        build_model=lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(3)),
        loader=batches(X, labels(classes=3)),
    )
    assert made.model[0].in_features == 16
    assert made.model[1].num_batches_tracked == 0
    assert made.model.training
    assert any("lazy parameters took their shapes from the first batch" in note for note in made.notes)


def test_the_model_is_as_the_factory_left_it() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = subject(build_model=model, loader=batches(X, labels(classes=3)), loss=nn.CrossEntropyLoss())
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_seed_makes_the_same_subject() -> None:
    def random_subject(seed: int) -> Subject:
        data = lambda: DataLoader(TensorDataset(torch.randn(64, 16), torch.arange(64) % 10), 8, shuffle=True)  # noqa: E731
        return subject(request={"seed": seed}, build_model=mlp, loader=data)

    def numbers(made: Subject) -> Tensor:
        return torch.cat(
            [tensor.flatten().float() for tensor in tensors((list(made.model.parameters()), made.batches.kept))]
        )

    first, again, other = (numbers(random_subject(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_knows_where_the_model_is_written() -> None:
    made = subject(build_model=TakesImage, loader=batches(X, Y))
    assert made.location is not None
    assert made.location.path.endswith("test_subject.py")
    assert made.source_line == "class TakesImage(Takes):"


@pytest.mark.parametrize(
    ("named", "dtype"), [(None, torch.bfloat16), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_under_autocast_the_model_runs_in_half_precision(named: str | None, dtype: torch.dtype) -> None:
    made = subject(request={"amp": True, "amp_dtype": named}, build_model=mlp, loader=batches(X, Y))
    assert f"device: cpu, autocast to {str(dtype).removeprefix('torch.')}" in made.notes
    assert made.forward(made.model, (X, Y)).dtype is dtype


class Full(Takes):
    def forward(self, x: Tensor) -> Tensor:
        outputs = self.body(x)
        if outputs.dtype is not torch.float32:
            raise RuntimeError("no kernel for this type")
        return outputs  # type: ignore[no-any-return]


def test_a_model_that_cannot_run_under_autocast_is_told_so() -> None:
    sentence = r"under autocast to float16 the model fails at \S+: RuntimeError: no kernel .*; try another --amp-dtype"
    with pytest.raises(SubjectError, match=sentence):
        subject(request={"amp": True, "amp_dtype": "fp16"}, build_model=Full, loader=batches(X, Y))


def test_the_probes_compare_in_full_precision_whatever_the_code_has_set() -> None:
    def fast() -> nn.Module:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        return mlp()

    subject(build_model=fast, loader=batches(X, Y))
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cudnn.allow_tf32 is False


# ----------------------------------------------------------------------------------------------- optimizers


def sgd_of_parameters(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=0.5)


def sgd_of_model(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.05}], lr=0.5)


MODEL = mlp()


def warmed_up() -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(MODEL.parameters(), lr=0.5)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    return optimizer


OPTIMIZERS: dict[str, tuple[Any, type[torch.optim.Optimizer], float, int]] = {
    "an instance": (torch.optim.SGD(MODEL.parameters(), lr=0.5, momentum=0.9), torch.optim.SGD, 0.5, 1),
    "an instance for another model": (torch.optim.AdamW(mlp().parameters(), lr=0.5), torch.optim.AdamW, 0.5, 1),
    "a class": (torch.optim.Adam, torch.optim.Adam, 1e-3, 1),
    "a factory of the parameters": (sgd_of_parameters, torch.optim.SGD, 0.5, 1),
    "a factory of the model": (sgd_of_model, torch.optim.SGD, 0.5, 2),
    "a factory without arguments": (warmed_up, torch.optim.SGD, 0.5, 1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_makes_the_users_optimizer_anew(name: str) -> None:
    given, kind, rate, groups = OPTIMIZERS[name]
    made = subject(build_model=MODEL, loader=batches(X, Y), optimizer=given)
    optimizer = made.make_optimizer(made.model)
    assert type(optimizer) is kind
    assert optimizer is not given
    assert learning_rate(optimizer) == rate
    assert len(optimizer.param_groups) == groups
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in made.model.parameters()}


def test_the_optimizer_may_come_with_the_model() -> None:
    made = subject(build_model=Lightning, loader=batches(X, Y))
    optimizer = made.make_optimizer(made.model)
    assert optimizer is not None
    assert learning_rate(optimizer) == 0.25


# --------------------------------------------------------------------------------------------------- errors


def stepping(model: nn.Module, batch: Any) -> Tensor:
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    return loss


def optimising(model: nn.Module, batch: Any) -> Tensor:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    return F.cross_entropy(model(batch[0]), batch[1])


def failing(outputs: Tensor, targets: Tensor) -> Tensor:
    raise ValueError("no such class")


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"build_model": lambda: "resnet18"}, "gives an object of type str: it must be an nn.Module"),
    "a tuple without a model": ({"build_model": lambda: (1, 2)}, "gives a tuple of int, int: it must be"),
    "nothing returned": ({"build_model": lambda: None}, "gives nothing: it must be"),
    "wrong shapes": (
        {"build_model": lambda: nn.Linear(7, 3)},
        r"the model cannot run on a batch of the data: RuntimeError: mat1 and mat2 .* it was given batch\[0\] "
        r"\(float32 \(32, 16\)\); if that is the wrong part, say which with --inputs and --targets",
    ),
    "a loss that fails": (
        {"loss": failing},
        r"the loss failed at .*test_subject.py:\d+: ValueError: no such class; outputs float32 \(32, 10\), targets",
    ),
    "a loss that is none": ({"loss": 3}, "--loss names an object of type int"),
    "a step that goes backward": ({"step": stepping}, "the step calls backward: it must return the loss"),
    "a step that optimises": ({"step": optimising}, "the step changes the weights: it must return the loss"),
    "an optimizer that cannot be made": (
        {"optimizer": lambda model: model.no_such_method()},
        r"makes no optimizer at .*test_subject.py:\d+: AttributeError: .*; it is called with the model or with its",
    ),
    "an optimizer that is something else": ({"optimizer": lambda model: "adam"}, "returns no torch.optim.Optimizer"),
    "an optimizer that is none": ({"optimizer": "adam"}, "is of type str: name an optimizer"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_says_what_does_not_fit(name: str) -> None:
    attributes, sentence = ERRORS[name]
    with pytest.raises(UserError, match=sentence) as caught:
        subject(**{"build_model": mlp, "loader": batches(X, Y), **attributes})
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_an_error() -> None:
    assert find_device("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(UserError, match="--device warp9: this torch has no such device here; use cpu"):
        find_device("warp9")


@pytest.mark.parametrize("name", zoo.HEALTHY)
def test_the_zoo_is_understood(name: str) -> None:
    module, options = zoo.module(name), ("loss", "optimizer", "step")
    request = ProbeRequest(
        model=zoo.entrypoint(name, "build_model"),
        data=zoo.entrypoint(name, "loader"),
        root=zoo.path(name).parent,
        **{option: zoo.entrypoint(name, option) for option in options if hasattr(module, option)},
    )
    made = build_subject(request, EFFORTS["quick"])
    loss, outputs = made.compute_loss(made.model, made.batches.first(1)[0])
    assert loss.isfinite()
    assert made.output_tensor(outputs).is_floating_point()
