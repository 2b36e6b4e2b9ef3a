//! A record comes back as it was written, and is never too large.

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use serde_json::json;

use super::ground::{elsewhere, new, now, plan, templates};
use crate::analysis::Judge;
use crate::cluster::ledger::*;
use crate::cluster::remembered::*;
use crate::history::{Folded, Record};
use crate::plan::Plan;
use crate::published::PromotionStatus;
use crate::rollout::{Asks, End, Event, EventName, Outcome, Phase, ResultWord, State, outcome};

fn ledger_of(plan: Plan) -> Ledger {
    let started = DateTime::UNIX_EPOCH;
    Ledger {
        owner: Some(elsewhere(started)),
        folded: Folded {
            id: "p1".into(),
            by: "ada".into(),
            started,
            state: State::new(started),
            judge: Judge::new(&plan).unwrap(),
            plan,
            asks: Asks::default(),
            waiting: None,
            newest: None,
            outcome: None,
            taught: true,
        },
        templates: templates(),
        heartbeat: started,
        events: Vec::new(),
        remembered: Remembered::default(),
        judge_lost: false,
    }
}

fn ledger() -> Ledger {
    ledger_of(plan())
}

fn again(ledger: &Ledger) -> Ledger {
    let owner = ledger.owner.as_ref().map(ToString::to_string);
    Ledger::read(&ledger.texts(), owner.as_deref()).unwrap()
}

fn ended(result: ResultWord) -> Outcome {
    let mut ended = ledger().folded.state;
    ended.phase = Phase::Ended { end: End::Promoted };
    Outcome { result, ..outcome(&plan(), &ended, now()) }
}

/// Ends a promotion from one release to another.
fn end(ledger: &mut Ledger, from: &str, to: &str, result: ResultWord) {
    ledger.folded.plan.stable = super::ground::release(from);
    ledger.folded.plan.release = super::ground::release(to);
    ledger.folded.id = format!("{from} to {to}");
    ledger.take(now(), &Record::Finished { outcome: Box::new(ended(result)) });
}

fn passed(ledger: &Ledger) -> Vec<&str> {
    ledger.remembered.passed.iter().map(|past| past.release.name.as_str()).collect()
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let mut ledger = ledger();
    assert_eq!(again(&ledger), ledger);
    end(&mut ledger, "v1", "v2", ResultWord::Promoted);
    end(&mut ledger, "v2", "v3", ResultWord::RolledBack);
    assert_eq!(again(&ledger), ledger);
}

#[test]
fn what_can_be_left_out_may_be_missing_and_the_rest_may_not() {
    for key in LEFT_OUT_FIRST.into_iter().chain(["heartbeat"]) {
        for damaged in [None, Some("{"), Some("null")] {
            let mut texts = ledger().texts();
            texts.remove(key);
            texts.extend(damaged.map(|text| (key.to_owned(), text.to_owned())));
            let read = Ledger::read(&texts, None).unwrap();
            assert_eq!(read.folded.state, ledger().folded.state, "{key}");
            assert_eq!(read.judge_lost, key == "judge", "{key} {damaged:?}");
            assert_eq!(read.owner, None);
        }
    }
    for key in ["promotion", "templates", "progress"] {
        let mut texts = ledger().texts();
        texts.remove(key);
        let error = Ledger::read(&texts, None).unwrap_err().to_string();
        assert_eq!(error, format!("the record can't be read: it has no {key}"));
    }
    let mut texts = ledger().texts();
    let newer = texts["promotion"].replace(SCHEMA, "gate.promotion/v2");
    texts.insert("promotion".into(), newer);
    let error = Ledger::read(&texts, None).unwrap_err().to_string();
    assert!(error.contains("it is gate.promotion/v2, not gate.promotion/v1"), "{error}");
}

#[test]
fn what_passed_can_be_gone_back_to_and_never_forth_again() {
    let mut ledger = ledger();
    end(&mut ledger, "v1", "v2", ResultWord::Promoted);
    end(&mut ledger, "v2", "v3", ResultWord::Promoted);
    assert_eq!(passed(&ledger), ["v1", "v2"]);
    assert_eq!(ledger.remembered.way_back(None).unwrap().template, templates().stable);
    end(&mut ledger, "v3", "v2", ResultWord::Promoted);
    assert_eq!(passed(&ledger), ["v1"], "neither v2, which runs, nor v3, which was gone back from");
    end(&mut ledger, "v2", "v4", ResultWord::Aborted);
    assert_eq!(passed(&ledger), ["v1"]);
    assert_eq!(ledger.remembered.way_back(Some("v9")), None);
    end(&mut ledger, "v2", "v1", ResultWord::RolledBack);
    assert_eq!(ledger.remembered.way_back(None), None, "what is bad is not gone back to");
}

