//! Recordings as files: a header, then a line for each look, read one by one.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::analysis::evidence::{Header, Line, Refused};

/// The longest line of a recording, in bytes: a thousand pods with 64 bounds fit.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A recording that is read as it is judged.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) header: Header,
    path: PathBuf,
    lines: BufReader<File>,
    buffer: Vec<u8>,
}

impl Recording {
    /// Opens a recording and reads its header.
    ///
    /// # Errors
    /// It can't be read, or is something else.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let mut lines = BufReader::new(file);
        let mut buffer = Vec::new();
        read_line(path, &mut lines, &mut buffer)?;
        let header = std::str::from_utf8(&buffer)
            .map_err(|error| Refused::NotARecording { what: error.to_string() })
            .and_then(Header::parse)
            .map_err(|refused| Error::user(format!("{}:1: {refused}", path.display())))?;
        Ok(Self { header, path: path.to_owned(), lines, buffer })
    }

    /// Returns the next look; `None` at the end. What is no look is one without a time, which the
    /// judge drops and counts.
    ///
    /// # Errors
    /// The file can't be read, or has a line that no gate wrote.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, Error> {
        while read_line(&self.path, &mut self.lines, &mut self.buffer)? {
            if !self.buffer.trim_ascii().is_empty() {
                let text = std::str::from_utf8(&self.buffer);
                return Ok(Some(text.map(Line::parse).unwrap_or_default()));
            }
        }
        Ok(None)
    }
}

/// Returns whether there was a line.
fn read_line(path: &Path, from: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Error> {
    line.clear();
    let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line);
    let read = read.map_err(|error| unreadable(path, error))? as u64;
    if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        let what = format!("{}: a line is longer than {LINE_BYTES_MAX} bytes", path.display());
        return Err(Error::user(what));
    }
    Ok(read > 0)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::user(format!("can't read {}", path.display())).caused_by(error)
}
