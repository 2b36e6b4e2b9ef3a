//! A process that outlives the host.
//!
//! The host must be able to die and leave the applications serving, so each of them leads a session
//! of its own: no terminal, no signal to the host's group reaches it. Calling `setsid` between fork
//! and exec needs `unsafe`, which this crate forbids; so the host starts its own binary,
//! `gate exec-session -- COMMAND ARGS…`, which calls `setsid` and then becomes the command. The pid,
//! and the start time by which the kernel knows it, stay the same.
//!
//! Both halves are here because they share a protocol: standard input of the child is a socket. The
//! child moves it to a descriptor that closes at exec and reads from `/dev/null` from then on. End of
//! file with nothing before it is a command that runs in its session; a number is the `errno` of the
//! step that failed. So a command that can't be started is told at once, and nobody signals a
//! process group that does not exist yet.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::AsyncReadExt;

/// The hidden subcommand of the binary.
pub const SUBCOMMAND: &str = "exec-session";

/// How long the few system calls between fork and exec may take on a machine that is very busy.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The first descriptor that a copy may get: below are the three standard ones.
const FIRST_FREE_DESCRIPTOR: i32 = 3;

/// Why a command does not run in a session of its own.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("no command given; write it after `{SUBCOMMAND} --`")]
    NoCommand,
    #[error("can't set up a session for {command:?}")]
    SetUp { command: OsString, source: io::Error },
    #[error("can't execute {command:?}")]
    Exec { command: OsString, source: io::Error },
}

/// Becomes the command, as the leader of a new session. Returns only when that fails.
///
/// # Errors
/// No command; `setsid` refused (the caller already leads a process group, as in an interactive
/// shell); or whatever the system says about the command.
pub fn exec(command: &[OsString]) -> Result<Infallible, SessionError> {
    let (program, args) = command.split_first().ok_or(SessionError::NoCommand)?;
    let failed = |source| SessionError::SetUp { command: program.clone(), source };
    let mut report = move_stdin_away().map_err(failed)?;
    if let Err(errno) = rustix::process::setsid() {
        let source = io::Error::from(errno);
        tell(&mut report, &source);
        return Err(SessionError::SetUp { command: program.clone(), source });
    }
    let source = Command::new(program).args(args).exec();
    tell(&mut report, &source);
    Err(SessionError::Exec { command: program.clone(), source })
}

/// Returns a copy of standard input that closes at exec, and leaves `/dev/null` in its place.
fn move_stdin_away() -> io::Result<File> {
    let report = rustix::io::fcntl_dupfd_cloexec(io::stdin(), FIRST_FREE_DESCRIPTOR)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(File::from(report))
}

fn tell(report: &mut File, error: &io::Error) {
    // Nobody may be listening (the command was typed by hand): the caller prints the error as well.
    let _ = write!(report, "{}", error.raw_os_error().unwrap_or_default());
}

/// Starts a command as the leader of a session of its own. `prepare` adds arguments' surroundings:
/// environment, directory, output.
///
/// The process is a child of the caller, who has to reap it.
///
/// # Errors
/// The system's error of whichever step failed: the binary itself, the session, or the command
/// (then nothing is left to reap).
pub(super) async fn start(
    gate: &Path,
    command: &[String],
    prepare: impl FnOnce(&mut Command),
) -> io::Result<Pid> {
    let (ours, theirs) = UnixStream::pair()?;
    let pid = fork(gate, command, theirs, prepare)?;
    match tokio::time::timeout(HANDSHAKE_MAX, handshake(ours)).await {
        Ok(Ok(())) => Ok(pid),
        Ok(Err(error)) => {
            reap(pid).await;
            Err(error)
        }
        Err(_elapsed) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            reap(pid).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "the session was not set up in time"))
        }
    }
}

fn fork(
    gate: &Path,
    command: &[String],
    report: UnixStream,
    prepare: impl FnOnce(&mut Command),
) -> io::Result<Pid> {
    let mut gate = Command::new(gate);
    prepare(&mut gate);
    gate.arg(SUBCOMMAND).arg("--").args(command).stdin(Stdio::from(OwnedFd::from(report)));
    // Dropping the `Child` neither ends nor reaps it, and dropping the `Command` closes our copy of
    // the child's end of the socket.
    let child = gate.spawn()?;
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the system gave a process id that is out of range"))
}

/// Waits until the child has become the command.
async fn handshake(ours: UnixStream) -> io::Result<()> {
    ours.set_nonblocking(true)?;
    let mut answer = String::new();
    tokio::net::UnixStream::from_std(ours)?.read_to_string(&mut answer).await?;
    match answer.trim().parse::<i32>() {
        Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
        Err(_) if answer.is_empty() => Ok(()),
        Err(_) => Err(io::Error::other(format!("unexpected answer {answer:?}"))),
    }
}

/// Reaps a child that is about to end, without a thread that blocks.
async fn reap(pid: Pid) {
    use rustix::process::{WaitOptions, waitpid};
    while matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
