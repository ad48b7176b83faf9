"""The V-Net family in PyTorch: the peers that models are exported from and compared with.

`build(member, options)` gives a network in eval mode with fresh weights; `calibrate` makes the
weights look trained. `python networks.py` prints parameters and multiply-adds of every member.
MONAI's own classes are used for `monai`; the other members are one class with switches.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

FULL_SIZE = (64, 128, 128)


@dataclass
class Options:
    """What a user may choose. None: the member's own default."""

    width: int = 16
    stages: int = 5
    in_channels: int = 1
    classes: int | None = None
    act: str | None = None  # prelu, elu
    slopes: str | None = None  # layer: one per layer, channel: one per channel
    tail: str | None = None  # none, softmax, log_softmax, flat_softmax, flat_log_softmax
    input_sum: str | None = None  # how the scan reaches the first sum: broadcast, repeat, cat, expand
    batch_stats: bool = False  # mattmacy: BatchNorm on batch statistics even at inference


@dataclass
class Member:
    left: tuple
    right: tuple
    norm: bool  # BatchNorm after each convolution
    last_act: bool  # activation on a stage's last convolution, before the sum
    sum_act: bool  # activation after the sum
    head: str  # point: 1x1x1; wide: 5x5x5 before it; point_act: 1x1x1 and an activation
    defaults: Options


MEMBERS = {
    "vnet": Member((1, 2, 3, 3, 3), (3, 3, 3, 3), False, True, False, "point_act",
                   Options(classes=32, act="prelu", slopes="layer", tail="none", input_sum="broadcast")),
    "vnet-2016": Member((1, 2, 3, 3, 3), (3, 3, 2, 1), False, False, True, "point",
                        Options(classes=2, act="prelu", slopes="channel", tail="softmax", input_sum="broadcast")),
    "vnet-caffe": Member((1, 1, 2, 3, 3), (3, 2, 1, 1), False, False, True, "wide",
                         Options(classes=2, act="prelu", slopes="channel", tail="softmax", input_sum="cat")),
    "monai": Member((1, 1, 2, 3, 2), (2, 2, 1, 1), True, True, True, "wide",
                    Options(classes=1, act="elu", slopes="channel", tail="none", input_sum="repeat")),
    "mattmacy": Member((1, 1, 2, 3, 2), (2, 2, 1, 1), True, True, True, "wide",
                       Options(classes=2, act="elu", slopes="channel", tail="flat_log_softmax", input_sum="cat")),
}


class BatchStatsNorm(nn.BatchNorm3d):
    """BatchNorm that never uses its running statistics, as vnet.pytorch has it."""

    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, True)


class Unit(nn.Module):
    """Convolution, then BatchNorm and activation where wanted."""

    def __init__(self, conv, norm, act):
        super().__init__()
        self.conv, self.norm, self.act = conv, norm, act

    def forward(self, x):
        x = self.conv(x)
        x = self.norm(x) if self.norm else x
        return self.act(x) if self.act else x


