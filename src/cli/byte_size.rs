//! Numbers of bytes on the command line.

use std::str::FromStr;

/// A number of bytes: `64MiB`, `64M` (the same), `64MB` (64 000 000), `1.5GiB`, `65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteSize, String> {
        let help = || format!("'{text}' is no size; write it as 64MiB, 64MB, 1.5GiB or in bytes");
        let text = text.trim();
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: f64 = number.parse().map_err(|_| help())?;
        let scale = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1024.0 * 1024.0,
            "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            _ => return Err(help()),
        };
        let bytes = number * scale;
        // Beyond 2^53 an f64 is no longer exact, and no board has 8 petabytes.
        if !(1.0..=9e15).contains(&bytes) {
            return Err(help());
        }
        Ok(ByteSize(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("65536", Some(65536)),
            ("64MiB", Some(64 << 20)),
            ("64m", Some(64 << 20)),
            ("64 MB", Some(64_000_000)),
            ("1.5GiB", Some(3 << 29)),
            ("512k", Some(512 << 10)),
            ("0", None),
            ("-1", None),
            ("", None),
            ("MiB", None),
            ("1.2.3M", None),
            ("64 parsecs", None),
            ("1e400", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<ByteSize>().ok().map(|s| s.0), expected, "{text}");
        }
    }
}
