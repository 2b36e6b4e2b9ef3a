//! What commands run in: nothing of it is started before the command line is understood.

use super::Global;
use super::error::Error;
use super::exit::Exit;

/// Runs a command that answers at once, within `--timeout`.
pub(super) fn block_on(
    global: &Global,
    command: impl Future<Output = Result<Exit, Error>>,
) -> Result<Exit, Error> {
    runtime()?.block_on(async {
        match global.timeout {
            None => command.await,
            Some(limit) => tokio::time::timeout(limit, command).await.unwrap_or_else(|_| {
                Err(Error::new(
                    Exit::Inconclusive,
                    format!("no answer within {}", super::span(limit)),
                ))
            }),
        }
    })
}

/// Starts what commands wait in.
///
/// # Errors
/// The system gives no threads.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("can't start the runtime").caused_by(error))
}
