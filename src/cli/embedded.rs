//! The host inside this process: the one file that knows how it is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::output::Printer;
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
    /// As the host says: an address that is taken, a stable that does not start.
    pub(crate) async fn start(_printer: &Printer, _app: App, _paths: Paths) -> Result<Self, Error> {
        Err(no_host())
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the users are, as bound.
    pub(crate) const fn users(&self) -> SocketAddr {
        self.users
    }

    /// Where the metrics are, as bound.
    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Makes traffic safe, ends every process, closes.
    pub(crate) async fn shut_down(self) {}
}

/// What becomes of the applications when a host stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applications {
    /// They serve on, and the next host takes them over.
    Leave,
    End,
}

/// Serves an app until it is told to stop, and what to do with the applications. `started` gets the addresses of users and admin.
///
/// # Errors
/// It could not be started.
pub(crate) async fn serve(
    _printer: &Printer,
    _app: App,
    _paths: Paths,
    _started: impl FnOnce(SocketAddr, SocketAddr),
    _stop: impl Future<Output = Applications>,
) -> Result<(), Error> {
    Err(no_host())
}

fn no_host() -> Error {
    Error::internal("this build has no host yet")
}
