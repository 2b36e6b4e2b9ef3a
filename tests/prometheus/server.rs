//! A small HTTP server: one answer for everything, which may change, and a record of what was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Text {
        status: u16,
        kind: &'static str,
        body: String,
    },
    /// Not text.
    Bytes {
        kind: &'static str,
        body: Vec<u8>,
    },
    /// Nothing at all, for so long.
    Nothing(Duration),
    /// Text after so long.
    Late(Duration, String),
    /// A head that promises more than comes.
    Half,
    /// A body without end.
    Endless,
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Says {
    pub(crate) fn json(body: impl Into<String>) -> Self {
        Self::Text { status: 200, kind: "application/json", body: body.into() }
    }

    pub(crate) fn metrics(body: impl Into<String>) -> Self {
        Self::Text { status: 200, kind: "text/plain; version=0.0.4", body: body.into() }
    }
}

impl Server {
    pub(crate) async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, says: Arc::new(Mutex::new(says)), asked: Arc::default() };
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                // A client that hangs up is no failure of the server.
                tokio::spawn(async move { this.serve(stream).await.ok() });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Heads and bodies of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        while !is_whole(&request) {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        self.asked.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
        let says = self.says.lock().unwrap().clone();
        match says {
            Says::Text { status, kind, body } => {
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nlocation: /login\r\nconnection: close\r\n\r\n"
                );
                stream.write_all((head + &body).as_bytes()).await
            }
            Says::Bytes { kind, body } => {
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(&[head.as_bytes(), &body].concat()).await
            }
            Says::Nothing(length) => {
                tokio::time::sleep(length).await;
                Ok(())
            }
            Says::Late(length, body) => {
                tokio::time::sleep(length).await;
                let head = format!(
                    "HTTP/1.1 200 X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await
            }
            Says::Half => stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{").await,
            Says::Endless => {
                stream.write_all(b"HTTP/1.1 200 X\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b' '; 65536]).await?;
                }
            }
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0_usize)
}
