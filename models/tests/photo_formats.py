"""Photos of the formats beside JPEG, in every mode and layout that Pillow reads."""

from __future__ import annotations

import dataclasses
import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from .photo_variants import Variant, chunk, picture, png, saved

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F")


def image(mode: str, size: tuple[int, int] = (23, 14)) -> Image.Image:
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(c) for c in np.moveaxis(picture(*size, 2), -1, 0)])
    if mode in ("RGBA", "RGBX"):
        rgba = Image.fromarray(picture(*size, 4), "RGBA")
        return rgba if mode == "RGBA" else Image.merge("RGBX", rgba.split())
    rgb = Image.fromarray(picture(*size))
    if mode in ("I;16", "I;16B"):
        wide = picture(*size)[:, :, 0].astype(np.uint16) * 257 - np.arange(size[0], dtype=np.uint16) * 3
        return Image.fromarray(wide.astype("<u2")) if mode == "I;16" else Image.fromarray(wide.astype(">u2"))
    if mode == "PA":
        return image("RGBA", size).convert("P").convert("PA")
    return rgb.convert(mode)


def by_mode(format: str, modes: tuple[str, ...], **options) -> Iterator[tuple[str, bytes]]:
    """What Pillow can write."""
    for mode in modes:
        try:
            yield mode, saved(image(mode), format, **options)
        except (OSError, ValueError, KeyError, TypeError, SystemError, RuntimeError):
            continue


# 16 bits of gray, 32 bits and floating-point numbers: releases of Pillow differ in what they make of them.
UNSETTLED = {"I": "I", "I;16": "I;16", "I;16B": "I;16B", "F": "F"}


def png_raw(
    width: int, height: int, depth: int, color: int, rows: bytes, before: bytes = b"", interlaced: bool = False
) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def pngs() -> Iterator[Variant]:
    for mode, data in by_mode("PNG", MODES):
        if mode not in UNSETTLED:
            yield Variant(f"png/{mode}", data)
    random = np.random.default_rng(1)
    palette = chunk(b"PLTE", random.integers(0, 256, 48, dtype=np.uint8).tobytes())
    transparent = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80\xff", 4: b"", 6: b""}
    for color, depths in {0: (1, 2, 4, 8), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8,), 6: (8, 16)}.items():
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
        for depth, (width, height), interlaced, trns in itertools.product(
            depths, [(13, 9), (1, 1), (5, 3)], [False, True], [False, True]
        ):
            if trns and not transparent[color]:
                continue
            most = min(16, 1 << depth) if color == 3 else 1 << depth
            samples = random.integers(0, most, (height, width, channels))
            rows = b""
            for x0, y0, dx, dy in ADAM7 if interlaced else ((0, 0, 1, 1),):
                for row in samples[y0::dy, x0::dx]:
                    if row.size:
                        bits = "".join(format(v, f"0{depth}b") for v in row.ravel())
                        bits += "0" * (-len(bits) % 8)
                        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
            before = (palette if color == 3 else b"") + (chunk(b"tRNS", transparent[color]) if trns else b"")
            name = f"png/color{color}-{depth}-{width}x{height}-{interlaced}-{trns}"
            yield Variant(name, png_raw(width, height, depth, color, rows, before, interlaced))
    frames = [Image.fromarray(picture(20, 12)), Image.fromarray(picture(20, 12)[::-1].copy())]
    yield Variant("png/animated", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    yield Variant(
        "png/animated-default", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    )
    yield Variant("png/trailer", saved(frames[0], "PNG") + b"behind" * 50)
    yield Variant("png/gamma", png(frames[0], chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"pHYs", bytes(9))))


