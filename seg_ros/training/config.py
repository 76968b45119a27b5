"""Everything a training run can be told, declared once; ``recipes`` reads it from files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

from seg_ros.model_name import check_model_name
from seg_ros.nets import net_options
from seg_ros.nets.encoders import Channels, normalization
from seg_ros.schema import param, validate
from seg_ros.training.criterion import METRICS, check_metric

LOSSES = ('cross_entropy', 'ohem', 'focal', 'dice', 'lovasz')
CLASS_WEIGHTS = ('none', 'enet', 'linknet', 'median_frequency')
# name -> momentum (beta1 of Adam) and weight decay where none is given; a decay of 1e-2 is usual
# for AdamW only, which does not add it to the gradient.
OPTIMIZERS = {'sgd': (0.9, 1e-4), 'rmsprop': (0.0, 0.0), 'adam': (0.9, 0.0), 'adamw': (0.9, 1e-2)}
SCHEDULES = ('constant', 'onecycle', 'poly', 'cosine', 'triangular', 'plateau')


@dataclass(frozen=True)
class StageConfig:
    """A part of the run with its own resolution, learning rate and frozen weights."""

    epochs: int = param(50, 'Passes over the training images', bounds=(1, 100_000))
    learning_rate: float = param(1e-3, 'Peak learning rate', bounds=(0.0, 100.0))
    scale: float = param(
        1.0, 'Size of the images as a fraction of the input size', bounds=(0.05, 4)
    )
    batch_size: int = param(8, 'Images per step, over all processes', bounds=(1, 4096))
    accumulate: int = param(
        1,
        'Parts of a step, computed one after the other to save memory',
        bounds=(1, 4096),
    )
    frozen: str = param('none', 'Weights that keep their values', choices=('none', 'encoder'))

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class SplitConfig:
    """Which images are for training and which for validation."""

    mode: str = param(
        'given',
        'given: splits of the data set; random; blocked: runs of neighbours stay together; '
        'groups: by regular expressions; all: everything trains, nothing gives a score',
        choices=('given', 'random', 'blocked', 'groups', 'all'),
    )
    train: str = param('train', 'Name of the split to train on (given)')
    val: str = param('val', 'Name of the split to validate on (given)')
    val_fraction: float = param(
        0.15, 'Share for validation (random, blocked)', bounds=(0.001, 0.9)
    )
    block: int = param(30, 'Neighbouring frames per block (blocked)', bounds=(1, 1_000_000))
    allow_overlap: bool = param(
        False, 'Accept the same image on both sides, to overfit on purpose'
    )
    gap: int = param(0, 'Frames left out on each side of a block (blocked)', bounds=(0, 10_000))
    pool: tuple[str, ...] = param(
        ('all',), 'Splits of the data set that are put together (groups, all)'
    )
    train_groups: str = param(
        '', 'Regular expression in the names to train on; empty: what does not validate (groups)'
    )
    val_groups: str = param('', 'Regular expression in the names to validate on (groups)')

    def __post_init__(self) -> None:
        validate(self)
        for name in ('train_groups', 'val_groups'):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise ValueError(f'{name}: {error} in {getattr(self, name)!r}') from error
        if self.mode == 'groups' and not self.val_groups:
            raise ValueError('val_groups: give a regular expression of the names to validate on')
        if self.mode in ('groups', 'all') and not self.pool:
            raise ValueError('pool: give at least one split of the data set')


@dataclass(frozen=True)
class ExtraDataConfig:
    """Further images to train on; they are never validated on."""

    dataset: str = param('folder', 'Key of seg_ros.datasets.DATASETS, or my_module:MyDataset')
    data: str = param('', 'Folder of the data set')
    split: str = param('all', 'Name of the split to train on')
    options: dict[str, Any] = param({}, 'Options of the data set')
    repeat: int = param(1, 'How often each image is drawn in an epoch', bounds=(1, 10_000))

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become steps; momentum and decay that are left out are the optimiser's own."""

    name: str = param('adamw', 'Optimiser', choices=OPTIMIZERS)
    weight_decay: float = param(None, 'Weight decay (decoupled for adamw)', bounds=(0.0, 10.0))
    decay_norms: bool = param(False, 'Decay biases and normalisation layers too')
    momentum: float = param(None, 'Momentum (sgd, rmsprop); beta1 of adam', bounds=(0.0, 0.9999))
    encoder_factor: float = param(1.0, 'Learning rate of the encoder, relative', bounds=(0.0, 10))
    clip_norm: float = param(0.0, 'Clip the norm of the gradients; 0 for never', bounds=(0.0, 1e6))

    def __post_init__(self) -> None:
        own = OPTIMIZERS.get(self.name, (0.0, 0.0))
        for key, value in zip(('momentum', 'weight_decay'), own, strict=True):
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)
        validate(self)


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves within a stage."""

    name: str = param('poly', 'Schedule', choices=SCHEDULES)
    warmup: float = param(0.05, 'Share of the steps with a linear rise', bounds=(0.0, 0.9))
    power: float = param(0.9, 'Exponent of poly', bounds=(0.1, 5.0))
    floor: float = param(0.0, 'Smallest rate, relative to the peak', bounds=(0.0, 1.0))
    cycles: int = param(4, 'Rises and falls per stage (triangular)', bounds=(1, 10_000))
    factor: float = param(0.1, 'Rate is multiplied by it (plateau)', bounds=(0.0001, 0.99))
    patience: int = param(10, 'Validations without progress (plateau)', bounds=(0, 10_000))

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class LossConfig:
    """What is minimised: a weighted sum of terms."""

    terms: dict[str, float] = param(
        {'cross_entropy': 1.0}, f'Weight per term: {", ".join(LOSSES)}'
    )
    class_weights: str = param(
        'none', 'How rare classes are favoured; p: share of the pixels', choices=CLASS_WEIGHTS
    )
    label_smoothing: float = param(0.0, 'Share given to all classes alike', bounds=(0.0, 0.5))
    ohem_threshold: float = param(0.7, 'Pixels more certain than this are easy', bounds=(0.0, 1.0))
    ohem_keep: float = param(0.1, 'Share of the pixels kept in any case', bounds=(0.0, 1.0))
    focal_gamma: float = param(2.0, 'Exponent of focal', bounds=(0.0, 10.0))
    total_variation: float = param(0.0, 'Weight of total variation', bounds=(0.0, 10.0))
    total_variation_classes: tuple[str, ...] = param((), 'Classes it acts on; all when empty')
    aux_weight: float = param(0.4, 'Weight of each auxiliary head', bounds=(0.0, 10.0))
    resolution: str = param(
        'full',
        'full: logits are enlarged to the labels; logits: labels are reduced by nearest',
        choices=('full', 'logits'),
    )

    def __post_init__(self) -> None:
        validate(self)
        if not self.terms:
            raise ValueError('terms: give at least one loss, such as {cross_entropy: 1.0}')
        for name, weight in self.terms.items():
            if name not in LOSSES:
                raise ValueError(f'terms: unknown loss {name!r}; available: {", ".join(LOSSES)}')
            if not 0 <= weight <= 1000:
                raise ValueError(f'terms: weight {weight} of {name!r} is outside 0 to 1000')


@dataclass(frozen=True)
class DistillationConfig:
    """A larger net with the same classes that is learned from beside the labels."""

    teacher: str = param('', 'Model folder of that net; empty: none')
    weight: float = param(1.0, 'Weight beside the loss', bounds=(0.0, 1000.0))
    # On the small data set of the tests, rare classes were not learned at 2 and at 4.
    temperature: float = param(1.0, 'What the logits of both are divided by', bounds=(0.1, 100.0))

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images; validation never sees them."""

    scale_min: float = param(0.5, 'Smallest enlargement', bounds=(0.1, 10.0))
    scale_max: float = param(2.0, 'Largest enlargement', bounds=(0.1, 10.0))
    flip: float = param(0.5, 'Probability of a left-right flip', bounds=(0.0, 1.0))
    brightness: float = param(0.3, 'Factor is drawn from 1 +- this', bounds=(0.0, 1.0))
    contrast: float = param(0.3, 'Factor is drawn from 1 +- this', bounds=(0.0, 1.0))
    saturation: float = param(0.3, 'Factor is drawn from 1 +- this', bounds=(0.0, 1.0))
    hue: float = param(0.03, 'Turn is drawn from +- this share of the circle', bounds=(0.0, 0.5))
    blur: float = param(0.1, 'Probability of a Gaussian blur', bounds=(0.0, 1.0))
    blur_sigma_px: float = param(1.5, 'Largest sigma of the blur', bounds=(0.1, 5.0))
    noise: float = param(0.1, 'Probability of Gaussian noise', bounds=(0.0, 1.0))
    noise_sigma: float = param(0.03, 'Largest sigma, pixels being 0..1', bounds=(0.0, 1.0))
    gamma: float = param(
        0.0, 'Log of the exponent is drawn from +- this: dusk, exposure', bounds=(0.0, 2.0)
    )
    white_balance: float = param(
        0.0, 'Logs of the gains of red and blue are drawn from +- this', bounds=(0.0, 1.0)
    )

    def __post_init__(self) -> None:
        validate(self)
        if self.scale_min > self.scale_max:
            raise ValueError(f'scale_min {self.scale_min} is above scale_max {self.scale_max}')


