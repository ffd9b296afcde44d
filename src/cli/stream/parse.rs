//! Values on the command line that several options have.

use oltr::Rect;

/// A part of a frame.
pub fn region(text: &str) -> Result<Rect, String> {
    let numbers: Option<Vec<u32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[x, y, width, height]) if width > 0 && height > 0 => Ok(Rect { x, y, width, height }),
        _ => Err("a region is written as X,Y,W,H in pixels, 320,0,640,720 for one".into()),
    }
}

/// Times a second.
pub fn rate(text: &str) -> Result<f64, String> {
    // For less than one frame per day, a duration is the better option.
    match text.parse::<f64>() {
        Ok(fps) if (1e-5..=1e6).contains(&fps) => Ok(fps),
        _ => Err("frames a second: 5, or 0.2 for one in five seconds".into()),
    }
}
