//! Moments as text and as numbers.

use oltr_frames::frame::origin::{Taken, offset};

/// Time of a record: in UTC, or by a clock whose offset is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds since 1970, by UTC or by that clock.
    pub ms: i64,
    /// Whether `ms` is in UTC.
    pub utc: bool,
}

impl Moment {
    /// Parses `2024-05-01T06:12:33.250Z`. `Z` may be an offset, or be missing.
    pub fn parse(text: &str) -> Option<Moment> {
        let (head, rest) = text.split_at_checked(19)?;
        let zone = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
        let (fraction, zone) = rest.split_at(zone);
        let digits = match fraction {
            "" => None,
            _ => Some(fraction.strip_prefix('.')?),
        };
        if digits.is_some_and(|digits| digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        if !zone.is_empty() && offset(zone).is_none() {
            return None;
        }
        let taken = Taken::parse(head)?.with(digits, offset(zone));
        let utc = taken.utc_ms();
        Some(Moment { ms: utc.unwrap_or(taken.local_ms()), utc: utc.is_some() })
    }

    /// Converts to UTC. A clock without an offset counts as `minutes` ahead of UTC.
    pub fn in_utc(self, minutes: i16) -> Moment {
        match self.utc {
            true => self,
            false => Moment { ms: self.ms - i64::from(minutes) * 60_000, utc: true },
        }
    }

    /// Later by `seconds`.
    pub fn later(self, seconds: i64) -> Moment {
        Moment { ms: self.ms.saturating_add(seconds.saturating_mul(1000)), ..self }
    }

    /// Year, month and day, and hours, minutes and seconds, of a clock that is `minutes` ahead of UTC.
    fn parts(self, minutes: i16) -> ([i64; 3], [i64; 3]) {
        let seconds = self.ms.div_euclid(1000) + i64::from(minutes) * 60;
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        (date(days), [of_day / 3600, of_day / 60 % 60, of_day % 60])
    }

    /// Formats as `2024-05-01T06:12:33+02:00`, or with `Z`, for a clock that is `minutes` ahead of
    /// UTC.
    pub fn text(self, minutes: i16) -> String {
        let ([year, month, day], [hour, minute, second]) = self.parts(minutes);
        let zone = match minutes {
            0 => "Z".to_string(),
            _ => oltr_frames::frame::origin::offset_text(minutes).to_string(),
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
    }

    /// `2024-05-01`, in UTC.
    pub fn date(self) -> String {
        let ([year, month, day], _) = self.parts(0);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// `20240501` and `061233`, in UTC.
    pub fn compact(self) -> [String; 2] {
        let ([year, month, day], [hour, minute, second]) = self.parts(0);
        [format!("{year:04}{month:02}{day:02}"), format!("{hour:02}{minute:02}{second:02}")]
    }

    /// Formats as `2024-05-01 06:12:33`, in UTC.
    pub fn plain(self) -> String {
        let ([year, month, day], [hour, minute, second]) = self.parts(0);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// Year, month and day of a day counted from 1970.
fn date(days: i64) -> [i64; 3] {
    // Years begin in March here, so that the leap day comes last.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    [year + era * 400 + i64::from(month <= 2), month, day]
}

/// Now, by the clock of this machine.
pub fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Moment { ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX), utc: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        let of = |text: &str| Moment::parse(text).unwrap();
        assert_eq!(of("2024-05-01T06:12:33.250Z").text(0), "2024-05-01T06:12:33Z");
        assert_eq!(of("2024-05-01T06:12:33+02:00"), of("2024-05-01T04:12:33Z"));
        assert_eq!(of("2024-05-01T06:12:33Z").text(-210), "2024-05-01T02:42:33-03:30");
        let local = of("2024-05-01T06:12:33");
        assert!(!local.utc);
        assert_eq!(local.in_utc(120).text(0), "2024-05-01T04:12:33Z");
        assert_eq!(of("2024-03-01T00:00:00Z").later(-1).compact(), ["20240229", "235959"]);
        assert_eq!(of("1969-12-31T23:59:59Z").plain(), "1969-12-31 23:59:59");
        for wrong in ["", "2024-05-01", "2024-05-01T06:12:33.", "2024-05-01T06:12:33 ", "2024-13-01T06:12:33Z"] {
            assert_eq!(Moment::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_of_centuries_has_its_date() {
        for days in (-40_000..80_000).step_by(13) {
            let [year, month, day] = date(days);
            let text = format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
            assert_eq!(Moment::parse(&text).unwrap().ms, days * 86_400_000, "{text}");
        }
    }
}
