//! Labels of frames.

use std::fmt::Write;
use std::path::Path;

/// The name of a frame, for people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    pub text: String,
    /// As [`url_of`]; empty if the text is exact.
    pub url: String,
}

impl Label {
    pub fn set(&mut self, text: &str) {
        self.url.clear();
        self.text.clear();
        self.text.push_str(text);
    }

    pub fn set_path(&mut self, path: &Path) {
        self.set(&path.to_string_lossy());
        if let Some(url) = url_of(path) {
            self.url = url;
        }
    }
}

/// A path that is not UTF-8 as a relative URL that opens the file: a byte that is not a letter, a digit or one of
/// `-._~/` becomes `%E9`. `None` for a path in UTF-8.
pub fn url_of(path: &Path) -> Option<String> {
    if path.to_str().is_some() {
        return None;
    }
    let mut url = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => url.push(char::from(*byte)),
            // Writing to a text cannot fail.
            _ => write!(url, "%{byte:02X}").unwrap_or_default(),
        }
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn only_what_is_no_text_has_a_url() {
        let path = |bytes: &'static [u8]| Path::new(std::ffi::OsStr::from_bytes(bytes));
        assert_eq!(url_of(Path::new("ä b/100%.jpg")), None);
        assert_eq!(url_of(path(b"a b/lat\xe9n%.jpg")).unwrap(), "a%20b/lat%E9n%25.jpg");
        let mut label = Label::default();
        label.set_path(path(b"\xe9.jpg"));
        assert_eq!((label.text.as_str(), label.url.as_str()), ("\u{fffd}.jpg", "%E9.jpg"));
        label.set("a");
        assert_eq!(label, Label { text: "a".into(), url: String::new() });
    }
}