def webps() -> Iterator[Variant]:
    for mode, lossless in itertools.product(("L", "LA", "P", "RGB", "RGBA"), (False, True)):
        data = saved(image(mode, (37, 25)), "WEBP", lossless=lossless, exact=True)
        yield Variant(f"webp/{mode}-{lossless}", data, lossy=not lossless)
    for size in ((1, 1), (2, 3), (17, 16), (40, 33)):
        yield Variant(f"webp/size{size}", saved(image("RGB", size), "WEBP", quality=80), lossy=True)
    frames = [image("RGBA", (20, 12)), image("RGB", (20, 12)).convert("RGBA").rotate(180)]
    for lossless in (False, True):
        data = saved(
            frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=lossless, exact=True, duration=100
        )
        yield Variant(f"webp/animated-{lossless}", data, lossy=not lossless)
        opaque = [f.convert("RGB") for f in frames]
        data = saved(opaque[0], "WEBP", save_all=True, append_images=opaque[1:], lossless=lossless, duration=100)
        yield Variant(f"webp/animated-opaque-{lossless}", data, lossy=not lossless)


def placed_webps() -> Iterator[Variant]:
    for mode, canvas, place, background, blend in itertools.product(
        ("RGB", "RGBA"), [(20, 12), (24, 15)], [(0, 0), (4, 2)], (bytes(4), b"\xff\x80\x40\xff"), (0, 2)
    ):
        if place != (0, 0) and canvas == (20, 12):
            continue
        data = placed_webp(image(mode, (20, 12)), canvas, place, background, blend)
        yield Variant(f"webp/placed-{mode}-{canvas}-{place}-{background.hex()}-{blend}", data, level=True)


