"""The U-Nets around V-Net in PyTorch: MONAI's own classes, the rest after its published definition.

    python unets.py FOLDER [--size 32] [--exporter classic|dynamo] [NAME ...]    exports them

`NETWORKS` maps a name to a function that builds the network in eval mode with fresh weights that no
norm hides. They are compiled with `--topology any`; coverage.py compares and times them.
"""

import torch
import torch.nn.functional as F
from torch import nn

# ---- nnU-Net (dynamic_network_architectures) ----


def conv_norm_act(cin, cout, stride=1, kernel=3, act=True):
    parts = [nn.Conv3d(cin, cout, kernel, stride, kernel // 2), nn.InstanceNorm3d(cout, 1e-5, affine=True)]
    return nn.Sequential(*parts, *([nn.LeakyReLU(0.01)] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, ratio=1 / 16):
        super().__init__()
        inner = max(8, int(channels * ratio + 4) // 8 * 8)
        self.fc1, self.fc2 = nn.Conv3d(channels, inner, 1), nn.Conv3d(inner, channels, 1)

    def forward(self, x):
        y = self.fc2(F.relu(self.fc1(x.mean((2, 3, 4), keepdim=True))))
        return x * torch.sigmoid(y)


class ResidualBlock(nn.Module):
    """BasicBlockD: pooled skip where the stride is not 1, projected where the channels differ."""

    def __init__(self, cin, cout, stride, squeeze):
        super().__init__()
        self.first, self.second = conv_norm_act(cin, cout, stride), conv_norm_act(cout, cout, act=False)
        self.squeeze = SqueezeExcite(cout) if squeeze else nn.Identity()
        skip = [nn.AvgPool3d(stride, stride)] if stride > 1 else []
        skip += [conv_norm_act(cin, cout, kernel=1, act=False)] if cin != cout else []
        self.skip = nn.Sequential(*skip)

    def forward(self, x):
        return F.leaky_relu(self.squeeze(self.second(self.first(x))) + self.skip(x), 0.01)


class NnUnet(nn.Module):
    """PlainConvUNet, or ResidualEncoderUNet where `blocks` are residual."""

    def __init__(self, width=32, stages=5, classes=3, residual=False, squeeze=False):
        super().__init__()
        c = [min(320, width << i) for i in range(stages)]
        self.stem = conv_norm_act(1, c[0]) if residual else nn.Identity()
        down = []
        for i in range(stages):
            cin, stride = c[max(i - 1, 0)], 1 if i == 0 else 2
            if residual:
                down.append(nn.Sequential(ResidualBlock(cin, c[i], stride, squeeze),
                                          ResidualBlock(c[i], c[i], 1, squeeze)))
            else:
                down.append(nn.Sequential(conv_norm_act(cin if i else 1, c[i], stride), conv_norm_act(c[i], c[i])))
        self.down = nn.ModuleList(down)
        self.up = nn.ModuleList(nn.ConvTranspose3d(c[i + 1], c[i], 2, 2) for i in reversed(range(stages - 1)))
        self.right = nn.ModuleList(
            nn.Sequential(conv_norm_act(2 * c[i], c[i]), *([] if residual else [conv_norm_act(c[i], c[i])]))
            for i in reversed(range(stages - 1)))
        self.head = nn.Conv3d(c[0], classes, 1)

    def forward(self, x):
        x, skips = self.stem(x), []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        for up, right, skip in zip(self.up, self.right, skips[-2::-1]):
            x = right(torch.cat((up(x), skip), 1))
        return self.head(x)


# ---- pytorch-3dunet ----


def gcr(cin, cout):
    """Its order "gcr": group norm, convolution, ReLU."""
    groups = 8 if cin >= 8 else 1
    return nn.Sequential(nn.GroupNorm(groups, cin), nn.Conv3d(cin, cout, 3, padding=1, bias=False), nn.ReLU())


class ChannelSpatialSE(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)
        self.conv = nn.Conv3d(channels, 1, 1)

    def forward(self, x):
        b, c = x.shape[:2]
        squeezed = F.adaptive_avg_pool3d(x, 1).view(b, c)
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(squeezed)))).view(b, c, 1, 1, 1)
        return torch.max(x * gate, x * torch.sigmoid(self.conv(x)))


class Unet3d(nn.Module):
    """UNet3D: max pooling, nearest upsampling to the skip's size, concat; or with residual blocks and
    squeeze-excitation, transposed 3x3x3 and a sum (ResidualUNetSE3D)."""

    def __init__(self, width=32, stages=4, classes=3, residual=False):
        super().__init__()
        c = [width << i for i in range(stages)]
        self.residual = residual
        block = self._residual if residual else self._double
        self.left = nn.ModuleList(block(1 if i == 0 else c[i - 1], c[i], True) for i in range(stages))
        below = list(reversed(range(stages - 1)))
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(c[i + 1], c[i], 3, 2, 1, output_padding=1) if residual else nn.Identity() for i in below)
        self.right = nn.ModuleList(block(c[i] if residual else c[i] + c[i + 1], c[i], False) for i in below)
        self.head = nn.Conv3d(c[0], classes, 1)

    @staticmethod
    def _double(cin, cout, encoder):
        inner = max(cout // 2, cin) if encoder else cout
        return nn.Sequential(gcr(cin, inner), gcr(inner, cout))

    @staticmethod
    def _residual(cin, cout, encoder):
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Conv3d(cin, cout, 1) if cin != cout else nn.Identity()
                self.norm = nn.GroupNorm(8, cout)
                self.conv2, self.conv3 = gcr(cout, cout), nn.Sequential(*list(gcr(cout, cout))[:2])
                self.squeeze = ChannelSpatialSE(cout)

            def forward(self, x):
                x = self.first(x)
                return self.squeeze(F.elu(self.conv3(self.conv2(x)) + x))

        return Block()

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.left):
            x = block(F.max_pool3d(x, 2) if i else x)
            skips.append(x)
        for up, block, skip in zip(self.up, self.right, skips[-2::-1]):
            if self.residual:
                x = block(up(x) + skip)
            else:
                x = block(torch.cat((skip, F.interpolate(x, size=skip.shape[2:], mode="nearest")), 1))
        return torch.softmax(self.head(x), 1)


