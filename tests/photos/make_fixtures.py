"""Makes the small photos beside this file, and what Pillow decodes them to: `python make_fixtures.py`.

`NAME` is an encoded photo, `NAME.ppm` its upright RGB pixels as the training code reads them. `huge/` holds headers
that promise 20 000 x 20 000 pixels.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))
from tests import photo_formats, photo_variants  # noqa: E402
from tests.jpeg_encoder import encode, segment  # noqa: E402

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 37, 29
ORIENTATION = 0x0112


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Slopes of colour, a bright disc, a dark bar: no two corners alike."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([255 * x / width, 255 * y / height, 255 * (1 - (x + y) / (width + height))], -1)
    rgb[(x - width * 0.3) ** 2 + (y - height * 0.35) ** 2 < (height * 0.2) ** 2] = (250, 240, 120)
    rgb[int(height * 0.7) : int(height * 0.8), int(width * 0.5) :] = (20, 10, 60)
    return Image.fromarray(rgb.round().astype(np.uint8))


def alpha() -> Image.Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(((x * 7 + y * 3) % 256).astype(np.uint8))


def png(pixels: np.ndarray, color_type: int) -> bytes:
    """A 16-bit PNG, which Pillow writes only in grey."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def lying(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera stores it that says `orientation`: undoes what setting upright does."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(undo[orientation]) if orientation in undo else image


def ycck(image: Image.Image) -> bytes:
    """A JPEG as Adobe writes CMYK: inverted, its first three channels turned to YCbCr, marked so."""
    inverted = Image.merge("CMYK", [c.point(lambda v: 255 - v) for c in image.convert("CMYK").split()])
    c, m, y, k = inverted.split()
    # In the marker's terms: YCbCr of (255 - C, 255 - M, 255 - Y), and K as it is.
    luma = Image.merge("RGB", [b.point(lambda v: 255 - v) for b in (c, m, y)]).convert("YCbCr").split()
    channels = Image.merge("CMYK", [b.point(lambda v: 255 - v) for b in (*luma, k)])
    buffer = io.BytesIO()
    channels.save(buffer, "JPEG", quality=95, subsampling=0)
    data = bytearray(buffer.getvalue())
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    return bytes(data)


