//! `--attention OUT.png`: draws where the network looked over the photo.

use std::io::Cursor;
use std::path::Path;

use image::{ImageBuffer, ImageFormat, Rgb, RgbImage, imageops};
use oltr::bundle::Preprocess;
use oltr::model::Attention;
use oltr::preprocess::Placement;
use oltr::{Error, Frame, Model, Result, atomic};

/// Longest side of the overlay in pixels.
const MAX_SIDE: u32 = 1024;

/// Opacity of the overlay at the largest attention.
const OPACITY: f32 = 0.75;

/// Brightness of the margins that preprocessing crops.
const UNSEEN: f32 = 0.35;

/// Colours from no attention to the largest, dark to bright so that they also read in grey.
const RAMP: [[f32; 3]; 4] = [[20.0, 20.0, 80.0], [140.0, 40.0, 130.0], [230.0, 100.0, 50.0], [255.0, 235.0, 90.0]];

/// Refuses a model without the output, before anything is computed.
///
/// # Errors
/// [`Error::BadModel`].
pub fn check(model: &Model) -> Result<()> {
    if model.outputs().iter().any(|port| port.name == "attention") {
        return Ok(());
    }
    let reason = "the graph has no output 'attention'; export the bundle with it, or leave out --attention".into();
    Err(Error::BadModel { model: model.name().into(), reason })
}

/// Writes `photo` with `attention` over it as a PNG, atomically.
///
/// # Errors
/// [`Error::Io`], [`Error::NotFound`] for the file; [`Error::Internal`] for a map that does not fit its size.
pub fn write(path: &Path, photo: &Frame, attention: &Attention, preprocess: &Preprocess) -> Result<()> {
    let internal = |reason: String| Error::Internal(format!("the attention cannot be drawn: {reason}"));
    let picture: ImageBuffer<Rgb<u8>, &[u8]> = ImageBuffer::from_raw(photo.width(), photo.height(), photo.data())
        .ok_or_else(|| internal("the photo is not of 3 bytes a pixel".into()))?;
    let longer = photo.width().max(photo.height());
    let small = |side: u32| (u64::from(side) * u64::from(MAX_SIDE) / u64::from(longer)).max(1) as u32;
    let mut canvas = if longer > MAX_SIDE {
        imageops::thumbnail(&picture, small(photo.width()), small(photo.height()))
    } else {
        RgbImage::from_fn(photo.width(), photo.height(), |x, y| *picture.get_pixel(x, y))
    };
    let placement = Placement::new(preprocess, photo.width(), photo.height())?;
    let scale = (photo.width() as f32 / canvas.width() as f32, photo.height() as f32 / canvas.height() as f32);
    lay_over(&mut canvas, attention, &placement, preprocess.size as f32, scale);
    let mut png = Cursor::new(Vec::new());
    canvas.write_to(&mut png, ImageFormat::Png).map_err(|e| internal(e.to_string()))?;
    atomic::write(path, png.get_ref())
}

/// Colours each pixel of `canvas`, which covers `scale` × `scale` pixels of the photo.
fn lay_over(canvas: &mut RgbImage, attention: &Attention, placement: &Placement, size: f32, scale: (f32, f32)) {
    let (low, high) = attention.weights.iter().fold((f32::MAX, f32::MIN), |(l, h), w| (l.min(*w), h.max(*w)));
    let range = if high > low { high - low } else { 1.0 };
    let source = placement.source;
    for (x, y, pixel) in canvas.enumerate_pixels_mut() {
        let (px, py) = ((x as f32 + 0.5) * scale.0, (y as f32 + 0.5) * scale.1);
        if px < source.left || px > source.right || py < source.top || py > source.bottom {
            pixel.0 = pixel.0.map(|c| (f32::from(c) * UNSEEN) as u8);
            continue;
        }
        // From the photo to the input, which the map covers.
        let u = placement.x as f32 + (px - source.left) / (source.right - source.left) * placement.width as f32;
        let v = placement.y as f32 + (py - source.top) / (source.bottom - source.top) * placement.height as f32;
        let weight = (bilinear(attention, u / size, v / size) - low) / range;
        let color = ramp(weight);
        let opacity = OPACITY * weight.sqrt();
        for (c, over) in pixel.0.iter_mut().zip(color) {
            *c = (f32::from(*c) * (1.0 - opacity) + over * opacity).round() as u8;
        }
    }
}

