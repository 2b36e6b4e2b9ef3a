//! Whom a command talks to: the host that serves an app, or a cluster.
//!
//! Both take the same requests and give the same answers.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::error::Error;
use crate::cluster::Cluster;
use crate::host::client::{self, ClientError, Conversation};
use crate::host::protocol::{Answer, Request};

/// Answers read ahead.
const ANSWERS_MAX: usize = 64;

#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// The host of an app, at its socket.
    Host { socket: PathBuf, app: String },
    /// A Deployment.
    Cluster(Cluster),
}

impl Peer {
    /// Returns the target as people write it.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Host { app, .. } => format!("local/{app}"),
            Self::Cluster(cluster) => cluster.target(),
        }
    }

    /// In a cluster, takes over what a silent gate has left behind.
    pub(crate) fn taking_over(self, take_over: bool) -> Self {
        match self {
            Self::Cluster(cluster) => Self::Cluster(cluster.taking_over(take_over)),
            host @ Self::Host { .. } => host,
        }
    }

    /// Asks, and returns the answers as they come.
    ///
    /// # Errors
    /// Nobody listens, or the host hangs up.
    pub(crate) async fn begin(
        &self,
        request: &Request,
    ) -> Result<mpsc::Receiver<Result<Answer, ClientError>>, ClientError> {
        let (send, answers) = mpsc::channel(ANSWERS_MAX);
        match self {
            Self::Host { socket, .. } => {
                tokio::spawn(read(Conversation::begin(socket, request).await?, send));
            }
            Self::Cluster(cluster) => {
                let mut told = cluster.begin(request.clone());
                tokio::spawn(async move {
                    while let Some(answer) = told.recv().await {
                        if send.send(Ok(answer)).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
        Ok(answers)
    }

    /// Asks, and returns the first answer.
    ///
    /// # Errors
    /// Nobody listens, or the host hangs up.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answer, ClientError> {
        match self {
            Self::Host { socket, .. } => client::ask(socket, request).await,
            Self::Cluster(cluster) => {
                cluster.begin(request.clone()).recv().await.ok_or(ClientError::HungUp)
            }
        }
    }

    /// Returns the error that a peer which can't be asked is.
    pub(crate) fn unreachable(&self, error: ClientError) -> Error {
        match self {
            Self::Host { app, .. } => Error::unreachable(app, error),
            Self::Cluster(cluster) => Error::unreachable(&cluster.target(), error),
        }
    }
}

/// Reads in a task of its own: a read that is given up half-way would lose what it has.
async fn read(mut conversation: Conversation, send: mpsc::Sender<Result<Answer, ClientError>>) {
    while let Some(answer) = conversation.next().await.transpose() {
        let broken = answer.is_err();
        if send.send(answer).await.is_err() || broken {
            return;
        }
    }
}
