//! A start, in two halves: what is done before the fork, and the fork with its handshake.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::logs::Log;
use super::port::Port;
use super::supervise::Watched;
use super::{Instance, Launch, Place, Record, StartError, session};

/// Everything that is done before the fork.
pub(super) struct Prepared {
    name: String,
    gate: Command,
    command: Vec<String>,
    port: u16,
    log: PathBuf,
}

impl Prepared {
    pub(super) fn of(launch: &Launch, place: &Place) -> Result<Self, StartError> {
        let name = || launch.name.clone();
        if !launch.directory.is_dir() {
            let directory = launch.directory.clone();
            return Err(StartError::NoDirectory { name: name(), directory });
        }
        let port = launch.port.choose().map_err(|source| no_port(launch, source))?;
        let log = Log::at(place.logs.join(format!("{}.log", launch.name)));
        let no_log = |source| StartError::Log { name: name(), log: log.path().to_owned(), source };
        let out = log.open().map_err(no_log)?;
        let err = out.try_clone().map_err(no_log)?;
        let mut gate = Command::new(&place.gate);
        gate.stdout(Stdio::from(out)).stderr(Stdio::from(err));
        gate.current_dir(&launch.directory).env_clear().envs(launch.environment(place, port));
        let command = launch.resolved_command(place, port);
        Ok(Self { name: name(), gate, command, port, log: log.path().to_owned() })
    }

    pub(super) async fn start(self) -> Result<Instance, StartError> {
        let Self { name, gate, command, port, log } = self;
        let Some(program) = command.first().cloned() else {
            return Err(StartError::NoCommand { name });
        };
        let watched = match session::start(gate, &command).await {
            Ok(pid) => {
                Watched::child(pid).map_err(|source| StartError::Other { name, program, source })?
            }
            Err(source) => return Err(not_started(name, program, source)),
        };
        let record = Record { identity: watched.identity().clone(), port, log };
        Ok(Instance::supervised(watched, record))
    }
}

fn no_port(launch: &Launch, source: io::Error) -> StartError {
    let name = launch.name.clone();
    match launch.port {
        Port::Fixed(port) if source.kind() == io::ErrorKind::AddrInUse => {
            StartError::PortTaken { name, port }
        }
        Port::Fixed(_) | Port::Auto => StartError::Port { name, source },
    }
}

fn not_started(name: String, program: String, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::NotFound => StartError::NotFound { name, program },
        io::ErrorKind::PermissionDenied => StartError::NotExecutable { name, program },
        _other => StartError::Other { name, program, source },
    }
}
