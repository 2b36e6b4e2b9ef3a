//! The host inside this process: the one file that knows how it is started.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::Error;
use super::output::Printer;
use crate::host::paths::Paths;
use crate::host::{Host, Options};
use crate::platform::local::app::App;
use crate::platform::local::proxy::CLIENTS_MAX;

/// Two for each client, and what the rest of a host opens.
const DESCRIPTORS_WANTED: u64 = 2 * CLIENTS_MAX as u64 + 1024;

/// A host that lives as long as this command.
#[derive(Debug)]
pub(crate) struct Embedded {
    host: Arc<Host>,
    serving: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// What becomes of the applications when a host stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applications {
    /// They serve on, and the next host takes them over.
    Leave,
    End,
}

impl Embedded {
    /// Starts it.
    ///
    /// # Errors
    /// As the host says: an address that is taken, a folder that can't be written.
    pub(crate) async fn start(printer: &Printer, app: App, paths: Paths) -> Result<Self, Error> {
        let host = Arc::new(begin(printer, app, paths, true).await?);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn({
            let (host, printer) = (Arc::clone(&host), printer.clone());
            let stopped = async {
                let _ = stopped.await; // a sender that is dropped stops it as well
            };
            async move { host.run(stopped, |trouble| printer.complain(trouble)).await }
        });
        // Load that is asked for begins after this; whether it is ready is the promotion's to say.
        host.stable_ready().await;
        Ok(Self { host, serving, stop })
    }

    pub(crate) fn socket(&self) -> &Path {
        self.host.socket()
    }

    /// Where the users are, as bound.
    pub(crate) fn users(&self) -> SocketAddr {
        self.host.users()
    }

    /// Where the metrics are, as bound.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.host.admin()
    }

    /// Makes traffic safe, ends every process, closes.
    pub(crate) async fn shut_down(self) {
        self.host.shut_down().await;
        let _ = self.stop.send(()); // it may have stopped by itself
        let _ = self.serving.await;
    }
}

/// Serves an app until it is told to stop, and what to do with the applications. `started` gets the
/// addresses of users and admin.
///
/// # Errors
/// It could not be started.
pub(crate) async fn serve(
    printer: &Printer,
    app: App,
    paths: Paths,
    started: impl FnOnce(SocketAddr, SocketAddr),
    stop: impl Future<Output = Applications>,
) -> Result<(), Error> {
    let host = begin(printer, app, paths, false).await?;
    started(host.users(), host.admin());
    let mut then = Applications::Leave;
    let stopped = async { then = stop.await };
    host.run(stopped, |trouble| printer.complain(trouble)).await;
    if then == Applications::End {
        host.shut_down().await;
    }
    Ok(())
}

async fn begin(printer: &Printer, app: App, paths: Paths, embedded: bool) -> Result<Host, Error> {
    allow_descriptors();
    let gate = std::env::current_exe()
        .map_err(|error| Error::internal("can't find this binary").caused_by(error))?;
    let host = Host::start(app, Options { paths, gate, embedded }).await.map_err(Error::said)?;
    host.alarms().iter().for_each(|alarm| printer.complain(&format!("warning: {alarm}")));
    Ok(host)
}

/// A client takes two descriptors, its own and that of its request, and the usual limit is 1024 for
/// programs that know of no other. What may be had without asking is taken, also for the
/// applications, which inherit it; where it is less, the proxy says so to whom it meets.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(DESCRIPTORS_WANTED, |most| most.min(DESCRIPTORS_WANTED));
    if current.is_some_and(|current| current < wanted) {
        // It is allowed up to the maximum; without it, fewer clients are served at once.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
