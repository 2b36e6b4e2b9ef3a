//! Names and messages come from users, from applications that crash, and from whoever opens a pull
//! request: in every format they are text and nothing else.

/// Characters of one name or message that are shown; what is longer is cut, and that is seen.
pub(super) const CHARS_MAX: usize = 2000;

/// Returns a text cut to [`CHARS_MAX`].
fn clip(text: &str) -> impl Iterator<Item = char> {
    let cut = text.chars().nth(CHARS_MAX).is_some();
    text.chars().take(CHARS_MAX).chain(cut.then_some('…'))
}

/// Returns whether XML 1.0 and HTML may contain it; neither has an escape for the others.
fn is_allowed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        c => !c.is_control() && !turns_text_round(c),
    }
}

/// Marks that make a text read in another order than it is written.
const fn turns_text_round(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns a text for XML or HTML, as content and inside quotes of either kind.
#[must_use]
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clip(text) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // An attribute's line breaks would become blanks.
            '\n' => out.push_str("&#10;"),
            '\r' | '\t' => out.push(' '),
            c if is_allowed(c) => out.push(c),
            _ => out.push('\u{FFFD}'),
        }
    }
    out
}

/// Returns a text as one line without control characters.
#[must_use]
pub fn line(text: &str) -> String {
    clip(text)
        .map(|c| match c {
            c if c.is_whitespace() => ' ',
            c if is_allowed(c) => c,
            _ => '\u{FFFD}',
        })
        .collect()
}

/// Returns a text for Markdown, also inside a table: one line, nothing of it a mark.
#[must_use]
pub(super) fn markdown(text: &str) -> String {
    let text = line(text);
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after = chars.peek().copied().unwrap_or(' ');
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // As a reference it is text to every reader of Markdown: nothing is linked, nobody called.
            ':' if after == '/' => out.push_str("&#58;"),
            '@' => out.push_str("&#64;"),
            '|' => out.push_str("&#124;"),
            '_' if before.is_alphanumeric() && after.is_alphanumeric() => out.push('_'),
            c if c.is_ascii_punctuation() && !",.:;%/'\"()=?-+".contains(c) => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// Returns a text with its lines, without what no format may contain.
#[must_use]
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || is_allowed(c) { c } else { '\u{FFFD}' }).collect()
}

/// Returns a text as a block of code that it can't end. Lines stay.
#[must_use]
pub(super) fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    let plain = plain(text);
    format!("{fence}{language}\n{plain}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::{CHARS_MAX, fenced, line, markdown, xml};

    #[test]
    fn xml_is_text() {
        for (input, expected) in [
            ("<script>", "&lt;script&gt;"),
            ("a & \"b\" 'c'", "a &amp; &quot;b&quot; &#39;c&#39;"),
            ("]]>", "]]&gt;"),
            ("\0\u{1b}[31m\u{FFFF}", "\u{FFFD}\u{FFFD}[31m\u{FFFD}"),
            ("a\nb\tc", "a&#10;b c"),
            ("\u{202E}evil", "\u{FFFD}evil"),
            ("é ✔", "é ✔"),
        ] {
            assert_eq!(xml(input), expected);
        }
    }

    #[test]
    fn what_is_long_is_cut_and_seen_to_be() {
        let cut = xml(&"x".repeat(10_000));
        assert_eq!(cut.chars().count(), CHARS_MAX + 1);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn markdown_is_one_line_of_text() {
        for (input, expected) in [
            ("error_rate > 5%", "error_rate &gt; 5%"),
            ("_a_ a_b", "\\_a\\_ a_b"),
            ("a|b\nc", "a&#124;b c"),
            ("# `x` [y](z) *w*", "\\# \\`x\\` \\[y\\](z) \\*w\\*"),
            ("https://evil.example @all", "https&#58;//evil.example &#64;all"),
        ] {
            assert_eq!(markdown(input), expected);
        }
        assert_eq!(line("a\r\n::error::b\0"), "a  ::error::b\u{FFFD}");
    }

    #[test]
    fn a_block_of_code_can_not_be_left() {
        assert_eq!(fenced("sh", "gate x"), "```sh\ngate x\n```\n");
        assert_eq!(fenced("", "```\n# out"), "````\n```\n# out\n````\n");
    }
}
