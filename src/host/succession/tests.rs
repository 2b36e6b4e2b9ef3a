//! Real panics of an engine, at the very points at which one must not get lost.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::*;
use crate::engine::Seams;
use crate::history::AskedFor;
use crate::host::diary::ground::{plan, world};
use crate::platform::local::app::{PortRule, ReleaseSpec};
use crate::platform::simulated::{Behaviour, EPOCH, Simulated};
use crate::platform::{Platform, PlatformError};
use crate::rollout::{Ask, Effect, Outcome, World};
use crate::share::Share;

const BAD: Behaviour = Behaviour { error_rate: 0.5, ..Behaviour::GOOD };
const BACK: Effect = Effect::SetShare { share: Share::ZERO };

/// When an engine fails over an effect.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Before,
    After,
}

/// A platform whose driver panics over one effect, so many times.
#[derive(Clone)]
struct Mined {
    world: Simulated,
    at: (Effect, When),
    left: Arc<AtomicU32>,
}

impl Mined {
    fn step_on(&self, effect: &Effect, when: When) {
        let armed = self.at == (*effect, when);
        if armed && self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            panic!("stepped on a mine");
        }
    }
}

impl Platform for Mined {
    async fn observe(&mut self) -> Result<World, PlatformError> {
        self.world.observe().await
    }

    async fn act(&mut self, effect: &Effect) -> Result<(), PlatformError> {
        self.step_on(effect, When::Before);
        let done = self.world.act(effect).await;
        self.step_on(effect, When::After);
        done
    }
}

type Part = (Promotion, Diary, Mined);

async fn engine((mut promotion, mut diary, platform): Part) -> Outcome {
    let (evidence, clock) = (platform.world.clone(), platform.world.clone());
    let mut seams = Seams { platform, evidence, clock, history: &mut diary };
    promotion.run(&mut seams, |_| {}).await
}

async fn begun(folder: &Path, platform: Mined) -> Part {
    let (mut diary, _, _, _) = Diary::open(folder, "p1").unwrap();
    let started = Record::Started { id: "p1".into(), by: "ada".into(), plan: Box::new(plan()) };
    diary.record(EPOCH, started, Urgency::First).await.unwrap();
    (Promotion::new("p1".into(), plan(), EPOCH).unwrap(), diary, platform)
}

/// Runs a promotion whose engines fail so many times; returns how it ended, and what they said.
async fn ran(platform: Mined) -> (Result<Outcome, String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let place: PathBuf = folder.path().to_owned();
    let said = Mutex::new(Vec::new());
    let again = |why: String| {
        said.lock().unwrap().push(why);
        let (place, platform) = (place.clone(), platform.clone());
        async move {
            let (diary, _, folded, repair) = Diary::open(&place, "p1").unwrap();
            assert!(repair.is_clean(), "{repair:?}");
            Some((Promotion::resume(folded.unwrap()), diary, platform))
        }
    };
    let outcome = drive(begun(folder.path(), platform.clone()).await, engine, again).await;
    let said = said.into_inner().unwrap();
    (outcome, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_whose_engine_fails_ends_as_it_would_have() {
    let first = Effect::SetShare { share: Share::from_percent(5.0).unwrap() };
    let ways = [
        (BAD, first, ResultWord::RolledBack),
        (BAD, BACK, ResultWord::RolledBack),
        (BAD, Effect::RemoveCandidate, ResultWord::RolledBack),
        (Behaviour::GOOD, Effect::SetShare { share: Share::FULL }, ResultWord::Promoted),
        (Behaviour::GOOD, Effect::Adopt, ResultWord::Promoted),
        (Behaviour::GOOD, BACK, ResultWord::Promoted),
    ];
    for (behaviour, effect, expected) in ways {
        for when in [When::Before, When::After] {
            for failures in [1, SUCCESSORS_MAX] {
                let world = world(behaviour);
                let left = Arc::new(AtomicU32::new(failures));
                let mined = Mined { world: world.clone(), at: (effect, when), left: left.clone() };
                let (outcome, said) = ran(mined).await;
                let what = format!("{effect:?} {when:?} {failures}");
                assert_eq!(outcome.unwrap().result, expected, "{what}");
                assert_eq!(world.share(), Share::ZERO, "{what}");
                // What is seen to have been done is not asked for a second time.
                assert!(!said.is_empty(), "no engine failed: {what}");
                assert!(said.iter().all(|why| why == "stepped on a mine"), "{said:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_fail_again_and_again_come_to_an_end() {
    let left = Arc::new(AtomicU32::new(u32::MAX));
    let mined = Mined { world: world(BAD), at: (BACK, When::Before), left: left.clone() };
    let (outcome, said) = ran(mined).await;
    assert_eq!(outcome, Err("stepped on a mine".into()));
    assert_eq!(said.len() as u32, SUCCESSORS_MAX);
    assert_eq!(u32::MAX - left.load(SeqCst), 1 + SUCCESSORS_MAX, "engines that ran");
}

#[tokio::test]
async fn what_can_not_be_taken_up_is_not_tried_again() {
    let failed = drive((), |()| async { panic!("once") }, |_| async { None });
    assert_eq!(failed.await, Err::<(), _>("once".into()));
}

/// An abort in the moment between two engines, and one that an engine took along.
#[tokio::test(start_paused = true)]
async fn what_somebody_asks_is_told_to_the_engine_that_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let (diary, wishes, _, _) = Diary::open(folder.path(), "p1").unwrap();
    let promotion = Promotion::new("p1".into(), plan(), EPOCH).unwrap();
    let spec = ReleaseSpec {
        command: vec!["true".into()],
        env: Default::default(),
        cwd: None,
        port: PortRule::Auto,
        irreversible: false,
        drain: None,
    };
    let run = Run { promotion, spec, diary, wishes, by: "ada".into() };
    let (running, told) = Running::new(&run, EPOCH);
    let Run { mut diary, .. } = run;
    let ask = Ask { at: EPOCH, by: "ada".into(), reason: None };
    let asking = running.clone();
    let asked = tokio::spawn(async move { asking.ask(AskedFor::Abort, &ask).await });
    diary.asked().await;
    drop(diary); // it failed with the ask in hand
    let (mut diary, wishes, _, _) = Diary::open(folder.path(), "p1").unwrap();
    running.goes_on_with(wishes);
    diary.asked().await;
    assert!(diary.asks().await.abort.is_some());
    assert!(asked.await.unwrap());

    drop(diary);
    let result = ResultLine::not_started(
        "local/shop",
        ResultWord::Error,
        BUG,
        "v1",
        "v2",
        String::new(),
        None,
    );
    told.send_replace(Some(result));
    let ask = Ask { at: EPOCH, by: "ada".into(), reason: None };
    assert!(!running.ask(AskedFor::Abort, &ask).await, "it has ended");
}
