//! Origin of a photo by its EXIF data: time, place and camera.
//!
//! The types serialise to the objects `taken`, `place` and `camera` of oltr's JSON lines.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

/// Most bytes of an EXIF text: names of cameras and serial numbers are shorter.
pub const MAX_TEXT: usize = 64;

/// A text of EXIF, without control characters and of bounded length.
pub type Text = heapless::String<MAX_TEXT>;

/// Most digits of a fraction of a second.
pub const MAX_SUBSECOND: usize = 9;

/// Origin of a photo. All fields are `None` for a frame that is not a photo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// When it was taken.
    pub taken: Option<Taken>,
    /// Place.
    pub place: Option<Place>,
    /// Camera.
    pub camera: Option<Camera>,
}

/// Date and time of day by a camera's clock, with the UTC offset if the camera records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    /// Digits of the fraction of the second, as the camera wrote them.
    pub(crate) subsecond: Option<heapless::String<MAX_SUBSECOND>>,
    /// Minutes that local time is ahead of UTC.
    pub(crate) offset: Option<i16>,
}

/// A place on the globe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Degrees, north positive, -90..=90.
    pub latitude: f64,
    /// Degrees, east positive, -180..=180.
    pub longitude: f64,
    /// Metres above sea level.
    pub altitude: Option<f64>,
}

// Its numbers are finite: the code that creates one checks their range.
impl Eq for Place {}

/// The camera. At least one text is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Camera {
    /// Who made the camera.
    pub make: Option<Text>,
    /// The model's name.
    pub model: Option<Text>,
    /// The number of its body.
    pub serial: Option<Text>,
}

impl Taken {
    /// Parses `2024-05-01T06:12:33`, or EXIF's form `2024:05:01 06:12:33`. `None` if invalid.
    pub fn parse(text: &str) -> Option<Taken> {
        let (date, time) = text.split_at_checked(10)?;
        let (between, time) = time.split_at_checked(1)?;
        let digits = |text: &str| -> Option<u16> {
            let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if all { text.parse().ok() } else { None }
        };
        let three = |text: &str, marks: [u8; 2], first: usize| -> Option<[u16; 3]> {
            let bytes = text.as_bytes();
            let marked =
                bytes.get(first).is_some_and(|b| marks.contains(b)) && bytes.get(first + 3) == bytes.get(first);
            let part = |from: usize, to: usize| digits(text.get(from..to)?);
            if marked {
                Some([part(0, first)?, part(first + 1, first + 3)?, part(first + 4, first + 6)?])
            } else {
                None
            }
        };
        if time.len() != 8 || !matches!(between, " " | "T") {
            return None;
        }
        let [year, month, day] = three(date, [b':', b'-'], 4)?;
        let [hour, minute, second] = three(time, [b':', b':'], 2)?;
        let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(|n| n as u8);
        let sound = year >= 1
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        sound.then_some(Taken { year, month, day, hour, minute, second, subsecond: None, offset: None })
    }

    /// Adds the fraction of a second with these `digits`, and `offset` minutes ahead of UTC. Ignores invalid digits.
    pub fn with(mut self, digits: Option<&str>, offset: Option<i16>) -> Taken {
        let sound = |digits: &&str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // Digits beyond a clock's precision carry no information.
        self.subsecond = digits.filter(sound).and_then(|d| d[..d.len().min(MAX_SUBSECOND)].parse().ok());
        self.offset = offset;
        self
    }

    /// Digits of the fraction of the second, as the camera wrote them.
    pub fn subsecond(&self) -> Option<&str> {
        self.subsecond.as_deref()
    }

    /// Minutes that the camera's clock is ahead of UTC, if recorded.
    pub fn offset_minutes(&self) -> Option<i16> {
        self.offset
    }

    /// Milliseconds since 1970 of the date and time, read as UTC.
    pub fn local_ms(&self) -> i64 {
        let days = days_since_1970(self.year, self.month, self.day);
        let seconds =
            days * 86_400 + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let digit = |at: usize| self.subsecond.as_ref().and_then(|d| d.as_bytes().get(at)).map_or(0, |b| b - b'0');
        seconds * 1000 + i64::from(digit(0)) * 100 + i64::from(digit(1)) * 10 + i64::from(digit(2))
    }

    /// Milliseconds since 1970 in UTC, if the offset is known.
    pub fn utc_ms(&self) -> Option<i64> {
        self.offset.map(|offset| self.local_ms() - i64::from(offset) * 60_000)
    }
}

/// Parses a UTC offset to minutes: `+02:00`, `+0200`, `-03:30` or `Z`. `None` if invalid.
pub fn offset(text: &str) -> Option<i16> {
    let text = text.trim();
    if text == "Z" {
        return Some(0);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None => digits.split_at_checked(2)?,
    };
    let number = |text: &str, lengths: std::ops::RangeInclusive<usize>| -> Option<i16> {
        let sound = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if sound { text.parse().ok() } else { None }
    };
    let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
    // No zone is further from UTC.
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= 14 * 60).then_some(sign * total)
}