def fixtures() -> dict[str, bytes]:
    rgb = picture()
    gray = rgb.convert("L")
    rgba = rgb.copy()
    rgba.putalpha(alpha())
    palette = rgb.quantize(32)
    wide = np.asarray(rgb, np.uint16) * 257 ^ 0x5A  # the lower bytes differ from the upper ones
    found: dict[str, bytes] = {}

    def save(name: str, image: Image.Image, **options) -> None:
        buffer = io.BytesIO()
        kind = {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM", "pgm": "PPM"}.get(name.rsplit(".", 1)[1], None)
        image.save(buffer, kind or name.rsplit(".", 1)[1].upper(), **options)
        found[name] = buffer.getvalue()

    save("baseline.jpg", rgb, quality=95, subsampling=0)
    save("subsampled.jpg", rgb, quality=90, subsampling=2)
    save("subsampled-422.jpg", rgb, quality=90, subsampling=1)
    save("progressive.jpg", rgb, quality=90, progressive=True)
    save("restart.jpg", rgb, quality=90, restart_marker_blocks=2)
    save("gray.jpg", gray, quality=95)
    save("gray-progressive.jpg", gray, quality=95, progressive=True)
    save("cmyk.jpg", rgb.convert("CMYK"), quality=95)
    found["ycck.jpg"] = ycck(rgb)
    save("rgb.png", rgb)
    save("rgba.png", rgba)
    save("gray.png", gray)
    save("gray-alpha.png", Image.merge("LA", (gray, alpha())))
    save("bilevel.png", rgb.convert("1"))
    save("palette.png", palette)
    save("palette-transparent.png", palette, transparency=3)
    save("gray16.png", Image.fromarray(wide[:, :, 0]))
    found["rgb16.png"] = png(wide, 2)
    found["rgba16.png"] = png(np.dstack([wide, np.asarray(alpha(), np.uint16) * 257]), 6)
    save("two-frames.gif", palette, save_all=True, append_images=[rgb.transpose(Image.Transpose.ROTATE_180).quantize(32)])
    save("lossless.webp", rgb, lossless=True)
    save("lossless-alpha.webp", rgba, lossless=True, exact=True)
    save("lossy.webp", rgb, quality=90)
    save("two-frames.webp", rgb, save_all=True, append_images=[ImageOps.invert(rgb)], lossless=True)
    save("rgb.bmp", rgb)
    save("palette.bmp", palette)
    save("plain.tif", rgb)
    save("lzw.tif", rgb, compression="tiff_lzw")
    save("rgb.ppm", rgb)
    save("gray.pgm", gray)

    small = picture(14, 9)
    for orientation in range(1, 9):
        stored = lying(small, orientation)
        save(f"orientation-{orientation}.jpg", stored, quality=95, subsampling=0, exif=exif(orientation))
    save("orientation-6.png", lying(small, 6), exif=exif(6))
    save("orientation-6.webp", lying(small, 6), lossless=True, exif=exif(6))
    save("orientation-6.tif", lying(small, 6), tiffinfo={ORIENTATION: 6})
    found |= by_own_encoder() | oriented(small) | other_layouts()
    save("pixel.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    save("pixel.jpg", Image.new("RGB", (1, 1), (200, 100, 50)), quality=95, subsampling=0)
    return found


def by_own_encoder() -> dict[str, bytes]:
    """JPEGs of kinds that Pillow reads and does not write."""
    width, height = 45, 38
    planes = [np.asarray(c, float) for c in picture(width, height).convert("YCbCr").split()]
    half, same, finer = [(2, 2), (1, 1), (1, 1)], [(1, 1)] * 3, [(1, 1), (2, 2), (2, 2)]
    scans = [(0,), (1,), (2,)]
    dc_first = [((0, 1, 2), 0, 0), ((2,), 1, 63), ((1,), 1, 63), ((0,), 1, 8), ((0,), 9, 63)]
    jfif, adobe = photo_variants.JFIF, photo_variants.adobe
    stray = b"\x01stray\xff\x00"
    inks = [np.asarray(c, float) for c in picture(width, height).convert("CMYK").split()]
    return {
        "scans.jpg": encode(planes, half, scans=scans),
        "scans-luma-last.jpg": encode(planes, half, scans=[(2,), (1,), (0,)], restart=2),
        "scans-of-two.jpg": encode(planes, [(2, 1), (1, 1), (1, 1)], scans=[(0,), (1, 2)], restarts=[3, 2]),
        "luma-coarse.jpg": encode(planes, finer),
        "luma-coarse-scans.jpg": encode(planes, [(1, 2), (2, 2), (2, 2)], scans=scans),
        "sampled-by-4.jpg": encode(planes, [(4, 1), (1, 1), (1, 1)], restart=1),
        "sampled-by-3.jpg": encode(planes, [(3, 2), (1, 1), (1, 1)]),
        "sampled-oddly.jpg": encode(planes, [(2, 2), (2, 1), (1, 2)]),
        "progressive-odd.jpg": encode(planes, finer, sof=0xC2, progressive=dc_first, between=stray),
        "jfif-before-adobe.jpg": encode(planes, same, markers=jfif + adobe(0)),
        "adobe-rgb.jpg": encode(planes, same, markers=adobe(0)),
        "names-rgb.jpg": encode(planes, same, ids=b"RGB"),
        "names-rgb-jfif.jpg": encode(planes, same, ids=b"RGB", markers=jfif),
        "adobe-short.jpg": encode(planes, half, markers=segment(0xEE, b"Adobe\0\x64")),
        "stray.jpg": encode(planes, half, markers=jfif, before_sos=stray),
        "gray-factors.jpg": encode(planes[:1], [(2, 3)], restart=4),
        "inks-sampled.jpg": encode(inks, [(2, 2), (1, 1), (1, 1), (2, 2)], markers=adobe(2)),
    }


def oriented(image: Image.Image) -> dict[str, bytes]:
    """Photos that say in rarer ways which way up they are."""
    planes = [np.asarray(c, float) for c in image.convert("YCbCr").split()]
    tiff, xmp = photo_variants.tiff_header, photo_variants.XMP
    app = lambda *parts: encode(planes, [(1, 1)] * 3, markers=b"".join(segment(0xE1, part) for part in parts))  # noqa: E731
    exif = lambda data: b"Exif\0\0" + data  # noqa: E731
    xap = lambda text: photo_variants.XAP + text.encode()  # noqa: E731
    png = lambda *chunks: photo_variants.png(image, b"".join(chunk(kind, data) for kind, data in chunks))  # noqa: E731
    profile = photo_variants.profile("exif", exif(tiff("<")))
    key = b"Raw profile type exif\0"
    packed = zlib.compress(profile)
    return {
        "orientation-long.jpg": app(exif(tiff("<", type=4))),
        "orientation-signed.jpg": app(exif(tiff(">", type=8))),
        "orientation-signed-long.jpg": app(exif(tiff("<", type=9, value=5))),
        "orientation-byte.jpg": app(exif(tiff("<", type=1))),
        "orientation-three.jpg": app(exif(tiff(">", type=4, count=3, value=8))),
        "orientation-far.jpg": app(exif(tiff("<", offset=300, before=2))),
        "orientation-two-segments.jpg": app(exif(tiff("<")), exif(tiff(">", value=3))),
        "orientation-xmp-attribute.jpg": app(xap(xmp["attribute"].format(6))),
        "orientation-xmp-element.jpg": app(xap(xmp["element"].format(8))),
        "orientation-xmp-and-exif.jpg": app(xap(xmp["element"].format(8)), exif(tiff("<", value=3))),
        "orientation-prefix.png": png((b"eXIf", exif(tiff("<")))),
        "orientation-text.png": png((b"tEXt", key + profile)),
        "orientation-ztxt.png": png((b"zTXt", key + b"\0" + packed)),
        "orientation-itxt.png": png((b"iTXt", key + b"\1\0\0\0" + packed)),
        "orientation-xmp.png": png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp["attribute"].format(5).encode())),
        "orientation-prefix.webp": photo_variants.webp(image, [(b"EXIF", exif(tiff("<")))], 8),
        "orientation-xmp.webp": photo_variants.webp(image, [(b"XMP ", xmp["element"].format(6).encode())], 4),
        "orientation-xmp.tif": photo_variants.saved(image, "TIFF", tiffinfo={700: xmp["attribute"].format(6).encode()}),
    }


