//! How fast simulations and backtests are.
//!
//! `cargo bench --bench simulate` prints
//! In brackets the processor's time, which tells more than the clock where other programs run beside it.
//! * one scenario at 1,000 promotions of 1 h (240 looks, 10 baseline pods, 10 min of history) on all
//!   cores, with the peak of the memory; and beside it, in the same run, the Python reference on as many
//!   processes, where `GATE_REFERENCE` names its folder and `GATE_PYTHON` (default `python3`) has numpy and
//!   scipy. Goals: three times as fast, at most 500 MiB.
//! * a backtest of 7 days at 15 s with 10 pods, once its looks are read; and through the binary, from a file. Goal: 2 s.
#![expect(clippy::print_stdout, reason = "the figures are the answer")]
#![expect(clippy::unwrap_used, reason = "a bench may fail")]

use std::fmt::Write as _;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::time::Instant;

use gate::analysis::evidence::{Header, Line};
use gate::analysis::replay::Replay;
use gate::policy::JudgeKind;
use gate::simulate::{Question, Scenario, simulate};

const REPS: u64 = 1000;
const DAYS_S: u64 = 7 * 24 * 3600;
const INTERVAL_S: u64 = 15;
const PODS: u64 = 10;
/// Seconds that a backtest of a week may take once its looks are read.
const BACKTEST_LIMIT_S: u32 = 2;

/// The reference's own gate on the same scenario, a hundred promotions at a time as it does itself.
const REFERENCE: &str = r"
import os, sys, time
os.environ['OMP_NUM_THREADS'] = os.environ['OPENBLAS_NUM_THREADS'] = '1'
sys.path.insert(0, sys.argv[1])
from concurrent.futures import ProcessPoolExecutor
from run import run_chunk
from sim import Scenario, seed_for
def job(ss):
    return run_chunk(Scenario('null', base_err=0.001), 100, ss, only_gate=True)
if __name__ == '__main__':
    with ProcessPoolExecutor(int(sys.argv[3])) as pool:
        list(pool.map(abs, range(8)))  # the processes are there before the clock starts
        start, before = time.time(), os.times()
        list(pool.map(job, seed_for('null', 1).spawn(int(sys.argv[2]) // 100)))
        wall = time.time() - start
    # The processes are over here, so their time is counted.
    after = os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    print(wall, cpu)
";

fn main() {
    simulation();
    backtest();
}

fn simulation() {
    let policy = gate::policy::shipped("all-conditions").unwrap();
    let scenario = Scenario { share: Some(0.05), name: "null".into(), ..Scenario::default() };
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let judge = JudgeKind::Evidence;
    let question =
        Question { scenario: &scenario, policy: &policy, judge, reps: REPS, seed: 1, threads };
    let (start, before) = (Instant::now(), processor_s());
    let found = simulate(&question).unwrap();
    let (ours, ours_cpu) = (start.elapsed().as_secs_f64(), processor_s() - before);
    assert_eq!(found.reps, REPS);
    let peak = peak_mib();
    println!(
        "{REPS} promotions of 1 h     {ours:>8.2} s [{ours_cpu:.2} s] on {threads} threads, {peak} MiB"
    );
    match reference(threads) {
        Some((theirs, cpu)) => println!(
            "the reference             {theirs:>8.2} s [{cpu:.2} s]: {:.1} [{:.1}] times as long of 3.0",
            theirs / ours,
            cpu / ours_cpu
        ),
        None => println!("the reference is not here: GATE_REFERENCE names its folder"),
    }
}

/// Seconds that the reference takes: by the clock, and of the processor.
fn reference(processes: NonZero<usize>) -> Option<(f64, f64)> {
    let folder = std::env::var_os("GATE_REFERENCE")?;
    let python = std::env::var_os("GATE_PYTHON").unwrap_or_else(|| "python3".into());
    // Worker processes load their script anew, so it has to be a file.
    let script = std::env::temp_dir().join(format!("gate-reference-{}.py", std::process::id()));
    std::fs::write(&script, REFERENCE).unwrap();
    let output = Command::new(python)
        .arg(&script)
        .arg(folder)
        .args([REPS.to_string(), processes.to_string()])
        .stderr(Stdio::inherit())
        .output();
    std::fs::remove_file(&script).unwrap();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let (wall, cpu) = text.trim().split_once(' ')?;
    Some((wall.parse().ok()?, cpu.parse().ok()?))
}

/// Processor seconds of this process, to the hundredth that Linux counts in.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn backtest() {
    let stage = r#"{"at_s":0,"share":0.1}"#;
    let header = format!(
        r#"{{"schema":"gate.recording/v1","bounds_ms":[50,100,250,500,1000,2500],"interval_s":{INTERVAL_S},"stages":[{stage}],"horizon_s":{DAYS_S}}}"#
    );
    let lines: Vec<String> = (INTERVAL_S..=DAYS_S).step_by(INTERVAL_S as usize).map(line).collect();
    replay(&header, &lines);
    through_the_binary(&header, &lines);
}

/// What a backtest takes once its looks are read, from wherever they come.
fn replay(header: &str, lines: &[String]) {
    let policy = gate::policy::shipped("all-conditions").unwrap();
    let header = Header::parse(header).unwrap();
    let mut replay = Replay::new(&policy, JudgeKind::Evidence, &header).unwrap();
    let lines: Vec<Line> = lines.iter().map(|line| Line::parse(line)).collect();
    let (start, before) = (Instant::now(), processor_s());
    for line in &lines {
        std::hint::black_box(replay.look(line));
    }
    let (took, cpu) = (start.elapsed().as_secs_f64(), processor_s() - before);
    let looks = lines.len();
    println!(
        "backtest of {looks} looks    {took:>8.2} s [{cpu:.2} s] of {BACKTEST_LIMIT_S} s, once read"
    );
}

fn through_the_binary(header: &str, lines: &[String]) {
    let path = std::env::temp_dir().join(format!("gate-week-{}.jsonl", std::process::id()));
    std::fs::write(&path, format!("{header}\n{}\n", lines.join("\n"))).unwrap();
    let start = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_gate"))
        .args(["backtest", "all-conditions"])
        .arg(&path)
        .args(["--output", "json"])
        .stdout(Stdio::null())
        .status();
    let took = start.elapsed().as_secs_f64();
    std::fs::remove_file(&path).unwrap();
    assert!(status.unwrap().success());
    println!("… from a file, whole command  {took:>8.2} s");
}

/// Counters that rise by 75 requests a look and pod, some of them slow, now and then an error.
fn line(at_s: u64) -> String {
    let mut baseline = String::new();
    for pod in 0..PODS {
        let comma = if pod == 0 { "" } else { "," };
        write!(baseline, "{comma}\"b{pod}\":{}", sample(at_s, pod)).unwrap();
    }
    format!(
        r#"{{"at_s":{at_s},"baseline":{{{baseline}}},"candidate":{{"c0":{}}},"expected":{{"baseline":{PODS},"candidate":1}},"probes":{{"baseline":[0,30],"candidate":[0,3]}},"share":0.1}}"#,
        sample(at_s, 3)
    )
}

fn sample(at_s: u64, pod: u64) -> String {
    let requests = 5 * at_s + at_s * pod % 7;
    let part = |per_mille: u64| requests * per_mille / 1000;
    let slow = [950, 600, 60, 20, 4, 1].map(|per_mille| part(per_mille).to_string());
    format!("[{requests},{},{}]", part(1), slow.join(","))
}
