//! `gate watchdog`: what the pod of `--watchdog` runs.

use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::peer::Peer;
use super::signals::Signals;
use super::target::Target;

/// Guards one promotion until it has ended, or the pod is to end.
pub(crate) async fn watch(printer: &Printer, target: &Target, id: &str) -> Result<Exit, Error> {
    // The first process of a container ends by no signal that it does not listen for.
    let mut signals = Signals::listen()?;
    let Peer::Cluster(cluster) = target.peer(printer).await? else {
        return Err(Error::user("a watchdog guards a `deployment/NAME`"));
    };
    let guarding = cluster.guard(id, |text| printer.say(text));
    tokio::select! {
        ended = guarding => match ended {
            Ok(()) => Ok(Exit::Done),
            Err(error) => Err(Error::new(Exit::Unreachable, error.what)),
        },
        _ = signals.next() => Ok(Exit::Done),
    }
}
