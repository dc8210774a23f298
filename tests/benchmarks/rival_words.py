"""What the words of each rival tool name: its check to the causes of the zoo that a reader of its message is told.

Generous: a message that lists several possible causes counts as naming each of them, wherever it comes in the report;
of the doctor only the cause that it names first counts. A check without an entry shows that something is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """What one check of a tool tells."""

    causes: frozenset[str]
    reason: str  # the words of the tool that count


MIXED = frozenset(
    {
        "batch mixed by view",
        "batch taken for time",
        "softmax over the batch",
        "statistic of the batch",
        "rows of other examples",
    }
)
AHEAD = frozenset({"no causal mask", "read from both ends", "padded on both sides"})
UNUSED = frozenset({"never used", "not used", "cut off"})
LEFT_OUT = frozenset({"in no optimizer", "optimizer made too early"})
SCALE = frozenset({"raw pixels", "inputs not scaled"})
IGNORED = frozenset({"input ignored", "inputs ignored"})
RATE = frozenset({"rate too high", "rate too low"})
DEAD = frozenset({"dead units"})
BROKEN = frozenset({"not finite"})
CUT = frozenset({"no gradient", "everything frozen"})

WORDS: dict[str, dict[str, Word]] = {
    "torchtest2": {
        "batch_independence": Word(MIXED, "view instead of transpose, a batch_first mix-up, softmax over the batch"),
        "optimizer_coverage": Word(LEFT_OUT, "not in the optimizer; were layers replaced after creating it?"),
        "gradient_flow": Word(
            UNUSED | DEAD | {"zero gradient"}, "unused in forward, or cut; dead ReLUs, multiplied by zero"
        ),
        "gradient_magnitude": Word(BROKEN | {"exploding"}, "NaN gradients (log, sqrt, division); exploding gradients"),
        "eval_determinism": Word(frozenset({"dropout in eval mode"}), "F.dropout without training=self.training"),
        "input_dependency": Word(IGNORED | {"padding read"}, "an input (also the mask) has no influence on the output"),
        "output_varies": Word(IGNORED | {"constant"}, "input ignored, collapsed activations"),
        "initial_loss": Word(SCALE | {"exploding"}, "over-confident: scale down the init, check input normalisation"),
        "loss": Word(CUT, "the loss is not connected to the graph"),
        "output_finite": Word(BROKEN | {"NaN in the data"}, "non-finite outputs"),
        "overfit_batch": Word(RATE | BROKEN, "check the learning rate; lr too high; gradients became NaN in ..."),
        "gradcheck": Word(frozenset({"wrong backward"}), "a custom autograd.Function has a wrong backward()"),
        "frozen_params": Word(frozenset({"everything frozen"}), "parameters expected to be frozen"),
        "params_change": Word(
            frozenset({"lost in rounding"}), "parameters do not change after a step of the optimizer"
        ),
    },
    "neural-net-checklist": {
        "forward_batch_independence": Word(MIXED, "the outputs depend on other examples"),
        "backward_batch_independence": Word(MIXED, "the gradient of one output reaches other examples"),
        "forward_causal_property": Word(AHEAD, "outputs depend on later tokens"),
        "backward_causal_property": Word(AHEAD, "the gradient of one output reaches later tokens"),
        "non_zero_gradients": Word(UNUSED | CUT | {"zero gradient"}, "the gradient of that parameter is None or zero"),
        "input_independent_baseline_worse": Word(IGNORED, "training without inputs is as good"),
    },
    "torch-lr-finder": {
        "rate": Word(RATE, "the suggested rate beside the user's: 30 times apart, as far as the doctor looks closer"),
    },
    "torch-audit": {
        "TA100": Word(BROKEN | {"NaN in the data"}, "NaN or infinity in parameters or gradients"),
        "TA102": Word(frozenset({"exploding"}), "gradient explosion"),
        "TA103": Word(DEAD | {"zero gradient"}, "dead units"),
        "TA104": Word(CUT, "no gradients found"),
        "TA105": Word(DEAD, "activation collapse, hooks on every layer"),
        "TA301": Word(SCALE, "suspicious range: forgotten normalisation"),
        "TA302": Word(frozenset({"same inputs", "constant"}), "flat tensor"),
        "TA500": Word(frozenset({"never used", "not used"}), "unused layer"),
        "TA501": Word(frozenset({"shared"}), "a stateful layer is called several times"),
    },
    "guardtower": {
        "LOSS-001": Word(CUT, "the loss is detached from the parameters"),
        "INPUT-001": Word(IGNORED, "the loss does not depend on the input"),
        "GRAD-001": Word(UNUSED, "a parameter gets no gradient: built and never called"),
        "grad_connectivity": Word(DEAD | {"zero gradient"}, "a zero gradient: masks, dead activations"),
        "OPT-001": Word(LEFT_OUT, "missing in the optimizer: made before a module was replaced"),
        "nonfinite": Word(BROKEN | {"NaN in the data"}, "NaN in the activations or gradients of that module"),
        "grad_norms": Word(frozenset({"exploding", "vanishing"}), "large or tiny gradient norms"),
        "dead_relu": Word(DEAD, "dead ReLUs"),
        "train_mode": Word(frozenset({"stuck mode"}), "the model is in eval mode in a training step"),
    },
}