# ---- UA-MT's V-Net ----


class UamtVnet(nn.Module):
    def __init__(self, normalization, width=16, classes=2):
        super().__init__()
        norms = {"group": lambda c: nn.GroupNorm(16, c), "instance": nn.InstanceNorm3d, "batch": nn.BatchNorm3d}
        norm = norms[normalization]

        def stage(count, cin, cout):
            return nn.Sequential(*(part for i in range(count) for part in (
                nn.Conv3d(cin if i == 0 else cout, cout, 3, padding=1), norm(cout), nn.ReLU())))

        c = [width << i for i in range(5)]
        self.left = nn.ModuleList(stage(n, 1 if i == 0 else c[i], c[i]) for i, n in enumerate((1, 2, 3, 3, 3)))
        self.down = nn.ModuleList(nn.Sequential(nn.Conv3d(c[i], c[i + 1], 2, 2), norm(c[i + 1]), nn.ReLU())
                                  for i in range(4))
        self.up = nn.ModuleList(nn.Sequential(nn.ConvTranspose3d(c[i + 1], c[i], 2, 2), norm(c[i]), nn.ReLU())
                                for i in range(4))
        self.right = nn.ModuleList(stage(n, c[i], c[i]) for i, n in enumerate((1, 2, 3, 3)))
        self.head = nn.Conv3d(c[0], classes, 1)

    def forward(self, x):
        skips = []
        for i in range(5):
            x = self.left[i](self.down[i - 1](x) if i else x)
            skips.append(x)
        for i in reversed(range(4)):
            x = self.right[i](self.up[i](x) + skips[i])
        return self.head(x)


# ---- MedNeXt, MeshNet ----


