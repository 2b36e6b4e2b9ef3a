//! When incidents and bursts are on: a Bernoulli chance to begin in each second, drawn as the gaps between.

use super::dice::Dice;
use super::traffic::HOUR_S;

/// Something that comes and goes: it may begin anew while it is on.
#[derive(Clone, Debug)]
pub(super) struct Bursts {
    per_second: f64,
    next: i64,
    until: i64,
}

impl Bursts {
    pub(super) fn new(per_hour: f64, start: i64, dice: &mut Dice) -> Self {
        let mut bursts = Self { per_second: per_hour / HOUR_S, next: start, until: i64::MIN };
        bursts.schedule(start - 1, dice);
        bursts
    }

    fn schedule(&mut self, after: i64, dice: &mut Dice) {
        self.next = match self.per_second > 0.0 {
            true => after.saturating_add(dice.geometric(self.per_second) as i64),
            false => i64::MAX,
        };
    }

    pub(super) fn is_on(
        &mut self,
        second: i64,
        dice: &mut Dice,
        length: impl Fn(&mut Dice) -> i64,
    ) -> bool {
        while self.next == second {
            self.until = self.until.max(second.saturating_add(length(dice)));
            self.schedule(second, dice);
        }
        second < self.until
    }
}
