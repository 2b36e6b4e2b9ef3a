//! `kill -9` at the moments that matter: just before and just after every effect of a promotion.
//!
//! Whoever dies, and when: the promotion ends promoted or rolled back, nobody is left on a release
//! that was condemned or on nothing while a revision can serve, applications are taken over and not
//! started twice, and at the end stable runs alone. The moments are drawn from a seed; `GATE_SEED`
//! replays a storm, `GATE_STORM=full` strikes 20 times each and writes the table of `docs/storm.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::dice::{Dice, is_full, seed};
use crate::journal;
use crate::poll::{at_once, until};
use crate::processes::{self, Application};
use crate::site::{Host, PROMOTION_MAX, SOON, Site};
use crate::traffic::Seen;

const POLICY: &str = "
  strategy: canary
  stages:
    - { share: 50%, hold: 1s, deadline: 30s }
    - { share: 100%, hold: 1s, deadline: 30s }
  evidence: { judge: threshold, interval: 1s, window: 3s, looks: 2, min_requests: 5 }
  prepare: { deadline: 20s }
  drain: 1s
  rollback_drain: 1s
  auto_rollback:
    conditions: [error_rate > 5%, response_time_p95 > 1500ms, health_check_failures > 3]
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Host,
    Client,
    Candidate,
    Stable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Ensure,
    FirstShare,
    FullShare,
    Adopt,
    EndOld,
    ShareToZero,
    Remove,
    Ended,
}

/// Where a promotion can be struck: its story, and a record of its journal.
#[derive(Clone, Copy, Debug)]
struct Moment {
    what: What,
    /// Just after the effect, or between the decision and the effect.
    after: bool,
    /// From the record to the blow.
    delay: Duration,
    /// How long the host is gone, where it is the one that dies.
    gone: Duration,
}

const ALL: [What; 8] = [
    What::Ensure,
    What::FirstShare,
    What::FullShare,
    What::Adopt,
    What::EndOld,
    What::ShareToZero,
    What::Remove,
    What::Ended,
];

/// The longest time from a record to the blow.
const DELAY_MAX: Duration = Duration::from_millis(30);

impl What {
    const fn words(self) -> &'static str {
        match self {
            Self::Ensure => "start of the candidate",
            Self::FirstShare => "share to 50 %",
            Self::FullShare => "share to 100 %",
            Self::Adopt => "adoption",
            Self::EndOld => "end of the old revision",
            Self::ShareToZero => "rollback: share to 0 %",
            Self::Remove => "rollback: end of the candidate",
            Self::Ended => "end of the promotion",
        }
    }

    const fn release(self) -> &'static str {
        match self {
            Self::ShareToZero | Self::Remove => "broken",
            _ => "v2",
        }
    }

    /// Whether a record of the journal is about this effect.
    fn is_in(self, record: &Value, after: bool) -> bool {
        let effect = match self {
            Self::Ensure => json!({ "ensure_candidate": { "share": 0.5 } }),
            Self::FirstShare => json!({ "set_share": { "share": 0.5 } }),
            Self::FullShare => json!({ "set_share": { "share": 1.0 } }),
            Self::ShareToZero => json!({ "set_share": { "share": 0.0 } }),
            Self::Adopt => json!("adopt"),
            Self::EndOld | Self::Remove => json!("remove_candidate"),
            Self::Ended => {
                let ended = record["state"]["phase"]["phase"] == "ended";
                return if after { record["kind"] == "finished" } else { ended };
            }
        };
        if after {
            record["kind"] == "done" && record["effect"] == effect
        } else {
            record["effects"].as_array().is_some_and(|effects| effects.contains(&effect))
        }
    }
}

/// Every moment once, in an order of the seed, and again with other delays.
fn moments(seed: u64, count: usize) -> Vec<(usize, Moment)> {
    let mut dice = Dice::of(seed);
    let mut left: Vec<(What, bool)> = Vec::new();
    let draw = |number: usize| {
        if left.is_empty() {
            left = ALL.iter().flat_map(|what| [(*what, false), (*what, true)]).collect();
        }
        let at = usize::try_from(dice.below(left.len() as u64)).unwrap();
        let (what, after) = left.swap_remove(at);
        let (delay, gone) = (dice.up_to(DELAY_MAX), dice.up_to(Duration::from_millis(500)));
        (number + 1, Moment { what, after, delay, gone })
    };
    (0..count).map(draw).collect()
}

/// Looks at what runs, all the time.
struct Census {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    /// Every process that was ever there, by release.
    pids: BTreeMap<String, BTreeSet<u32>>,
    /// Two of one release at a time, which never may be.
    doubles: Vec<Vec<Application>>,
}

