//! Which decoder reads a JPEG. Its headers decide, before anything is decoded.

use super::header::{Color, Header, Survey};

/// A decoder of JPEG pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The fast decoder, which reads what cameras and programs commonly write.
    Fast,
    /// The decoder of every kind.
    AnyKind,
}

/// The decoder of the picture that `survey` describes.
///
/// The fast decoder is given what it was compared on with libjpeg, and nothing else: one scan of all components in their
/// order; gray, or colour whose luma is sampled once or twice as often as its chroma, or four components sampled alike;
/// coded data that ends with a marker. Of other kinds it refuses some, and of some it makes a picture that is wrong: luma
/// sampled more coarsely than chroma, sequential scans one after another, YCbCr whose components are called R, G and B,
/// what lacks data before a restart marker or at the end of a progressive scan.
pub fn route(survey: &Survey) -> Route {
    let header = &survey.header;
    match survey.one_scan && !survey.restarts && survey.ends && common_sampling(header) && common_names(header) {
        true => Route::Fast,
        false => Route::AnyKind,
    }
}

fn common_sampling(header: &Header) -> bool {
    let factors = |place: usize| (header.components[place].h, header.components[place].v);
    match header.color() {
        Color::Gray => factors(0) == (1, 1),
        Color::YCbCr | Color::Rgb => {
            matches!(factors(0), (1, 1) | (2, 1) | (1, 2) | (2, 2)) && factors(1) == (1, 1) && factors(2) == (1, 1)
        }
        Color::Cmyk | Color::Ycck => (0..4).all(|place| factors(place) == (1, 1)),
    }
}

/// Whether names of components say no more than the markers do.
fn common_names(header: &Header) -> bool {
    header.color() != Color::YCbCr || !header.components.iter().map(|c| c.id).eq(*b"RGB")
}
