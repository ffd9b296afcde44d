"""Photos in every form that their formats allow, for the comparison with Pillow."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .jpeg_encoder import encode, segment


@dataclass
class Variant:
    """A photo, and what is right.

    With `level` Pillow rounds otherwise: a difference of one level is right. `reference` is a file whose pixels are right
    where Pillow refuses this one. `refusal` is part of the message where a refusal is right although Pillow reads the
    file; with `must_refuse` nothing else is.
    """

    name: str
    data: bytes
    lossy: bool = False
    level: bool = False
    reference: bytes | None = None
    refusal: str | None = None
    must_refuse: bool = False


def picture(width: int, height: int, channels: int = 3) -> np.ndarray:
    """Smooth colours with some edges, different in every channel."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [
        127 + 60 * np.sin(x / (5 + i) + i) + 50 * np.cos(y / (7 - i)) + 15 * ((x + i * y) % 11 > 6)
        for i in range(channels)
    ]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def saved(image: Image.Image, format: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def planes(width: int, height: int, channels: int = 3) -> list[np.ndarray]:
    return [picture(width, height, channels)[:, :, i].astype(float) for i in range(channels)]


JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


SAMPLINGS = [
    ((1, 1), (1, 1), (1, 1)),
    ((2, 1), (1, 1), (1, 1)),
    ((1, 2), (1, 1), (1, 1)),
    ((2, 2), (1, 1), (1, 1)),
    ((4, 1), (1, 1), (1, 1)),
    ((1, 4), (1, 1), (1, 1)),
    ((4, 2), (1, 1), (1, 1)),
    ((2, 4), (1, 1), (1, 1)),
    ((3, 1), (1, 1), (1, 1)),
    ((1, 3), (1, 1), (1, 1)),
    ((3, 2), (1, 1), (1, 1)),
    ((1, 1), (2, 2), (2, 2)),
    ((1, 1), (2, 1), (2, 1)),
    ((1, 1), (1, 2), (1, 2)),
    ((1, 2), (2, 2), (2, 2)),
    ((2, 1), (2, 2), (2, 2)),
    ((2, 2), (2, 1), (2, 1)),
    ((2, 2), (1, 2), (1, 2)),
    ((2, 2), (2, 1), (1, 2)),
    ((2, 2), (1, 1), (2, 2)),
    ((2, 2), (2, 2), (1, 1)),
    ((1, 1), (2, 2), (1, 1)),
    ((2, 1), (1, 2), (1, 1)),
    ((4, 1), (2, 1), (1, 1)),
    ((4, 2), (2, 1), (2, 1)),
    ((1, 1), (4, 1), (4, 1)),
    ((2, 2), (2, 2), (2, 2)),
    ((1, 4), (1, 2), (1, 1)),
    ((4, 4), (1, 1), (1, 1)),
    ((3, 1), (2, 1), (1, 1)),
    ((2, 3), (2, 1), (1, 1)),
]
SCANS = [
    [(0, 1, 2)],
    [(0,), (1,), (2,)],
    [(1,), (2,), (0,)],
    [(2,), (0,), (1,)],
    [(0,), (1, 2)],
    [(1, 2), (0,)],
    [(0, 1), (2,)],
    [(0, 2), (1,)],
    [(2, 1, 0)],
    [(1, 0, 2)],
]
SIZES = [(33, 19), (16, 16), (50, 47), (3, 5), (1, 1), (24, 40), (64, 9)]


def jpeg_scans() -> Iterator[Variant]:
    for number, (factors, scans) in enumerate(itertools.product(SAMPLINGS, SCANS)):
        if max(len(s) for s in scans) > 1 and any(
            len(s) > 1 and sum(factors[i][0] * factors[i][1] for i in s) > 10 for s in scans
        ):
            continue
        size = SIZES[number % len(SIZES)] if number % 3 else (37, 29)
        restart = (0, 1, 3)[number % 3]
        name = f"jpeg/{'_'.join(f'{h}x{v}' for h, v in factors)}-{'+'.join(''.join(map(str, s)) for s in scans)}-r{restart}"
        largest = max(h for h, _ in factors), max(v for _, v in factors)
        whole = all(largest[0] % h == 0 and largest[1] % v == 0 for h, v in factors)
        if not whole:
            # The encoder would not know what to write either: a header alone tells.
            data = encode(planes(*size), [(1, 1)] * 3, restart=restart)
            at = data.index(b"\xff\xc0") + 10
            data = bytearray(data)
            for i, (h, v) in enumerate(factors):
                data[at + 1 + 3 * i] = h << 4 | v
            yield Variant(name, bytes(data), refusal="no whole proportion", must_refuse=True)
            continue
        options = {"restart": restart, "sof": 0xC0 + number % 2}
        data = encode(planes(*size), list(factors), scans=scans, **options)
        # Pillow refuses some orders of components within a scan; its pixels are those of every order.
        reference = encode(planes(*size), list(factors), **options) if scans in ([(2, 1, 0)], [(1, 0, 2)]) else None
        yield Variant(name, data, lossy=True, reference=reference)
    for factors in SAMPLINGS[:8] + SAMPLINGS[11:17]:
        script = [((0, 1, 2), 0, 0)] if sum(h * v for h, v in factors) <= 10 else [((i,), 0, 0) for i in range(3)]
        script += [((2,), 1, 63), ((0,), 1, 5), ((1,), 1, 63), ((0,), 6, 63)]
        name = f"jpeg/progressive-{'_'.join(f'{h}x{v}' for h, v in factors)}"
        yield Variant(name, encode(planes(45, 35), list(factors), sof=0xC2, progressive=script), lossy=True)
        yield Variant(
            name + "-restart",
            encode(planes(45, 35), list(factors), sof=0xC2, progressive=script, restart=2),
            lossy=True,
        )
    for restarts in ([0, 2, 5], [4, 0, 1], [1, 1, 0]):
        for factors in (SAMPLINGS[3], SAMPLINGS[0]):
            data = encode(planes(40, 33), list(factors), scans=[(0,), (1,), (2,)], restarts=restarts)
            yield Variant(f"jpeg/restarts-{restarts}-{factors[0]}", data, lossy=True)
    for h, v in itertools.product((1, 2, 3, 4), (1, 2, 4)):
        for size in ((33, 19), (70, 12)):
            yield Variant(f"jpeg/gray-{h}x{v}-{size}", encode(planes(*size, 1), [(h, v)]), lossy=True)
            yield Variant(
                f"jpeg/gray-{h}x{v}-{size}-progressive",
                encode(planes(*size, 1), [(h, v)], sof=0xC2, progressive=[((0,), 0, 0), ((0,), 1, 63)]),
                lossy=True,
            )


def jpeg_colours() -> Iterator[Variant]:
    markers = {
        "": b"",
        "jfif": JFIF,
        "adobe0": adobe(0),
        "adobe1": adobe(1),
        "adobe2": adobe(2),
        "jfif-adobe0": JFIF + adobe(0),
        "adobe0-jfif": adobe(0) + JFIF,
        "jfif-adobe1": JFIF + adobe(1),
        "adobe9": adobe(9),
        "adobe-short": segment(0xEE, b"Adobe\0\x64"),
        "adobe-11": segment(0xEE, b"Adobe\0\x64\0\0\0\0"),
        "adobe-long": segment(0xEE, b"Adobe\0\x64\0\0\0\0\0and more"),
        "jfif-short": segment(0xE0, b"JFIF\0\1") + adobe(0),
        "jfxx": segment(0xE0, b"JFXX\0\x10" + bytes(20)) + adobe(0),
    }
    for (name, marker), ids in itertools.product(
        markers.items(), (b"\1\2\3", b"RGB", b"rgb", b"\0\1\2", b"\1\x22\x23", b"YCC")
    ):
        if len(set(ids)) < 3:
            continue
        for factors in ([(1, 1)] * 3, [(2, 2), (1, 1), (1, 1)]):
            data = encode(planes(21, 18), factors, ids=ids, markers=marker)
            yield Variant(f"jpeg/colour-{name}-{ids.hex()}-{factors[0][0]}", data, lossy=True)
    for name, marker in markers.items():
        for factors in (
            [(1, 1)] * 4,
            [(2, 2), (1, 1), (1, 1), (2, 2)],
            [(2, 1), (1, 1), (1, 1), (2, 1)],
            [(1, 1), (1, 1), (1, 1), (2, 1)],
        ):
            data = encode(planes(21, 18, 4), factors, markers=marker)
            yield Variant(f"jpeg/four-{name}-{factors}", data, lossy=True)
        data = encode(planes(21, 18, 4), [(1, 1)] * 4, markers=marker, scans=[(0,), (1,), (2,), (3,)])
        yield Variant(f"jpeg/four-{name}-scans", data, lossy=True)


def jpeg_by_pillow() -> Iterator[Variant]:
    for (width, height), subsampling, progressive, quality, restart in itertools.product(
        [(1, 1), (17, 33), (40, 24), (100, 7)], ["4:4:4", "4:2:2", "4:2:0"], [False, True], [30, 95], [0, 2]
    ):
        options = {"restart_marker_blocks": restart} if restart else {}
        data = saved(
            Image.fromarray(picture(width, height)),
            "JPEG",
            subsampling=subsampling,
            progressive=progressive,
            quality=quality,
            optimize=quality == 30,
            **options,
        )
        yield Variant(f"jpeg/pillow-{width}x{height}-{subsampling}-{progressive}-{quality}-{restart}", data, lossy=True)
    for mode, progressive in itertools.product(["L", "CMYK"], [False, True]):
        image = Image.fromarray(picture(35, 21)).convert(mode)
        yield Variant(f"jpeg/pillow-{mode}-{progressive}", saved(image, "JPEG", progressive=progressive), lossy=True)


def jpeg_of_two() -> Iterator[Variant]:
    """A picture with another behind it, as cameras with two lenses write them."""
    exif = Image.Exif()
    for orientation in (1, 6, 8):
        exif[274] = orientation
        image, other = Image.fromarray(picture(30, 20)), Image.fromarray(picture(60, 40))
        data = saved(image, "MPO", save_all=True, append_images=[other], exif=exif)
        yield Variant(f"jpeg/two-pictures-{orientation}", data, lossy=True)
        profile = saved(image, "JPEG", exif=exif, icc_profile=bytes(90_000), comment=b"\xff\xd9 by a camera")
        yield Variant(f"jpeg/profile-{orientation}", profile, lossy=True)


def jpeg_tables() -> Iterator[Variant]:
    for factors, scans in itertools.product(([(1, 1)] * 3, [(2, 2), (1, 1), (1, 1)]), (None, [(0,), (1,), (2,)])):
        base = encode(planes(41, 30), factors, scans=scans, sof=0xC1)
        at = base.index(b"\xff\xdb")
        wide = base[:at] + segment(0xDB, b"\x10" + b"\0\3" * 64) + base[at + 69 :]
        yield Variant(f"jpeg/tables-wide-{factors[0][0]}-{scans is None}", wide, lossy=True)
        for place in (1, 2, 3):
            moved = bytearray(base)
            at = moved.index(b"\xff\xc4")
            moved[at + 4], moved[at + 4 + 29] = place, 0x10 | place
            start = -1
            while (start := moved.find(b"\xff\xda", start + 1)) >= 0:
                for i in range(moved[start + 4]):
                    moved[start + 6 + 2 * i] = place << 4 | place
            yield Variant(f"jpeg/tables-{place}-{factors[0][0]}-{scans is None}", bytes(moved), lossy=True)
            table = bytearray(base)
            table[table.index(b"\xff\xdb") + 4] = place
            at = table.index(b"\xff\xc1") + 12
            table[at : at + 9 : 3] = bytes([place] * 3)
            yield Variant(f"jpeg/tables-quantisation-{place}-{factors[0][0]}-{scans is None}", bytes(table), lossy=True)
        plain = encode(planes(41, 30), factors, scans=scans, dc_only=True)
        at = plain.index(b"\xff\xc4")
        yield Variant(
            f"jpeg/no-tables-{factors[0][0]}-{scans is None}",
            plain[:at] + plain[at + 2 + int.from_bytes(plain[at + 2 : at + 4], "big") :],
            lossy=True,
            reference=plain,
        )


def jpeg_damage() -> Iterator[Variant]:
    factors = [(2, 2), (1, 1), (1, 1)]
    picture_planes = planes(93, 78)
    base = encode(picture_planes, factors, markers=JFIF)
    several = encode(picture_planes, factors, markers=JFIF, scans=[(0,), (1,), (2,)])
    script = [((0, 1, 2), 0, 0), ((0,), 1, 63), ((1,), 1, 63), ((2,), 1, 63)]
    progressive = encode(picture_planes, factors, markers=JFIF, sof=0xC2, progressive=script)
    for kind, whole in (("one", base), ("several", several), ("progressive", progressive)):
        for name, trailer in (
            ("nothing", b""),
            ("zeros", bytes(700)),
            ("text", b"made by a camera" * 9),
            ("ones", b"\xff" * 40),
            ("pictures", b"\xff\xd9" + base),
            ("odd", b"\xff\xd9\xff\xd9\xff"),
        ):
            yield Variant(f"jpeg/end-{kind}-{name}", whole[:-2] + trailer, lossy=True, reference=whole)
        scan = whole.rindex(b"\xff\xda") + 14
        for part in (0.1, 0.4, 0.7):
            cut = scan + int((len(whole) - 2 - scan) * part)
            for name, trailer in (
                ("nothing", b""),
                ("end", b"\xff\xd9"),
                ("zeros", bytes(3000)),
                ("picture", base),
                ("ones", b"\xff" * 3000),
            ):
                yield Variant(f"jpeg/cut-{kind}-{part}-{name}", whole[:cut] + trailer, refusal=";", must_refuse=True)
    for kind, whole in (("several", several), ("progressive", progressive)):
        last = whole.rindex(b"\xff\xda")
        for name, end in (("end", b"\xff\xd9"), ("nothing", b"")):
            yield Variant(f"jpeg/lacks-{kind}-{name}", whole[:last] + end, refusal=";", must_refuse=True)
        first = whole.index(b"\xff\xda")
        hole = whole[: first + 60] + whole[whole.index(b"\xff\xda", first + 60) :]
        yield Variant(f"jpeg/hole-{kind}", hole, refusal=";", must_refuse=True)
    tables = {
        "stray-before-sos": {"before_sos": b"\1\2\3stray"},
        "stray-escaped": {"before_sos": b"\xff\0\xff\0"},
        "fill": {"before_sos": b"\xff" * 7},
        "app-in-between": {"before_sos": segment(0xE5, b"x" * 30) + segment(0xFE, b"")},
        "dnl": {"before_sos": segment(0xDC, b"\0\x26")},
        "tem": {"before_sos": b"\xff\x01"},
    }
    for name, options in tables.items():
        for kind, more in (
            ("one", {}),
            ("several", {"scans": [(1,), (0,), (2,)], "between": options["before_sos"]}),
            ("progressive", {"sof": 0xC2, "progressive": script, "between": options["before_sos"]}),
        ):
            data = encode(picture_planes, factors, markers=JFIF, **options, **more)
            yield Variant(f"jpeg/{name}-{kind}", data, lossy=True, reference=base)
    app = segment(0xE4, b"abcdefghij")
    for name, marker in (
        ("long-app", app[:3] + bytes([app[3] + 6]) + app[4:] + b"123456"),
        ("short-app", app[:3] + bytes([app[3] - 5]) + app[4:]),
        ("empty-app", segment(0xE7, b"")),
        ("padded-app", b"\xff\xff\xff" + app),
    ):
        yield Variant(
            f"jpeg/{name}", encode(picture_planes, factors, markers=JFIF + marker), lossy=True, reference=base
        )
    yield Variant("jpeg/two-starts", b"\xff\xd8" + base, lossy=True, reference=base)
    for marker, reason in (
        (0xC3, "lossless"),
        (0xC9, "arithmetic"),
        (0xCA, "arithmetic"),
        (0xC5, "hierarchical"),
        (0xCB, "lossless"),
    ):
        yield Variant(
            f"jpeg/sof{marker:x}", encode(picture_planes, factors, sof=marker), refusal=reason, must_refuse=True
        )
    twelve = bytearray(base)
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    yield Variant("jpeg/12-bits", bytes(twelve), refusal="12 bits", must_refuse=True)
    dnl = bytearray(base)
    dnl[dnl.index(b"\xff\xc0") + 5 :][:2] = b"\0\0"
    at = dnl.index(b"\xff\xc0") + 5
    dnl[at : at + 2] = b"\0\0"
    yield Variant("jpeg/height-0", bytes(dnl), refusal="DNL", must_refuse=True)


SIZES_OF_TYPES = {
    1: "B",
    2: "c",
    3: "H",
    4: "I",
    5: "II",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    10: "ii",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    99: "I",
}


def tiff_header(
    order: str, *, type: int = 3, value: float = 6, count: int = 1, offset: int = 8, before: int = 0, extra: bytes = b""
) -> bytes:
    """An EXIF block whose first folder has an orientation, behind `before` other entries."""
    form = SIZES_OF_TYPES[type]
    one = (
        bytes([48 + int(value)])
        if type == 2
        else struct.pack(
            order + form, *((int(value), 1) if len(form) == 2 else [float(value) if form in "fd" else int(value)])
        )
    )
    values = one * count
    entries = [struct.pack(order + "HHI4s", 256 + i, 3, 1, struct.pack(order + "HH", 5, 0)) for i in range(before)]
    behind = offset + 2 + 12 * (before + 1) + 4
    field = values.ljust(4, b"\0") if len(values) <= 4 else struct.pack(order + "I", behind)
    entries.append(struct.pack(order + "HHI", 274, type, count) + field)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offset)
    block = head.ljust(offset, b"\xee") + struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return block + (values if len(values) > 4 else b"") + extra


