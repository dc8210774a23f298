"""Data: datasets, transforms, samplers and splits of torch and its neighbours, and what their parameters are called."""

from __future__ import annotations

from functools import cache

LOADER_PARAMETERS = (
    *("dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "collate_fn"),
    *("pin_memory", "drop_last", "timeout", "worker_init_fn"),
)

# Datasets -------------------------------------------------------------------------------------------------------------

_FLAGGED = ("root", "train", "transform", "target_transform", "download")
_NAMED = ("root", "split", "transform", "target_transform", "download")
_FOLDER = ("root", "transform", "target_transform", "loader", "is_valid_file")
_COCO = ("root", "annFile", "transform", "target_transform", "transforms")
_VOC = ("root", "year", "image_set", "download", "transform", "target_transform", "transforms")
_DATASETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "USPS"), _FLAGGED),
    **dict.fromkeys(("SVHN", "Flowers102", "Food101", "GTSRB", "StanfordCars", "PCAM", "RenderedSST2"), _NAMED),
    "EMNIST": ("root", "split"),
    "QMNIST": ("root", "what", "compat", "train"),
    "STL10": ("root", "split", "folds", "transform", "target_transform", "download"),
    "DTD": ("root", "split", "partition", "transform", "target_transform", "download"),
    "FGVCAircraft": ("root", "split", "annotation_level", "transform", "target_transform", "download"),
    "CelebA": ("root", "split", "target_type", "transform", "target_transform", "download"),
    "OxfordIIITPet": ("root", "split", "target_types", "transforms", "transform", "target_transform", "download"),
    "Cityscapes": ("root", "split", "mode", "target_type", "transform", "target_transform", "transforms"),
    "ImageNet": ("root", "split"),
    "ImageFolder": _FOLDER,
    "DatasetFolder": ("root", "loader", "extensions", *_FOLDER[1:3], "is_valid_file"),
    "FakeData": ("size", "image_size", "num_classes", "transform", "target_transform", "random_offset"),
    "Caltech101": ("root", "target_type", "transform", "target_transform", "download"),
    "Caltech256": ("root", "transform", "target_transform", "download"),
    "EuroSAT": ("root", "transform", "target_transform", "download"),
    "CocoDetection": _COCO,
    "CocoCaptions": _COCO,
    "VOCSegmentation": _VOC,
    "VOCDetection": _VOC,
}
# Those of torch.utils.data whose parameters are positional; a TensorDataset takes its tensors.
WRAPPERS: dict[str, tuple[str, ...]] = {
    "TensorDataset": (),
    "Subset": ("dataset", "indices"),
    "ConcatDataset": ("datasets",),
    "StackDataset": (),
    "ChainDataset": ("datasets",),
}
DENSE_DATASETS = frozenset(  # their targets are places in the image
    {"VOCSegmentation", "VOCDetection", "Cityscapes", "CocoDetection", "OxfordIIITPet", "SBDataset", "WIDERFace"}
)
# Datasets that the library made so that training and held-out examples are told apart by an argument.
TRAIN_FLAG = frozenset({"MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "USPS", "EMNIST", "QMNIST"})
NOT_OF_IMAGES = frozenset({"DatasetFolder"})  # of torchvision's, the one that may load anything


def dataset_parameters(name: str) -> tuple[str, ...]:
    """The names of a torchvision dataset's parameters by position, as far as they are known."""
    return _DATASETS.get(name, ("root",))


SAMPLERS: dict[str, tuple[str, ...]] = {
    "SubsetRandomSampler": ("indices", "generator"),
    "RandomSampler": ("data_source", "replacement", "num_samples"),
    "SequentialSampler": ("data_source",),
    "WeightedRandomSampler": ("weights", "num_samples", "replacement"),
    "BatchSampler": ("sampler", "batch_size", "drop_last"),
    "DistributedSampler": ("dataset", "num_replicas", "rank", "shuffle", "seed", "drop_last"),
}

# Random generators that an object can own; they are copied into each worker of a loader.
GENERATORS = frozenset({"numpy.random.RandomState", "numpy.random.default_rng", "random.Random"})

# Transforms -----------------------------------------------------------------------------------------------------------

TRANSFORM_MODULES = ("torchvision.transforms.", "albumentations.")
_CHANCE = ("p",)
_TRANSFORMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Compose", "RandomChoice", "RandomOrder", "Sequential", "OneOf", "SomeOf"), ("transforms", "p")),
    "RandomApply": ("transforms", "p"),
    "Normalize": ("mean", "std", "inplace"),
    "Lambda": ("lambd",),
    "ToDtype": ("dtype", "scale"),
    "ConvertImageDtype": ("dtype",),
    "ConvertDtype": ("dtype",),
    "Resize": ("size",),
    "CenterCrop": ("size",),
    "RandomCrop": ("size", "padding", "pad_if_needed"),
    "RandomRotation": ("degrees",),
    "RandomAffine": ("degrees", "translate", "scale", "shear"),
    "ColorJitter": ("brightness", "contrast", "saturation", "hue"),
    **dict.fromkeys(("RandomHorizontalFlip", "RandomVerticalFlip", "RandomGrayscale", "RandomErasing"), _CHANCE),
    **dict.fromkeys(("HorizontalFlip", "VerticalFlip", "Flip", "RandomRotate90", "Transpose"), _CHANCE),
}

# Random transforms that change which picture the network sees; what is always applied alike is none of them.
RANDOM_TRANSFORMS = frozenset(
    """RandomHorizontalFlip RandomVerticalFlip RandomCrop RandomResizedCrop RandomSizedCrop RandomRotation RandomAffine
    RandomPerspective RandomErasing RandomGrayscale RandomInvert RandomPosterize RandomSolarize RandomAdjustSharpness
    RandomAutocontrast RandomEqualize RandomZoomOut RandomIoUCrop RandomPhotometricDistort RandomShortestSize
    ColorJitter GaussianBlur ElasticTransform AutoAugment RandAugment TrivialAugmentWide AugMix ScaleJitter
    HorizontalFlip VerticalFlip Flip RandomRotate90 ShiftScaleRotate Rotate RandomBrightnessContrast
    HueSaturationValue CoarseDropout Cutout GridDistortion OpticalDistortion RandomGamma RGBShift MotionBlur
    RandomSizedCropNonEmptyMaskIfExists RandomScale GaussNoise CLAHE""".split()
)
# Of these, the ones that move pixels: a mask, boxes or keypoints must move with them.
MOVING_TRANSFORMS = frozenset(
    """RandomHorizontalFlip RandomVerticalFlip RandomCrop RandomResizedCrop RandomSizedCrop RandomRotation RandomAffine
    RandomPerspective ElasticTransform HorizontalFlip VerticalFlip Flip RandomRotate90 ShiftScaleRotate
    Rotate""".split()
)
# Signs whose mirror image is another sign, or none.
NOT_TO_BE_FLIPPED = frozenset({"MNIST", "EMNIST", "QMNIST", "KMNIST", "USPS", "SVHN", "GTSRB"})
FLIPS = frozenset({"RandomHorizontalFlip", "RandomVerticalFlip", "HorizontalFlip", "VerticalFlip", "Flip"})

# Steps that make a tensor of an image: of floats between 0 and 1, or of bytes; and steps that bring bytes to 0 to 1.
BYTE_TENSORS = frozenset({"PILToTensor", "ToImage", "ToImageTensor"})
TENSOR_MAKERS = BYTE_TENSORS | {"ToTensor"}
SCALING_TRANSFORMS = frozenset({"ToTensor", "ConvertImageDtype", "ConvertDtype"})

# Means of the pixels by channel, scaled to 0 to 1, as the scripts of the world write them.
PIXEL_MEANS: dict[str, tuple[float, ...]] = {
    "MNIST": (0.1307,),
    "FashionMNIST": (0.2860,),
    "CIFAR10": (0.4914, 0.4822, 0.4465),
    "CIFAR100": (0.5071, 0.4867, 0.4408),
    "SVHN": (0.4377, 0.4438, 0.4728),
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)


@cache
def is_transform(name: str) -> bool:
    """Whether a dotted name is the class of a transform."""
    return name.startswith(TRANSFORM_MODULES) and name.rpartition(".")[2][:1].isupper()


def transform_parameters(name: str) -> tuple[str, ...]:
    """The names of a transform's parameters by position, as far as rules need them."""
    return _TRANSFORMS.get(name, ())


# Preparation of arrays ------------------------------------------------------------------------------------------------

# Estimators of scikit-learn whose fit learns from the values of the inputs; encoders of labels learn only their names.
LEARNING_ESTIMATORS = frozenset(
    """StandardScaler MinMaxScaler MaxAbsScaler RobustScaler QuantileTransformer PowerTransformer PCA TruncatedSVD
    KernelPCA FastICA NMF IncrementalPCA TfidfVectorizer TfidfTransformer SimpleImputer KNNImputer IterativeImputer
    SelectKBest SelectPercentile VarianceThreshold KBinsDiscretizer""".split()
)
ESTIMATOR_MODULES = (
    *("sklearn.preprocessing.", "sklearn.decomposition.", "sklearn.feature_extraction.", "sklearn.impute."),
    *("sklearn.feature_selection.",),
)
