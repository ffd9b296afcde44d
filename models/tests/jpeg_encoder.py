"""A small JPEG encoder with free sampling factors, scan script, restart interval and markers.

It writes what Pillow cannot: sequential pictures of several scans, chroma finer than luma, components in another order,
four components, odd names of components. Quality is fixed; the Huffman tables are those of ITU-T T.81, annex K.3.
"""

from __future__ import annotations

import struct

import numpy as np

ZIGZAG = np.array(
    [
        0,
        1,
        8,
        16,
        9,
        2,
        3,
        10,
        17,
        24,
        32,
        25,
        18,
        11,
        4,
        5,
        12,
        19,
        26,
        33,
        40,
        48,
        41,
        34,
        27,
        20,
        13,
        6,
        7,
        14,
        21,
        28,
        35,
        42,
        49,
        56,
        57,
        50,
        43,
        36,
        29,
        22,
        15,
        23,
        30,
        37,
        44,
        51,
        58,
        59,
        52,
        45,
        38,
        31,
        39,
        46,
        53,
        60,
        61,
        54,
        47,
        55,
        62,
        63,
    ]
)
DC_COUNTS = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
DC_SYMBOLS = bytes(range(12))
# Every symbol of AC has a code of 8 bits or of 9: simple, and complete.
AC_SYMBOLS = bytes(range(256))
AC_COUNTS = bytes([0, 0, 0, 0, 0, 0, 0, 254, 2, 0, 0, 0, 0, 0, 0, 0])


def codes(counts: bytes, symbols: bytes) -> dict[int, tuple[int, int]]:
    """Symbol to code and its length."""
    table, code, place = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            table[symbols[place]] = (code, length)
            code, place = code + 1, place + 1
        code <<= 1
    return table


DC_CODES, AC_CODES = codes(DC_COUNTS, DC_SYMBOLS), codes(AC_COUNTS, AC_SYMBOLS)
COSINES = np.array(
    [[(np.sqrt(0.125) if u == 0 else 0.5) * np.cos((2 * x + 1) * u * np.pi / 16) for x in range(8)] for u in range(8)]
)


class Bits:
    def __init__(self) -> None:
        self.value, self.count, self.out = 0, 0, bytearray()

    def put(self, value: int, length: int) -> None:
        self.value, self.count = self.value << length | value, self.count + length
        while self.count >= 8:
            byte = self.value >> (self.count - 8) & 255
            self.out += b"\xff\0" if byte == 255 else bytes([byte])
            self.count -= 8
            self.value &= (1 << self.count) - 1

    def flush(self) -> None:
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)

    def signed(self, value: int) -> None:
        length = abs(value).bit_length()
        if length:
            self.put(value if value > 0 else value + (1 << length) - 1, length)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 255, marker, len(body) + 2) + body


def shrink(plane: np.ndarray, rows: int, columns: int, down: int, across: int) -> np.ndarray:
    """The means of blocks of `down` by `across` samples, `rows` by `columns` of them."""
    padded = np.pad(
        plane, ((0, max(0, rows * down - plane.shape[0])), (0, max(0, columns * across - plane.shape[1]))), "edge"
    )
    return padded[: rows * down, : columns * across].reshape(rows, down, columns, across).mean(axis=(1, 3))


