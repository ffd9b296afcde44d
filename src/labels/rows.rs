//! Rows of a text table (RFC 4180, with any separator). Fields may be quoted, and then contain separators, line ends
//! and doubled quotes.

use std::borrow::Cow;

/// Iterator over the rows that are not empty, each with the number of its first line, from 1. The error is the line of
/// an unclosed quote.
pub(super) struct Rows<'a> {
    rest: &'a str,
    between: u8,
    line: usize,
}

impl<'a> Rows<'a> {
    /// The rows of `text`, with the ASCII character `between` between the columns.
    pub fn new(text: &'a str, between: u8) -> Rows<'a> {
        Rows { rest: text, between, line: 1 }
    }

    /// The next field, and whether another one follows in the row; `None` if its quote is not closed.
    fn field(&mut self) -> Option<(Cow<'a, str>, bool)> {
        let between = self.between;
        let ends = |byte: u8| byte == between || byte == b'\n' || byte == b'\r';
        let start = self.rest.trim_start_matches([' ']);
        let (field, after) = match start.strip_prefix('"') {
            Some(quoted) => {
                let mut end = 0;
                loop {
                    end += quoted[end..].find('"')?;
                    match quoted.as_bytes().get(end + 1) {
                        Some(b'"') => end += 2,
                        _ => break,
                    }
                }
                let (inside, after) = (&quoted[..end], &quoted[end + 1..]);
                self.line += inside.matches('\n').count();
                let field = if inside.contains('"') { inside.replace("\"\"", "\"").into() } else { inside.into() };
                (field, after)
            }
            None => ("".into(), start),
        };
        // Text after a closing quote belongs to the field.
        let end = after.bytes().position(ends).unwrap_or(after.len());
        let (tail, rest) = after.split_at(end);
        let field: Cow<str> = match (&field, tail) {
            (Cow::Borrowed(""), tail) => tail.trim().into(),
            (_, "") => field,
            (field, tail) => format!("{field}{tail}").trim().to_string().into(),
        };
        let more = rest.as_bytes().first() == Some(&between);
        self.rest = match more {
            true => &rest[1..],
            false => rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\r', '\n'])).unwrap_or(rest),
        };
        if !more && !rest.is_empty() {
            self.line += 1;
        }
        Some((field, more))
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<(usize, Vec<Cow<'a, str>>), usize>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (line, mut fields) = (self.line, Vec::new());
            loop {
                let Some((field, more)) = self.field() else {
                    self.rest = "";
                    return Some(Err(line));
                };
                fields.push(field);
                if !more {
                    break;
                }
            }
            if fields.iter().any(|field| !field.trim().is_empty()) {
                return Some(Ok((line, fields)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        let row = |row: Result<(usize, Vec<Cow<str>>), usize>| {
            let (line, fields) = row.unwrap();
            (line, fields.into_iter().map(Cow::into_owned).collect())
        };
        Rows::new(text, b',').map(row).collect()
    }

    #[test]
    fn rows_follow_the_standard() {
        let row = |line, fields: &[&str]| (line, fields.iter().map(|f| f.to_string()).collect::<Vec<String>>());
        assert_eq!(rows("a,b\r\nc,d"), [row(1, &["a", "b"]), row(2, &["c", "d"])]);
        assert_eq!(rows("a,b\rc,d\r"), [row(1, &["a", "b"]), row(2, &["c", "d"])]);
        assert_eq!(rows("\n\n a , b \n,,\n \nc,"), [row(3, &["a", "b"]), row(6, &["c", ""])]);
        assert_eq!(rows("\"a,\"\"b\"\"\nc\",\"\"\nd,e"), [row(1, &["a,\"b\"\nc", ""]), row(3, &["d", "e"])]);
        assert_eq!(rows("a \"b\",c\n\"a\"b,c"), [row(1, &["a \"b\"", "c"]), row(2, &["ab", "c"])]);
        assert_eq!(rows("é,茶"), [row(1, &["é", "茶"])]);
        assert_eq!(rows(""), []);
        let broken: Vec<_> = Rows::new("a\n\"b\nc", b',').collect();
        assert!(matches!(broken[..], [Ok(_), Err(2)]));
    }
}
