//! One writer at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::MODE;

/// The right to write: held by one process at a time, given back by the kernel when it dies.
///
/// The file stays when the lock is given back (removing it would let two processes lock two files
/// of one name). Programs that the holder starts don't inherit it: Rust opens files close-on-exec.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// `None`: the holder has not written its process id yet.
    #[error("another process holds it{}", pid.map_or(String::new(), |pid| format!(" (pid {pid})")))]
    Busy { pid: Option<u32> },
    #[error("can't open the lock {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock, or says at once who has it.
    ///
    /// # Errors
    /// [`LockError::Busy`] with the holder's process id, or why the file can't be opened or locked.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source: io::Error| LockError::File { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(path)
            .map_err(failed)?;
        if !lock_exclusively(&file).map_err(failed)? {
            return Err(LockError::Busy { pid: holder(&mut file) });
        }
        file.set_len(0).map_err(failed)?;
        file.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Locks an open file without waiting; `false`: another open file has it. Closing gives it back.
///
/// # Errors
/// What the operating system says, for example that the filesystem has no locks.
pub fn lock_exclusively(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The longest process id has 10 digits.
const PID_BYTES_MAX: u64 = 16;

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
