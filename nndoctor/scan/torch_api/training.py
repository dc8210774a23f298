"""Optimisation and what surrounds it: optimizers, clipping, scaling, engines, and libraries that leave it alone."""

from __future__ import annotations

TORCH_OPTIMIZERS = frozenset(
    """SGD Adam AdamW Adamax Adagrad Adadelta RMSprop Rprop ASGD LBFGS NAdam RAdam SparseAdam Adafactor Muon
    Optimizer""".split()
)
OPTIMIZERS = TORCH_OPTIMIZERS | frozenset(
    """Lamb LAMB AdamP SGDP Lion AdaBelief Ranger AdaBound Yogi Novograd NovoGrad FusedAdam FusedLAMB Adam8bit
    AdamW8bit PagedAdamW8bit Sophia Prodigy""".split()
)
OPTIMIZER_MODULES = (
    "torch.optim",
    "torch_optimizer",
    "timm.optim",
    "apex.optimizers",
    "bitsandbytes.optim",
    "pytorch_optimizer",
    "lion_pytorch",
    "transformers",
)
CLIPS = frozenset(
    {
        "torch.nn.utils.clip_grad_norm_",
        "torch.nn.utils.clip_grad_norm",
        "torch.nn.utils.clip_grad_value_",
        "torch.nn.utils.clip_grads_with_norm_",
    }
)
NO_GRAD = frozenset(
    {"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.inference_mode"}
)
# Methods of tensors, models and other objects whose calls are noted for the rules.
NOTED_METHODS = frozenset(
    """add_param_group apply copy_ cpu cuda detach eq fill_ forward item load_state_dict named_parameters
    numpy parameters register_parameter requires_grad_ retain_grad set_epoch squeeze state_dict step tolist
    unsqueeze zero_""".split()
)
# Attributes whose setting is noted for the rules: whether a parameter is trained, spelt rightly or not, and its value.
MISSPELT_REQUIRES_GRAD = frozenset(
    """require_grad requires_grads require_grads required_grad requires_gradient require_gradient requires_gradients
    require_gradients requries_grad requies_grad requres_grad requiers_grad requires_gard require_grad_
    requires_grads_""".split()
)
NOTED_ATTRIBUTES = MISSPELT_REQUIRES_GRAD | {"requires_grad", "requires_grad_", "data", "weight"}
SCALERS = frozenset({"torch.amp.GradScaler", "torch.cpu.amp.GradScaler", "torch.GradScaler"})
AUTOGRAD_FUNCTIONS = frozenset(
    {"torch.autograd.Function", "torch.autograd.function.Function", "torch.autograd.function.InplaceFunction"}
)

# Libraries that own backward, step or the whole loop: objects made from them take over what they are given.
ENGINES = tuple(
    """accelerate lightning deepspeed ignite apex fairseq mmengine mmcv skorch fastai timm.utils composer catalyst
    colossalai fairscale horovod poptorch torch_xla pytorch_metric_learning torchtnt transformers.Trainer
    transformers.Seq2SeqTrainer tianshou ray detectron2 torchbearer poutyne argus pytorch_accelerated""".split()
)

# Calls that leave the models and optimizers they are given as they are.
HARMLESS = tuple(
    """builtins. torch. math. os. sys. time. logging. json. numpy. tqdm wandb. matplotlib. copy. itertools. functools.
    collections. random. re. pickle. datetime. pathlib. torchinfo. torchsummary. thop. tensorboardX. sklearn. pandas.
    scipy. PIL. cv2. torchvision. argparse. pprint. gc. string. typing. einops. rich. click. yaml. loguru. mlflow.
    hydra. omegaconf. shutil. glob. ptflops. fvcore. dataclasses. torchmetrics. psutil. warnings. operator. statistics.
    csv. contextlib. types. inspect. enum. abc. imageio. skimage.""".split()
)
