//! What part of a frame shows a thing.

use oltr_scenes::Area;

use crate::frame::Rect;

/// The part of a frame of this size that shows `area` and `margin` of its sides around it; `None` where nothing of the area
/// lies in the frame.
pub fn cut_of(area: Area, margin: f32, width: u32, height: u32) -> Option<Rect> {
    if area.clipped(width, height).is_empty() {
        return None;
    }
    // Rounded to whole pixels.
    let around = |side: u32| (f64::from(side) * f64::from(margin) + 0.5) as u32;
    let (dx, dy) = (around(area.width), around(area.height));
    let wider = Area {
        x: area.x.saturating_sub_unsigned(dx),
        y: area.y.saturating_sub_unsigned(dy),
        width: area.width.saturating_add(dx.saturating_mul(2)),
        height: area.height.saturating_add(dy.saturating_mul(2)),
    };
    let Area { x, y, width, height } = wider.clipped(width, height);
    Some(Rect { x: x as u32, y: y as u32, width, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_shows_a_margin_and_ends_with_the_frame() {
        let of = |x, y, width, height| cut_of(Area { x, y, width, height }, 0.25, 100, 80);
        assert_eq!(of(40, 30, 8, 16), Some(Rect { x: 38, y: 26, width: 12, height: 24 }));
        assert_eq!(of(-2, 70, 20, 20), Some(Rect { x: 0, y: 65, width: 23, height: 15 }));
        assert_eq!(of(0, 0, 100, 80), Some(Rect { x: 0, y: 0, width: 100, height: 80 }));
        for nothing in [(100, 0, 9, 9), (0, -9, 9, 9), (5, 5, 0, 9), (i32::MAX, 0, u32::MAX, 9)] {
            assert_eq!(of(nothing.0, nothing.1, nothing.2, nothing.3), None, "{nothing:?}");
        }
        assert_eq!(cut_of(Area { x: i32::MIN, y: 0, width: u32::MAX, height: 9 }, 2.0, 100, 80).map(|r| r.x), Some(0));
    }
}
