"""A small net with everything that training must get right, and the command line that knows it."""

import sys

import torch
import torch.nn.functional as F
from torch import nn

from seg_ros import cli
from seg_ros.nets import NETS

NETS['tiny_net'] = 'test.training.tiny_net:TinyNet'


class TinyNet(nn.Module):
    """Encoder, batch normalisation, dropout and an auxiliary head; logits at half the input."""

    stride = 4
    logits_stride = 2

    def __init__(self, num_classes, dropout=0.2, norm=True):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=not norm),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
        )
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Dropout2d(dropout))
        self.head = nn.Conv2d(8, num_classes, 1)
        self.aux = nn.Conv2d(8, num_classes, 1)

    def forward(self, image):
        encoded = self.encoder(image)
        logits = self.head(self.body(encoded))
        if not self.training:
            return logits
        return {'logits': logits, 'aux_encoder': self.aux(F.avg_pool2d(encoded, 2))}


if __name__ == '__main__':
    torch.set_num_threads(1)
    sys.exit(cli.main(sys.argv[1:]))