impl Census {
    fn begin(folder: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut counted = Counted::default();
            while !stopped.load(Ordering::Relaxed) {
                let now = processes::of_host(&folder);
                let releases: BTreeSet<&str> = now.iter().map(Application::release).collect();
                if releases.len() < now.len() {
                    counted.doubles.push(now.clone());
                }
                for one in &now {
                    counted.pids.entry(one.release().to_owned()).or_default().insert(one.pid);
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            counted
        });
        Self { stop, thread: Some(thread) }
    }

    fn end(mut self) -> Counted {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// One row of the table.
#[derive(Debug)]
struct Struck {
    blow: usize,
    victim: Victim,
    moment: Moment,
    result: String,
    /// From the blow to the end of the promotion.
    took: Duration,
    /// The longest time without a good answer.
    silence: TimeDelta,
    bad: usize,
}

/// Waits for the record, then for the delay. A promotion that ends without such a record (the old
/// revision was gone at once) is struck at its end.
fn await_moment(site: &Site, moment: &Moment) {
    let end = Instant::now() + PROMOTION_MAX;
    let is_there = || {
        let records = journal::read(&journal::newest(&site.state())?);
        let there = |(_, record): &(DateTime<Utc>, Value)| {
            moment.what.is_in(record, moment.after) || record["kind"] == "finished"
        };
        records.iter().any(there).then_some(())
    };
    while is_there().is_none() {
        assert!(Instant::now() < end, "{moment:?} never came");
        std::thread::sleep(Duration::from_micros(300));
    }
    std::thread::sleep(moment.delay);
}

fn strike(victim: Victim, blow: usize, moment: Moment) -> Struck {
    let site = Site::with(POLICY, "v1");
    let mut host = site.serve();
    let users = site.users();
    let census = Census::begin(site.state());
    let release = moment.what.release();
    let mut client = site.promote(release);
    await_moment(&site, &moment);
    let struck_at = Utc::now();
    let begun = Instant::now();
    let running = site.applications();
    match victim {
        Victim::Host => host = die_and_come_back(&site, host, &moment),
        Victim::Client => client.kill(),
        Victim::Candidate => kill_application(&running, release),
        Victim::Stable => kill_application(&running, "v1"),
    }
    site.await_idle();
    let took = begun.elapsed();
    let records = journal::read(&journal::newest(&site.state()).unwrap());
    let outcome = journal::outcome(&records).unwrap_or_else(|| panic!("no outcome: {moment:?}"));
    let result = outcome["result"].as_str().unwrap().to_owned();
    let stable = if result == "promoted" { release } else { "v1" };
    site.assert_serves_only(stable);
    let seen = users.go();
    assert_counted(victim, &moment, &census.end());
    assert_result(victim, &moment, &result);
    if let Some(turned) = journal::turned_back(&records) {
        // Without a stable copy the condemned one serves on until the first is ready again: that
        // one's restart takes a second and its probe another.
        let margin = match victim {
            Victim::Host => 3,
            Victim::Stable => 5,
            Victim::Client | Victim::Candidate => 1,
        };
        assert_nobody_on(release, &seen, turned.max(struck_at), margin);
    }
    let bad = seen.iter().filter(|seen| !seen.is_good()).count();
    let silence = longest_silence(&seen);
    let limit =
        TimeDelta::milliseconds(if another_serves(victim, moment.what) { 1500 } else { 15_000 });
    assert!(silence < limit, "{victim:?} {moment:?}: silence of {silence}");
    if victim == Victim::Client {
        assert_eq!(
            bad,
            seen.iter().filter(|seen| seen.is_from("broken") && !seen.is_good()).count()
        );
    }
    drop(host);
    Struck { blow, victim, moment, result, took, silence, bad }
}

/// The host dies; the applications do not; it comes back.
fn die_and_come_back(site: &Site, mut host: Host, moment: &Moment) -> Host {
    host.kill();
    let left = site.applications();
    std::thread::sleep(moment.gone);
    let ending = matches!(
        moment.what,
        What::Adopt | What::EndOld | What::ShareToZero | What::Remove | What::Ended
    );
    if !ending {
        // One that was forked a moment ago may only now lead its session.
        let now = site.applications();
        let survived = left.iter().all(|one| now.contains(one));
        assert!(survived, "applications survive their host: {moment:?}: {left:?}, now {now:?}");
    }
    let host = site.start();
    until("the host to be back", SOON, || site.status());
    host
}

fn kill_application(running: &[Application], release: &str) {
    for one in running.iter().filter(|one| one.release() == release) {
        processes::signal(one.pid, Signal::KILL);
    }
}

/// Never two of one release; and none is started twice that was not killed.
fn assert_counted(victim: Victim, moment: &Moment, counted: &Counted) {
    assert!(counted.doubles.is_empty(), "{victim:?} {moment:?}: {:?}", counted.doubles);
    for (release, pids) in &counted.pids {
        let may_again = match victim {
            Victim::Host => moment.what == What::Ensure && release == moment.what.release(),
            Victim::Client => false,
            Victim::Candidate => release == moment.what.release(),
            Victim::Stable => release == "v1",
        };
        let most = if may_again { 2 } else { 1 };
        assert!(pids.len() <= most, "{victim:?} {moment:?}: {release} was started {pids:?}");
    }
}

/// A good release may be taken back when its process was killed, a bad one is never promoted.
fn assert_result(victim: Victim, moment: &Moment, result: &str) {
    let good = moment.what.release() == "v2";
    let fine = match victim {
        Victim::Client | Victim::Host | Victim::Stable if good => result == "promoted",
        _ if good => ["promoted", "rolled_back", "inconclusive"].contains(&result),
        Victim::Client | Victim::Host | Victim::Stable | Victim::Candidate => {
            ["rolled_back", "inconclusive"].contains(&result)
        }
    };
    assert!(fine, "{victim:?} {moment:?}: {result}");
}

/// Whether somebody else can serve the moment the victim is gone.
fn another_serves(victim: Victim, what: What) -> bool {
    match (victim, what) {
        (Victim::Client, _) => true,
        (Victim::Host, _) => false,
        (Victim::Candidate, What::Adopt | What::EndOld | What::Ended) => false,
        (Victim::Candidate, _) => true,
        (Victim::Stable, What::Ensure | What::ShareToZero | What::Remove) => false,
        (Victim::Stable, _) => true,
    }
}

/// So many seconds after it was condemned nobody new is on it.
fn assert_nobody_on(release: &str, seen: &[Seen], since: DateTime<Utc>, margin_s: i64) {
    let late = since + TimeDelta::seconds(margin_s);
    let wrong: Vec<_> =
        seen.iter().filter(|seen| seen.sent > late && seen.is_from(release)).collect();
    assert!(wrong.is_empty(), "condemned at {since}: {wrong:?}");
}

fn longest_silence(seen: &[Seen]) -> TimeDelta {
    let mut good: Vec<_> =
        seen.iter().filter(|seen| seen.is_good()).map(|seen| seen.done).collect();
    good.sort();
    let gaps = good.iter().zip(good.iter().skip(1)).map(|(one, next)| *next - *one);
    gaps.max().unwrap_or(TimeDelta::MAX)
}

fn storm(victim: Victim) {
    let seed = seed();
    let count = if is_full() { 20 } else { 5 };
    println!("{victim:?}: GATE_SEED={seed}");
    let rows = Mutex::new(Vec::new());
    at_once(&moments(seed, count), 4, |&(blow, moment)| {
        let struck = strike(victim, blow, moment);
        println!("{}", struck.row());
        rows.lock().unwrap().push(struck);
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|row| row.blow);
    if is_full() {
        write_down(victim, seed, &rows);
    }
}

impl Struck {
    fn row(&self) -> String {
        let Self { blow, victim, moment, result, took, silence, bad } = self;
        let side = if moment.after { "after" } else { "before" };
        format!(
            "| {blow} | {victim:?} | {:.1} ms {side} the {} | {result} | {:.1} s | {} ms | {bad} |",
            moment.delay.as_secs_f64() * 1000.0,
            moment.what.words(),
            took.as_secs_f64(),
            silence.num_milliseconds(),
        )
    }
}

/// Replaces one victim's part of the document.
fn write_down(victim: Victim, seed: u64, rows: &[Struck]) {
    static DOCUMENT: Mutex<()> = Mutex::new(());
    let _alone = DOCUMENT.lock().unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/storm.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {victim:?} -->"), format!("<!-- end of {victim:?} -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    let mut part = format!("\n`GATE_SEED={seed}`\n\n");
    part.push_str("| blow | victim | moment | end | after | longest silence | bad answers |\n");
    part.push_str("|---|---|---|---|---|---|---|\n");
    rows.iter().for_each(|row| writeln!(part, "{}", row.row()).unwrap());
    std::fs::write(path, format!("{before}{begin}{part}{end}{after}")).unwrap();
}

#[test]
fn a_host_that_is_killed_finds_what_it_had_begun_and_finishes_it() {
    storm(Victim::Host);
}

#[test]
fn a_client_that_is_killed_changes_nothing() {
    storm(Victim::Client);
}

#[test]
fn a_candidate_that_is_killed_harms_no_user_of_stable() {
    storm(Victim::Candidate);
}

#[test]
fn a_stable_that_is_killed_comes_back_and_the_candidate_serves_meanwhile() {
    storm(Victim::Stable);
}