class MedNeXtBlock(nn.Module):
    """Depthwise, group norm of one channel each, wide 1x1x1, GELU, 1x1x1; down, up or plain."""

    def __init__(self, cin, cout, kind="", ratio=2, kernel=3):
        super().__init__()
        options = {"kernel_size": kernel, "padding": kernel // 2, "groups": cin}
        self.kind = kind
        if kind == "up":
            self.conv1 = nn.ConvTranspose3d(cin, cin, stride=2, **options)
            self.res = nn.ConvTranspose3d(cin, cout, 1, 2)
        else:
            self.conv1 = nn.Conv3d(cin, cin, stride=2 if kind == "down" else 1, **options)
            self.res = nn.Conv3d(cin, cout, 1, 2) if kind == "down" else None
        self.norm = nn.GroupNorm(cin, cin)
        self.conv2, self.conv3 = nn.Conv3d(cin, ratio * cin, 1), nn.Conv3d(ratio * cin, cout, 1)

    def forward(self, x):
        y = self.conv3(F.gelu(self.conv2(self.norm(self.conv1(x)))))
        if self.kind == "up":
            return F.pad(y, (1, 0, 1, 0, 1, 0)) + F.pad(self.res(x), (1, 0, 1, 0, 1, 0))
        return y + (self.res(x) if self.res else x)


class MedNeXt(nn.Module):
    def __init__(self, width=16, stages=4, classes=3):
        super().__init__()
        c = [width << i for i in range(stages)]
        self.stem, self.head = nn.Conv3d(1, width, 1), nn.ConvTranspose3d(width, classes, 1)
        self.left = nn.ModuleList(MedNeXtBlock(n, n) for n in c)
        self.down = nn.ModuleList(MedNeXtBlock(n, 2 * n, "down") for n in c[:-1])
        self.up = nn.ModuleList(MedNeXtBlock(2 * n, n, "up") for n in c[:-1])
        self.right = nn.ModuleList(MedNeXtBlock(n, n) for n in c[:-1])

    def forward(self, x):
        x, skips = self.stem(x), []
        for left, down in zip(self.left, self.down):
            x = left(x)
            skips.append(x)
            x = down(x)
        x = self.left[-1](x)
        for i in reversed(range(len(skips))):
            x = self.right[i](self.up[i](x) + skips[i])
        return self.head(x)


def meshnet(channels=16, classes=3):
    parts, cin = [], 1
    for dilation in (1, 2, 4, 8, 16, 8, 4, 2, 1):
        parts += [nn.Conv3d(cin, channels, 3, padding=dilation, dilation=dilation), nn.BatchNorm3d(channels),
                  nn.ReLU(), nn.Dropout3d(0.1)]
        cin = channels
    return nn.Sequential(*parts, nn.Conv3d(channels, classes, 1))


# ---- MONAI's ----


def monai(name, *args, **options):
    def build():
        from monai.networks import nets
        return getattr(nets, name)(*args, **options)
    return build


UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": (16, 32, 64, 128, 256),
        "strides": (2, 2, 2, 2)}
DYN = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "kernel_size": [3] * 5, "strides": [1, 2, 2, 2, 2],
       "upsample_kernel_size": [2] * 4}
RES = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "init_filters": 16}