#[test]
fn a_bad_release_is_remembered_until_it_passes() {
    let mut ledger = ledger();
    let condemned = |ledger: &Ledger| ledger.remembered.condemned("hash of v2").cloned();
    end(&mut ledger, "v1", "v2", ResultWord::Aborted);
    assert_eq!(condemned(&ledger), None);
    end(&mut ledger, "v1", "v2", ResultWord::RolledBack);
    assert_eq!(condemned(&ledger).unwrap().promotion, "v1 to v2");
    end(&mut ledger, "v1", "v2", ResultWord::Promoted);
    assert_eq!(condemned(&ledger), None);
}

#[test]
fn the_end_is_remembered_once() {
    let mut ledger = ledger();
    end(&mut ledger, "v1", "v2", ResultWord::Promoted);
    end(&mut ledger, "v1", "v2", ResultWord::Promoted);
    assert_eq!(ledger.remembered.past.len(), 1);
    assert_eq!(ledger.last().unwrap().id, "v1 to v2");
    assert_eq!(ledger.status(None, now()), None, "none runs");
}

#[test]
fn a_status_is_made_of_a_record() {
    let status: PromotionStatus = ledger().status(None, now()).unwrap();
    assert_eq!((status.id.as_str(), status.phase.as_str()), ("p1", "waiting"));
    assert_eq!(status.stages.len(), 4);
    assert_eq!(ledger().last(), None);
    let mut ledger = ledger();
    assert_eq!(ledger.status_line([3, 3], None, now()).stable_revision, "v1");
    end(&mut ledger, "v1", "v2", ResultWord::Promoted);
    let line = ledger.status_line([3, 3], None, now());
    assert_eq!((line.stable_revision.as_str(), line.promotion), ("v2", None));
    assert_eq!(line.last.unwrap().release, "v2");
}

#[test]
fn the_parts_that_it_needs_are_measured() {
    let mut new = new("p1");
    let small = Ledger { templates: new.templates.clone(), ..ledger() }.needed_bytes();
    new.templates.release = json!("x".repeat(1000));
    let large = Ledger { templates: new.templates.clone(), ..ledger() }.needed_bytes();
    let old = templates().release.to_string().len();
    assert_eq!(large - small, 1000 + 2 - old);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is told: bounded, readable, the newest kept.
    #[test]
    fn a_record_is_never_too_large(
        messages in proptest::collection::vec("(\\PC{0,40}){0,60}", 0..200),
        ends in 0..40_usize,
        template_bytes in 0..200_000_usize,
    ) {
        let mut ledger = ledger();
        ledger.templates.stable = json!("x".repeat(template_bytes));
        for (number, message) in messages.iter().enumerate() {
            let event = Event {
                event: EventName::StageHeld,
                at: DateTime::UNIX_EPOCH + TimeDelta::seconds(number as i64),
                stage: None,
                share: None,
                message: message.clone(),
            };
            ledger.take(event.at, &Record::Happened { event });
        }
        for number in 0..ends {
            let result = if number % 3 == 0 { ResultWord::RolledBack } else { ResultWord::Promoted };
            let reason = messages.concat();
            end(&mut ledger, &format!("v{number}"), &format!("v{}", number + 1), result);
            let mut outcome = ended(result);
            outcome.reason = reason;
            ledger.take(now(), &Record::Finished { outcome: Box::new(outcome) });
        }
        let texts = ledger.texts();
        prop_assert!(bytes(&texts) <= RECORD_BYTES_MAX, "{}", bytes(&texts));
        prop_assert!(texts["events"].len() <= EVENTS_BYTES_MAX);
        prop_assert!(texts["past"].len() <= PAST_BYTES_MAX && texts["passed"].len() <= PASSED_BYTES_MAX);
        prop_assert!(texts["quarantine"].len() <= QUARANTINE_BYTES_MAX);
        let newest = |ledger: &Ledger| ledger.events.last().map(|event| event.at);
        let expected = messages.len().checked_sub(1).map(|last| {
            DateTime::UNIX_EPOCH + TimeDelta::seconds(last as i64)
        });
        prop_assert_eq!(newest(&ledger), expected);
        prop_assert_eq!(ledger.remembered.past.is_empty(), ends == 0);
        prop_assert_eq!(again(&ledger), ledger);
    }

    /// The largest of everything at once is cut down, and what must be there is.
    #[test]
    fn too_much_altogether_is_left_out(stable in 0..250_000_usize, passed in 0..6_usize) {
        let mut ledger = ledger();
        ledger.templates.stable = json!("x".repeat(stable));
        ledger.templates.release = json!("y".repeat(250_000));
        ledger.remembered.passed = (0..passed).map(|number| Passed {
            release: super::ground::release(&format!("v{number}")),
            template: json!("z".repeat(150_000)),
            until: now(),
        }).collect();
        let texts = ledger.texts();
        prop_assert!(bytes(&texts) <= RECORD_BYTES_MAX);
        prop_assert_eq!(again(&ledger).templates, ledger.templates);
    }
}
