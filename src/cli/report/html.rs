//! Text and tables within HTML.

/// `text` as HTML shows it.
pub fn escape(text: &str) -> String {
    oltr::text::html(text)
}

/// A table that scrolls if the page is narrower. `rows` are its head and body.
pub fn scroll(name: &str, class: &str, rows: &str) -> String {
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\"><table class=\"{class}\">{rows}\
         </table></div>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escape("<img src=\"x\" onerror='y'>&"), "&lt;img src=&quot;x&quot; onerror=&#39;y&#39;&gt;&amp;");
    }
}
