//! What is written, and when, of a promotion from its first turn to its end. Time is the promotion's own.

use std::collections::BTreeSet;

use super::ground::{elsewhere, plan, templates};
use super::judges::{recorded, script};
use crate::cluster::diary::desk::{Desk, Need};
use crate::cluster::ledger::Ledger;
use crate::cluster::remembered::Remembered;
use crate::history::{Record, Urgency, fold};
use crate::platform::simulated::{Behaviour, EPOCH, Script};
use crate::rollout::State;

/// Writes of a promotion of four stages, or of its way back from the first, beside that of its result.
const FORWARD_MAX: usize = 12;
const BACK_MAX: usize = 5;

fn failing(script: Script) -> Script {
    Script { candidate_does: Behaviour { error_rate: 0.5, ..Behaviour::GOOD }, ..script }
}

async fn records(script: Script) -> Vec<(chrono::DateTime<chrono::Utc>, Record)> {
    recorded(&plan(), script).await.records
}

fn desk(started: &Record) -> Desk {
    Desk::new(Ledger {
        owner: Some(elsewhere(EPOCH)),
        folded: fold([(EPOCH, started)]).unwrap(),
        templates: templates(),
        heartbeat: EPOCH,
        events: Vec::new(),
        remembered: Remembered::default(),
        judge_lost: false,
    })
}

fn urgency(state: &State) -> Urgency {
    if state.back.is_some() { Urgency::WayBack } else { Urgency::First }
}

/// What whoever goes on would do.
fn place(state: &State) -> (std::mem::Discriminant<crate::rollout::Phase>, Option<usize>, bool) {
    (std::mem::discriminant(&state.phase), state.stage(), state.back.is_some())
}

#[tokio::test]
async fn each_decision_is_written_at_once_and_nothing_else_is() {
    let good = script(&plan());
    for (script, writes_max) in [(good.clone(), FORWARD_MAX), (failing(good), BACK_MAX)] {
        let records = records(script).await;
        let mut desk = desk(&records[0].1);
        let (mut written, mut asked_for, mut writes) = (None, Vec::new(), Vec::new());
        for (at, record) in &records[1..] {
            let Record::Decided { state, effects, .. } = record else {
                assert_eq!(desk.note(*at, record, Urgency::First), Need::Later, "{record:?}");
                continue;
            };
            let need = desk.note(*at, record, urgency(state));
            if need == Need::Now {
                let draft = desk.draft(*at).unwrap();
                written = Some(Ledger::read(&draft.texts, None).unwrap().folded.state);
                desk.keep(draft);
                asked_for.clone_from(effects);
                writes.push(*at);
            }
            // The end goes with the result.
            if state.ended().is_none() {
                let known = written.as_ref().expect("the first decision is written");
                assert_eq!(place(known), place(state), "{at}: {need:?}");
                assert!(effects.is_empty() || *effects == asked_for, "{at}: {effects:?}");
                assert!(!desk.is_behind(), "{at}");
            }
        }
        let turns: BTreeSet<_> = writes.iter().collect();
        assert_eq!(turns.len(), writes.len(), "one write a turn: {writes:?}");
        assert!(writes.len() <= writes_max, "{} writes", writes.len());
    }
}

#[tokio::test]
async fn a_decision_of_the_way_back_has_one_attempt_of_its_own() {
    let records = records(failing(script(&plan()))).await;
    let mut desk = desk(&records[0].1);
    let back = |record: &Record| matches!(record, Record::Decided { state, effects, .. } if state.back.is_some() && !effects.is_empty());
    let first = records.iter().position(|(_, record)| back(record)).unwrap();
    for (at, record) in &records[1..first] {
        desk.note(*at, record, Urgency::First);
    }
    let (at, decided) = &records[first];
    assert_eq!(desk.note(*at, decided, Urgency::WayBack), Need::Now);
    assert_eq!(desk.note(*at, decided, Urgency::WayBack), Need::Tried, "not written, and tried");
    assert!(desk.is_behind(), "it goes with the next write");
    let draft = desk.draft(*at).unwrap();
    desk.keep(draft);
    assert!(!desk.is_behind());
    assert_eq!(desk.note(*at, decided, Urgency::WayBack), Need::Later, "it is there");
    desk.doubt();
    assert!(desk.is_behind(), "nobody knows what is there");
    let draft = desk.draft(*at).unwrap();
    assert_eq!(desk.changed(&draft).count(), draft.texts.len(), "so all of it is written");
}
