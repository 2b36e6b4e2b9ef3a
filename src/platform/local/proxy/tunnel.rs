//! Upgraded connections (WebSocket and any other protocol): bytes both ways until one side ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::body::Answer;
use super::forward::Delivered;
use super::headers;
use super::instance::{Cutter, Kind, Open};
use super::serve::{Client, Stage};

/// Bytes that are held for each direction of a tunnel.
const PIECE_BYTES: usize = 16 * 1024;

/// Passes the instance's `101` on and joins both connections once it is sent.
pub(super) fn start(
    shared: &Arc<Shared>,
    client: Arc<Client>,
    from_client: OnUpgrade,
    delivered: Delivered,
) -> Response<Answer> {
    let Delivered { mut response, line, mut exchange } = delivered;
    exchange.becomes_stream();
    let open = Open::new(exchange.instance());
    let instance = hyper::upgrade::on(&mut response);
    let idle = shared.limits.upgrade_idle;
    // Before the task starts, so that no cut is missed.
    let (cutter, stage) = (exchange.instance().cutter(), shared.stage.subscribe());
    tokio::spawn(async move {
        // The connections' own tasks end with the upgrade; this one keeps their guards.
        let (_client, _line, _open) = (client, line, open);
        if let (Ok(client), Ok(instance)) = (from_client.await, instance.await) {
            run(client, instance, idle, cutter, stage).await;
        }
        drop(exchange);
    });
    let (mut head, _) = response.into_parts();
    let protocol = headers::upgrade(&head.headers);
    headers::remove_hop_by_hop(&mut head.headers);
    if let Some(protocol) = protocol {
        headers::set_upgrade(&mut head.headers, protocol);
    }
    Response::from_parts(head, Answer::Own(http_body_util::Full::default()))
}

async fn run(
    client: Upgraded,
    instance: Upgraded,
    idle: Duration,
    cutter: Cutter,
    mut stage: watch::Receiver<Stage>,
) {
    let (from_client, to_client) = split(TokioIo::new(client));
    let (from_instance, to_instance) = split(TokioIo::new(instance));
    let moved = Moved::now();
    tokio::select! {
        _ = async { tokio::join!(
            pass(from_client, to_instance, &moved),
            pass(from_instance, to_client, &moved),
        ) } => {}
        () = moved.not_for(idle) => {}
        () = cutter.cut(|| Kind::Stream) => {}
        _ = stage.wait_for(|stage| *stage == Stage::Cut) => {}
    }
}

/// Passes bytes on until their sender ends, and tells the receiver so.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, moved: &Moved) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
        moved.note();
    }
    // A receiver that is gone needs no end.
    let _ = to.shutdown().await;
}

/// When bytes moved last.
struct Moved {
    began: Instant,
    last_ms: AtomicU64,
}

impl Moved {
    fn now() -> Self {
        Self { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn note(&self) {
        let elapsed = self.began.elapsed().as_millis();
        self.last_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Relaxed);
    }

    async fn not_for(&self, limit: Duration) {
        loop {
            let due = self.began + Duration::from_millis(self.last_ms.load(Relaxed)) + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}
