//! Reads time, place and camera of a photo from its EXIF data.
//!
//! Invalid values are left out, never guessed: a month 13, a latitude of 200 degrees, a fraction with denominator 0.
//! Each IFD is read once from its start, and nested IFDs are followed only as deep as EXIF defines, so the work is
//! bounded by the length of the data.

use super::ifd::{Field, Folder};
use crate::frame::origin::{self, Camera, MAX_TEXT, Origin, Place, Taken, Text};

/// Metres above and below the sea between which photos are taken.
const ALTITUDES: std::ops::RangeInclusive<f64> = -12_000.0..=100_000.0;

/// Reads the first IFD of a TIFF and the IFDs that it refers to.
pub fn origin(first: &Folder) -> Origin {
    let (mut make, mut model, mut serial) = (None, None, None);
    let (mut exif, mut gps, mut times) = (None, None, Times::default());
    for field in first.fields() {
        match field.tag {
            0x010F => keep(&mut make, text(&field)),
            0x0110 => keep(&mut model, text(&field)),
            0x0132 => keep(&mut times.0[2].date, Some(field)),
            0x8769 => keep(&mut exif, first.all_below(&field).next()),
            0x8825 => keep(&mut gps, first.all_below(&field).next()),
            // DNG files keep the serial number here.
            0xC62F => keep(&mut serial, text(&field)),
            _ => {}
        }
    }
    let mut body = None;
    for field in exif.iter().flat_map(Folder::fields) {
        let times = &mut times.0;
        let slot = match field.tag {
            0x9003 => &mut times[0].date,
            0x9004 => &mut times[1].date,
            0x9010 => &mut times[2].offset,
            0x9011 => &mut times[0].offset,
            0x9012 => &mut times[1].offset,
            0x9290 => &mut times[2].subsecond,
            0x9291 => &mut times[0].subsecond,
            0x9292 => &mut times[1].subsecond,
            0xA431 => {
                keep(&mut body, text(&field));
                continue;
            }
            _ => continue,
        };
        keep(slot, Some(field));
    }
    let serial = body.or(serial);
    let camera = (make.is_some() || model.is_some() || serial.is_some()).then_some(Camera { make, model, serial });
    Origin { taken: times.taken(), place: gps.and_then(|gps| place(&gps)), camera }
}

/// The first of several counts.
fn keep<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

/// The three dates of EXIF in order of preference: taken, digitised, changed.
#[derive(Default)]
struct Times<'a>([Time<'a>; 3]);

/// A date with its own sub-second and offset.
#[derive(Default)]
struct Time<'a> {
    date: Option<Field<'a>>,
    subsecond: Option<Field<'a>>,
    offset: Option<Field<'a>>,
}

impl Times<'_> {
    /// The first valid date.
    fn taken(&self) -> Option<Taken> {
        self.0.iter().find_map(|time| {
            let date = text(time.date.as_ref()?)?;
            // Some programs append fraction and offset to the date.
            let (moment, rest) = date.split_at_checked(19)?;
            let split = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
            let (fraction, zone) = rest.split_at(split);
            let fraction = fraction.strip_prefix('.').map(str::trim_end);
            let (subsecond, offset) = (time.subsecond.as_ref().and_then(text), time.offset.as_ref().and_then(text));
            let offset = offset.and_then(|text| origin::offset(&text)).or_else(|| origin::offset(zone));
            Some(Taken::parse(moment)?.with(subsecond.as_deref().map(str::trim).or(fraction), offset))
        })
    }
}

/// The place in the folder of GPS. A coordinate without its direction is none.
fn place(gps: &Folder) -> Option<Place> {
    let mut fields: [Option<Field>; 7] = Default::default();
    for field in gps.fields() {
        if let Some(slot) = fields.get_mut(usize::from(field.tag)) {
            keep(slot, Some(field));
        }
    }
    let [_, north, latitude, east, longitude, below, altitude] = &fields;
    let degrees = |value: &Option<Field>, reference: &Option<Field>, plus: u8, minus: u8, most: f64| {
        let sign = match text(reference.as_ref()?)?.as_bytes().first()?.to_ascii_uppercase() {
            letter if letter == plus => 1.0,
            letter if letter == minus => -1.0,
            _ => return None,
        };
        let degrees = degrees(value.as_ref()?)?;
        (degrees <= most).then_some(sign * degrees)
    };
    let latitude = degrees(latitude, north, b'N', b'S', 90.0)?;
    let longitude = degrees(longitude, east, b'E', b'W', 180.0)?;
    // 0 and 2 mean above sea level (or the ellipsoid), 1 and 3 below. Without the field: above.
    let sign = match below.as_ref().map(|field| field.data[0]) {
        None | Some(0 | 2) => Some(1.0),
        Some(1 | 3) => Some(-1.0),
        Some(_) => None,
    };
    let altitude = altitude.as_ref().and_then(|field| field.number(0)).zip(sign);
    let altitude = altitude.map(|(metres, sign)| metres * sign).filter(|metres| ALTITUDES.contains(metres));
    Some(Place { latitude, longitude, altitude })
}

/// Converts degrees, minutes and seconds to degrees. Minutes and seconds are optional.
fn degrees(field: &Field) -> Option<f64> {
    let count = field.count().min(3);
    let mut sum = 0.0;
    for (index, unit) in [1.0, 60.0, 3600.0].into_iter().enumerate().take(count) {
        let value = field.number(index)?;
        // Cameras round up to 60.
        if value < 0.0 || (index > 0 && value > 60.0) {
            return None;
        }
        sum += value / unit;
    }
    (count > 0).then_some(sum)
}

/// The text of a field up to its first 0, trimmed; `None` if empty. Bytes that are not UTF-8 are read as Latin-1, and
/// control characters are left out.
fn text(field: &Field) -> Option<Text> {
    let data = field.data.split(|b| *b == 0).next().unwrap_or_default();
    // Four times the limit, to leave room for blanks.
    let data = &data[..data.len().min(4 * MAX_TEXT)];
    let mut kept = Text::new();
    let mut push = |c: char| !c.is_control() && (!kept.is_empty() || !c.is_whitespace()) && kept.push(c).is_err();
    match std::str::from_utf8(data) {
        Ok(text) => text.chars().any(&mut push),
        Err(_) => data.iter().map(|b| char::from(*b)).any(&mut push),
    };
    kept.truncate(kept.trim_end().len());
    (!kept.is_empty()).then_some(kept)
}
