//! The host inside this process: the one file that knows how it is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::host::paths::Paths;
use crate::platform::local::app::App;

/// A host that lives as long as this command.
#[derive(Debug)]
pub(crate) struct Embedded {
    socket: PathBuf,
    users: SocketAddr,
    admin: SocketAddr,
}

impl Embedded {
    /// Starts it.
    ///
    /// # Errors
    /// As [`crate::host`] says: an address that is taken, a stable that does not start.
    pub(crate) async fn start(_app: App, _paths: Paths) -> Result<Self, Error> {
        Err(Error::internal("this build has no host yet"))
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the users are, as bound.
    pub(crate) const fn users(&self) -> SocketAddr {
        self.users
    }

    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Makes traffic safe, ends every process, closes.
    pub(crate) async fn shut_down(self) {}
}

/// Serves an app until it is told to stop.
///
/// # Errors
/// It could not be started.
pub(crate) async fn serve(
    _app: App,
    _paths: Paths,
    _started: impl FnOnce(SocketAddr, SocketAddr),
    _stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    Err(Error::internal("this build has no host yet"))
}
