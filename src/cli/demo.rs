//! `gate demo`: a healthy and a broken release, one after the other, under real load.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::error::Error;
use super::exit::Exit;
use super::follow::OnUnknown;
use super::output::{Printer, plan::table, words};
use super::own::{OwnEnd, OwnRun};
use super::plan::request;
use super::signals::Signals;
use super::target::read_app;
use crate::host::paths::Paths;
use crate::load::LoadReport;
use crate::platform::local::app::App;
use crate::rollout::{Outcome, ResultWord};

/// The app of the demo; the file itself is taken where it is.
const APP_FILE: &str = "examples/local/checkout.yaml";
const APP: &str = include_str!("../../examples/local/checkout.yaml");

/// Requests a second.
const RPS: f64 = 250.0;
/// What a promotion may take: the load ends with it.
const LENGTH_MAX: Duration = Duration::from_secs(3600);

/// What is promoted, what it is, and how it must end.
const RUNS: [(&str, &str, ResultWord); 2] = [
    ("v2", "a healthy release", ResultWord::Promoted),
    ("broken", "30 points more errors", ResultWord::RolledBack),
];

/// How one promotion of the demo went.
struct Ran {
    release: &'static str,
    expected: ResultWord,
    exit: Exit,
    end: OwnEnd,
}

#[derive(Debug, Serialize)]
struct DemoLine<'a> {
    schema: &'static str,
    release: &'a str,
    expected: ResultWord,
    as_expected: bool,
    load: &'a Option<LoadReport>,
}

pub(crate) async fn demo(printer: &Printer, timeout: Option<Duration>) -> Result<Exit, Error> {
    let deadline = timeout.map(|limit| (Instant::now() + limit, limit));
    let folder = folder()?;
    let app = app(printer, &folder)?;
    let mut signals = Signals::listen()?;
    let mut ran = Vec::new();
    for (number, (release, about, expected)) in RUNS.into_iter().enumerate() {
        printer.say(&format!("{} of {}: {release}, {about}", number + 1, RUNS.len()));
        let run = OwnRun {
            printer,
            app: app.clone(),
            paths: Paths::at(folder.clone()),
            promote: request(release, None),
            load: Some((RPS, LENGTH_MAX)),
            on_unknown: OnUnknown::Exit,
            deadline,
        };
        let (exit, end) = run.run(&mut signals).await?;
        let one = Ran { release, expected, exit, end };
        let fine = one.is_fine();
        ran.push(one);
        if !fine {
            break;
        }
    }
    conclude(printer, &ran, &app.name, &folder);
    let wrong = ran.iter().find(|one| !one.is_fine()).map(|one| one.exit);
    Ok(match wrong {
        None => Exit::Done,
        // Promoted where it must not be: the demo has failed all the same.
        Some(Exit::Done) => Exit::Internal,
        Some(exit) => exit,
    })
}

impl Ran {
    fn outcome(&self) -> Option<&Outcome> {
        self.end.result.as_ref().map(|line| &line.outcome)
    }

    fn is_fine(&self) -> bool {
        self.outcome().is_some_and(|outcome| outcome.result == self.expected)
    }
}

fn conclude(printer: &Printer, ran: &[Ran], app: &str, folder: &Path) {
    if printer.is_json() {
        for one in ran {
            printer.object(&DemoLine {
                schema: "gate.demo/v1",
                release: one.release,
                expected: one.expected,
                as_expected: one.is_fine(),
                load: &one.end.load,
            });
        }
        return;
    }
    let head =
        ["release", "ended", "as it must", "took", "detected", "safe", "requests", "5xx", "lost"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(ran.iter().map(row));
    printer.answer(&format!("\n{}", table(&rows)));
    for one in ran {
        if let Some(load) = &one.end.load {
            let shares = load.versions.iter();
            let versions: Vec<String> = shares
                .map(|(name, seen)| format!("{name} answered {}", words::count(seen.answers)))
                .collect();
            printer.answer(&format!("load of {}: {}", one.release, versions.join(", ")));
        }
    }
    printer.answer(&format!(
        "\nits history is left: GATE_STATE_DIR={} gate history local/{app}",
        folder.display()
    ));
}

fn row(one: &Ran) -> Vec<String> {
    let none = || "–".to_owned();
    let outcome = one.outcome();
    let load = one.end.load.as_ref();
    let safe = outcome.and_then(|outcome| outcome.safe_after_ms);
    let detected = outcome.and_then(|outcome| outcome.detected_after_s);
    vec![
        one.release.to_owned(),
        outcome.map_or("–", |outcome| crate::report::result_word(outcome.result)).into(),
        if one.is_fine() { "yes" } else { "no" }.to_owned(),
        outcome.map_or_else(none, |outcome| words::seconds(outcome.duration_s)),
        detected.map_or_else(none, |seconds| format!("{seconds:.1} s")),
        safe.map_or_else(none, words::milliseconds),
        load.map_or_else(none, |load| words::count(load.sent)),
        load.map_or_else(none, |load| words::count(load.server_errors)),
        load.map_or_else(none, |load| words::count(load.failed.all())),
    ]
}

/// Returns the app, at ports that are free.
fn app(printer: &Printer, folder: &Path) -> Result<App, Error> {
    let there = PathBuf::from(APP_FILE);
    let path = if there.is_file() { there } else { folder.join("checkout.yaml") };
    if !path.exists() {
        std::fs::write(&path, APP)
            .map_err(|error| Error::internal("can't write the demo's app file").caused_by(error))?;
    }
    let mut app = read_app(printer, &path)?;
    app.listen.set_port(0);
    app.admin.set_port(0);
    Ok(app)
}

/// Makes a folder that nobody else has.
fn folder() -> Result<PathBuf, Error> {
    let mut name = [0; 8];
    getrandom::fill(&mut name)
        .map_err(|error| Error::internal(format!("no random name for a folder: {error}")))?;
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = std::env::temp_dir().join(format!("gate-demo-{name}"));
    std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|error| {
        Error::internal(format!("can't make {}", folder.display())).caused_by(error)
    })?;
    Ok(folder)
}
