"""Builds the Subject from what the user named on the command line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from nndoctor.errors import UserError
from nndoctor.probe.batch import Batch
from nndoctor.probe.batches import Batches, fetch
from nndoctor.probe.data import Loaders, open_data
from nndoctor.probe.effort import Effort
from nndoctor.probe.entrypoint import file_of, load
from nndoctor.probe.errors import EntrypointError
from nndoctor.probe.growth import Growth, parse_growth
from nndoctor.probe.models import BuiltModel, build_model
from nndoctor.probe.optimizers import OptimizerRecipe, optimizer_recipe
from nndoctor.probe.planning import SchedulePlan, count_batches, plan_schedule
from nndoctor.probe.ranks import current_rank
from nndoctor.probe.reading import Given, Reading, read
from nndoctor.probe.replicas import read_share
from nndoctor.probe.scripted import ScriptedLoss, find_plan, find_scripted
from nndoctor.probe.session import sandbox, seed_everything
from nndoctor.probe.splitting import find_splitter
from nndoctor.probe.subject import Replica, Subject
from nndoctor.requests import ProbeRequest

# Probes cope with few batches, so a slow loader is read no longer than this share of the deadline.
FETCH_SHARE = 0.25
Announce = Callable[[str], None]
"""Told what is about to happen, so that whoever watches knows what hangs."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What the entrypoints named, made and opened."""

    built: BuiltModel
    loaders: Loaders
    loss: Any = None
    optimizer: Any = None
    step: Any = None
    scheduler: Any = None
    remake: Callable[..., nn.Module] | None = None  # another instance of the model, where a class or factory is named
    growth: Growth | None = None


def build_subject(request: ProbeRequest, effort: Effort, announce: Announce = lambda _: None) -> Subject:
    """Import, make and try out what the request names; raises UserError with a sentence that says what is wrong."""
    device = find_device(request.device)
    with warnings.catch_warnings():  # the user's warnings are no business of the report
        warnings.simplefilter("ignore")
        ingredients = open_ingredients(request, announce)
        _forbid_tf32()
        return assemble(request, effort, device, ingredients, announce)


def _forbid_tf32() -> None:
    """Whatever the user's code has set: with 10 bits of mantissa, rounding alone would make differences."""
    with suppress(RuntimeError):  # the code has used the switches of torch 2.9, which do not mix with these
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False


def open_ingredients(request: ProbeRequest, announce: Announce) -> Ingredients:
    """Import every entrypoint; each begins at the seed, so that none depends on what the others draw."""

    def fresh(text: str | None) -> Any:
        if text is None:
            return None
        announce(f"importing {text}")
        _begin(request)
        return load(text)

    model, data, step = fresh(request.model), fresh(request.data), fresh(request.step)
    loss, optimizer, scheduler = fresh(request.loss), fresh(request.optimizer), fresh(request.scheduler)
    announce(f"making the model of {request.model}")
    _begin(request)
    built = build_model(model, request.model, request.arguments)
    announce(f"opening the data of {request.data}")
    _begin(request)
    is_factory = callable(model) and not isinstance(model, nn.Module)
    growth = parse_growth(request.grow, model if is_factory else None, request.model) if request.grow else None

    def remake(**more: str) -> nn.Module:
        return build_model(model, request.model, {**request.arguments, **more}).model

    loaders = open_data(data, request.data)
    return Ingredients(built, loaders, loss, optimizer, step, scheduler, remake if is_factory else None, growth)


def _begin(request: ProbeRequest) -> None:
    """What follows starts from the seed; but replicas go on with the random numbers that the user's code left them."""
    if current_rank() is None:
        seed_everything(request.seed)


def assemble(
    request: ProbeRequest, effort: Effort, device: torch.device, ingredients: Ingredients, announce: Announce
) -> Subject:
    """Fetch batches, find out what is input, target and loss, and put everything together."""
    built, loaders = ingredients.built, ingredients.loaders
    announce(f"waiting for the first batch of {request.data}")
    _begin(request)
    batches = fetch(loaders.train, effort.batches, device, FETCH_SHARE * effort.setup_seconds)
    share = read_share(loaders.train) if current_rank() else None
    announce(f"waiting for the first validation batch of {request.data}")
    validation = _fetch_validation(loaders, effort, device)
    announce("running the model for the first time")
    model = built.model.to(device)
    lazy = _materialise(model, batches.first(1)[0], request)
    amp = _autocast_type(device, request.amp_dtype) if request.amp else None
    optimizer, remarks = _find_optimizer(model, ingredients, request)
    reading = read(model, batches, _given(ingredients, request, device, amp))
    return Subject(
        model=model,
        batches=reading.batches,
        split=reading.splitter,
        objective=reading.found.objective,
        optimizer=optimizer,
        schedule=_plan_schedule(model, optimizer, ingredients, batches, request),
        is_callable=reading.is_callable,
        task=reading.found.task,
        strange=reading.strange,
        validation=validation,
        device=device,
        amp=amp,
        seed=request.seed,
        remake=_remaker(ingredients, device, batches, request),
        growth=ingredients.growth,
        replica=Replica(built.wrapped.to(device), share) if current_rank() else None,
        location=built.location,
        source_line=built.source_line,
        data_location=loaders.location,
        data_source_line=loaders.source_line,
        notes=(*_notes(reading, device, amp), *remarks, *lazy, *_notes_on_wrapper(built), *loaders.notes),
    )