def exif_forms() -> Iterator[tuple[str, bytes]]:
    for order, type in itertools.product("<>", (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 16, 99, 7)):
        yield f"{order}type{type}", tiff_header(order, type=type)
    for order, value in itertools.product("<>", (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 60000)):
        yield f"{order}value{value}", tiff_header(order, value=value)
    for order, count, type in itertools.product("<>", (0, 1, 2, 3, 9), (3, 4, 8)):
        yield f"{order}type{type}-count{count}", tiff_header(order, count=count, type=type, value=8)
    for order, offset, before in itertools.product("<>", (8, 10, 200), (0, 3)):
        yield f"{order}at{offset}-{before}", tiff_header(order, offset=offset, before=before, value=5)
    for name, head in (("MM*", b"MM*\0"), ("II*", b"II\0*"), ("XX", b"XX*\0")):
        yield f"head{name}", head + tiff_header("<" if head[0] == 73 else ">", value=3)[4:]
    whole = tiff_header("<", before=2)
    for cut in (0, 4, 9, 20, 34, 40, 46):
        yield f"cut{cut}", whole[:cut]
    yield "far", tiff_header("<")[:4] + struct.pack("<I", 60000) + tiff_header("<")[8:]
    yield "many", tiff_header("<")[:8] + struct.pack("<H", 900) + tiff_header("<")[10:]


