//! What the proxy costs, beside nginx and HAProxy doing the same in the same minute.
//!
//! `cargo bench --bench proxy` starts each of them that is on the PATH as a process of its own before
//! one small application, sends the same load to each in turn, and prints requests per second, CPU
//! time per request, latencies and peak memory. Figures of one run can be compared with each other;
//! figures of two machines can't. `GATE_BENCH_EXTRA="NAME=COMMAND …"` adds one more contender, which
//! gets the addresses to listen on and to send to as its last two arguments.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use gate::platform::local::proxy::{Backend, Config, Limits, Proxy, Routes, Salt};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 32;
const BODY_BYTES: usize = 1024;
const START_MAX: Duration = Duration::from_secs(5);
const END_MAX: Duration = Duration::from_secs(1);

/// Threads or worker processes of every contender.
const WORKERS: usize = 2;

fn main() -> Result<()> {
    let arguments = std::env::args().collect::<Vec<_>>();
    if let [_, role, listen, backend] = arguments.as_slice()
        && role == "--serve"
    {
        return serve(listen.parse()?, backend.parse()?);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let backend = runtime.block_on(application())?;
    let folder = tempfile::tempdir()?;
    let mut contenders = contenders(backend, folder.path())?;
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let length = if round == 0 { WARM_UP } else { ROUND };
            let before = contender.cpu()?;
            let load = runtime.block_on(load(contender.addr, length))?;
            if round > 0 {
                contender.cpu += contender.cpu()? - before;
                contender.took += length;
                contender.latencies.extend(load);
            }
        }
    }
    report(&mut contenders)
}

/// The proxy as a process of its own, so that its CPU time is its own.
fn serve(listen: SocketAddr, backend: SocketAddr) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(WORKERS).enable_all().build()?.block_on(async {
        let bounds_ms = gate::plan::bounds_ms(&[]);
        let config = Config { bounds_ms, salt: Salt([0; 16]), limits: Limits::default() };
        let proxy = Proxy::start(TcpListener::bind(listen)?, config)?;
        let (revision, instance) = ("v1".to_owned(), "v1-0".to_owned());
        let stable = Some(Backend { revision, instance, addr: backend, in_traffic: true });
        proxy.set_routes(Routes { stable, ..Routes::default() });
        std::future::pending::<Result<()>>().await
    })
}

/// Starts the application behind all of them.
async fn application() -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = hyper::service::service_fn(|_| async {
                let body = Full::new(Bytes::from_static(&[b'x'; BODY_BYTES]));
                Ok::<_, Infallible>(Response::new(body))
            });
            let _ = stream.set_nodelay(true);
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(addr)
}

/// Sends requests over all connections, as fast as they are answered; returns every latency.
async fn load(to: SocketAddr, length: Duration) -> Result<Vec<Duration>> {
    let until = Instant::now() + length;
    let clients = (0..CONNECTIONS).map(|_| tokio::spawn(client(to, until))).collect::<Vec<_>>();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await??);
    }
    Ok(latencies)
}

async fn client(to: SocketAddr, until: Instant) -> Result<Vec<Duration>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let request = Request::get("/path?query=1").header("host", "bench.example");
        let request = request.header("user-agent", "bench").header("accept", "*/*");
        let began = Instant::now();
        sender.ready().await?;
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status() == 200, "answered with {}", response.status());
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(body.len() == BODY_BYTES, "a body of {} bytes", body.len());
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

struct Contender {
    name: String,
    addr: SocketAddr,
    process: Child,
    cpu: Duration,
    took: Duration,
    latencies: Vec<Duration>,
}

fn contenders(backend: SocketAddr, folder: &Path) -> Result<Vec<Contender>> {
    let addr = free()?;
    let itself = std::env::current_exe()?;
    let mut gate = Command::new(itself);
    gate.args(["--serve".to_owned(), addr.to_string(), backend.to_string()]);
    let mut contenders = vec![Contender::start("gate", addr, gate)?];
    for (name, command) in [("nginx", nginx as Maker), ("haproxy", haproxy)] {
        let Some(program) = on_path(name) else {
            println!("!!! {name} IS NOT ON THE PATH: there is nothing to compare gate with");
            continue;
        };
        let addr = free()?;
        contenders.push(Contender::start(name, addr, command(&program, folder, addr, backend)?)?);
    }
    if let Ok(extra) = std::env::var("GATE_BENCH_EXTRA") {
        let (name, words) = extra.split_once('=').context("GATE_BENCH_EXTRA is NAME=COMMAND")?;
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next().context("GATE_BENCH_EXTRA has no command")?);
        let addr = free()?;
        command.args(words).args([addr.to_string(), backend.to_string()]);
        contenders.push(Contender::start(name, addr, command)?);
    }
    Ok(contenders)
}

type Maker = fn(&Path, &Path, SocketAddr, SocketAddr) -> Result<Command>;

