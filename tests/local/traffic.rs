//! Users: requests at a steady pace over kept-alive connections, each written down.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// From the connection to the end of the answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// One request of a user's.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When it was sent, and when the answer was whole or it failed.
    pub(crate) sent: DateTime<Utc>,
    pub(crate) done: DateTime<Utc>,
    pub(crate) answer: Result<Answer, io::ErrorKind>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `x-version`: which release answered; empty where the gate itself did.
    pub(crate) version: String,
}

impl Seen {
    pub(crate) fn is_good(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
    }

    pub(crate) fn is_from(&self, version: &str) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.version == version)
    }
}

/// Users of one site; they go when it is dropped.
pub(crate) struct Users {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Users {
    /// So many users, each with one request in `pace` and a connection of its own.
    pub(crate) fn come(address: &str, users: u32, pace: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let threads = (0..users).map(|number| {
            let (stop, seen, address) = (Arc::clone(&stop), Arc::clone(&seen), address.to_owned());
            std::thread::spawn(move || {
                let mut connection = None;
                let mut due = Instant::now() + pace * number / users;
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    due = Instant::now().max(due + pace);
                    let one = request(&address, &mut connection);
                    seen.lock().unwrap().push(one);
                }
            })
        });
        Self { threads: threads.collect(), stop, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn go(mut self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        self.seen()
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends one request, on a new connection if there is none; keeps it if it may be kept.
fn request(address: &str, connection: &mut Option<BufReader<TcpStream>>) -> Seen {
    let sent = Utc::now();
    let kept = connection.take();
    let was_kept = kept.is_some();
    let mut answered = exchange(address, kept);
    if was_kept && answered.as_ref().is_err_and(closed_before_it_came) {
        // The other side may close an idle connection at any time (RFC 9112, 9.3.1): once more.
        answered = exchange(address, None);
    }
    let answer = answered.map(|(answer, kept)| {
        *connection = kept;
        answer
    });
    Seen { sent, done: Utc::now(), answer: answer.map_err(|error| error.kind()) }
}

fn closed_before_it_came(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

type Exchanged = (Answer, Option<BufReader<TcpStream>>);

fn exchange(address: &str, kept: Option<BufReader<TcpStream>>) -> io::Result<Exchanged> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => BufReader::new(TcpStream::connect(address)?),
    };
    connection.get_ref().set_read_timeout(Some(ANSWER_MAX))?;
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: site\r\n\r\n")?;
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let status = head[0].split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let version = header("x-version:").unwrap_or_default().to_owned();
    let length = header("content-length:").and_then(|length| length.parse().ok());
    let chunked = header("transfer-encoding:") == Some("chunked");
    match length {
        Some(length) => skip(&mut connection, length)?,
        None if chunked => while skip_chunk(&mut connection)? {},
        None => drop(connection.read_to_end(&mut Vec::new())?),
    }
    let keep = (length.is_some() || chunked) && header("connection:") != Some("close");
    Ok((Answer { status, version }, keep.then_some(connection)))
}

fn skip(connection: &mut BufReader<TcpStream>, length: usize) -> io::Result<()> {
    connection.read_exact(&mut vec![0; length])
}

/// Returns whether there is another chunk.
fn skip_chunk(connection: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim_end(), 16);
    let length = length.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    skip(connection, length + 2)?;
    Ok(length > 0)
}

/// One request by somebody who comes and goes.
pub(crate) fn get(address: &str) -> Seen {
    request(address, &mut None)
}