NETWORKS = {
    "plainconv": NnUnet,
    "resenc": lambda: NnUnet(residual=True),
    "resenc-se": lambda: NnUnet(residual=True, squeeze=True),
    "monai-unet": monai("UNet", **UNET),
    "monai-unet-res": monai("UNet", num_res_units=2, **UNET),
    "monai-unet-batch": monai("UNet", num_res_units=2, norm="batch", act="mish", **UNET),
    "basicunet": monai("BasicUNet", spatial_dims=3, out_channels=3),
    "basicunet-up": monai("BasicUNet", spatial_dims=3, out_channels=3, norm=("group", {"num_groups": 4}),
                          upsample="nontrainable"),
    "basicunet-shuffle": monai("BasicUNet", spatial_dims=3, out_channels=3, upsample="pixelshuffle"),
    "dynunet": monai("DynUNet", **DYN),
    "dynunet-res": monai("DynUNet", res_block=True, **DYN),
    "segresnet": monai("SegResNet", **RES),
    "segresnet-deconv": monai("SegResNet", upsample_mode="deconv", **RES),
    "segresnet-shuffle": monai("SegResNet", upsample_mode="pixelshuffle", **RES),
    "segresnet-vae": monai("SegResNetVAE", input_image_size=(32, 32, 32), **RES),
    "segresnet-ds": monai("SegResNetDS", spatial_dims=3, init_filters=16, in_channels=1, out_channels=3),
    "attentionunet": monai("AttentionUnet", **UNET),
    "flexibleunet": monai("FlexibleUNet", in_channels=1, out_channels=3, backbone="efficientnet-b0", spatial_dims=3),
    "flexibleunet-resnet": monai("FlexibleUNet", in_channels=1, out_channels=3, backbone="resnet18", spatial_dims=3),
    "highresnet": monai("HighResNet", spatial_dims=3, in_channels=1, out_channels=3),
    "mednext": MedNeXt,
    "mednext-monai": monai("MedNeXtS", spatial_dims=3, in_channels=1, out_channels=3),
    "unet3d": Unet3d,
    "unet3d-res-se": lambda: Unet3d(residual=True),
    "uamt-group": lambda: UamtVnet("group"),
    "uamt-instance": lambda: UamtVnet("instance"),
    "meshnet": meshnet,
}

TITLES = {
    "plainconv": "nnU-Net PlainConvUNet",
    "resenc": "nnU-Net ResidualEncoderUNet",
    "resenc-se": "nnU-Net ResidualEncoderUNet, squeeze-excitation",
    "monai-unet": "MONAI UNet",
    "monai-unet-res": "MONAI UNet, residual",
    "monai-unet-batch": "MONAI UNet, residual, BatchNorm, Mish",
    "basicunet": "MONAI BasicUNet",
    "basicunet-up": "MONAI BasicUNet, group norm, trilinear",
    "basicunet-shuffle": "MONAI BasicUNet, PixelShuffle",
    "dynunet": "MONAI DynUNet",
    "dynunet-res": "MONAI DynUNet, residual",
    "segresnet": "MONAI SegResNet",
    "segresnet-deconv": "MONAI SegResNet, deconvolution",
    "segresnet-shuffle": "MONAI SegResNet, PixelShuffle",
    "segresnet-vae": "MONAI SegResNetVAE",
    "segresnet-ds": "MONAI SegResNetDS",
    "attentionunet": "MONAI AttentionUnet",
    "flexibleunet": "MONAI FlexibleUNet, EfficientNet",
    "flexibleunet-resnet": "MONAI FlexibleUNet, ResNet",
    "highresnet": "MONAI HighResNet",
    "mednext": "MedNeXt",
    "mednext-monai": "MONAI MedNeXt",
    "unet3d": "pytorch-3dunet UNet3D",
    "unet3d-res-se": "pytorch-3dunet ResidualUNetSE3D",
    "uamt-group": "UA-MT's V-Net, group norm",
    "uamt-instance": "UA-MT's V-Net, instance norm",
    "meshnet": "MeshNet",
}


def build(name):
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    for module in net.modules(): # a norm of fresh weights hides what it scales
        if isinstance(module, (nn.GroupNorm, nn.InstanceNorm3d, nn.BatchNorm3d)) and module.weight is not None:
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return net


def main():
    import argparse
    import contextlib
    import io
    import pathlib

    import export
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--exporter", choices=["classic", "dynamo"], default="classic")
    parser.add_argument("--opset", type=int)
    args = parser.parse_args()
    for name in args.names or NETWORKS:
        x = torch.randn(1, 1, *[args.size] * 3, generator=torch.Generator().manual_seed(1))
        path = str(args.folder / f"{name}-{args.exporter}.onnx")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                export.export(build(name), x, path, args.exporter, args.opset)
        except Exception as error:  # an exporter's own limits
            print(f"{name}: {str(error).splitlines()[0][:150]}")


if __name__ == "__main__":
    main()
