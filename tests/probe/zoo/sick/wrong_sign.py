"""The loss has the wrong sign, so training makes the model worse."""

from torch import nn

from ..healthy.mlp import build_model as build_model
from ..healthy.mlp import loader as loader
from ..healthy.mlp import optimizer as optimizer


def loss(outputs, targets):
    log_probabilities = nn.functional.log_softmax(outputs, dim=1)
    return log_probabilities.gather(1, targets[:, None]).mean()  # <- sick
