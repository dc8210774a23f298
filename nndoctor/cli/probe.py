"""`nndoctor probe`: the dynamic pass."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from nndoctor.cli import options
from nndoctor.errors import UserError

if TYPE_CHECKING:
    from nndoctor.config import Settings
    from nndoctor.findings import Report
    from nndoctor.requests import ProbeRequest, ScanRequest

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model, a class or a factory: module:attribute or file.py:attribute.")
]
Data = Annotated[str, typer.Option(metavar="ENTRY", help="A loader, a dataset, an iterable of batches, or a factory.")]
Loss = Annotated[
    str | None, typer.Option(metavar="ENTRY", help="loss(outputs, targets); else it is found in the code or inferred.")
]
Optimizer = Annotated[str | None, typer.Option(metavar="ENTRY", help="An optimizer, or a factory of one.")]
Step = Annotated[
    str | None, typer.Option(metavar="ENTRY", help="step(model, batch) -> loss, for what does not fit the rest.")
]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ENTRY", help="A scheduler, or a factory that is called with the optimizer.")
]
Epochs = Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="Of the run you plan; else as scripted.")]
StepsPerEpoch = Annotated[
    int | None, typer.Option(min=1, metavar="NUMBER", help="Optimizer steps in an epoch; else the loader's batches.")
]
Inputs = Annotated[str | None, typer.Option(metavar="PART", help="What of a batch the model is given.")]
Targets = Annotated[str | None, typer.Option(metavar="PART", help="What of a batch the loss is given.")]
Tokenizer = Annotated[
    str | None, typer.Option(metavar="ENTRY", help="With a decode method; the page then shows token ids as text.")
]
Argument = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An argument of the model's factory.")]
Grow = Annotated[
    str | None, typer.Option(metavar="NAME=SMALL,LARGE", help="An argument that makes the model larger; see NDP18.")
]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, mps or auto; cpu by default.")]
Amp = Annotated[bool, typer.Option("--amp", help="Run under autocast.")]
AmpDtype = Annotated[Literal["bf16", "fp16"] | None, typer.Option(help="Of autocast; else what the device is best at.")]
Memory = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="GB", help="Of a process of your code; else what the machine can spare."),
]
Seed = Annotated[int | None, typer.Option(metavar="NUMBER", help="The same seed gives the same report; 0 by default.")]
EffortLevel = Annotated[options.Effort | None, typer.Option(help="Time and steps to spend; normal by default.")]


def probe(
    *,
    model: Model,
    data: Data,
    loss: Loss = None,
    optimizer: Optimizer = None,
    step: Step = None,
    scheduler: Scheduler = None,
    epochs: Epochs = None,
    steps_per_epoch: StepsPerEpoch = None,
    inputs: Inputs = None,
    targets: Targets = None,
    tokenizer: Tokenizer = None,
    arg: Argument = None,
    grow: Grow = None,
    device: Device = None,
    amp: Amp = False,
    amp_dtype: AmpDtype = None,
    memory: Memory = None,
    seed: Seed = None,
    effort: EffortLevel = None,
    select: options.Select = None,
    ignore: options.Ignore = None,
    output_format: options.OutputFormat = None,
    output_file: options.OutputFile = None,
    log: options.Log = None,
    color: options.Color = "auto",
    statistics: options.Statistics = False,
    fail_on: options.FailOn = None,
    exit_zero: options.ExitZero = False,
    config: options.Config = None,
    isolated: options.Isolated = False,
) -> None:
    """Import the model and the data, run short experiments, and report what they measure.

    Exit status: 0 nothing to report, 1 findings, 2 something could not be examined.

    \b
    nndoctor probe mymod:build_model --data mymod:loader
    nndoctor probe train.py:Net --data train.py:train_loader --effort quick
    """
    given = {name: value for name, value in locals().items() if name in ENTRIES}
    from nndoctor.cli.finish import finish, wanted

    outputs = wanted(output_format, output_file, statistics, log)
    settings = _settings(config, isolated, select=select, ignore=ignore, fail_on=fail_on)
    request = _request(
        settings,
        **given,
        device=device or settings.probe.device,
        amp=amp or amp_dtype is not None,
        seed=settings.probe.seed if seed is None else seed,
        effort=effort or settings.probe.effort,
        arguments=dict(_name_and_value(text) for text in arg or ()),
    )
    finish(
        _examined(request, settings),
        outputs=outputs,
        color=color,
        statistics=statistics,
        fail_on=settings.fail_on,
        exit_zero=exit_zero,
        log=log,
    )


# Options that are handed on as they are, under the names that the request has for them.
ENTRIES = frozenset(
    """model data loss optimizer step scheduler epochs steps_per_epoch inputs targets tokenizer grow amp_dtype
    memory""".split()
)


def _settings(config: list[str] | None, isolated: bool, **options: Any) -> Settings:
    from dataclasses import replace

    from nndoctor.config import load_settings, with_options

    settings = load_settings(Path(), config, isolated)
    return with_options(replace(settings, select=settings.probe.select), **options)


def _request(settings: Settings, **options: Any) -> ProbeRequest:
    from nndoctor.requests import ProbeRequest
    from nndoctor.selection import of_pass

    return ProbeRequest(
        root=Path.cwd(),
        select=of_pass(settings.select, probes=True),
        ignore=settings.ignore,
        thresholds=settings.thresholds,
        **options,
    )


def _examined(request: ProbeRequest, settings: Settings) -> Report:
    from nndoctor.cli.progress import progress_line
    from nndoctor.probe import checkup
    from nndoctor.probe.ranks import current_rank

    rank = current_rank()
    if rank is not None and rank.number:
        _follow(request)
    with progress_line(sys.stderr) as progress:
        return checkup.checkup(request, progress, _scan(settings, request.root))


def _scan(settings: Settings, root: Path) -> ScanRequest:
    """How the static pass reads the files of the model and the data."""
    from nndoctor.requests import ScanRequest

    return ScanRequest(
        paths=(),
        root=root,
        ignore=settings.ignore,
        base=settings.base,
        per_file_ignores=settings.per_file_ignores,
        minimum_torch=settings.minimum_torch,
        thresholds=settings.thresholds,
    )


def _follow(request: ProbeRequest) -> NoReturn:
    """Take part without a word: rank 0 reports what all have found, and torchrun passes its exit status on."""
    from nndoctor.probe import checkup

    with suppress(UserError):
        checkup.checkup(request, lambda _: None)
    raise typer.Exit


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"--arg {text!r}: write NAME=VALUE, for instance --arg hidden=64")
    return name, value
