//! What a promotion leaves behind: the files of `--report`, the events of `--notify-url`, and what a
//! GitHub runner reads.
//!
//! None of it changes what a promotion does or how it ends: where a report is to go is checked before
//! anything begins, and what can't be written in the end is said.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::error::Error;
use super::exit::Exit;
use super::output::{Printer, github};
use super::target;
use crate::history::Record;
use crate::history::journal::{self, Entry};
use crate::notify::{Notifier, Webhook};
use crate::policy::Finding;
use crate::published::{EventLine, ResultLine};
use crate::report::{Form, Report, SUMMARY_BYTES_MAX};
use crate::rollout::ResultWord;

/// How long the end of a command waits for a slow receiver of events.
const NOTIFY_LIMIT: Duration = Duration::from_secs(5);

/// Reports that one command writes.
const REPORTS_MAX: usize = 16;

/// What is left behind by every command that follows a promotion to its end.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct LeaveArgs {
    /// Write a report of the promotion, by its ending: .json, .xml (JUnit), .html or .md
    #[arg(long = "report", global = true, value_name = "FILE")]
    reports: Vec<PathBuf>,
    /// POST each event to this http URL as JSON
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "GATE_NOTIFY_URL",
        hide_env_values = true
    )]
    notify_url: Option<String>,
}

/// What was left behind so far.
#[derive(Debug, Default)]
pub(crate) struct Leavings {
    reports: Vec<(PathBuf, Form)>,
    webhook: Option<Webhook>,
    notifier: Mutex<Option<Notifier>>,
    groups: Mutex<github::Groups>,
    annotations: AtomicUsize,
    result_is_told: AtomicBool,
}

impl LeaveArgs {
    /// Checks where everything is to go.
    ///
    /// # Errors
    /// A report without a known ending or a folder to be in; a URL that can't be posted to.
    pub(crate) fn check(self) -> Result<Leavings, Error> {
        let Self { reports, notify_url } = self;
        if reports.len() > REPORTS_MAX {
            return Err(Error::user(format!("at most {REPORTS_MAX} reports are written")));
        }
        let reports = reports.into_iter().map(checked).collect::<Result<_, _>>()?;
        let webhook = notify_url.map(|url| url.parse()).transpose().map_err(
            |error: crate::notify::NotAWebhook| {
                Error::user("`--notify-url` can't be posted to").caused_by(error)
            },
        )?;
        Ok(Leavings { reports, webhook, ..Leavings::default() })
    }
}

