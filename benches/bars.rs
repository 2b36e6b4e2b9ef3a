//! The bars that the evidence judge is held to, on simulated promotions.
//!
//! `cargo bench --bench bars` simulates each scenario of the table with `policies/all-conditions.yaml` on three
//! seeds, prints what was found beside the bar, and fails if one is missed: a median by more than one look
//! (15 s), a 90th percentile by more than 15 %. `GATE_REPS` (default 1000) says how many promotions.
#![expect(clippy::print_stdout, reason = "the figures are the answer")]
#![expect(clippy::unwrap_used, reason = "a bench may fail")]

use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;

use gate::policy::JudgeKind;
use gate::simulate::{Kind, Question, Simulation, read, simulate};

const SEEDS: [u64; 3] = [1, 20_260_101, 4711];
const REPS: u64 = 1000;
const LOOK_S: f64 = 15.0;
/// A measured share may exceed its bar by chance: 1 % is accepted up to 1.5 %.
const BY_CHANCE: f64 = 0.005;
const P90_SLACK: f64 = 1.15;

/// File, median and 90th percentile in seconds, and the share that may be missed.
const REGRESSIONS: [(&str, f64, f64, f64); 17] = [
    ("err-5pp-50rps-w5", 75.0, 120.0, 0.0),
    ("err-5pp-50rps-w1", 210.0, 375.0, 0.0),
    ("err-5pp-500rps-w5", 45.0, 60.0, 0.0),
    ("err-5pp-50rps-w25", 60.0, 75.0, 0.0),
    ("err-all-50rps-w5", 45.0, 45.0, 0.0),
    ("err-all-50rps-w1", 60.0, 60.0, 0.0),
    ("err-all-5rps-w1", 120.0, 195.0, 0.0),
    ("err-x5-b1pc-50rps-w5", 150.0, 255.0, 0.0),
    ("err-x2-b1pc-500rps-w5", 150.0, 255.0, 0.0),
    ("p95-100pc-50rps-w5", 90.0, 105.0, 0.0),
    ("p95-300pc-50rps-w5", 90.0, 90.0, 0.0),
    ("p95-20pc-500rps-w5", 90.0, 135.0, 0.0),
    ("p95-20pc-50rps-w5", 360.0, 735.0, 0.0),
    ("err-5pp-late30min", 120.0, 165.0, 0.0),
    ("hang-50rps-w5", 135.0, 135.0, 0.0),
    ("unhealthy-50rps-w5", 60.0, 60.0, 0.0),
    ("err-5pp-podburst", 240.0, 630.0, 0.0),
];

/// Part of the name, and the share of harmless promotions that may be rolled back.
const HARMLESS: [(&str, f64); 2] = [("null-blip15s", 0.03), ("null-", 0.01)];

fn main() -> ExitCode {
    let mut missed = 0;
    for seed in SEEDS {
        for (file, median, p90, miss) in REGRESSIONS {
            let found = ask(file, seed);
            let time = |s: Option<f64>| s.unwrap_or(f64::INFINITY);
            let fine = time(found.detect_s.median) <= median + LOOK_S
                && time(found.detect_s.p90) <= p90 * P90_SLACK
                && found.missed_share <= miss + BY_CHANCE
                && found.early_share <= 0.01 + BY_CHANCE;
            missed += u32::from(!fine);
            let (seen, late) = (time(found.detect_s.median), time(found.detect_s.p90));
            tell(
                seed,
                file,
                fine,
                &format!(
                    "{seen:.0}/{late:.0} s (bar {median:.0}/{p90:.0}), missed {:.1} %",
                    found.missed_share * 100.0
                ),
            );
        }
        for file in harmless() {
            let found = ask(&file, seed);
            let bar = HARMLESS.iter().find(|(part, _)| file.starts_with(part)).unwrap().1;
            let fine = found.rolled_back_share <= bar + BY_CHANCE;
            missed += u32::from(!fine);
            tell(
                seed,
                &file,
                fine,
                &format!(
                    "{:.1} % rolled back (bar {:.0} %)",
                    found.rolled_back_share * 100.0,
                    bar * 100.0
                ),
            );
        }
    }
    println!("{missed} bars missed");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(seed: u64, file: &str, fine: bool, found: &str) {
    println!("{} seed {seed:<9} {file:<28} {found}", if fine { "ok  " } else { "MISS" });
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/scenarios"))
}

fn harmless() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let mut names: Vec<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("null-"));
    names.sort();
    names
}

fn ask(file: &str, seed: u64) -> Simulation {
    let path = folder().join(format!("{file}.yaml"));
    let scenario = read(&path, &std::fs::read(&path).unwrap()).unwrap().value;
    assert_eq!(scenario.kind == Kind::Null, file.starts_with("null-"));
    let policy = gate::policy::shipped("all-conditions").unwrap();
    let reps = std::env::var("GATE_REPS").ok().and_then(|reps| reps.parse().ok()).unwrap_or(REPS);
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let judge = JudgeKind::Evidence;
    simulate(&Question { scenario: &scenario, policy: &policy, judge, reps, seed, threads })
        .unwrap()
}
