//! Does the port accept a connection?

use std::net::SocketAddr;

use super::{Failure, connect};

pub(super) async fn ask(at: SocketAddr) -> Result<(), Failure> {
    connect(at).await.map(drop)
}
