//! The few colours. What is printed says the same without them.

use anstyle::{AnsiColor, Style};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const STRONG: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default();
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Returns what switches a style on and off again; streams that can't show it strip both.
pub(crate) fn marks(style: Style) -> (String, String) {
    (style.render().to_string(), style.render_reset().to_string())
}

/// Returns a text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    let (on, off) = marks(style);
    format!("{on}{text}{off}")
}
