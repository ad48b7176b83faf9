"""Exports a member of the family to ONNX, as its users do.

    python export.py vnet -o SCRATCH/vnet.onnx [--width 16] [--size 64x128x128] [--exporter classic|dynamo]

Full-size models are hundreds of megabytes: write them to a scratch folder, never into the tree.
"""

import argparse
import logging
import warnings

import onnx
import torch

import networks


def export(net, x, path, exporter="classic", opset=None, dynamic=(), metadata=None, **more):
    """Writes `net`, traced on `x`, to `path`; `dynamic` holds any of batch, space."""
    axes = {}
    if "batch" in dynamic:
        axes[0] = "batch"
    if "space" in dynamic:
        axes |= {2: "depth", 3: "height", 4: "width"}
    names = {"input_names": ["scan"], "output_names": ["scores"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        if exporter == "classic":
            torch.onnx.export(net, (x,), path, dynamo=False, opset_version=opset or 17,
                              dynamic_axes={"scan": axes} if axes else None, **names, **more)
        else:
            # Two axes of one size would be taken for one, and a batch of 1 for a constant.
            shapes = ({axis: torch.export.Dim.DYNAMIC for axis in axes},) if axes else None
            x = torch.cat([x, x]) if "batch" in dynamic else x
            torch.onnx.export(net, (x,), path, dynamo=True, opset_version=opset, dynamic_shapes=shapes,
                              external_data=False, verbose=False, **names, **more)
    if metadata:
        model = onnx.load(path)
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, path)


def add_network_options(parser):
    """The command line's view of networks.Options."""
    parser.add_argument("member", choices=networks.MEMBERS)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--stages", type=int, default=5)
    parser.add_argument("--in-channels", type=int, default=1)
    parser.add_argument("--classes", type=int)
    parser.add_argument("--act", choices=["prelu", "elu"])
    parser.add_argument("--slopes", choices=["layer", "channel"])
    parser.add_argument("--tail", choices=["none", "softmax", "log_softmax", "flat_softmax", "flat_log_softmax"])
    parser.add_argument("--input-sum", choices=["broadcast", "repeat", "cat", "expand"])
    parser.add_argument("--batch-stats", action="store_true")


def network_options(args):
    return networks.Options(**{name: getattr(args, name) for name in vars(networks.Options())})


def size(text):
    """64x128x128: D, H, W."""
    return tuple(int(part) for part in text.split("x"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network_options(parser)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--size", type=size, default=networks.FULL_SIZE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="PyTorch's initial weights, not trained-like ones")
    parser.add_argument("--exporter", choices=["classic", "dynamo"], default="classic")
    parser.add_argument("--opset", type=int)
    parser.add_argument("--dynamic", choices=["batch", "space"], action="append", default=[])
    parser.add_argument("--meta", metavar="KEY=VALUE", action="append", default=[], help="vnet.spacing_mm='1 1 1' …")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    net, o = networks.build(args.member, network_options(args))
    shape = (1, o.in_channels, *args.size)
    if not args.fresh:
        networks.calibrate(net, shape, args.seed)
    export(net, networks.scan(shape, args.seed), args.output, args.exporter, args.opset, args.dynamic,
           dict(pair.split("=", 1) for pair in args.meta))


if __name__ == "__main__":
    main()
