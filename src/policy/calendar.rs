//! Windows in which no promotion starts, in the user's own time zone.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// A window in which no promotion starts. Both ends are of the same form; a window that ends
/// "before" it begins (`22:00` to `06:00`, `Fri` to `Mon`) runs over midnight or the week's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub from: FreezeTime,
    pub to: FreezeTime,
    /// An IANA name such as `Europe/Berlin`.
    pub zone: Tz,
}

/// A moment of a freeze window: a date and time, or one that comes back every week or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FreezeTime {
    /// `2026-12-23 18:00`
    Once(NaiveDateTime),
    /// `Fri 16:00`
    Weekly(chrono::Weekday, chrono::NaiveTime),
    /// `22:00`
    Daily(chrono::NaiveTime),
}

impl Freeze {
    /// Returns the end of this window if `now` lies in it.
    #[must_use]
    pub fn end_if_active(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = now.with_timezone(&self.zone).naive_local();
        let start = self.from.last_at_or_before(local)?;
        let end = self.to.first_after(start)?;
        (local < end).then(|| in_utc(self.zone, end))
    }
}

impl FreezeTime {
    fn last_at_or_before(self, moment: NaiveDateTime) -> Option<NaiveDateTime> {
        let back = (0..=7).filter_map(|days| moment.date().checked_sub_days(Days::new(days)));
        self.on(back).find(|at| *at <= moment)
    }

    fn first_after(self, moment: NaiveDateTime) -> Option<NaiveDateTime> {
        let on = (0..=7).filter_map(|days| moment.date().checked_add_days(Days::new(days)));
        self.on(on).find(|at| *at > moment)
    }

    /// Returns this moment on each of those days on which it comes; one with a date comes on its own.
    fn on(self, days: impl Iterator<Item = NaiveDate>) -> impl Iterator<Item = NaiveDateTime> {
        let dated = match self {
            Self::Once(at) => Some(at),
            Self::Weekly(..) | Self::Daily(_) => None,
        };
        let coming_back = days.filter_map(move |day| match self {
            Self::Once(_) => None,
            Self::Weekly(weekday, time) => (day.weekday() == weekday).then(|| day.and_time(time)),
            Self::Daily(time) => Some(day.and_time(time)),
        });
        dated.into_iter().chain(coming_back)
    }
}

/// Local time to UTC. An hour that comes twice is taken the second time, one that a clock change
/// leaves out as if it had been there: a freeze never ends too early.
fn in_utc(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local).latest() {
        Some(moment) => moment.with_timezone(&Utc),
        None => Utc.from_utc_datetime(&local),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveTime, Weekday};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn time(hour: u32) -> NaiveTime {
        NaiveTime::from_hms_opt(hour, 0, 0).unwrap()
    }

    fn check(freeze: Freeze, now: &str, end: Option<&str>) {
        assert_eq!(freeze.end_if_active(at(now)), end.map(at), "{freeze:?} at {now}");
    }

    #[test]
    fn a_night_runs_over_midnight_in_its_own_zone() {
        let zone = chrono_tz::Europe::Berlin;
        let night =
            Freeze { from: FreezeTime::Daily(time(22)), to: FreezeTime::Daily(time(6)), zone };
        check(night, "2026-11-24T20:59:59Z", None);
        check(night, "2026-11-24T21:00:00Z", Some("2026-11-25T05:00:00Z"));
        check(night, "2026-11-25T04:59:59Z", Some("2026-11-25T05:00:00Z"));
        check(night, "2026-11-25T05:00:00Z", None);
        check(night, "2026-07-01T20:30:00Z", Some("2026-07-02T04:00:00Z"));
    }

    #[test]
    fn a_weekend_runs_over_the_end_of_the_week() {
        let zone = chrono_tz::UTC;
        let weekend = Freeze {
            from: FreezeTime::Weekly(Weekday::Fri, time(16)),
            to: FreezeTime::Weekly(Weekday::Mon, time(8)),
            zone,
        };
        check(weekend, "2026-11-27T15:59:00Z", None);
        check(weekend, "2026-11-27T16:00:00Z", Some("2026-11-30T08:00:00Z"));
        check(weekend, "2026-11-29T23:00:00Z", Some("2026-11-30T08:00:00Z"));
        check(weekend, "2026-11-30T08:00:00Z", None);
    }

    #[test]
    fn a_window_that_ends_where_it_begins_is_never_over() {
        let (from, zone) = (FreezeTime::Daily(time(8)), chrono_tz::UTC);
        let whole = Freeze { from, to: from, zone };
        check(whole, "2026-11-24T07:59:59Z", Some("2026-11-24T08:00:00Z"));
        check(whole, "2026-11-24T08:00:00Z", Some("2026-11-25T08:00:00Z"));
        let friday = FreezeTime::Weekly(Weekday::Fri, time(8));
        let whole = Freeze { from: friday, to: friday, zone };
        check(whole, "2026-11-27T08:00:00Z", Some("2026-12-04T08:00:00Z"));
    }

    #[test]
    fn an_hour_that_a_clock_change_takes_or_doubles_ends_no_freeze_too_early() {
        let zone = chrono_tz::Europe::Berlin;
        let half_past_2 = FreezeTime::Daily(NaiveTime::from_hms_opt(2, 30, 0).unwrap());
        let night = Freeze { from: FreezeTime::Daily(time(22)), to: half_past_2, zone };
        // 25 Oct: 02:30 comes twice, and it ends the second time
        check(night, "2026-10-24T23:00:00Z", Some("2026-10-25T01:30:00Z"));
        // 28 Mar 2027: there is no 02:30
        let Some(end) = night.end_if_active(at("2027-03-28T00:30:00Z")) else {
            panic!("not frozen")
        };
        assert!(end >= at("2027-03-28T01:00:00Z"), "{end}");
    }

    #[test]
    fn a_dated_freeze_comes_once() {
        let once = |day, hour| {
            FreezeTime::Once(NaiveDate::from_ymd_opt(2026, 12, day).unwrap().and_time(time(hour)))
        };
        let freeze = Freeze { from: once(23, 18), to: once(27, 6), zone: chrono_tz::UTC };
        check(freeze, "2026-12-23T17:59:59Z", None);
        check(freeze, "2026-12-23T18:00:00Z", Some("2026-12-27T06:00:00Z"));
        check(freeze, "2026-12-27T06:00:00Z", None);
        check(freeze, "2027-12-24T00:00:00Z", None);
    }
}
