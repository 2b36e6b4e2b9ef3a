//! Who asks while the disk is slow.

use std::sync::{Arc, Mutex, mpsc};

use super::ground::{plan, world};
use super::*;
use crate::engine::{Promotion, Seams};
use crate::history::journal::APPEND_LIMIT;
use crate::platform::simulated::{Behaviour, EPOCH};
use crate::rollout::{Outcome, ResultWord};
use crate::share::Share;

/// A disk on which one line, the first that holds these words, is stuck until it is freed.
struct Stuck {
    written: Arc<Mutex<Vec<u8>>>,
    reached: tokio::sync::oneshot::Receiver<()>,
    free: mpsc::Sender<()>,
}

fn stuck_at(words: &'static str) -> (Journal<Record>, Stuck) {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (reach, reached) = tokio::sync::oneshot::channel();
    let (free, freed) = mpsc::channel::<()>();
    let (on_disk, mut reach) = (Arc::clone(&written), Some(reach));
    let journal = Journal::over(
        move |line| {
            let is_it = String::from_utf8_lossy(line).contains(words);
            if let Some(reach) = is_it.then(|| reach.take()).flatten() {
                let _ = reach.send(());
                let _ = freed.recv();
            }
            on_disk.lock().unwrap().extend_from_slice(line);
            Ok(())
        },
        1,
        0,
    );
    (journal, Stuck { written, reached, free })
}

fn abort() -> (Wish, oneshot::Receiver<()>) {
    let ask = Ask { at: EPOCH, by: "ada".into(), reason: None };
    let (heard, hears) = oneshot::channel();
    (Wish { what: AskedFor::Abort, ask, heard }, hears)
}

/// The share would go from 5 to 100 %, and the disk does not take the record of it. Whoever aborts
/// then is not kept waiting for the disk, and nothing of what was recorded in vain is done.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_is_heard_while_the_disk_holds_a_record_of_the_way_forward() {
    let plan = plan();
    let world = world(Behaviour::GOOD);
    let (journal, disk) = stuck_at(r#""effects":[{"set_share":{"share":1.0}}]"#);
    let (mut diary, wishes) = Diary::over(journal, Asks::default());
    let started =
        Record::Started { id: "p1".into(), by: "ada".into(), plan: Box::new(plan.clone()) };
    diary.record(EPOCH, started, Urgency::First).await.unwrap();
    let mut promotion = Promotion::new("p1".into(), plan, EPOCH).unwrap();
    let seen = world.clone();
    let running = tokio::spawn(async move {
        let (platform, evidence, clock) = (seen.clone(), seen.clone(), seen);
        let mut shares = Vec::new();
        let mut seams = Seams { platform, evidence, clock, history: &mut diary };
        let outcome = promotion
            .run(&mut seams, |turn| shares.extend(turn.world.and_then(|world| world.share)))
            .await;
        (outcome, shares, diary)
    });
    disk.reached.await.unwrap();
    assert_eq!(world.share(), Share::from_percent(5.0).unwrap());
    let (wish, hears) = abort();
    wishes.send(wish).await.unwrap();
    // The disk is stuck all the while.
    let (outcome, shares, diary): (Outcome, Vec<Share>, Diary) =
        timeout(APPEND_LIMIT / 2, running).await.expect("it waits for the disk").unwrap();
    hears.await.unwrap();
    assert_eq!((outcome.result, outcome.exit_code), (ResultWord::Aborted, 4));
    assert_eq!(world.share(), Share::ZERO);
    assert!(shares.iter().all(|share| *share <= Share::from_percent(5.0).unwrap()), "{shares:?}");

    disk.free.send(()).unwrap();
    assert_eq!(diary.journal.close(journal::CLOSE_LIMIT), 0);
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), &*disk.written.lock().unwrap()).unwrap();
    let (entries, repair) = journal::read::<Record>(path.path()).unwrap();
    assert!(repair.is_clean(), "a record is torn, or there twice: {repair:?}");
    let folded = fold_entries(&entries).unwrap();
    assert_eq!(folded.state.ended(), Some(crate::rollout::End::RolledBack));
    assert!(folded.asks.abort.is_some());
}

/// Virtual time stands still while the disk works: the limit can't pass by itself.
#[tokio::test(start_paused = true)]
async fn an_ask_fails_no_record_that_the_disk_takes() {
    let (journal, disk) = stuck_at("v2");
    let (mut diary, wishes) = Diary::over(journal, Asks::default());
    let started = Record::Started { id: "p1".into(), by: "ada".into(), plan: Box::new(plan()) };
    let (wish, _hears) = abort();
    let asking = async {
        disk.reached.await.unwrap();
        wishes.send(wish).await.unwrap();
        disk.free.send(()).unwrap();
    };
    let (recorded, ()) = tokio::join!(diary.record(EPOCH, started, Urgency::First), asking);
    assert_eq!(recorded, Ok(()));
    // The ask is not forgotten for that, whichever of the two came first.
    timeout(APPEND_LIMIT, diary.asked()).await.unwrap();
    assert!(diary.asks().await.abort.is_some());
}

/// The second record of a turn, when somebody has asked during the first.
#[tokio::test(flavor = "multi_thread")]
async fn an_ask_that_is_known_already_is_not_forgotten_by_the_next_record() {
    let (journal, disk) = stuck_at("v2");
    let (mut diary, wishes) = Diary::over(journal, Asks::default());
    let (wish, _hears) = abort();
    wishes.send(wish).await.unwrap();
    diary.asked().await;
    let started = Record::Started { id: "p1".into(), by: "ada".into(), plan: Box::new(plan()) };
    let recorded = timeout(APPEND_LIMIT / 2, diary.record(EPOCH, started, Urgency::First)).await;
    let error = recorded.expect("it waits for the disk").unwrap_err();
    assert!(error.to_string().contains("somebody asks"), "{error}");
    drop(disk);
}