/// Formats `minutes` ahead of UTC as `+02:00`.
pub fn offset_text(minutes: i16) -> heapless::String<8> {
    let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.unsigned_abs());
    // Any number of minutes fits into eight bytes.
    heapless::format!("{sign}{:02}:{:02}", minutes / 60 % 100, minutes % 60).unwrap_or_default()
}

/// Days of a month.
fn days_of(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to a date of the Gregorian calendar.
fn days_since_1970(year: u16, month: u8, day: u8) -> i64 {
    // Years begin in March here, so that the leap day comes last.
    let (year, month) = (i64::from(year) - i64::from(month <= 2), (i64::from(month) + 9) % 12);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl fmt::Display for Taken {
    /// As `2024-05-01T06:12:33`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taken { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

impl Serialize for Taken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Taken", 3)?;
        // 19 bytes, of years up to 65535 20.
        let time: heapless::String<20> = heapless::format!("{self}").unwrap_or_default();
        object.serialize_field("time", time.as_str())?;
        object.serialize_field("offset", &self.offset.map(offset_text).as_deref())?;
        object.serialize_field("subsecond", &self.subsecond.as_deref())?;
        object.end()
    }
}

impl Serialize for Camera {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Camera", 3)?;
        object.serialize_field("make", &self.make.as_deref())?;
        object.serialize_field("model", &self.model.as_deref())?;
        object.serialize_field("serial", &self.serial.as_deref())?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_parsed_or_refused() {
        let said = |text: &str| Taken::parse(text).map(|taken| taken.to_string());
        assert_eq!(said("2024:05:01 06:12:33").as_deref(), Some("2024-05-01T06:12:33"));
        assert_eq!(said("2024-02-29T23:59:59").as_deref(), Some("2024-02-29T23:59:59"));
        for wrong in [
            "",
            "0000:00:00 00:00:00",
            "2024:13:01 06:12:33",
            "2024:00:01 06:12:33",
            "2023:02:29 06:12:33",
            "2024:04:31 06:12:33",
            "2024:05:01 24:00:00",
            "2024:05:01 06:60:00",
            "2024:05:01 06:00:60",
            "    :  :     :  :  ",
            "2024:05:01",
            "2024:05:01 06:12",
            "2024:05-01 06:12:33",
            "+024:05:01 06:12:33",
            "2024:05:01 06:12:3x",
            "2024:05:01\u{e9}06:12:33",
            "\u{e9}024:05:01 06:12:33",
        ] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn offsets_are_parsed_or_refused() {
        let forms = [("+02:00", 120), ("-03:30", -210), ("Z", 0), ("+0545", 345), ("-00:00", 0), (" +14:00 ", 840)];
        for (text, minutes) in forms {
            assert_eq!(offset(text), Some(minutes), "{text}");
        }
        for wrong in ["", "+", "02:00", "+2", "+15:00", "+02:60", "+99:99", "   :  ", "CEST", "+\u{e9}2:00", "+02:0"] {
            assert_eq!(offset(wrong), None, "{wrong}");
        }
        assert_eq!([120, -210, 0].map(|m| offset_text(m).to_string()), ["+02:00", "-03:30", "+00:00"]);
    }

    #[test]
    fn moments_count_from_1970() {
        let ms = |text: &str| Taken::parse(text).unwrap().local_ms();
        assert_eq!(ms("1970-01-01T00:00:00"), 0);
        assert_eq!(ms("2024-05-01T06:12:33"), 1_714_543_953_000);
        assert_eq!(ms("1969-12-31T23:59:59"), -1000);
        assert_eq!(ms("2000-03-01T00:00:00") - ms("2000-02-28T00:00:00"), 2 * 86_400_000);
        let taken = Taken::parse("2024-05-01T06:12:33").unwrap().with(Some("0425"), Some(120));
        assert_eq!((taken.local_ms(), taken.utc_ms()), (1_714_543_953_042, Some(1_714_536_753_042)));
    }

    #[test]
    fn json_has_every_key() {
        let taken = Taken::parse("2024-05-01T06:12:33").unwrap();
        let json = |value: &Taken| serde_json::to_string(value).unwrap();
        assert_eq!(json(&taken), r#"{"time":"2024-05-01T06:12:33","offset":null,"subsecond":null}"#);
        let taken = taken.with(Some("050"), Some(-90));
        assert_eq!(json(&taken), r#"{"time":"2024-05-01T06:12:33","offset":"-01:30","subsecond":"050"}"#);
        let camera = Camera { make: None, model: Some("T 1".parse().unwrap()), serial: None };
        assert_eq!(serde_json::to_string(&camera).unwrap(), r#"{"make":null,"model":"T 1","serial":null}"#);
    }
}
