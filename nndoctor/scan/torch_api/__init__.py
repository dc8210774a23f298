"""What the analyser knows of torch and its neighbours, as data: names, kinds, parameters and meanings."""

from nndoctor.scan.torch_api.layers import (
    CONTAINERS,
    LAYERS,
    LIBRARY_MODELS,
    MODE_OPS,
    MODULE_METHODS,
    parameters_of,
)
from nndoctor.scan.torch_api.losses import BINARY_LOGITS, LOG_PROBABILITIES, LOGITS, LOSSES
from nndoctor.scan.torch_api.names import canonical, star_names
from nndoctor.scan.torch_api.operations import (
    ACTIVATION_OPS,
    ACTS,
    CASTS,
    TRANSPARENT,
    method_operation,
    operation,
)
from nndoctor.scan.torch_api.training import (
    AUTOGRAD_FUNCTIONS,
    CLIPS,
    ENGINES,
    HARMLESS,
    NO_GRAD,
    NOTED_METHODS,
    OPTIMIZER_MODULES,
    OPTIMIZERS,
    SCALERS,
)

__all__ = [
    "ACTIVATION_OPS",
    "ACTS",
    "AUTOGRAD_FUNCTIONS",
    "BINARY_LOGITS",
    "CASTS",
    "CLIPS",
    "CONTAINERS",
    "ENGINES",
    "HARMLESS",
    "LAYERS",
    "LIBRARY_MODELS",
    "LOGITS",
    "LOG_PROBABILITIES",
    "LOSSES",
    "MODE_OPS",
    "MODULE_METHODS",
    "NOTED_METHODS",
    "NO_GRAD",
    "OPTIMIZERS",
    "OPTIMIZER_MODULES",
    "SCALERS",
    "TRANSPARENT",
    "canonical",
    "method_operation",
    "operation",
    "parameters_of",
    "star_names",
]