class Component:
    """Quantised coefficients of one component, in zigzag order."""

    def __init__(self, plane: np.ndarray, factors: tuple[int, int], largest: tuple[int, int], step: int) -> None:
        height, width = plane.shape
        self.h, self.v = factors
        units = (-(-height // (8 * largest[1])), -(-width // (8 * largest[0])))
        self.rows, self.columns = units[0] * self.v, units[1] * self.h
        samples = shrink(plane, self.rows * 8, self.columns * 8, largest[1] // self.v, largest[0] // self.h)
        blocks = samples.reshape(self.rows, 8, self.columns, 8).transpose(0, 2, 1, 3) - 128.0
        spectrum = COSINES @ blocks @ COSINES.T
        self.blocks = np.rint(spectrum / step).astype(int).reshape(self.rows, self.columns, 64)[:, :, ZIGZAG]
        self.own_rows = -(-(-(-height * self.v // largest[1])) // 8)
        self.own_columns = -(-(-(-width * self.h // largest[0])) // 8)


def encode(
    planes: list[np.ndarray],
    factors: list[tuple[int, int]],
    *,
    scans: list[tuple[int, ...]] | None = None,
    ids: bytes = b"\1\2\3\4",
    restart: int = 0,
    restarts: list[int] | None = None,
    markers: bytes = b"",
    sof: int = 0xC0,
    step: int = 3,
    before_sos: bytes = b"",
    between: bytes = b"",
    end: bytes = b"\xff\xd9",
    dc_only: bool = False,
    progressive: list[tuple[tuple[int, ...], int, int]] | None = None,
) -> bytes:
    """A JPEG of `planes`, each with its sampling factors (horizontal, vertical).

    `scans` lists the components of each scan; `restarts` gives each scan an interval of its own; `progressive` is a script
    of (components, first, last) without successive approximation. With `dc_only` blocks are flat, and coded so that the
    standard's own tables read them.
    """
    largest = max(h for h, _ in factors), max(v for _, v in factors)
    components = [Component(plane, f, largest, step) for plane, f in zip(planes, factors)]
    height, width = planes[0].shape
    out = bytearray(b"\xff\xd8" + markers)
    out += segment(0xDB, bytes([0]) + bytes([step] * 64))
    out += segment(
        sof,
        struct.pack(">BHHB", 8, height, width, len(planes))
        + b"".join(bytes([ids[i], h << 4 | v, 0]) for i, (h, v) in enumerate(factors)),
    )
    if dc_only:
        for component in components:
            component.blocks[:, :, 1:] = 0
        # End of block has four bits in the standard's table for luma, as the first of the codes of four bits here.
        flat = bytes([0, 2, 1, 3]) + bytes(12), bytes([1, 2, 3, 0, 4, 0x11])
        out += segment(0xC4, b"\x00" + DC_COUNTS + DC_SYMBOLS + b"\x10" + flat[0] + flat[1])
        ac = codes(*flat)
    else:
        out += segment(0xC4, b"\x00" + DC_COUNTS + DC_SYMBOLS + b"\x10" + AC_COUNTS + AC_SYMBOLS)
        ac = AC_CODES
    script = [(scan, 0, 63) for scan in scans or [tuple(range(len(planes)))]] if progressive is None else progressive
    for number, (scan, first, last) in enumerate(script):
        interval = restarts[number] if restarts else restart
        if restarts or (restart and number == 0):
            out += segment(0xDD, struct.pack(">H", interval))
        out += before_sos if number == 0 else between
        out += segment(0xDA, bytes([len(scan)]) + b"".join(bytes([ids[i], 0]) for i in scan) + bytes([first, last, 0]))
        out += coded([components[i] for i in scan], first, last, interval, ac)
    return bytes(out + end)


def coded(scan: list[Component], first: int, last: int, interval: int, ac: dict[int, tuple[int, int]]) -> bytes:
    bits, dc = Bits(), [0] * len(scan)
    if len(scan) == 1:
        units = [[(0, y, x)] for y in range(scan[0].own_rows) for x in range(scan[0].own_columns)]
    else:
        units = [
            [(i, uy * c.v + y, ux * c.h + x) for i, c in enumerate(scan) for y in range(c.v) for x in range(c.h)]
            for uy in range(scan[0].rows // scan[0].v)
            for ux in range(scan[0].columns // scan[0].h)
        ]
    for number, unit in enumerate(units):
        if interval and number and number % interval == 0:
            bits.flush()
            bits.out += bytes([255, 0xD0 + (number // interval - 1) % 8])
            dc = [0] * len(scan)
        for i, y, x in unit:
            block = scan[i].blocks[y, x]
            if first == 0:
                difference, dc[i] = int(block[0]) - dc[i], int(block[0])
                bits.put(*DC_CODES[abs(difference).bit_length()])
                bits.signed(difference)
            run = 0
            for value in map(int, block[max(first, 1) : last + 1]):
                if value == 0:
                    run += 1
                    continue
                while run > 15:
                    bits.put(*ac[0xF0])
                    run -= 16
                bits.put(*ac[run << 4 | abs(value).bit_length()])
                bits.signed(value)
                run = 0
            if run and last:
                bits.put(*ac[0])
    bits.flush()
    return bytes(bits.out)