/// The weight at (u, v), each 0..1 over the map, between its cells' centres.
fn bilinear(map: &Attention, u: f32, v: f32) -> f32 {
    let axis = |t: f32, n: usize| {
        let t = (t * n as f32 - 0.5).clamp(0.0, (n - 1) as f32);
        let low = t.floor() as usize;
        (low, (low + 1).min(n - 1), t.fract())
    };
    let ((x0, x1, fx), (y0, y1, fy)) = (axis(u, map.width), axis(v, map.height));
    let at = |x: usize, y: usize| map.weights[y * map.width + x];
    let row = |y: usize| at(x0, y) * (1.0 - fx) + at(x1, y) * fx;
    row(y0) * (1.0 - fy) + row(y1) * fy
}

fn ramp(weight: f32) -> [f32; 3] {
    let t = weight.clamp(0.0, 1.0) * (RAMP.len() - 1) as f32;
    let (low, part) = ((t as usize).min(RAMP.len() - 2), t.fract());
    let part = if t as usize >= RAMP.len() - 1 { 1.0 } else { part };
    std::array::from_fn(|c| RAMP[low][c] * (1.0 - part) + RAMP[low + 1][c] * part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oltr::bundle::Resize;
    use oltr::{Geometry, Limits, PixelFormat};

    fn attention() -> Attention {
        Attention { height: 2, width: 2, weights: vec![0.7, 0.1, 0.1, 0.1] }
    }

    fn preprocess(resize: Resize) -> Preprocess {
        Preprocess { size: 8, resize, resize_to: None, mean: [0.0; 3], std: [1.0; 3], pad_color: None }
    }

    fn overlay(width: u32, height: u32, resize: Resize) -> RgbImage {
        let mut frame = Frame::default();
        let geometry = Geometry::new(PixelFormat::Rgb24, width, height);
        frame.reshape(geometry, &Limits::default()).unwrap().fill(128);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write(&path, &frame, &attention(), &preprocess(resize)).unwrap();
        image::open(&path).unwrap().to_rgb8()
    }

    #[test]
    fn the_bright_cell_is_where_the_weight_is() {
        let picture = overlay(40, 20, Resize::Stretch);
        assert_eq!(picture.dimensions(), (40, 20));
        let red = |x, y| picture.get_pixel(x, y).0[0];
        assert!(red(2, 2) > 200, "{}", red(2, 2));
        for (x, y) in [(37, 2), (2, 17), (37, 17)] {
            assert_eq!(picture.get_pixel(x, y).0, [128; 3], "{x} {y}");
        }
    }

    #[test]
    fn what_the_network_does_not_see_is_dark() {
        let picture = overlay(40, 20, Resize::ShorterSide);
        for x in [0, 9, 30, 39] {
            assert_eq!(picture.get_pixel(x, 10).0, [44; 3], "{x}");
        }
        assert!(picture.get_pixel(11, 2).0[0] > 200);
    }

    #[test]
    fn large_photos_become_small_overlays() {
        assert_eq!(overlay(4000, 2, Resize::Pad).dimensions(), (1024, 1));
    }

    #[test]
    fn weights_are_interpolated_between_centres() {
        let map = attention();
        assert_eq!(bilinear(&map, 0.0, 0.0), 0.7);
        assert_eq!(bilinear(&map, 0.25, 0.25), 0.7);
        assert!((bilinear(&map, 0.5, 0.25) - 0.4).abs() < 1e-6);
        assert!((bilinear(&map, 0.5, 0.5) - 0.25).abs() < 1e-6);
        assert_eq!(bilinear(&map, 1.0, 1.0), 0.1);
    }
}
