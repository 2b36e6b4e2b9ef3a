//! Does a command say that it is well?
//!
//! It runs on this host with the application's directory and environment, in a process group of its
//! own, all of which is killed when the question is over: at the time-out, or when the asker goes.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::{Failure, Target};

/// Bytes of each output that are kept for the message; the rest is read and dropped.
const OUTPUT_BYTES_MAX: u64 = 4 * 1024;

/// Characters of the output in a message.
const MESSAGE_MAX: usize = 200;

/// How long the last of the output is waited for after the command has ended.
const LAST_OUTPUT: Duration = Duration::from_millis(50);

/// Asks without a time-out; the caller has one.
pub(super) async fn ask(command: &[String], target: &Target) -> Result<(), Failure> {
    let mut child = start(command, target)?;
    let _group = Group::of(&child);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async { tokio::join!(read(stdout, &mut out), read(stderr, &mut err)) };
    let status = wait_while(&mut child, reading).await?;
    if status.success() {
        return Ok(());
    }
    let said = if err.is_empty() { &out } else { &err };
    Err(Failure::Command { what: format!("{status}{}", quoted(said)) })
}

fn start(command: &[String], target: &Target) -> Result<Child, Failure> {
    let wrong = |what: String| Failure::CanNotAsk { what };
    let (program, args) =
        command.split_first().ok_or_else(|| wrong("the command is empty".to_owned()))?;
    Command::new(program)
        .args(args)
        .current_dir(&target.directory)
        .env_clear()
        .envs(&target.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| wrong(format!("{program}: {error}")))
}

/// Waits for the command while its output is read, so that it never blocks on a full pipe. Output
/// that something else holds open does not keep the answer back.
async fn wait_while(child: &mut Child, reading: impl Future) -> Result<ExitStatus, Failure> {
    tokio::pin!(reading);
    let status = tokio::select! {
        status = child.wait() => {
            let _ = tokio::time::timeout(LAST_OUTPUT, reading).await;
            status
        }
        _ = &mut reading => child.wait().await,
    };
    status.map_err(|error| Failure::Command { what: error.to_string() })
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    // What can't be read is missing in a message, nothing more.
    let _ = (&mut pipe).take(OUTPUT_BYTES_MAX).read_to_end(kept).await;
    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
}

fn quoted(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// The command's process group. It lives shorter than the `Child`, whose leader is not reaped as long
/// as a question is cut off, so the group's number can't be another's.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails when all of it has ended, as it should have.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