XMP = {
    "attribute": '<rdf:Description tiff:Orientation="{}"/>',
    "element": "<tiff:Orientation>{}</tiff:Orientation>",
    "single": "<rdf:Description tiff:Orientation='{}'/>",
    "spaces": '<rdf:Description tiff:Orientation = "{}"/>',
    "two": '<a tiff:Orientation="{}" tiff:Orientation="3"/>',
    "ten": '<a tiff:Orientation="1{}"/>',
    "other": '<a exif:Orientation="{}"/>',
}
XAP = b"http://ns.adobe.com/xap/1.0/\0"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(image: Image.Image, before: bytes = b"", after: bytes = b"") -> bytes:
    data = saved(image, "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + before + data[at:-12] + after + data[-12:]


def webp(image: Image.Image, chunks: list[tuple[bytes, bytes]], flags: int) -> bytes:
    body = saved(image, "WEBP", lossless=True)[12:]
    head = bytes([flags, 0, 0, 0]) + struct.pack("<I", image.width - 1)[:3] + struct.pack("<I", image.height - 1)[:3]
    parts = [(b"VP8X", head)]
    data = b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in parts) + body
    data += b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def profile(kind: str, exif: bytes) -> bytes:
    text = exif.hex()
    lines = "\n".join(text[i : i + 72] for i in range(0, len(text), 72))
    return f"\n{kind}\n{len(exif):8}\n{lines}\n".encode()


