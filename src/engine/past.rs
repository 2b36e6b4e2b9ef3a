//! The baseline's history: what a judge is taught before its first look, and how it is recorded.

use std::collections::VecDeque;

use chrono::TimeDelta;

use super::Promotion;
use crate::analysis::Look;

/// Numbers in one record of history: with 20 bytes each it stays well below the bound of a journal's line.
const LESSON_NUMBERS_MAX: usize = 30_000;
/// Numbers of all history of a promotion: a quarter of a journal at most.
const LESSONS_NUMBERS_MAX: usize = 800_000;
/// What the name of an instance weighs beside its counters, and what a look weighs without any.
const ROW_NUMBERS: usize = 5;
const LOOK_NUMBERS: usize = 20;

impl Promotion {
    /// Teaches the judge what was before; `late` is how long ago the judge's time began.
    pub(super) fn learn(&mut self, mut past: Vec<Look>, late: TimeDelta) {
        let soon = late <= self.interval();
        let late = late.num_milliseconds() as f64 / 1000.0;
        for look in &mut past {
            look.at_s += late;
            // What is read between the beginning and this moment is the beginning.
            look.at_s = if soon { look.at_s.min(0.0) } else { look.at_s };
        }
        past.retain(|look| look.at_s <= 0.0);
        past.reverse();
        past.dedup_by(|earlier, later| earlier.at_s >= later.at_s);
        past.reverse();
        self.lessons = lessons(past);
        // What is not recorded is not taught: whoever folds the records has the same judge.
        self.lessons.iter().flatten().for_each(|look| self.judge.teach(look));
        self.taught = true;
    }
}

/// Divides a history into records of bounded size, and leaves the oldest out where it is too much for a
/// journal.
fn lessons(past: Vec<Look>) -> VecDeque<Vec<Look>> {
    let (mut lessons, mut sizes) = (VecDeque::<Vec<Look>>::new(), VecDeque::<usize>::new());
    let mut whole = 0;
    for look in past {
        let size = numbers(&look);
        whole += size;
        match (lessons.back_mut(), sizes.back_mut()) {
            (Some(lesson), Some(filled)) if *filled + size <= LESSON_NUMBERS_MAX => {
                lesson.push(look);
                *filled += size;
            }
            _ => {
                lessons.push_back(vec![look]);
                sizes.push_back(size);
            }
        }
    }
    while whole > LESSONS_NUMBERS_MAX && lessons.pop_front().is_some() {
        whole -= sizes.pop_front().unwrap_or(whole);
    }
    lessons
}

