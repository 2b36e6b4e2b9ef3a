//! What stands between gate and a Prometheus, and can fail on demand.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// How it treats whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Hangs up.
    Down,
    /// Answers with what is no answer of a Prometheus.
    Says(&'static str),
    /// Lets it wait so long.
    Slow(Duration),
}

#[derive(Clone, Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    way: Arc<Mutex<Way>>,
    refused: Arc<AtomicUsize>,
}

pub(crate) const HTML: Way = Way::Says(
    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<!doctype html>",
);
pub(crate) const FAILS: Way =
    Way::Says("HTTP/1.1 500 X\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops");

impl Relay {
    /// Starts one before a server that need not be there yet.
    pub(crate) async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Mutex::new(Way::Open));
        let relay = Self { address, way, refused: Arc::default() };
        let this = relay.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (this, server) = (this.clone(), server.clone());
                // Whoever hangs up is no failure of the relay.
                tokio::spawn(async move { this.serve(client, &server).await.ok() });
            }
        });
        relay
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn go(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    /// Returns how many questions it has not let through.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(SeqCst)
    }

    /// A kept connection goes the way that holds at each request, so it carries one request only.
    async fn serve(&self, mut client: TcpStream, server: &str) -> std::io::Result<()> {
        let mut head = vec![0; 64 * 1024];
        let length = client.read(&mut head).await?;
        let way = *self.way.lock().unwrap();
        if way != Way::Open {
            self.refused.fetch_add(1, SeqCst);
        }
        match way {
            Way::Open => {
                let text = String::from_utf8_lossy(&head[..length]);
                let asked = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                let mut server = TcpStream::connect(server).await?;
                server.write_all(asked.as_bytes()).await?;
                copy_bidirectional(&mut client, &mut server).await.map(|_| ())
            }
            Way::Down => Ok(()),
            Way::Says(what) => client.write_all(what.as_bytes()).await,
            Way::Slow(length) => {
                tokio::time::sleep(length).await;
                Ok(())
            }
        }
    }
}
