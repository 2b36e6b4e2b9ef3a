//! Freeze windows: when no promotion starts.

use chrono::{NaiveDateTime, NaiveTime, Weekday};

use super::diagnostic::Notes;
use super::document::Node;
use super::fields::{Fields, mismatch, text};
use super::{Freeze, FreezeTime};

pub(super) fn freeze_windows(notes: &mut Notes, fields: &Fields<'_>) -> Vec<Freeze> {
    let tables = fields.tables(notes, "freeze");
    tables.iter().filter_map(|table| window(notes, table)).collect()
}

fn window(notes: &mut Notes, table: &Fields<'_>) -> Option<Freeze> {
    let from = table.get("from").and_then(|node| moment(notes, node));
    let to = table.get("to").and_then(|node| moment(notes, node));
    let zone = table.zone(notes, "zone");
    let (from, to) = (from?, to?);
    if let Err(why) = ordered(from, to) {
        notes.error(table.place("to")?, why);
    }
    Some(Freeze { from, to, zone: zone? })
}

fn ordered(from: FreezeTime, to: FreezeTime) -> Result<(), &'static str> {
    match (from, to) {
        (FreezeTime::Once(from), FreezeTime::Once(to)) if from >= to => {
            Err("the window ends before it begins")
        }
        (FreezeTime::Once(_), FreezeTime::Once(_)) => Ok(()),
        // A window that comes back may go over midnight or the weekend, but not be empty.
        (FreezeTime::Weekly(..), FreezeTime::Weekly(..))
        | (FreezeTime::Daily(_), FreezeTime::Daily(_)) => {
            if from == to {
                Err("the window is empty")
            } else {
                Ok(())
            }
        }
        (FreezeTime::Once(_) | FreezeTime::Weekly(..) | FreezeTime::Daily(_), _) => {
            Err("`from` and `to` must be written in the same form")
        }
    }
}

fn moment(notes: &mut Notes, node: &Node) -> Option<FreezeTime> {
    let written = text(notes, node)?.text.trim();
    let moment =
        once(written).or_else(|| weekly(written)).or_else(|| daily(written).map(FreezeTime::Daily));
    if moment.is_none() {
        mismatch(notes, node, "a moment").help("write `2026-12-23 18:00`, `Fri 16:00` or `22:00`");
    }
    moment
}

fn once(written: &str) -> Option<FreezeTime> {
    NaiveDateTime::parse_from_str(written, "%Y-%m-%d %H:%M").ok().map(FreezeTime::Once)
}

fn weekly(written: &str) -> Option<FreezeTime> {
    let (day, time) = written.split_once(' ')?;
    Some(FreezeTime::Weekly(day.parse::<Weekday>().ok()?, daily(time.trim())?))
}

fn daily(written: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(written, "%H:%M").ok()
}
