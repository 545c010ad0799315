"""Bytes of IDX files, and a file with one byte changed."""

import struct


def idx(array, start=b"\0\0\x08", dims=None):
    dims = array.shape if dims is None else dims
    return start + bytes([len(dims)]) + struct.pack(f">{len(dims)}I", *dims) + array.tobytes()


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
