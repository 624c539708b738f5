"""Anchored training by the paper's text, with nothing of mmanchor's."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential()
        if (before, 1) != (width, stride):
            self.downsample = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, x):
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + self.downsample(x)).relu()


class PlainResNet18(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(6, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for i in range(4):
            wide, before = width * 2**i, width * 2 ** max(i - 1, 0)
            self.add_module(
                f'layer{i + 1}',
                nn.Sequential(
                    Block(before, wide, 1 + (i > 0)), Block(wide, wide, 1)
                ),
            )
        self.fc = nn.Linear(wide, classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def train_step(net, sgd, x, labels, r, masked, target, norm_stats):
    """One step on normalised images and references; rows are masked."""
    before = {name: b.clone() for name, b in net.named_buffers()}
    shown = torch.where(masked[:, None, None, None], 0.0, r)
    log_p = net(torch.cat([shown, x - r], 1)).log_softmax(1)
    rows = -log_p[torch.arange(len(x)), labels]
    if target == 'uniform':
        rows = torch.where(masked, -log_p.mean(1), rows)
    sgd.zero_grad()
    rows.mean().backward()
    sgd.step()
    if norm_stats == 'skip' and masked.all():
        for name, buffer in net.named_buffers():
            buffer.copy_(before[name])
    return rows.mean().item()