fn checked(path: PathBuf) -> Result<(PathBuf, Form), Error> {
    let shown = path.display();
    let form = Form::of_path(&path).ok_or_else(|| {
        Error::user(format!("nobody knows what kind of report {shown} is"))
            .hint("its ending says so: .json, .xml (JUnit), .html or .md")
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if !folder.unwrap_or(Path::new(".")).is_dir() {
        return Err(Error::user(format!("there is no folder for the report {shown}")));
    }
    Ok((path, form))
}

impl Leavings {
    /// Returns whether anything was asked for that only a promotion can leave.
    pub(crate) fn is_asked_for(&self) -> bool {
        !self.reports.is_empty() || self.webhook.is_some()
    }

    fn first(&self, form: Form) -> Option<&Path> {
        let mut of_form = self.reports.iter().filter(|(_, of)| *of == form);
        of_form.next().map(|(path, _)| path.as_path())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes in what has just happened; runs inside a tokio runtime.
pub(crate) fn happened(printer: &Printer, line: &EventLine) {
    let leavings = &printer.leavings;
    if let Some(webhook) = &leavings.webhook {
        let mut notifier = lock(&leavings.notifier);
        notifier.get_or_insert_with(|| Notifier::start(webhook.clone())).tell(line);
    }
    if printer.is_github() {
        let commands = lock(&leavings.groups).before(line);
        commands.iter().for_each(|command| printer.command(command));
    }
}

/// Leaves a promotion's result behind: reports, and for a runner annotation, outputs and summary.
pub(crate) fn result(printer: &Printer, line: &ResultLine) {
    let leavings = &printer.leavings;
    leavings.result_is_told.store(true, Relaxed);
    if leavings.reports.is_empty() && !printer.is_github() {
        return;
    }
    let records = records(line).unwrap_or_else(|error| {
        printer.complain(&format!("warning: the report lacks the record: {error}"));
        Vec::new()
    });
    let stable_before = stable_before(line, &records);
    let report = Report::new(line.clone(), records);
    for (path, form) in &leavings.reports {
        if let Err(error) = replace(path, &report.render(*form)) {
            let what = format!("warning: can't write the report {}: {error}", path.display());
            printer.complain(&what);
        }
    }
    if printer.is_github() {
        on_github(printer, line, &stable_before, &report);
    }
}

/// Whoever reads a report while it is written sees the old one or the new one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

/// What was stable when it began.
fn stable_before(line: &ResultLine, records: &[(DateTime<Utc>, Record)]) -> String {
    match records.first() {
        Some((_, Record::Started { plan, .. })) => plan.stable.name.clone(),
        Some(_) | None => line.outcome.stable_revision.clone(),
    }
}

/// The journal of a promotion that ran at a host of this machine, or was driven by it.
fn records(line: &ResultLine) -> Result<Vec<(DateTime<Utc>, Record)>, String> {
    let Some(id) = &line.id else { return Ok(Vec::new()) };
    let paths = target::paths().map_err(|error| error.in_one_line())?;
    let folder = match line.target.split_once('/') {
        Some(("local", app)) => paths.history(app),
        Some(("deployment", name)) => paths.deployment(name),
        Some(_) | None => return Ok(Vec::new()),
    };
    let path = folder.join(format!("{id}.jsonl"));
    let (entries, _) = journal::read::<Record>(&path).map_err(|error| error.to_string())?;
    Ok(entries.into_iter().filter_map(Entry::known).collect())
}

fn on_github(printer: &Printer, line: &ResultLine, stable_before: &str, report: &Report) {
    lock(&printer.leavings.groups).close().iter().for_each(|command| printer.command(command));
    annotate(printer, &github::of_result(line));
    let summary = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from);
    if let Some(path) = &summary {
        let there = std::fs::metadata(path).map_or(0, |file| file.len());
        let room = SUMMARY_BYTES_MAX.saturating_sub(usize::try_from(there).unwrap_or(usize::MAX));
        append(printer, path, &report.summary(room));
    }
    let leavings = &printer.leavings;
    let path = |path: Option<&Path>| path.map(|p| p.display().to_string()).unwrap_or_default();
    let mut values = github::of_promotion(line, stable_before);
    values.push(("report", path(leavings.first(Form::Json))));
    values.push(("summary", path(leavings.first(Form::Markdown).or(summary.as_deref()))));
    outputs(printer, &values);
}

fn outputs(printer: &Printer, values: &[(&str, String)]) {
    if let Some(path) = std::env::var_os("GITHUB_OUTPUT") {
        match delimiter() {
            Ok(delimiter) => {
                append(printer, Path::new(&path), &github::outputs(values, &delimiter));
            }
            Err(error) => printer.complain(&format!("warning: no outputs: {error}")),
        }
    }
}

/// Nobody can guess 128 random bits.
fn delimiter() -> Result<String, getrandom::Error> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)?;
    Ok(random.iter().fold("gate-".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

fn append(printer: &Printer, path: &Path, text: &str) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        printer.complain(&format!("warning: can't write to {}: {error}", path.display()));
    }
}

/// Annotates the mistakes of files, at their places.
pub(crate) fn findings(printer: &Printer, findings: &[Finding]) {
    if printer.is_github() {
        findings.iter().for_each(|finding| annotate(printer, &github::of_finding(finding)));
    }
}

fn annotate(printer: &Printer, annotation: &str) {
    if printer.leavings.annotations.fetch_add(1, Relaxed) < github::ANNOTATIONS_MAX {
        printer.command(annotation);
    }
}

/// What a command was asked to promote, for the result of what did not begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) target: String,
    pub(crate) release: String,
}

/// Runs a command that follows a promotion; whatever came of it, a result is left behind.
pub(crate) async fn following(
    printer: &Printer,
    about: About,
    command: impl Future<Output = Result<Exit, Error>>,
) -> Result<Exit, Error> {
    let ended = command.await;
    if !printer.leavings.result_is_told.load(Relaxed) {
        match &ended {
            // A plan, or a help text.
            Ok(Exit::Done) => {}
            Ok(exit) => result(printer, &unknown(about, *exit, "it was left before its end", None)),
            Err(error) => {
                let next = error.hint_text().filter(|hint| hint.starts_with("gate "));
                let next = next.map(str::to_owned);
                result(printer, &unknown(about, error.exit(), &error.in_one_line(), next));
            }
        }
    }
    let notifier = lock(&printer.leavings.notifier).take();
    if let Some(notifier) = notifier {
        let told = notifier.finish(NOTIFY_LIMIT).await;
        if told.lost > 0 {
            let why = told.why.unwrap_or_default();
            printer.complain(&format!("warning: {} events were not taken: {why}", told.lost));
        }
    }
    ended
}

fn unknown(about: About, exit: Exit, reason: &str, next: Option<String>) -> ResultLine {
    let word = match exit {
        Exit::Refused => ResultWord::Refused,
        Exit::Inconclusive => ResultWord::Inconclusive,
        Exit::Aborted => ResultWord::Aborted,
        Exit::Done | Exit::Internal | Exit::Usage | Exit::RolledBack | Exit::Unreachable => {
            ResultWord::Error
        }
    };
    let About { target, release } = about;
    ResultLine::not_started(&target, word, exit.code(), "", &release, reason.to_owned(), next)
}

/// Leaves the outputs that every command has.
pub(crate) fn conclude(printer: &Printer, exit: Exit, error: Option<&Error>) {
    if printer.is_github() && !printer.leavings.result_is_told.load(Relaxed) {
        let reason = error.map(Error::in_one_line).unwrap_or_default();
        outputs(printer, &[("exit-code", exit.code().to_string()), ("reason", reason)]);
    }
}