fn numbers(look: &Look) -> usize {
    // The name and the frame of a row take no more than a few numbers would.
    look.baseline.values().map(|counters| counters.0.len() + ROW_NUMBERS).sum::<usize>()
        + LOOK_NUMBERS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{plan, policy, script};
    use super::*;
    use crate::analysis::{Counters, Judge};
    use crate::clock::Clock;
    use crate::engine::Seams;
    use crate::evidence::Evidence;
    use crate::history::{History, Memory, Record, Urgency, fold};
    use crate::platform::simulated::{EPOCH, Simulated};
    use crate::policy::JudgeKind;
    use crate::rollout::World;

    /// A simulated world with a past.
    struct Remembering {
        world: Simulated,
        past: Vec<Look>,
        read_ahead: u32,
        asked: u32,
    }

    impl Evidence for Remembering {
        async fn look(&mut self, world: &World) -> Look {
            self.world.look(world).await
        }

        fn read_ahead(&mut self, _: &World) {
            self.read_ahead += 1;
        }

        async fn history(&mut self, _: &World) -> Vec<Look> {
            self.asked += 1;
            self.past.clone()
        }
    }

    fn entry(at_s: f64, requests: f64) -> Look {
        let mut look = Look::of_the_past(at_s);
        let mut row = vec![requests, requests / 100.0];
        row.resize(2 + crate::plan::bounds_ms(&policy().conditions).len(), 0.0);
        look.expected.baseline = 1;
        look.baseline = BTreeMap::from([("stable-0".to_owned(), Counters(row))]);
        look
    }

    struct Taught {
        promotion: Promotion,
        records: Vec<(chrono::DateTime<chrono::Utc>, Record)>,
        evidence: Remembering,
    }

    /// Runs a promotion for a minute of looks.
    async fn teach(judge: JudgeKind, past: Vec<Look>) -> Taught {
        let mut policy = policy();
        policy.evidence.judge = judge;
        let world = Simulated::new(script());
        let mut promotion = Promotion::new("p1".into(), plan(&policy), EPOCH).unwrap();
        let mut history = Memory::default();
        let started = Record::Started {
            id: "p1".into(),
            by: "test".into(),
            plan: Box::new(promotion.plan.clone()),
        };
        history.record(EPOCH, started, Urgency::First).await.unwrap();
        let evidence = Remembering { world: world.clone(), past, read_ahead: 0, asked: 0 };
        let mut seams = Seams { platform: world.clone(), evidence, clock: world.clone(), history };
        while (world.now() - EPOCH).num_seconds() < 60 {
            let waiting = promotion.turn(&mut seams, &mut |_: &crate::engine::Turn<'_>| {}).await;
            let length = promotion.pause(&waiting, world.now());
            world.sleep(length).await;
        }
        Taught { promotion, records: seams.history.records, evidence: seams.evidence }
    }

    fn learned(records: &[(chrono::DateTime<chrono::Utc>, Record)]) -> Vec<f64> {
        let looks = |record: &Record| match record {
            Record::Learned { looks } => looks.iter().map(|look| look.at_s).collect(),
            _ => Vec::new(),
        };
        records.iter().flat_map(|(_, record)| looks(record)).collect()
    }

    #[tokio::test]
    async fn a_judge_is_taught_once_and_the_records_teach_it_again() {
        let past: Vec<Look> =
            (0..=40).map(|n| entry(f64::from(n) * 15.0 - 600.0, f64::from(n) * 3000.0)).collect();
        let taught = teach(JudgeKind::Evidence, past).await;
        assert_eq!(taught.evidence.asked, 1);
        assert!(taught.evidence.read_ahead > 1, "it is told while the candidate is prepared");
        let times = learned(&taught.records);
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        // The first look comes 20 ms after the beginning.
        assert_eq!((times.len(), times[0], times[40]), (41, -599.98, 0.0));
        let first = |is: fn(&Record) -> bool| taught.records.iter().position(|(_, r)| is(r));
        let lesson = first(|r| matches!(r, Record::Learned { .. }));
        assert!(lesson < first(|r| matches!(r, Record::Observed { .. })), "before the first look");
        let untaught = teach(JudgeKind::Evidence, Vec::new()).await;
        assert_eq!(learned(&untaught.records), [0.0; 0]);
        assert_ne!(untaught.promotion.judge, taught.promotion.judge);
        for cut in lesson.unwrap() + 1..=taught.records.len() {
            let folded = fold(taught.records[..cut].iter().map(|(at, r)| (*at, r))).unwrap();
            assert!(folded.taught);
            if cut == taught.records.len() {
                assert_eq!(folded.judge, taught.promotion.judge, "the same, bit for bit");
            }
        }
        let folded = fold(taught.records[..1].iter().map(|(at, r)| (*at, r))).unwrap();
        assert!(!folded.taught);
    }

    #[tokio::test]
    async fn a_window_has_no_use_for_the_past() {
        let taught = teach(JudgeKind::Threshold, vec![entry(-15.0, 0.0), entry(0.0, 9.0)]).await;
        assert_eq!((taught.evidence.read_ahead, taught.evidence.asked), (0, 0));
        assert_eq!(learned(&taught.records), [0.0; 0]);
        let Judge::Threshold(_) = taught.promotion.judge else { panic!("another judge") };
    }

    #[tokio::test]
    async fn what_is_read_late_is_the_beginning_or_too_late() {
        let times = |late_ms: i64| {
            let mut policy = policy();
            policy.evidence.judge = JudgeKind::Evidence;
            let mut promotion = Promotion::new("p1".into(), plan(&policy), EPOCH).unwrap();
            let past = vec![entry(-20.0, 1.0), entry(-3.0, 2.0), entry(-1.0, 3.0), entry(0.0, 4.0)];
            promotion.learn(past, TimeDelta::milliseconds(late_ms));
            let looks = promotion.lessons.iter().flatten();
            looks.map(|look| (look.at_s, look.baseline["stable-0"].0[0])).collect::<Vec<_>>()
        };
        assert_eq!(times(0), [(-20.0, 1.0), (-3.0, 2.0), (-1.0, 3.0), (0.0, 4.0)]);
        assert_eq!(
            times(2_000),
            [(-18.0, 1.0), (-1.0, 2.0), (0.0, 4.0)],
            "the newest stands for 0"
        );
        // Taken up again after a while: what was then is no past of this promotion's.
        assert_eq!(times(15_000), [(-5.0, 1.0)]);
    }

    #[test]
    fn much_history_is_several_records_and_the_oldest_is_left_out() {
        let look = |at_s: f64, pods: usize| {
            let row = |n| (format!("pod-{n}"), Counters(vec![0.0; 35]));
            Look { baseline: (0..pods).map(row).collect(), ..Look::of_the_past(at_s) }
        };
        let sizes = |count: usize, pods| {
            let past = (0..count).map(|n| look(n as f64 - count as f64, pods)).collect();
            lessons(past).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(0, 1), [0; 0]);
        assert_eq!(sizes(480, 1), [480]);
        // 100 pods are 4,020 numbers a look: seven of them are a record.
        assert_eq!(sizes(15, 100), [7, 7, 1]);
        // A look that alone is too much is a record all the same.
        assert_eq!(sizes(2, 1000), [1, 1]);
        let kept = sizes(480, 100);
        assert_eq!(kept.iter().sum::<usize>(), 480 - 7 * 41, "{kept:?}");
    }
}