def other_layouts() -> dict[str, bytes]:
    """One of each layout of TIFF, GIF and BMP that needs code of its own."""
    wanted = {
        "palette.tif": "tiff/little-False-False-one-3-8x1", "palette-4-bits.tif": "tiff/little-False-False-tiles-3-4x1",
        "big.tif": "tiff/little-True-False-strips-2-8x3", "big-palette.tif": "tiff/little-True-False-one-3-2x1",
        "planes.tif": "tiff/little-False-True-strips-2-8x3", "tiles-spare.tif": "tiff/little-False-False-tiles-2-8x4",
        "inks.tif": "tiff/little-False-False-strips-5-8x4",
        "no-screen.gif": "gif/(0, 0)-(0, 0)-(9, 7)-None-False-0-False", "small-screen.gif": "gif/(4, 3)-(0, 0)-(9, 7)-None-False-0-True",
        "in-a-corner.gif": "gif/(12, 10)-(2, 3)-(9, 7)-3-True-5-False", "few-colors.gif": "gif/colors4",
        "interlaced-2-bits.png": "png/color3-2-13x9-True-True",
    }
    variants = {v.name: v.data for part in (photo_formats.tiffs, photo_formats.gifs, photo_formats.pngs) for v in part()}
    return {name: variants[variant] for name, variant in wanted.items()}


def decoded(data: bytes) -> Image.Image:
    """As the training code reads a photo."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def huge(found: dict[str, bytes]) -> dict[str, bytes]:
    side = 20_000
    jpg = bytearray(found["baseline.jpg"])
    frame = jpg.index(b"\xff\xc0")
    jpg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    bmp = bytearray(found["rgb.bmp"])
    bmp[18:26] = struct.pack("<ii", side, side)
    gif = bytearray(found["two-frames.gif"])
    gif[6:10] = struct.pack("<HH", side, side)
    # No WebP: its sides end at 16 384.
    tif = found["plain.tif"]
    # Width, height, and rows in the only strip.
    for tag, value in (256, WIDTH), (257, HEIGHT), (278, HEIGHT):
        entry = next(e for e in (struct.pack("<HHIHH", tag, t, 1, value, 0) for t in (3, 4)) if e in tif)
        tif = tif.replace(entry, struct.pack("<HHIHH", tag, 4, 1, side, 0))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    whole = found["rgb.png"]
    return {
        "huge.jpg": bytes(jpg),
        "huge.png": whole[:8] + chunk(b"IHDR", header) + whole[33:],
        "huge.bmp": bytes(bmp),
        "huge.gif": bytes(gif),
        "huge.tif": tif,
        "huge.ppm": b"P6 20000 20000 255\n" + bytes(100),
    }


def main() -> None:
    found = fixtures()
    for name, data in found.items():
        (FOLDER / name).write_bytes(data)
        decoded(data).save(FOLDER / f"{name}.ppm")
    (FOLDER / "huge").mkdir(exist_ok=True)
    for name, data in huge(found).items():
        (FOLDER / "huge" / name).write_bytes(data)
    print(f"{len(found)} photos by Pillow {PIL.__version__}")


if __name__ == "__main__":
    main()