def _notes_on_wrapper(built: BuiltModel) -> tuple[str, ...]:
    rank = current_rank()
    if rank is None:
        return built.notes
    return (f"replicas: {rank.count} processes; the other probes are for one, without torchrun",)


def _remaker(
    ingredients: Ingredients, device: torch.device, batches: Batches, request: ProbeRequest
) -> Callable[..., nn.Module] | None:
    make = ingredients.remake
    if make is None:
        return None

    def remake(**more: str) -> nn.Module:
        model = make(**more).to(device)
        _materialise(model, batches.first(1)[0], request)
        return model

    return remake


def find_device(name: str) -> torch.device:
    """The device of that name; raises UserError if the machine has none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device {name}: this torch has no such device here; use cpu") from error
    return device


def _autocast_type(device: torch.device, named: str | None) -> torch.dtype:
    if named is not None:
        return {"bf16": torch.bfloat16, "fp16": torch.float16}[named]
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


def _fetch_validation(loaders: Loaders, effort: Effort, device: torch.device) -> Batches | None:
    if loaders.validation is None:
        return None
    return fetch(loaders.validation, effort.batches, device, FETCH_SHARE * effort.setup_seconds)


def _materialise(model: nn.Module, batch: Batch, request: ProbeRequest) -> tuple[str, ...]:
    """Let lazy layers take their shapes from a batch; in eval mode, so that no running statistic moves."""
    count = sum(is_lazy(parameter) for parameter in model.parameters())
    if not count:
        return ()
    seed_everything(request.seed)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    find_splitter(model, batch, request.inputs, request.targets)
    for module, training in modes:
        module.training = training
    return (f"model: {count} lazy parameters took their shapes from the first batch",)


def _given(ingredients: Ingredients, request: ProbeRequest, device: torch.device, amp: torch.dtype | None) -> Given:
    return Given(
        inputs=request.inputs,
        targets=request.targets,
        loss=ingredients.built.loss if ingredients.loss is None else ingredients.loss,
        step=ingredients.step,
        look_up=lambda: _read_script(request),
        seed=request.seed,
        device=device,
        amp=amp,
    )


def _read_script(request: ProbeRequest) -> ScriptedLoss | None:
    """The loss in the file of the model, or else in that of the data, which is often the script that trains."""
    return find_scripted(_files(request.model, request.data), request.root)


def _files(*entrypoints: str | None) -> list[Path]:
    """The user's files that the entrypoints were loaded from, each once."""
    files = [file_of(text) for text in entrypoints if text]
    return [*dict.fromkeys(file for file in files if file)]


def _plan_schedule(
    model: nn.Module,
    optimizer: OptimizerRecipe | None,
    ingredients: Ingredients,
    batches: Batches,
    request: ProbeRequest,
) -> SchedulePlan | None:
    files = _files(request.scheduler, request.optimizer, request.model, request.data)
    with sandbox(model, seed=request.seed):
        return plan_schedule(
            request,
            model,
            optimizer,
            ingredients.scheduler,
            count_batches(ingredients.loaders.train, batches),
            lambda: find_plan(files, request.root),
        )


def _find_optimizer(
    model: nn.Module, ingredients: Ingredients, request: ProbeRequest
) -> tuple[OptimizerRecipe | None, tuple[str, ...]]:
    """The user's optimizer, made once so that one that cannot be made is known now; and a remark for the report.

    Only an optimizer that the user has named must work: `configure_optimizers` may need a trainer.
    """
    is_lightning = hasattr(model, "training_step")  # elsewhere a method of that name has arguments
    configure = getattr(model, "configure_optimizers", None) if is_lightning else None
    if ingredients.optimizer is not None:
        recipe = optimizer_recipe(ingredients.optimizer, request.optimizer or "the optimizer")
    elif ingredients.built.optimizer is not None:
        recipe = optimizer_recipe(ingredients.built.optimizer, f"the optimizer of {request.model}")
    elif callable(configure):
        recipe = optimizer_recipe(configure, "configure_optimizers")
    else:
        return None, ()
    with sandbox(model, seed=request.seed):
        try:
            recipe(model)
        except EntrypointError as error:
            if recipe.value is not configure:
                raise
            return None, (f"optimizer: none; {error}; give one with --optimizer",)
    return recipe, ()


def _notes(reading: Reading, device: torch.device, amp: torch.dtype | None) -> tuple[str, ...]:
    found, strange = reading.found, reading.strange
    loss = found.objective.origin if found.objective else "none found; give one with --loss or --step"
    remark = f"; {found.remark}" if found.remark else ""
    precision = f", autocast to {str(amp).removeprefix('torch.')}" if amp else ""
    replaced = f"labels: those outside the {strange.classes} outputs were read as the nearest" if strange else ""
    return (
        f"loss: {loss}{remark}",
        f"batch: {reading.splitter.describe()}",
        *filter(None, (replaced,)),
        f"device: {device}{precision}",
    )
