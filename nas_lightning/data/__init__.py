"""Data sets, the search split, batched augmentation, and the LightningDataModules."""

from nas_lightning.data.datamodules import TrainData
from nas_lightning.data.digits import Digits
from nas_lightning.data.fake import Fake
from nas_lightning.data.folder import Folder
from nas_lightning.data.growth import BatchGrowth
from nas_lightning.data.imagenet import ImageNet, ImageNetData
from nas_lightning.data.imagenet16 import ImageNet16_120
from nas_lightning.data.images import Dataset, Images, ImageSet, Splits
from nas_lightning.data.loader import BatchLoader
from nas_lightning.data.search_data import SearchData
from nas_lightning.data.torchvision_sets import Cifar10, Cifar100, Svhn

__all__ = [
    "BatchGrowth",
    "BatchLoader",
    "Cifar10",
    "Cifar100",
    "Dataset",
    "Digits",
    "Fake",
    "Folder",
    "ImageNet",
    "ImageNet16_120",
    "ImageNetData",
    "ImageSet",
    "Images",
    "SearchData",
    "Splits",
    "Svhn",
    "TrainData",
]