class Net(nn.Module):
    """Every member but MONAI's."""

    def __init__(self, member, o):
        super().__init__()
        self.member, self.o = member, o
        width = [o.width << i for i in range(o.stages)]
        left = member.left[: o.stages]
        right = member.right[len(member.right) - o.stages + 1 :][::-1]  # from the full grid down

        self.left = nn.ModuleList(self._stage(w, n) for w, n in zip(width, left))
        self.left[0] = self._stage(width[0], left[0], o.in_channels, member.last_act and not member.norm)
        self.right = nn.ModuleList(self._stage(2 * w, n) for w, n in zip(width, right))
        self.down = nn.ModuleList(self._unit(nn.Conv3d(w, 2 * w, 2, 2)) for w in width[:-1])
        below = [2 * w for w in width[1:-1]] + width[-1:]
        self.up = nn.ModuleList(self._unit(nn.ConvTranspose3d(b, w, 2, 2)) for b, w in zip(below, width))
        after_sum = width + [2 * w for w in width[:-1]]
        self.after = nn.ModuleList(self._act(w) if member.sum_act else nn.Identity() for w in after_sum)

        self.head = nn.ModuleList()
        if member.head == "wide":
            self.head.append(self._unit(nn.Conv3d(2 * o.width, o.classes, 5, padding=2)))
        point = nn.Conv3d(o.classes if member.head == "wide" else 2 * o.width, o.classes, 1)
        self.head.append(Unit(point, None, self._act(o.classes) if member.head == "point_act" else None))

    def _act(self, channels):
        if self.o.act == "elu":
            return nn.ELU()
        return nn.PReLU(channels if self.o.slopes == "channel" else 1)

    def _unit(self, conv, act=True):
        norm = BatchStatsNorm if self.o.batch_stats else nn.BatchNorm3d
        channels = conv.out_channels
        return Unit(conv, norm(channels) if self.member.norm else None, self._act(channels) if act else None)

    def _stage(self, channels, count, first=None, last_act=None):
        last_act = self.member.last_act if last_act is None else last_act
        return nn.Sequential(*(
            self._unit(nn.Conv3d(first or channels, channels, 5, padding=2), i < count - 1 or last_act)
            for i in range(count)))

    def _scan(self, x):
        """The scan as the first stage's sum takes it."""
        times = self.o.width // self.o.in_channels
        if self.o.input_sum == "repeat":
            return x.repeat(1, times, 1, 1, 1)
        if self.o.input_sum == "cat":
            return torch.cat([x] * times, 1)
        if self.o.input_sum == "expand":
            return x.expand(-1, self.o.width, -1, -1, -1)
        return x

    def _tail(self, x):
        kind = self.o.tail
        if kind.startswith("flat"):
            x = x.permute(0, 2, 3, 4, 1).contiguous()
            x = x.view(x.numel() // self.o.classes, self.o.classes)
        if kind.endswith("log_softmax"):
            return F.log_softmax(x, dim=1)
        return F.softmax(x, dim=1) if kind.endswith("softmax") else x

    def forward(self, x):
        stages = self.o.stages
        skips = []
        for i in range(stages):
            residual = self._scan(x) if i == 0 else x
            x = self.after[i](self.left[i](x) + residual)
            if i < stages - 1:
                skips.append(x)
                x = self.down[i](x)
        for i in reversed(range(stages - 1)):
            x = torch.cat([self.up[i](x), skips[i]], 1)
            x = self.after[stages + i](self.right[i](x) + x)
        for unit in self.head:
            x = unit(x)
        return self._tail(x)


class MonaiNet(nn.Module):
    """MONAI's blocks at a width or depth that monai.networks.nets.VNet does not offer."""

    def __init__(self, member, o, act):
        from monai.networks.nets import vnet

        super().__init__()
        width = [o.width << i for i in range(o.stages)]
        left, right = member.left[: o.stages], member.right[len(member.right) - o.stages + 1 :][::-1]
        self.in_tr = vnet.InputTransition(3, o.in_channels, o.width, act)
        self.down = nn.ModuleList(
            vnet.DownTransition(3, w, n, act, dropout_prob=0.5 if w >= 4 * o.width else None)
            for w, n in zip(width[:-1], left[1:]))
        below = [2 * w for w in width[1:-1]] + width[-1:]
        self.up = nn.ModuleList(
            vnet.UpTransition(3, b, 2 * w, n, act, dropout_prob=(0.5 if w >= 4 * o.width else None, 0.5))
            for b, w, n in zip(below, width, right))
        self.out_tr = vnet.OutputTransition(3, 2 * o.width, o.classes, act)

    def forward(self, x):
        x = self.in_tr(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up, skip in zip(reversed(self.up), reversed(skips)):
            x = up(x, skip)
        return self.out_tr(x)


def monai_net(member, o):
    """monai.networks.nets.VNet itself where it can be had, else its blocks at another size."""
    from monai.networks.nets import VNet

    act = ("elu", {"inplace": True})
    if o.act == "prelu":
        act = "prelu" if o.slopes == "channel" else ("prelu", {"num_parameters": 1})
    if o.width == 16 and o.stages == 5:
        return VNet(in_channels=o.in_channels, out_channels=o.classes, act=act)
    return MonaiNet(member, o, act)


def build(member, options=Options(), **departures):
    """The network of that name in eval mode, fresh weights, and the options with defaults filled in.
    Departures from the family replace fields of its Member."""
    spec = replace(MEMBERS[member], **departures)
    given = {k: v for k, v in vars(options).items() if v is not None}
    o = replace(spec.defaults, **given)
    if o.in_channels > 1 and o.input_sum == "broadcast":
        o = replace(o, input_sum="repeat")
    net = monai_net(spec, o) if member == "monai" else Net(spec, o)
    return net.eval(), o


def scan(shape, seed=0, dtype=torch.float32):
    """A unit-variance volume n c d h w: blobs over noise, so that neither borders nor flat regions are rare."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(shape, generator=generator)
    coarse = torch.randn([*shape[:2], *(max(1, s // 8) for s in shape[2:])], generator=generator)
    x = F.interpolate(coarse, size=shape[2:], mode="trilinear", align_corners=False) + 0.5 * fine
    return ((x - x.mean()) / x.std()).to(dtype)


@torch.no_grad()
def calibrate(net, shape, seed=0):
    """Weights as training leaves them: unit variance after every convolution on this shape (LSUV, in one
    forward pass), biases, slopes and BatchNorm statistics that no shortcut reproduces."""
    generator = torch.Generator().manual_seed(seed)

    def noise(like, mean, spread):
        return mean + spread * torch.randn(like.shape, generator=generator)

    def conv_done(conv, inputs, output):
        std = output.std()
        conv.weight.div_(std)
        output = output / std
        if conv.bias is not None:
            conv.bias.copy_(noise(conv.bias, 0, 0.1))
            output = output + conv.bias.view(1, -1, 1, 1, 1)
        return output

    def norm_begins(norm, inputs):
        mean, var = inputs[0].mean((0, 2, 3, 4)), inputs[0].var((0, 2, 3, 4), unbiased=False)
        norm.running_mean.copy_(noise(mean, mean, 0.1))
        norm.running_var.copy_(var * noise(var, 1, 0.1).clamp(0.7, 1.3) + 0.01)
        norm.weight.copy_(noise(norm.weight, 1, 0.15))
        norm.bias.copy_(noise(norm.bias, 0, 0.15))

    hooks = []
    for module in net.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.weight.copy_(noise(module.weight, 0, 1))
            if module.bias is not None:
                module.bias.zero_()
            hooks.append(module.register_forward_hook(conv_done))
        elif isinstance(module, nn.BatchNorm3d):
            hooks.append(module.register_forward_pre_hook(norm_begins))
        elif isinstance(module, nn.PReLU):
            module.weight.copy_(noise(module.weight, 0.25, 0.05))
    net(scan(shape, seed))
    for hook in hooks:
        hook.remove()
    return net


def cost(member, options=Options(), size=FULL_SIZE):
    """Parameters and multiply-adds of the convolutions, counted without running them."""
    with torch.device("meta"):
        net, o = build(member, options)
        macs = 0

        def count(conv, inputs, output):
            nonlocal macs
            places = inputs[0] if isinstance(conv, nn.ConvTranspose3d) else output
            macs += conv.weight.numel() * places[0, 0].numel()

        for module in net.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                module.register_forward_hook(count)
        net(torch.empty(1, o.in_channels, *size))
        return sum(p.numel() for p in net.parameters()), macs


if __name__ == "__main__":
    for name in MEMBERS:
        parameters, macs = cost(name)
        print(f"{name:12} {parameters / 1e6:6.1f} M parameters {macs / 1e9:6.0f} GMAC")