NO_AUGMENTATION = AugmentConfig(
    scale_min=1.0,
    scale_max=1.0,
    flip=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    blur=0.0,
    noise=0.0,
)


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    name: str = param('model', 'Name of the model folder that comes out')
    recipe: str = param('', 'Name of the recipe, for the model card')
    license: str = param('', 'Licence of the weights, for the model card')
    net: str = param('mini_unet', 'Key of seg_ros.nets.NETS, or my_module:MyNet')
    net_options: dict[str, Any] = param({}, 'Options of the net')
    encoder_weights: str = param('none', 'imagenet, a .safetensors file, or none')
    allow_missing_weights: bool = param(False, 'Accept encoder weights that lack tensors')
    init_from: str = param(
        '', 'Model (name or folder), run folder or checkpoint whose weights to start from'
    )
    dataset: str = param('folder', 'Key of seg_ros.datasets.DATASETS, or my_module:MyDataset')
    data: str = param('', 'Folder of the data set')
    dataset_options: dict[str, Any] = param({}, 'Options of the data set')
    extra_data: tuple[ExtraDataConfig, ...] = param((), 'Data sets to train on as well')
    val_dataset: str = param('', 'Another data set to validate on; the same when empty')
    val_data: str = param('', 'Its folder')
    val_dataset_options: dict[str, Any] = param({}, 'Its options')
    split: SplitConfig = param(SplitConfig(), 'Training and validation images')
    height_px: int = param(360, 'Rows of the input of the deployed net', bounds=(16, 8192))
    width_px: int = param(480, 'Columns of the input of the deployed net', bounds=(16, 8192))
    mean: tuple[float, ...] = param(
        (), "Of RGB pixels in 0..1; empty: what the net's encoder was trained with"
    )
    std: tuple[float, ...] = param((), 'The same')
    stages: tuple[StageConfig, ...] = param((StageConfig(),), 'In their order')
    optimizer: OptimizerConfig = param(OptimizerConfig(), 'Optimiser')
    schedule: ScheduleConfig = param(ScheduleConfig(), 'Learning rate within a stage')
    loss: LossConfig = param(LossConfig(), 'Loss')
    distillation: DistillationConfig = param(DistillationConfig(), 'A net to learn from')
    augment: AugmentConfig = param(AugmentConfig(), 'Augmentation')
    ema_decay: float = param(
        0.999, 'Moving average of the weights; 0: none', bounds=(0.0, 0.99999)
    )
    frozen_norms: bool = param(False, 'Keep the statistics of batch normalisation as they are')
    precision: str = param('float32', 'Arithmetic', choices=('float32', 'bfloat16', 'float16'))
    channels_last: bool = param(True, 'Memory layout that convolutions like')
    compile: bool = param(False, 'Compile the net with torch.compile')
    device: str = param('auto', 'Where to train', choices=('auto', 'cpu', 'cuda'))
    cache: str = param(
        'ram',
        'Keep decoded images: not at all, in RAM, on the GPU',
        choices=('none', 'ram', 'device'),
    )
    allow_missing_classes: bool = param(False, 'Accept classes without a training pixel')
    check_images: int = param(
        0, 'Images read per split before training; 0: all', bounds=(0, 10**9)
    )
    workers: int = param(0, 'Processes that load images; 0 loads in the loop', bounds=(0, 64))
    seed: int = param(0, 'Of everything that is drawn', bounds=(0, 2**31 - 1))
    deterministic: bool = param(False, 'Only algorithms that give the same bits again (slower)')
    validate_every: int = param(1, 'Epochs from validation to validation', bounds=(1, 100_000))
    checkpoint_every: int = param(1, 'Epochs from checkpoint to checkpoint', bounds=(1, 100_000))
    checkpoint_minutes: float = param(10.0, 'Also save within long epochs', bounds=(0.01, 1e5))
    keep_best: int = param(1, 'How many of the best checkpoints to keep', bounds=(1, 100))
    keep_every: int = param(
        0, 'Keep the weights of every so manieth epoch, too; 0: none', bounds=(0, 100_000)
    )
    metric: str = param(
        'mean_iou',
        f'What chooses the best and ends stages: {", ".join(METRICS)} or iou.<class>',
    )
    patience: int = param(
        0, 'Validations without progress that end a stage; 0: never', bounds=(0, 10**6)
    )
    target_score: float = param(
        0.0, 'Value of the metric that ends the run; 0: never', bounds=(0.0, 1.0)
    )
    time_budget_min: float = param(
        0.0,
        'Minutes of the whole run, report and export included: the rate follows the clock and '
        'epochs only say how the time is divided among the stages; 0: none',
        bounds=(0.0, 1e5),
    )
    max_steps: int = param(0, 'Ends the run after so many steps; 0: never', bounds=(0, 10**9))
    report_images: int = param(6, 'Best and worst validation images shown', bounds=(0, 100))
    weights_dtype: str = param(
        'float32', 'Storage of the kernels in the model folder', choices=('float32', 'float16')
    )
    model_dir: str = param(
        'models', 'Where the model folder is written, under a free name; empty: nowhere'
    )

    def __post_init__(self) -> None:
        validate(self)
        check_model_name(self.name)
        check_metric(self.metric)
        if not self.stages:
            raise ValueError('stages: give at least one')
        for name in ('mean', 'std'):
            if len(getattr(self, name)) not in (0, 3):
                raise ValueError(f'{name} {getattr(self, name)}: give three values or none')
        if min(self.std, default=1) <= 0:
            raise ValueError(f'std {self.std}: every value must be above 0')

    @property
    def normalization(self) -> tuple[Channels, Channels]:
        """Mean and std of RGB pixels in 0..1: those given, or those of the net's encoder."""
        mean, std = normalization({**net_options(self.net), **self.net_options})
        return cast('Channels', self.mean or mean), cast('Channels', self.std or std)

    @property
    def holds_out(self) -> bool:
        """Whether there are validation images that are not trained on."""
        others = self.val_dataset or self.val_data or self.val_dataset_options
        return self.split.mode != 'all' or bool(others)