fn nginx(program: &Path, folder: &Path, addr: SocketAddr, backend: SocketAddr) -> Result<Command> {
    let at = folder.display();
    let config = format!(
        "daemon off; worker_processes {WORKERS}; pid {at}/nginx.pid; error_log stderr crit;
         events {{ worker_connections 1024; }}
         http {{ access_log off; keepalive_requests 1000000000;
           client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;
           uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
           upstream app {{ server {backend}; keepalive 128; keepalive_requests 1000000000; }}
           server {{ listen {addr}; location / {{ proxy_pass http://app; proxy_http_version 1.1;
             proxy_set_header Connection ''; proxy_set_header Host $host;
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             proxy_set_header X-Forwarded-Host $host;
             proxy_set_header X-Forwarded-Proto $scheme; }} }} }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(file);
    Ok(command)
}

fn haproxy(
    program: &Path,
    folder: &Path,
    addr: SocketAddr,
    backend: SocketAddr,
) -> Result<Command> {
    let config = format!(
        "global\n nbthread {WORKERS}\n maxconn 1024\ndefaults\n mode http\n timeout connect 2s\n \
         timeout client 60s\n timeout server 60s\n http-reuse always\n option forwardfor\n\
         frontend users\n bind {addr}\n default_backend app\nbackend app\n server app {backend}\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

impl Contender {
    fn start(name: &str, addr: SocketAddr, mut command: Command) -> Result<Self> {
        let process =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {name}"))?;
        let (cpu, took) = (Duration::ZERO, Duration::ZERO);
        let name = name.to_owned();
        let mut started = Self { name, addr, process, cpu, took, latencies: Vec::new() };
        let due = Instant::now() + START_MAX;
        while std::net::TcpStream::connect(addr).is_err() {
            if let Some(status) = started.process.try_wait()? {
                bail!("{} ended with {status}", started.name);
            }
            ensure!(Instant::now() < due, "{} does not listen on {addr}", started.name);
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(started)
    }

    /// Returns the CPU time of the process and its workers.
    fn cpu(&self) -> Result<Duration> {
        let ticks = self.processes()?.iter().map(|stat| stat[11] + stat[12]).sum::<u64>();
        // Linux counts in hundredths of a second (USER_HZ).
        Ok(Duration::from_millis(10 * ticks))
    }

    /// Returns the peak of resident memory in KiB, summed over the workers.
    fn memory(&self) -> Result<u64> {
        let peaks = self.processes()?.into_iter().map(|stat| {
            let status = fs::read_to_string(format!("/proc/{}/status", stat[0]))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let words = line.context("no VmHWM")?.split_whitespace().next().context("no number")?;
            Ok(words.parse::<u64>()?)
        });
        peaks.sum()
    }

    /// Returns pid, parent and the other numbers of `/proc/PID/stat` of the process and its children.
    fn processes(&self) -> Result<Vec<Vec<u64>>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
            let Some((pid, rest)) = stat.split_once('(') else { continue };
            let Some((_, rest)) = rest.rsplit_once(')') else { continue };
            let fields = rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0));
            // `fields` starts with the parent; field 14 of proc(5) is then at index 11.
            let stat = [pid.trim().parse()?].into_iter().chain(fields).collect::<Vec<u64>>();
            let own = u64::from(self.process.id());
            if stat[0] == own || stat[1] == own {
                found.push(stat);
            }
        }
        Ok(found)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // nginx's workers end with a master that is told to end, not with one that is killed.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let due = Instant::now() + END_MAX;
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > due {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn report(contenders: &mut [Contender]) -> Result<()> {
    let mut table = format!(
        "{:<10}{:>12}{:>14}{:>10}{:>10}{:>12}\n",
        "", "requests/s", "CPU/request", "p50", "p99", "peak memory"
    );
    let mut costs = Vec::new();
    for contender in contenders {
        contender.latencies.sort();
        let count = contender.latencies.len();
        ensure!(count > 0, "{} answered nothing", contender.name);
        let per_second = count as f64 / contender.took.as_secs_f64();
        let micros = contender.cpu.as_secs_f64() * 1e6 / count as f64;
        let [p50, p99] =
            [count / 2, count * 99 / 100].map(|at| contender.latencies[at].as_secs_f64() * 1e3);
        let memory = contender.memory()? as f64 / 1024.0;
        let name = &contender.name;
        writeln!(
            table,
            "{name:<10}{per_second:>12.0}{micros:>11.1} µs{p50:>7.2} ms{p99:>7.2} ms{memory:>8.1} MiB"
        )?;
        costs.push((name.clone(), micros));
    }
    println!(
        "{CONNECTIONS} connections, {ROUNDS} × {ROUND:?} each in turn, answers of {BODY_BYTES} bytes, {WORKERS} workers\n{table}"
    );
    for (name, micros) in &costs[1..] {
        println!("gate takes {:.2} × the CPU time per request of {name}", costs[0].1 / micros);
    }
    Ok(())
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
