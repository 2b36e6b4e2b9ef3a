//! The client's end of the socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{Answer, LINE_BYTES_MAX, Request};

/// A request under way.
#[derive(Debug)]
pub struct Conversation {
    answers: BufReader<Take<OwnedReadHalf>>,
    /// Kept open: a client that hangs up has lost interest.
    _requests: OwnedWriteHalf,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no gate serves at {}", path.display())]
    NobodyThere {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("nobody but its user may reach {}", path.display())]
    NotAllowed {
        path: PathBuf,
        /// The numeric id of the user whom what is in the way belongs to.
        owner: Option<u32>,
        #[source]
        source: io::Error,
    },
    #[error("the host hung up before it had answered")]
    HungUp,
    #[error("the host's answer can't be read")]
    Io(#[from] io::Error),
    #[error("the host's answer makes no sense: is it another version of gate?")]
    Nonsense(#[from] serde_json::Error),
}

impl Conversation {
    /// Asks the host at a socket.
    ///
    /// # Errors
    /// Nobody listens there, it is another user's, or it hangs up.
    pub async fn begin(socket: &Path, request: &Request) -> Result<Self, ClientError> {
        let stream =
            super::socket::connect(socket).await.map_err(|source| not_reached(socket, source))?;
        let (read, mut write) = stream.into_split();
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        write.write_all(&line).await?;
        let answers = BufReader::new(read.take(LINE_BYTES_MAX as u64));
        Ok(Self { answers, _requests: write })
    }

    /// Returns the next answer; `None` at the end. Cancelling it loses nothing that was not begun.
    ///
    /// # Errors
    /// The connection broke, or the answer can't be read.
    pub async fn next(&mut self) -> Result<Option<Answer>, ClientError> {
        let mut line = Vec::new();
        self.answers.get_mut().set_limit(LINE_BYTES_MAX as u64);
        if self.answers.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(ClientError::HungUp);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

fn not_reached(socket: &Path, source: io::Error) -> ClientError {
    let path = socket.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            ClientError::NotAllowed { path, owner: owner_of(socket), source }
        }
        _other => ClientError::NobodyThere { path, source },
    }
}

/// Returns whose the path is, or the nearest folder above it that can be seen: one that lets nobody
/// in hides what is in it.
fn owner_of(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    path.ancestors().find_map(|path| Some(std::fs::metadata(path).ok()?.uid()))
}

/// Asks, and returns the first answer.
///
/// # Errors
/// Nobody listens there, it is another user's, or it hangs up.
pub async fn ask(socket: &Path, request: &Request) -> Result<Answer, ClientError> {
    Conversation::begin(socket, request).await?.next().await?.ok_or(ClientError::HungUp)
}