def orientations() -> Iterator[Variant]:
    image = Image.fromarray(picture(14, 9))
    factors = [(1, 1)] * 3
    jpeg = lambda *markers: encode(planes(14, 9), factors, markers=b"".join(markers))  # noqa: E731
    for name, exif in exif_forms():
        prefixed = b"Exif\0\0" + exif
        yield Variant(f"orientation/jpeg-{name}", jpeg(segment(0xE1, prefixed)), lossy=True)
        yield Variant(f"orientation/png-{name}", png(image, chunk(b"eXIf", exif)))
        yield Variant(f"orientation/webp-{name}", webp(image, [(b"EXIF", exif)], 8))
        yield Variant(
            f"orientation/ztxt-{name}",
            png(image, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile("exif", prefixed)))),
        )
    exif, exif3 = tiff_header("<"), tiff_header(">", value=3)
    app = lambda data: segment(0xE1, b"Exif\0\0" + data)  # noqa: E731
    xap = lambda text: segment(0xE1, XAP + text.encode())  # noqa: E731
    for prefix in (b"Exif\0\0", b"Exif\0\0" * 2, b"Exif\0\0" * 3, b"exif\0\0", b"Exif\0"):
        yield Variant(f"orientation/png-prefix-{prefix!r}", png(image, chunk(b"eXIf", prefix + exif)))
        yield Variant(f"orientation/png-after-prefix-{prefix!r}", png(image, after=chunk(b"eXIf", prefix + exif)))
        yield Variant(f"orientation/webp-prefix-{prefix!r}", webp(image, [(b"EXIF", prefix + exif)], 8))
        yield Variant(f"orientation/jpeg-prefix-{prefix!r}", jpeg(segment(0xE1, prefix + exif)), lossy=True)
    yield Variant("orientation/jpeg-two", jpeg(app(exif), app(exif3)), lossy=True)
    yield Variant("orientation/jpeg-two-jfif", jpeg(JFIF, app(exif3), JFIF, app(exif)), lossy=True)
    long = tiff_header("<", offset=40000)
    yield Variant("orientation/jpeg-in-second", jpeg(app(long[:30000]), app(long[30000:])), lossy=True)
    yield Variant("orientation/jpeg-app2", jpeg(segment(0xE2, b"Exif\0\0" + exif)), lossy=True)
    yield Variant("orientation/webp-no-flag", webp(image, [(b"EXIF", exif)], 0))
    yield Variant("orientation/png-two", png(image, chunk(b"eXIf", exif) + chunk(b"eXIf", exif3)))
    for kind in ("exif", "APP1", "xmp"):
        text = profile(kind, b"Exif\0\0" + exif)
        key = f"Raw profile type {kind}\0".encode()
        for name, data in (
            ("text", chunk(b"tEXt", key + text)),
            ("ztxt", chunk(b"zTXt", key + b"\0" + zlib.compress(text))),
            ("itxt", chunk(b"iTXt", key + b"\0\0\0\0" + text)),
            ("itxtz", chunk(b"iTXt", key + b"\1\0en\0\0" + zlib.compress(text))),
        ):
            yield Variant(f"orientation/profile-{kind}-{name}", png(image, data))
            yield Variant(f"orientation/profile-{kind}-{name}-after", png(image, after=data))
            yield Variant(f"orientation/profile-{kind}-{name}-exif", png(image, data + chunk(b"eXIf", exif3)))
    for (name, text), value in itertools.product(XMP.items(), (0, 1, 3, 6, 8, 9)):
        text = f"<x:xmpmeta>{text.format(value)}</x:xmpmeta>"
        yield Variant(f"orientation/xmp-jpeg-{name}-{value}", jpeg(xap(text)), lossy=True)
        for kind, data in (
            ("itxt", b"\0\0\0\0" + text.encode()),
            ("itxtz", b"\1\0\0\0" + zlib.compress(text.encode())),
        ):
            yield Variant(
                f"orientation/xmp-png-{kind}-{name}-{value}", png(image, chunk(b"iTXt", b"XML:com.adobe.xmp\0" + data))
            )
        yield Variant(
            f"orientation/xmp-text-{name}-{value}", png(image, chunk(b"tEXt", b"XML:com.adobe.xmp\0" + text.encode()))
        )
        yield Variant(f"orientation/xmp-webp-{name}-{value}", webp(image, [(b"XMP ", text.encode())], 4))
        yield Variant(f"orientation/xmp-tiff-{name}-{value}", saved(image, "TIFF", tiffinfo={700: text.encode()}))
        yield Variant(f"orientation/xmp-and-exif-jpeg-{name}-{value}", jpeg(app(exif3), xap(text)), lossy=True)
        yield Variant(
            f"orientation/xmp-and-exif-1-jpeg-{name}-{value}",
            jpeg(xap(text), app(tiff_header(">", value=1))),
            lossy=True,
        )
    yield Variant(
        "orientation/xmp-jpeg-two", jpeg(xap(XMP["element"].format(6)), xap(XMP["element"].format(3))), lossy=True
    )
    for value in range(0, 10):
        yield Variant(f"orientation/tiff-{value}", saved(image, "TIFF", tiffinfo={274: value}))
        yield Variant(
            f"orientation/tiff-xmp-{value}",
            saved(image, "TIFF", tiffinfo={274: value, 700: XMP["attribute"].format(6).encode()}),
        )
