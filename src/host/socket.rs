//! Unix sockets whose path may be longer than the 108 bytes that an address holds: the directory is
//! opened, and the socket is named through `/proc/self/fd`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// What `sockaddr_un.sun_path` holds, with its NUL.
const PATH_BYTES_MAX: usize = 108;

pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (short, _directory) = shorten(path)?;
    UnixStream::connect(short).await
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let (short, _directory) = shorten(path)?;
    UnixListener::bind(short)
}

/// Returns a path that fits, and the open directory that it goes through.
fn shorten(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() < PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::open(directory)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((short, Some(directory)))
}

/// Listens at a path for which the caller holds the lock: what is there is left over. Nobody but the
/// user may connect, from the first moment on.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The folder is private (0700), so the moment before the mode is set lets nobody in.
    let listener = bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
