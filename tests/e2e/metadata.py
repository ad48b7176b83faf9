"""More metadata for an ONNX model: bytes to be put behind its own, for protobuf takes what follows. Used by tests
whose models are to say what no option of the tools writes. Reads and checks nothing."""


def _field(number, data):
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def said(key, value):
    """vnet.KEY, in the place of metadata_props."""
    return _field(14, _field(1, f"vnet.{key}".encode()) + _field(2, value.encode()))
