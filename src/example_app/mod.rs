//! A small service that can misbehave on purpose: `gate example-app`.
//!
//! The demo, the examples and the end-to-end tests promote it, so that nobody needs an application of
//! their own to see what the gate does with a bad release. It is a real HTTP/1.1 server: it streams,
//! upgrades, exports metrics and drains on SIGTERM. How it misbehaves is in [`behaviour`].

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub mod behaviour;
mod metrics;
mod service;

use behaviour::Behaviour;
use service::Service;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;

/// How long a client may take to send the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(30);

/// Memory that `--leak-mb-per-s` takes at most, in MB: enough to be seen, too little to harm a host.
const LEAK_MB_MAX: u64 = 1024;

/// The arguments of `gate example-app`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExampleApp {
    /// What it says that it is, in every answer
    #[arg(long, default_value = "v1")]
    pub version: String,

    /// The port to listen on; 0 for any
    #[arg(long, env = "PORT", default_value_t = 0)]
    pub port: u16,

    /// The address to listen on: 0.0.0.0 in a container
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,

    /// How long it finishes requests after SIGTERM, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub drain_ms: u64,

    #[command(flatten)]
    pub behaviour: Behaviour,
}

/// Serves until SIGTERM or SIGINT, then finishes what it has begun.
///
/// Success when all of it was finished; failure when it crashed on purpose or the drain was too short.
///
/// # Errors
/// It can't listen on its port.
pub async fn run(app: ExampleApp) -> io::Result<ExitCode> {
    let listener = TcpListener::bind((app.listen, app.port)).await?;
    // Before it says that it listens: a signal after that must find it ready to drain.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    anstream::eprintln!("example-app {} listens on {}", app.version, listener.local_addr()?);
    let asked_to_end = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let end = serve_until(listener, app, asked_to_end).await;
    anstream::eprintln!("example-app ends: {}", end.word());
    Ok(match end {
        End::Drained => ExitCode::SUCCESS,
        End::Undrained | End::Crashed => ExitCode::FAILURE,
    })
}

/// How the example application ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Drained,
    /// Requests were cut off when the drain was over.
    Undrained,
    Crashed,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Undrained => "the drain was too short, requests were cut off",
            Self::Crashed => "crashed, as it was told to",
        }
    }
}

async fn serve_until(
    listener: TcpListener,
    app: ExampleApp,
    asked_to_end: impl Future<Output = ()>,
) -> End {
    // Each connection holds a receiver: it hears of the end, and the last of them is the end.
    let (draining, _) = watch::channel(false);
    let drain = Duration::from_millis(app.drain_ms);
    let (crash, leak) = (app.behaviour.crash_after, app.behaviour.leak_mb_per_s);
    let service = Arc::new(Service::new(app));
    tokio::select! {
        () = accept(listener, &service, &draining) => {}
        () = asked_to_end => {}
        () = leak_memory(leak) => {}
        () = after(crash) => return End::Crashed,
    }
    draining.send_replace(true);
    match tokio::time::timeout(drain, draining.closed()).await {
        Ok(()) => End::Drained,
        Err(_elapsed) => End::Undrained,
    }
}

async fn accept(listener: TcpListener, service: &Arc<Service>, draining: &watch::Sender<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _peer)) => {
                let serving = serve(stream, Arc::clone(service), draining.subscribe());
                tokio::spawn(hold(place, serving));
            }
            // Out of descriptors, or a peer that has gone already: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn hold(place: OwnedSemaphorePermit, serving: impl Future<Output = ()>) {
    serving.await;
    drop(place);
}

/// Serves one connection until it ends; once the application drains, until the request in flight has
/// its answer, which then says `connection: close`.
async fn serve(stream: TcpStream, service: Arc<Service>, mut draining: watch::Receiver<bool>) {
    // Without it small answers wait for the client's acknowledgement; it is only slower, if it fails.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        _ended = &mut connection => return,
        _ = draining.wait_for(|draining| *draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A client that breaks off is its own business.
    let _ = connection.await;
}

async fn after(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}

/// Takes memory every second; never ends.
async fn leak_memory(mb_per_s: u64) {
    let mut leaked = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..LEAK_MB_MAX.checked_div(mb_per_s).unwrap_or(0) {
        ticks.tick().await;
        // Not zeros: the kernel gives pages of zeros away for nothing.
        leaked.push(vec![1_u8; mb_per_s as usize * 1024 * 1024]);
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests;
