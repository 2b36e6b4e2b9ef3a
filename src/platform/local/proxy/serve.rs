//! The users' side: accepting connections, serving their requests, ending them in good order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use super::Shared;
use super::forward::forward;
use super::limits::{HEADER_LINES_MAX, Limits};
use super::stall::StallGuard;

/// After an error of `accept` such as too many open files: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// No new connections; every open one ends with the request that it carries.
    Closing,
    /// Whatever is open ends now.
    Cut,
}

/// A client's connection. It holds its place among [`Limits::clients_max`] until it is gone, also
/// as a tunnel.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

/// Accepts until the stage is no longer `Serving`. The listener is closed when this returns.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut stage = shared.stage.subscribe();
    loop {
        let accepted = tokio::select! {
            () = closing(&mut stage) => return,
            accepted = next(&shared, &listener) => accepted,
        };
        match accepted {
            Ok((client, stream)) => {
                tokio::spawn(serve(Arc::clone(&shared), Arc::new(client), stream));
            }
            Err(_) => {
                shared.accept_errors.fetch_add(1, Relaxed);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Accepts when there is a place; while there is none, connections wait in the kernel's backlog.
async fn next(shared: &Shared, listener: &TcpListener) -> io::Result<(Client, TcpStream)> {
    let places = &shared.places;
    if places.available_permits() == 0 {
        shared.held.fetch_add(1, Relaxed);
        drop(places.acquire().await);
    }
    let (stream, peer) = listener.accept().await?;
    // Nobody else takes places, so there is still one.
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    // Without it, it is only slower.
    let _ = stream.set_nodelay(true);
    Ok((Client { peer, _place: place }, stream))
}

async fn serve(shared: Arc<Shared>, client: Arc<Client>, stream: TcpStream) {
    let mut stage = shared.stage.subscribe();
    let limits = &shared.limits;
    let io = TokioIo::new(StallGuard::new(stream, limits.client_stall));
    let service = service_fn(|request| {
        let (shared, client) = (Arc::clone(&shared), Arc::clone(&client));
        async move { Ok::<_, std::convert::Infallible>(forward(shared, client, request).await) }
    });
    let connection = protocol(limits).serve_connection(io, service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Its errors are the client's: a head that is no HTTP, too large or late, a reset.
        _ = connection.as_mut() => return,
        () = closing(&mut stage) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        _ = stage.wait_for(|stage| *stage == Stage::Cut) => {}
    }
}

async fn closing(stage: &mut watch::Receiver<Stage>) {
    // An error means that the proxy is gone, which is as good a reason to close.
    let _ = stage.wait_for(|stage| *stage != Stage::Serving).await;
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(limits.client_idle)
        .max_headers(HEADER_LINES_MAX)
        .max_header_size(limits.header_bytes_max);
    protocol
}
