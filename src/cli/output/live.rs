//! One block on the terminal, redrawn in place; what happens scrolls above it.
//!
//! It is drawn with one write, and only when it has changed: moved up, cleared, written. So nothing
//! flickers, and a terminal that is slow is not flooded.

use std::io::{self, Write};

use chrono::{DateTime, Utc};

use super::board::Board;

/// Where the width can't be told.
const WIDTH: usize = 80;
/// Where the height can't be told.
const HEIGHT: usize = 24;
/// Wider lines are hard to read.
const WIDTH_MAX: usize = 100;

/// Clears from the cursor to the end of the screen.
const CLEAR: &str = "\x1b[J";

/// The block that is on the terminal.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) board: Board,
    drawn: Vec<String>,
}

impl Live {
    /// Draws the block if it has changed.
    pub(crate) fn draw(&mut self, now: DateTime<Utc>) {
        let (width, height) = size();
        let lines = self.board.lines(now, width);
        let fit = lines.iter().take(height);
        let lines: Vec<String> = fit.map(|line| line.render(width)).collect();
        if lines != self.drawn {
            write(&format!("{}{}", self.erase(), text(&lines)));
            self.drawn = lines;
        }
    }

    /// Lets a line scroll above the block.
    pub(crate) fn scroll(&mut self, line: &str) {
        write(&format!("{}{line}\n{}", self.erase(), text(&self.drawn)));
    }

    /// Takes the block away.
    pub(crate) fn clear(&mut self) {
        write(&self.erase());
        self.drawn.clear();
    }

    fn erase(&self) -> String {
        match self.drawn.len() {
            0 => String::new(),
            lines => format!("\x1b[{lines}F{CLEAR}"),
        }
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Cursor movements must reach the terminal also where colours must not (`NO_COLOR`): colours are
/// stripped here, so that what moves the cursor is not.
fn write(text: &str) {
    let stderr = io::stderr();
    let colours = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
    let text = if colours { text.to_owned() } else { without_colours(text) };
    // Nobody is left to tell that nobody watches.
    let _ = stderr.lock().write_all(text.as_bytes());
}

/// Takes the colours (`ESC [ … m`) out and leaves what moves the cursor.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        if part[end..].starts_with('m') {
            out.push_str(&part[end + 1..]);
        } else {
            out.push_str("\x1b[");
            out.push_str(part);
        }
    }
    out
}

/// Returns the width of the terminal, less one column: some wrap when the last one is written.
pub(crate) fn width() -> usize {
    size().0
}

/// Returns the columns and lines that a block may take.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    let known = |cells: u16| Some(usize::from(cells)).filter(|cells| *cells > 0);
    let columns = size.and_then(|size| known(size.ws_col)).unwrap_or(WIDTH + 1);
    let lines = size.and_then(|size| known(size.ws_row)).unwrap_or(HEIGHT);
    (columns.saturating_sub(1).min(WIDTH_MAX), lines.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::without_colours;

    #[test]
    fn movements_stay_where_colours_go() {
        assert_eq!(
            without_colours("\x1b[3F\x1b[J\x1b[1m\x1b[32mgood\x1b[0m!"),
            "\x1b[3F\x1b[Jgood!"
        );
        assert_eq!(without_colours("plain"), "plain");
    }
}