def placed_webp(
    frame: Image.Image, canvas: tuple[int, int], place: tuple[int, int], background: bytes, blend: int = 0
) -> bytes:
    """An animation whose only frame lies somewhere on its canvas."""
    part = lambda kind, data: kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)  # noqa: E731
    three = lambda value: struct.pack("<I", value)[:3]  # noqa: E731
    body = saved(frame, "WEBP", lossless=True, exact=True)[12:]
    head = part(b"VP8X", bytes([0x12, 0, 0, 0]) + three(canvas[0] - 1) + three(canvas[1] - 1)) + part(
        b"ANIM", background + b"\0\0"
    )
    frames = part(
        b"ANMF",
        three(place[0] // 2)
        + three(place[1] // 2)
        + three(frame.width - 1)
        + three(frame.height - 1)
        + three(100)
        + bytes([blend])
        + body,
    )
    return b"RIFF" + struct.pack("<I", len(head + frames) + 4) + b"WEBP" + head + frames


def tiff(
    entries: list[tuple[int, int, list[int]]], strips: list[bytes], *, order: str = "<", big: bool = False
) -> bytes:
    """A TIFF of these fields; 273 or 324 (places of strips or tiles) and 279 or 325 are filled in by `strips`."""
    word, head = ("Q", 16) if big else ("I", 8)
    places, at = [], head
    for strip in strips:
        places.append(at)
        at += len(strip) + len(strip) % 2
    body = b"".join(s + b"\0" * (len(s) % 2) for s in strips)
    tiles = any(tag == 322 for tag, *_ in entries)
    entries = sorted(
        [*entries, (324 if tiles else 273, 4, places), (325 if tiles else 279, 4, [len(s) for s in strips])]
    )
    folder = at
    behind = folder + (8 if big else 2) + (20 if big else 12) * len(entries) + (8 if big else 4)
    table, values = b"", b""
    for tag, kind, numbers in entries:
        data = struct.pack(order + {1: "B", 3: "H", 4: "I", 7: "B"}[kind] * len(numbers), *numbers)
        field = data.ljust(8 if big else 4, b"\0")
        if len(data) > (8 if big else 4):
            field = struct.pack(order + word, behind + len(values))
            values += data + b"\0" * (len(data) % 2)
        table += struct.pack(order + "HH" + word, tag, kind, len(numbers)) + field
    mark = b"II" if order == "<" else b"MM"
    start = mark + (struct.pack(order + "HHHQ", 43, 8, 0, folder) if big else struct.pack(order + "HI", 42, folder))
    return (
        start
        + body
        + struct.pack(order + ("Q" if big else "H"), len(entries))
        + table
        + bytes(8 if big else 4)
        + values
    )


def pack_bits(data: bytes) -> bytes:
    return b"".join(bytes([len(data[i : i + 100]) - 1]) + data[i : i + 100] for i in range(0, len(data), 100))


def packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Rows of samples as a TIFF stores them."""
    if bits >= 8:
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    out = b""
    for row in samples.reshape(samples.shape[0], -1):
        text = "".join(format(v, f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        out += int(text, 2).to_bytes(len(text) // 8, "big")
    return out


def tiffs() -> Iterator[Variant]:
    compressions = (
        None,
        "tiff_lzw",
        "tiff_adobe_deflate",
        "packbits",
        "jpeg",
        "group3",
        "group4",
        "tiff_deflate",
        "zstd",
        "lzma",
        "tiff_thunderscan",
    )
    for compression in compressions:
        for mode, data in by_mode("TIFF", MODES, **({"compression": compression} if compression else {})):
            if mode in UNSETTLED:
                continue
            unread = {"group3": "compress", "lzma": "compress"}.get(compression, "kind that oltr does not read")
            yield Variant(f"tiff/{mode}-{compression}", data, lossy=compression == "jpeg", refusal=unread)
    random = np.random.default_rng(2)
    width, height = 19, 11
    layouts = itertools.product(
        "<>",
        (False, True),
        (False, True),
        ("one", "strips", "tiles"),
        (
            (0, 1, 1),
            (1, 1, 1),
            (0, 4, 1),
            (1, 4, 1),
            (1, 2, 1),
            (0, 8, 1),
            (1, 8, 1),
            (2, 8, 3),
            (2, 8, 4),
            (3, 8, 1),
            (3, 4, 1),
            (5, 8, 4),
            (1, 8, 2),
            (2, 16, 3),
            (3, 2, 1),
            (3, 1, 1),
            (2, 16, 4),
            (6, 8, 3),
            (5, 16, 4),
        ),
    )
    for number, (order, big, planar, layout, (photometric, bits, channels)) in enumerate(layouts):
        if planar and channels == 1:
            continue
        samples = random.integers(0, 1 << bits, (height, width, channels))
        entries = [
            (256, 3, [width]),
            (257, 3, [height]),
            (258, 3, [bits] * channels),
            (262, 3, [photometric]),
            (277, 3, [channels]),
            (284, 3, [2 if planar else 1]),
        ]
        if photometric == 3:
            entries.append((320, 3, [int(v) for v in random.integers(0, 256, 3 << bits) * 257]))
        extra = channels - {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}[photometric]
        if extra:
            entries.append((338, 3, [(0, 1, 2)[number % 3]] * extra))
        if photometric == 6:
            entries.append((530, 3, [1, 1]))
        if layout == "tiles":
            entries += [(322, 3, [16]), (323, 3, [16])]
            padded = np.zeros((16, 32, channels), int)
            padded[:height, :width] = samples
            parts = [padded[:, :16], padded[:, 16:]]
        else:
            rows = height if layout == "one" else 4
            entries.append((278, 3, [rows]))
            parts = [samples[y : y + rows] for y in range(0, height, rows)]
        if planar:
            parts = [part[:, :, c : c + 1] for c in range(channels) for part in parts]
        strips = [packed(part, bits, order) for part in parts]
        compression = (1, 8, 32773)[number % 3]
        entries.append((259, 3, [compression]))
        strips = [{1: bytes, 8: zlib.compress, 32773: pack_bits}[compression](s) for s in strips]
        # Pillow reads these planes as if they had 8 bits.
        if planar and photometric == 5 and bits == 16 and compression == 1:
            continue
        name = f"tiff/{'little' if order == '<' else 'big'}-{big}-{planar}-{layout}-{photometric}-{bits}x{channels}"
        # Pillow reads no big-endian BigTIFF.
        reference = tiff(entries, strips, order=order) if big and order == ">" else None
        yield Variant(
            name,
            tiff(entries, strips, order=order, big=big),
            reference=reference,
            refusal="kind that oltr does not read",
        )
    for compression, mode in itertools.product(("tiff_lzw", "tiff_adobe_deflate"), ("L", "RGB", "RGBA", "CMYK", "LA")):
        data = saved(image(mode), "TIFF", compression=compression, tiffinfo={317: 2})
        yield Variant(f"tiff/predictor-{mode}-{compression}", data, refusal="kind that oltr does not read")
    bits = random.integers(0, 2, (height, width))
    for order, fill, photometric in itertools.product("<>", (1, 2), (0, 1)):
        rows = packed(bits, 1, order)
        rows = bytes(int(f"{b:08b}"[::-1], 2) for b in rows) if fill == 2 else rows
        entries = [
            (256, 3, [width]),
            (257, 3, [height]),
            (258, 3, [1]),
            (259, 3, [1]),
            (262, 3, [photometric]),
            (266, 3, [fill]),
            (277, 3, [1]),
            (278, 3, [height]),
        ]
        yield Variant(
            f"tiff/fill{fill}-{photometric}-{order}", tiff(entries, [rows], order=order), refusal="bits in reverse"
        )
    for orientation in range(1, 9):
        data = saved(image("P"), "TIFF", compression="tiff_lzw", tiffinfo={274: orientation})
        yield Variant(f"orientation/tiff-palette-{orientation}", data)
    pages = [image("RGB"), image("L")]
    yield Variant("tiff/pages", saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    for name, more in (
        ("thumbnail", [(254, 4, [1])]),
        ("raw", [(254, 4, [1]), (330, 4, [8, 8])]),
        ("dng", [(50706, 1, [1, 4, 0, 0])]),
        ("cfa", [(33421, 3, [2, 2])]),
    ):
        base = [
            (256, 3, [4]),
            (257, 3, [4]),
            (258, 3, [8] * 3),
            (262, 3, [2]),
            (277, 3, [3]),
            (259, 3, [1]),
            (278, 3, [4]),
        ]
        must = name != "thumbnail"
        yield Variant(
            f"tiff/{name}", tiff(base + more, [bytes(range(48))]), refusal="raw" if must else None, must_refuse=must
        )
    cfa = [(256, 3, [4]), (257, 3, [4]), (258, 3, [8]), (262, 3, [32803]), (277, 3, [1]), (259, 3, [1]), (278, 3, [4])]
    yield Variant("tiff/cfa-photometric", tiff(cfa, [bytes(16)]), refusal="raw", must_refuse=True)


def lzw(indices: bytes, bits: int) -> bytes:
    """LZW of a GIF that never uses its table: a clear code before it would grow."""
    clear, out, value, count = 1 << bits, bytearray(), 0, 0
    codes = [clear]
    for start in range(0, len(indices), (1 << bits) - 2):
        codes += [*indices[start : start + (1 << bits) - 2], clear]
    for code in [*codes[:-1], clear + 1]:
        value |= code << count
        count += bits + 1
        while count >= 8:
            out.append(value & 255)
            value, count = value >> 8, count - 8
    out.append(value & 255)
    return (
        bytes([bits])
        + b"".join(bytes([len(out[i : i + 255])]) + out[i : i + 255] for i in range(0, len(out), 255))
        + b"\0"
    )


def gif(
    screen: tuple[int, int],
    place: tuple[int, int],
    size: tuple[int, int],
    *,
    transparent: int | None = None,
    local: bool = False,
    table: bool = True,
    background: int = 0,
    interlaced: bool = False,
    disposal: int = 0,
    colors: int = 8,
    more: bytes = b"",
) -> bytes:
    random = np.random.default_rng(3)
    palette = random.integers(0, 256, colors * 3, dtype=np.uint8).tobytes()
    flags = colors.bit_length() - 2
    indices = random.integers(0, 8, size[0] * size[1], dtype=np.uint8).tobytes()
    out = b"GIF89a" + struct.pack("<HHBBB", *screen, (0x80 | flags) if table and not local else 0, background, 0)
    out += palette if table and not local else b""
    if transparent is not None or disposal:
        out += (
            b"\x21\xf9\x04"
            + struct.pack("<BHB", disposal << 2 | (transparent is not None), 0, transparent or 0)
            + b"\0"
        )
    out += b"\x2c" + struct.pack("<HHHHB", *place, *size, (0x80 | flags if local else 0) | 0x40 * interlaced)
    return out + (palette if local else b"") + lzw(indices, 3) + more + b";"


def gifs() -> Iterator[Variant]:
    for (screen, place, size), transparent, local, background, interlaced in itertools.product(
        [
            ((9, 7), (0, 0), (9, 7)),
            ((0, 0), (0, 0), (9, 7)),
            ((4, 3), (0, 0), (9, 7)),
            ((12, 10), (2, 3), (9, 7)),
            ((12, 10), (0, 0), (1, 1)),
            ((9, 7), (5, 5), (9, 7)),
            ((0, 0), (3, 2), (5, 5)),
            ((9, 0), (0, 0), (9, 7)),
        ],
        (None, 0, 3),
        (False, True),
        (0, 5),
        (False, True),
    ):
        data = gif(
            screen, place, size, transparent=transparent, local=local, background=background, interlaced=interlaced
        )
        yield Variant(f"gif/{screen}-{place}-{size}-{transparent}-{local}-{background}-{interlaced}", data)
    for colors in (2, 4):
        yield Variant(f"gif/colors{colors}", gif((9, 7), (0, 0), (9, 7), colors=colors))
    yield Variant("gif/no-table", gif((9, 7), (0, 0), (9, 7), table=False), refusal="no color table")
    yield Variant(
        "gif/no-table-offset", gif((12, 12), (1, 2), (9, 7), table=False, transparent=2), refusal="no color table"
    )
    for disposal in (1, 2, 3):
        yield Variant(f"gif/disposal{disposal}", gif((12, 9), (1, 1), (9, 7), disposal=disposal, transparent=1))
    for mode, data in by_mode("GIF", ("1", "L", "P", "RGB", "RGBA", "LA")):
        yield Variant(f"gif/{mode}", data)
    frames = [image("P"), image("L")]
    yield Variant("gif/animated", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))


def bmp(
    width: int,
    height: int,
    bits: int,
    data: bytes,
    *,
    compression: int = 0,
    header: int = 40,
    palette: bytes = b"",
    masks: bytes = b"",
    colors: int = 0,
) -> bytes:
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, abs(height), 1, bits)
    else:
        info = struct.pack(
            "<IiiHHIIiiII", header, width, height, 1, bits, compression, len(data), 2835, 2835, colors, 0
        )
        info = (info + (masks if header > 40 else b"")).ljust(header, b"\0") + (masks if header == 40 else b"")
    at = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + info + palette + data


def bmps() -> Iterator[Variant]:
    """Bitmaps, and the same without the place of their pixels, which then lie behind all headers."""
    for variant in placed_bmps():
        yield variant
        data = variant.data[:10] + bytes(4) + variant.data[14:]
        yield dataclasses.replace(variant, name=f"{variant.name}-no-place", data=data)


def placed_bmps() -> Iterator[Variant]:
    for mode, data in by_mode("BMP", ("1", "L", "P", "RGB", "RGBA")):
        yield Variant(f"bmp/{mode}", data)
    random = np.random.default_rng(4)
    unread = "kind that oltr does not read"
    for (width, height), down, header in itertools.product(
        [(13, 7), (8, 8), (1, 1)], (False, True), (12, 40, 52, 56, 64, 108, 124)
    ):
        for bits in (1, 4, 8, 16, 24, 32):
            if header == 12 and (down or bits in (16, 32)):
                continue
            stride = (width * bits + 31) // 32 * 4
            data = random.integers(0, 256, stride * height, dtype=np.uint8).tobytes()
            palette = b""
            if bits <= 8:
                palette = random.integers(0, 256, (3 if header == 12 else 4) << bits, dtype=np.uint8).tobytes()
            name = f"bmp/{width}x{height}-{down}-{header}-{bits}"
            yield Variant(
                name,
                bmp(width, -height if down else height, bits, data, header=header, palette=palette),
                refusal=unread,
                level=bits == 16,
            )
            masks = {
                16: [(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)],
                32: [(0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000), (0xFF000000, 0xFF0000, 0xFF00)],
            }
            for number, mask in enumerate(masks.get(bits, [])):
                fields = struct.pack("<IIII", *mask, 0)[: 12 if header == 40 else 16]
                yield Variant(
                    f"{name}-masks{number}",
                    bmp(width, -height if down else height, bits, data, compression=3, header=header, masks=fields),
                    refusal=unread,
                    level=bits == 16,
                )
    palette = random.integers(0, 256, 1024, dtype=np.uint8).tobytes()
    # Whole rows: of what a run leaves out, releases of Pillow make different things.
    for name, bits, compression, data in (
        (
            "rle8",
            8,
            1,
            b"\x08\x07\0\0" + b"\0\x03\1\2\3\0\x05\x08\0\0" + b"\x04\x09\x04\x11\0\0" + b"\x07\x02\x01\x03\0\0\0\1",
        ),
        ("rle8-no-ends", 8, 1, b"\x08\x07\x08\x06\x08\x05\x08\x04\0\1"),
        ("rle4", 4, 2, b"\x08\x7a\0\0" + b"\0\x04\x12\x34\x04\x9b\0\0" + b"\x08\x11\0\0\x08\x23\0\0\0\1"),
    ):
        yield Variant(
            f"bmp/{name}",
            bmp(8, 4, bits, data, compression=compression, palette=palette[: 4 << bits], colors=1 << bits),
            refusal=unread,
        )
    yield Variant(
        "bmp/few-colors", bmp(8, 4, 8, bytes(range(5)) * 6 + b"\1\2", palette=palette[:20], colors=5), refusal=unread
    )


def pnms() -> Iterator[Variant]:
    random = np.random.default_rng(5)
    unread = ";"
    for kind, most in itertools.product((2, 3, 5, 6), (1, 2, 15, 100, 254, 255, 256, 1000, 4095, 65535)):
        channels = 3 if kind in (3, 6) else 1
        if channels == 1 and most > 255:
            continue
        samples = random.integers(0, most + 1, (5, 7, channels))
        if kind < 4:
            data = " ".join(map(str, samples.ravel())).encode() + b"\n"
        else:
            data = samples.astype(">u2" if most > 255 else "u1").tobytes()
        for name, head in (
            ("plain", f"P{kind}\n7 5\n{most}\n"),
            ("spaces", f"P{kind} 7\t5\r\n{most} "),
            ("comment", f"P{kind}\n# by a camera\n7 # wide\n5\n# most\n{most}\n"),
        ):
            yield Variant(f"pnm/P{kind}-{most}-{name}", head.encode() + data, refusal=unread, level=most != 255)
    bits = random.integers(0, 2, (5, 11))
    yield Variant("pnm/P4", b"P4\n11 5\n" + packed(bits, 1, ">"))
    yield Variant("pnm/P4-comment", b"P4\n#x\n11 5\n" + packed(bits, 1, ">"))
    yield Variant("pnm/P1", b"P1\n11 5\n" + "\n".join(" ".join(map(str, row)) for row in bits).encode() + b"\n")
    yield Variant("pnm/P1-dense", b"P1\n11 5\n" + "\n".join("".join(map(str, row)) for row in bits).encode() + b"\n")
    pixels = picture(7, 5)
    yield Variant("pnm/two", (b"P6 7 5 255\n" + pixels.tobytes()) * 2)
    yield Variant("pnm/pfm", b"Pf\n2 1\n-1.0\n" + struct.pack("<ff", 0.5, 99.0), refusal="floating")
    yield Variant(
        "pnm/pam",
        b"P7\nWIDTH 7\nHEIGHT 5\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + pixels.tobytes(),
        refusal=unread,
    )


def formats() -> Iterator[Variant]:
    for part in (pngs, webps, placed_webps, tiffs, gifs, bmps, pnms):
        yield from part()
