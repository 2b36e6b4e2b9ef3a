//! Load at a fixed rate by a program that nobody here wrote (vegeta), and what became of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, Utc};
use rustix::process::Signal;
use serde::Deserialize;

use crate::processes;
use crate::site::{SOON, Site};
use crate::tools::tool;

/// A running generator.
pub(crate) struct Generator {
    child: Child,
    vegeta: PathBuf,
    results: PathBuf,
}

/// One request as vegeta writes it down.
#[derive(Debug, Deserialize)]
struct Line {
    code: u16,
    timestamp: DateTime<Utc>,
    error: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, Vec<String>>>,
}

/// What became of all requests.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    /// Answers of 200 to 399.
    pub(crate) good: u64,
    /// Answers of 500 and more, by the release that gave them (`x-version`).
    pub(crate) failed_by: BTreeMap<String, u64>,
    /// Answers of 500 and more that no release gave, and requests without an answer: the error.
    pub(crate) lost: Vec<(DateTime<Utc>, String)>,
    /// When requests were sent that this release answered, in order of time.
    pub(crate) sent_to: BTreeMap<String, Vec<DateTime<Utc>>>,
}

impl Generator {
    /// Starts it; it goes on until it is stopped. `None` without vegeta.
    pub(crate) fn start(site: &Site, path: &str, rate: u32) -> Option<Self> {
        let vegeta = tool("vegeta")?;
        let results = site.folder().join("vegeta.bin");
        let targets = site.folder().join("targets");
        std::fs::write(&targets, format!("GET http://{}{path}\n", site.address)).unwrap();
        let child = Command::new(&vegeta)
            .args(["attack", "-duration=0", "-timeout=10s", "-max-workers=2000", "-max-body=0"])
            .arg(format!("-rate={rate}/s"))
            .arg(format!("-targets={}", targets.display()))
            .arg(format!("-output={}", results.display()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, vegeta, results })
    }

    /// Stops it, waits for the answers that are due, and counts.
    pub(crate) fn stop(mut self) -> Report {
        processes::signal(self.child.id(), Signal::INT);
        crate::poll::until("the generator's end", SOON, || self.child.try_wait().unwrap());
        let lines = self.results.with_extension("json");
        let encoded = Command::new(&self.vegeta)
            .args(["encode", "-to=json"])
            .arg(format!("-output={}", lines.display()))
            .arg(&self.results)
            .status();
        assert!(encoded.unwrap().success());
        let mut report = Report::default();
        for line in BufReader::new(File::open(lines).unwrap()).lines() {
            report.take(serde_json::from_str(&line.unwrap()).unwrap());
        }
        report.sent_to.values_mut().for_each(|times| times.sort());
        report
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    fn take(&mut self, line: Line) {
        self.requests += 1;
        let headers = line.headers.unwrap_or_default();
        let first = |name: &str| headers.get(name).and_then(|values| values.first()).cloned();
        let (version, why) = (first("X-Version"), first("Proxy-Status").unwrap_or_default());
        match (line.code, version) {
            (0, _) => self.lost.push((line.timestamp, line.error)),
            (500.., None) => self.lost.push((line.timestamp, format!("{} {why}", line.code))),
            (500.., Some(version)) => {
                *self.failed_by.entry(version.clone()).or_default() += 1;
                self.sent_to.entry(version).or_default().push(line.timestamp);
            }
            (code, version) => {
                self.good += u64::from(code < 400);
                self.sent_to.entry(version.unwrap_or_default()).or_default().push(line.timestamp);
            }
        }
    }

    /// Asserts that every request had an answer, and that no answer of 500 was the gate's own.
    #[track_caller]
    pub(crate) fn assert_none_lost(&self) {
        let mut by_error = BTreeMap::<&str, usize>::new();
        self.lost.iter().for_each(|(_, error)| *by_error.entry(error).or_default() += 1);
        let (first, last) = (self.lost.first(), self.lost.last());
        assert!(first.is_none(), "lost of {}: {by_error:?}, {first:?} … {last:?}", self.requests);
    }

    /// Returns when a release was sent its last request.
    pub(crate) fn last_sent_to(
        &self,
        release: &str,
        before: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        self.sent_to.get(release)?.iter().rev().find(|at| **at < before).copied()
    }
}
