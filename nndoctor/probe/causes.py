"""The causes that a check-up can name: where each acts, what it explains, which rules of the scan state it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Stage(IntEnum):
    """Where on the way from the data to the reported figure a fault acts; what acts earlier is treated first."""

    DATA = 0
    LOSS = 1
    GRAPH = 2  # what gets a gradient, and who owns it
    MODEL = 3  # what the forward computes
    START = 4  # the values that training begins with
    STEP = 5  # rate, decay, schedule
    EVALUATION = 6  # what is reported, saved and loaded
    SYMPTOM = 7  # something is wrong, and this is how it shows


@dataclass(frozen=True, slots=True)
class Cause:
    """What is known of a cause beside its name."""

    stage: Stage
    explains: frozenset[str] = frozenset()  # causes that are no more than its symptoms where both are found
    scan: tuple[str, ...] = ()  # codes of the static pass that state it
    settle: str = ""  # what would settle a doubt, a sentence


# How a fit looks that gets nowhere.
PLATEAU = frozenset({"only the bias learns", "no signal", "dead outputs"})
# What is seen when too little of the signal gets through, whatever the reason.
MUTE = PLATEAU | {"zero gradient", "inputs ignored", "inputs fade"}
# Rates are measured by training, so whatever spoils the training shifts them; predictions then jitter or collapse.
RATES = frozenset({"rate too high", "rate too low"})
SLOW = frozenset({"rate too low"})  # a flattened gradient makes a rate seem low, never high
# What large numbers bring with them.
LARGE = frozenset({"large outputs", "saturated units", "exploding", "lost in bfloat16", "fails in bfloat16"})
SMALLER = frozenset({"smaller batch fails", "smaller batch not finite", "batch dimension lost"})
REPEAT = "Repeat the check-up with another --seed and --effort full: a cause stays, a coincidence does not."
TRAIN_BOTH = "Train a few hundred steps with both settings from one seed and compare the losses."
PRINT_RATES = "Print the learning rate once an epoch and compare it with the schedule that was meant."

CAUSES: Mapping[str, Cause] = {
    # data
    "NaN in the data": Cause(Stage.DATA, frozenset({"not finite"})),
    "label outside the outputs": Cause(Stage.DATA),
    "same inputs": Cause(
        Stage.DATA, MUTE | {"equal inputs", "few different examples", "labels without relation to the inputs"}
    ),
    "few different examples": Cause(Stage.DATA, frozenset({"equal inputs"})),
    "workers alike": Cause(
        Stage.DATA,
        frozenset({"few different examples"}),
        ("ND606",),
        "Print the first value of a batch from each worker: they must differ.",
    ),
    "same data on each rank": Cause(Stage.DATA, frozenset({"same augmentation on each rank"})),
    "same augmentation on each rank": Cause(Stage.DATA),
    "raw pixels": Cause(Stage.DATA, MUTE | RATES | LARGE | {"inputs not scaled", "dead units"}, ("ND608", "ND607")),
    "pixels scaled twice": Cause(Stage.DATA, MUTE | RATES | {"inputs not scaled"}, ("ND608",)),
    "inputs not scaled": Cause(Stage.DATA, MUTE | RATES | LARGE | {"dead units"}, (), TRAIN_BOTH),
    "sorted labels": Cause(
        Stage.DATA, RATES, ("ND604",), "Print the labels of the first batches: a shuffled loader mixes them."
    ),
    "validation data in training": Cause(
        Stage.DATA,
        frozenset(),
        ("ND605",),
        "Compare the files or indices behind both sets: their intersection is empty.",
    ),
    "labels without relation to the inputs": Cause(
        Stage.DATA, frozenset(), (), "Look at ten examples with their labels: are they right more often than by chance?"
    ),
    "inputs hold the target": Cause(Stage.DATA, frozenset(), (), "Train on the suspected feature alone."),
    "equal inputs": Cause(Stage.DATA),
    "uneven classes": Cause(Stage.START),
    # loss
    "no gradient": Cause(Stage.LOSS, MUTE | {"cut off", "fails in bfloat16"}, ("ND112", "ND307", "ND111")),
    "wrong sign": Cause(Stage.LOSS, RATES),
    "broadcast shapes": Cause(Stage.LOSS, PLATEAU | SLOW, ("ND114",)),
    "softmax twice": Cause(Stage.LOSS, PLATEAU | SLOW | {"vanishing"}, ("ND101",)),
    "sigmoid twice": Cause(Stage.LOSS, PLATEAU | SLOW, ("ND103",)),
    "no log-softmax": Cause(Stage.LOSS, PLATEAU | RATES, ("ND105",)),
    "softmax on the outputs": Cause(Stage.LOSS, PLATEAU | SLOW, ("ND118", "ND107")),
    "sigmoid on the outputs": Cause(Stage.LOSS, PLATEAU | SLOW, ("ND103", "ND107")),
    "tanh on the outputs": Cause(Stage.LOSS, PLATEAU | SLOW, ("ND107",)),
    "ReLU on the outputs": Cause(Stage.LOSS, MUTE | SLOW | {"dead outputs"}, ("ND107",)),
    "softplus on the outputs": Cause(Stage.LOSS, PLATEAU | SLOW, ("ND107",)),
    "softmax over the wrong dimension": Cause(Stage.LOSS, PLATEAU | SLOW | {"softmax twice"}, ("ND110",)),
    "dropout on the outputs": Cause(Stage.LOSS, frozenset(), ("ND108",)),
    "sum instead of mean": Cause(Stage.LOSS, RATES, (), "Halve the batch size: a mean stays, a sum halves."),
    "sum and mean": Cause(
        Stage.LOSS,
        RATES | {"terms out of proportion"},
        (),
        "Halve the batch size: the proportion of the two terms must stay.",
    ),
    "terms out of proportion": Cause(
        Stage.LOSS, RATES, ("ND117",), "Train on each term alone, and see which of them the sum leaves unlearned."
    ),
    # graph
    "everything frozen": Cause(Stage.GRAPH, MUTE | {"no gradient"}, ("ND308",)),
    "cut off": Cause(
        Stage.GRAPH,
        MUTE,
        ("ND305",),
        "Print `grad_fn` of the tensors on the way: where it is None the graph ends.",
    ),
    "not registered": Cause(Stage.GRAPH, frozenset({"state outside", "other names"}), ("ND406", "ND413")),
    "optimizer made too early": Cause(Stage.GRAPH, frozenset({"in no optimizer"}), ("ND212",)),
    "in no optimizer": Cause(
        Stage.GRAPH, frozenset(), ("ND213",), "Compare the parameters before and after a step: which stay as they are?"
    ),
    "never used": Cause(
        Stage.GRAPH, frozenset(), ("ND408",), "Delete the layer: if nothing fails, nothing has used it."
    ),
    "frozen head": Cause(
        Stage.GRAPH,
        frozenset(),
        ("ND308",),
        "List the parameters whose requires_grad is False: are they the wanted ones?",
    ),
    "wrong backward": Cause(Stage.GRAPH, MUTE | RATES | {"fails in bfloat16", "lost in bfloat16"}),
    # model
    "batch mixed by view": Cause(Stage.MODEL, SMALLER, ("ND501", "ND502", "ND504")),
    "batch taken for time": Cause(Stage.MODEL, SMALLER, ("ND418",)),
    "softmax over the batch": Cause(Stage.MODEL, SMALLER | {"softmax over the wrong dimension"}, ("ND110",)),
    "statistic of the batch": Cause(Stage.MODEL, SMALLER),
    "rows of other examples": Cause(Stage.MODEL, SMALLER),
    "batch statistics in eval mode": Cause(Stage.MODEL, SMALLER, ("ND410",)),
    "examples mixed": Cause(Stage.MODEL, SMALLER, ("ND501", "ND502", "ND504", "ND418")),
    "no causal mask": Cause(Stage.MODEL, frozenset({"inputs hold the target"}), ("ND415", "ND110")),
    "read from both ends": Cause(Stage.MODEL, frozenset({"inputs hold the target"}), ("ND415",)),
    "padded on both sides": Cause(Stage.MODEL, frozenset({"inputs hold the target"})),
    "statistic over time": Cause(Stage.MODEL, frozenset({"inputs hold the target"})),
    "future seen": Cause(Stage.MODEL, frozenset({"inputs hold the target"})),
    "targets not shifted": Cause(
        Stage.MODEL,
        frozenset({"inputs hold the target"}),
        ("ND610",),
        "Print the first inputs beside their targets: each target should be the next input.",
    ),
    "targets shifted twice": Cause(
        Stage.MODEL, frozenset(), (), "Print the first inputs beside the targets that reach the loss."
    ),
    "padding read": Cause(Stage.MODEL, frozenset(), (), "Pad one sequence further: its outputs must not change."),
    "input ignored": Cause(
        Stage.MODEL, frozenset({"never used", "not used"}), (), "Train without this input: nothing gets worse."
    ),
    "inputs ignored": Cause(Stage.MODEL, MUTE - {"inputs ignored"} | {"not used"}),
    "inputs fade": Cause(Stage.MODEL, MUTE - {"inputs ignored", "inputs fade"}, (), REPEAT),
    "constant": Cause(Stage.MODEL, MUTE, ("ND109", "ND110"), "Print its output for two examples: it is the same."),
    "not used": Cause(Stage.MODEL),
    "argument ignored": Cause(Stage.MODEL),
    "capacity without effect": Cause(Stage.MODEL, MUTE | RATES, (), REPEAT),
    # start
    "same units": Cause(Stage.START, MUTE | RATES | {"dead units", "vanishing"}, ("ND412",)),
    "dead units": Cause(
        Stage.START, MUTE | RATES | {"vanishing"}, (), "Count the zeros behind the layer after a few hundred steps."
    ),
    "exploding": Cause(Stage.START, MUTE | RATES | LARGE - {"exploding"} | {"not finite"}, (), TRAIN_BOTH),
    "saturated units": Cause(Stage.START, MUTE | RATES | {"vanishing"}, (), TRAIN_BOTH),
    "vanishing": Cause(Stage.START, MUTE | RATES, ("ND414",), TRAIN_BOTH),
    "weights hidden by batch norm": Cause(Stage.START, MUTE | RATES, (), TRAIN_BOTH),
    "large outputs": Cause(Stage.START, RATES, (), TRAIN_BOTH),
    "bias far from the targets": Cause(Stage.START, RATES, (), TRAIN_BOTH),
    "zero gradient": Cause(Stage.START, frozenset({"only the bias learns", "no signal"}), (), REPEAT),
    "lost in rounding": Cause(Stage.START, RATES, (), TRAIN_BOTH),
    # step
    "drifting ranks": Cause(Stage.STEP, settle="Print the sum of the weights on each rank after every epoch."),
    "rate too high": Cause(Stage.STEP, frozenset(), ("ND214",), TRAIN_BOTH),
    "rate too low": Cause(Stage.STEP, frozenset(), ("ND214",), TRAIN_BOTH),
    "decayed twice": Cause(Stage.STEP, RATES, ("ND116",)),
    "decay drowns the data": Cause(Stage.STEP, RATES, (), TRAIN_BOTH),
    "wrong pace": Cause(Stage.STEP, frozenset(), ("ND210", "ND211"), PRINT_RATES),
    "falls too early": Cause(Stage.STEP, frozenset(), ("ND211",), PRINT_RATES),
    "warm-up": Cause(Stage.STEP, frozenset(), ("ND211",), PRINT_RATES),
    "too long": Cause(Stage.STEP, frozenset(), ("ND211",), PRINT_RATES),
    "never changes": Cause(Stage.STEP, frozenset(), ("ND210", "ND211"), PRINT_RATES),
    "rises again": Cause(Stage.STEP, frozenset(), ("ND211",), PRINT_RATES),
    "stops": Cause(Stage.STEP, frozenset(), ("ND211",), PRINT_RATES),
    # evaluation
    "stuck mode": Cause(Stage.EVALUATION, frozenset({"never updates", "dropout in eval mode"}), ("ND310", "ND302")),
    "dropout in eval mode": Cause(
        Stage.EVALUATION, frozenset(), ("ND306",), "Evaluate twice on the same batch: the outputs must agree."
    ),
    "never updates": Cause(Stage.EVALUATION, frozenset(), ("ND410", "ND405")),
    "dropout before batch norm": Cause(
        Stage.EVALUATION,
        frozenset(),
        ("ND403", "ND402"),
        "Evaluate once with the batch norms in train mode: the figures must agree.",
    ),
    "shared": Cause(
        Stage.EVALUATION,
        frozenset(),
        ("ND409",),
        "Evaluate once with the batch norms in train mode: the figures must agree.",
    ),
    "does not load": Cause(Stage.EVALUATION, frozenset({"state outside"})),
    "other names": Cause(Stage.EVALUATION, frozenset({"state outside"}), ("ND407",)),
    "state outside": Cause(Stage.EVALUATION, frozenset(), ("ND413",)),
    "smaller batch fails": Cause(Stage.EVALUATION, frozenset(), ("ND503",)),
    "batch dimension lost": Cause(Stage.EVALUATION, frozenset(), ("ND503",)),
    "smaller batch not finite": Cause(Stage.EVALUATION),
    "not repeatable": Cause(
        Stage.EVALUATION, frozenset(), (), "Run the script twice from one seed and compare losses."
    ),
    "lost in bfloat16": Cause(Stage.EVALUATION),
    "fails in bfloat16": Cause(Stage.EVALUATION),
    # symptoms
    "not finite": Cause(Stage.SYMPTOM, RATES | {"lost in bfloat16"}),
    "dead outputs": Cause(Stage.SYMPTOM),
    "slow loader": Cause(
        Stage.SYMPTOM, frozenset(), ("ND706",), "Time a pass over the loader alone, with workers and without."
    ),
    "only the bias learns": Cause(Stage.SYMPTOM, RATES, (), REPEAT),
    "no signal": Cause(Stage.SYMPTOM, RATES, (), REPEAT),
}

UNKNOWN = Cause(Stage.SYMPTOM)
"""What is known of a cause that is not listed."""


def known(cause: str) -> Cause:
    """The entry of a cause; one that is not listed explains nothing."""
    return CAUSES.get(cause, UNKNOWN)


def stated_by(code: str) -> frozenset[str]:
    """The causes that a rule of the static pass states."""
    return frozenset(name for name, cause in CAUSES.items() if code in cause.scan)
