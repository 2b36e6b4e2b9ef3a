//! A line of styled text that knows how wide it is and can be cut.

use anstyle::Style;

use super::style;

/// What stands at the end of a line that was cut.
const CUT: char = '…';

#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<(Style, String)>);

impl Line {
    pub(crate) fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::of(style::PLAIN, text)
    }

    pub(crate) fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// Returns how many columns it takes: every character that is printed here takes one.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Returns it with colour, no wider than so many columns.
    pub(crate) fn render(&self, width: usize) -> String {
        let too_long = self.width() > width;
        let mut left = if too_long { width.saturating_sub(1) } else { width };
        let mut out = String::new();
        for (style, text) in &self.0 {
            let part: String = text.chars().take(left).collect();
            left -= part.chars().count();
            if *style == style::PLAIN || part.is_empty() {
                out.push_str(&part);
            } else {
                out.push_str(&style::paint(*style, &part));
            }
        }
        if too_long && width > 0 {
            out.push(CUT);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, style};

    #[track_caller]
    fn check(width: usize, expected: &str) {
        let line = Line::plain("share ").and(style::GOOD, "50 %").and(style::FAINT, " seen");
        let plain = anstream::adapter::strip_str(&line.render(width)).to_string();
        assert_eq!(plain, expected);
    }

    #[test]
    fn is_cut_where_the_terminal_ends() {
        check(80, "share 50 % seen");
        check(15, "share 50 % seen");
        check(14, "share 50 % se…");
        check(8, "share 5…");
        check(1, "…");
        check(0, "");
    }
}
