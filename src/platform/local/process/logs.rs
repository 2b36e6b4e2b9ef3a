//! What an application prints.
//!
//! It goes from the process straight into a file that is opened for appending: no pipe through the
//! host, so an application goes on printing when the host has died. The file can't grow without end:
//! the host copies the newest part into `NAME.log.1` and truncates the file in place, which works
//! because appending writes follow the new end. Lines printed between the copy and the truncation
//! are lost; that is the price of not standing in between.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Above this size, in bytes, the file is cut.
pub const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How much of the end is read for a message, in bytes.
const TAIL_BYTES_MAX: u64 = 64 * 1024;

/// Characters of one line in a message.
const TAIL_LINE_MAX: usize = 300;

/// The log of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for an application to write to, and creates it and its directory where needed.
    ///
    /// # Errors
    /// The system's.
    pub fn open(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        OpenOptions::new().create(true).append(true).open(&self.path)
    }

    /// Cuts the file when it is larger than `max` bytes: the newest `max` bytes are kept beside it.
    /// Returns whether it did.
    ///
    /// # Errors
    /// The system's; the log then goes on growing until the next attempt.
    pub fn cut(&self, max: u64) -> io::Result<bool> {
        let mut file = File::open(&self.path)?;
        let size = file.metadata()?.len();
        if size <= max {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(size - max))?;
        let unfinished = self.beside(".1.new");
        io::copy(&mut file.take(max), &mut File::create(&unfinished)?)?;
        std::fs::rename(unfinished, self.beside(".1"))?;
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)?;
        Ok(true)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    }

    /// Returns the last lines, oldest first, safe to print: control characters are left out, so an
    /// application can't steer the terminal of whoever reads a message. Nothing when the log can't
    /// be read.
    #[must_use]
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let mut text = end_of(&self.beside(".1")).unwrap_or_default();
        text.push_str(&end_of(&self.path).unwrap_or_default());
        let lines_of = text.lines().filter(|line| !line.trim().is_empty());
        let mut last: Vec<String> = lines_of.rev().take(lines).map(printable).collect();
        last.reverse();
        last
    }
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(TAIL_LINE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn log_with(text: &str) -> (tempfile::TempDir, Log, File) {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::at(directory.path().join("logs/v1.log"));
        let mut file = log.open().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (directory, log, file)
    }

    #[test]
    fn the_tail_is_bounded_and_can_not_steer_a_terminal() {
        let check = |text: &str, lines: usize, expected: &[&str]| {
            assert_eq!(log_with(text).1.tail(lines), expected, "{text:?}");
        };
        check("one\ntwo\n\nthree\n", 2, &["two", "three"]);
        check("one\nunfinished", 5, &["one", "unfinished"]);
        check("\u{1b}[31mred\u{7}\r\n", 1, &["[31mred"]);
        check("", 3, &[]);
        check(&"x".repeat(10_000), 1, &[&"x".repeat(TAIL_LINE_MAX)]);
        assert!(Log::at("/nowhere/x.log".into()).tail(3).is_empty());
    }

    #[test]
    fn a_log_is_cut_in_place_and_its_writer_goes_on() {
        let (_directory, log, mut writer) = log_with("old\nnewest\n");
        assert!(!log.cut(11).unwrap());
        assert!(log.cut(7).unwrap());
        writer.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "after\n");
        assert_eq!(log.tail(9), ["newest", "after"]);
        assert!(!log.cut(7).unwrap());
    }
}
