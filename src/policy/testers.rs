//! Testers: who reaches the candidate by what they send.

use super::Testers;
use super::diagnostic::Notes;
use super::fields::Fields;

/// The longest name and the longest value of a header, as the Gateway API has them.
const NAME_CHARS_MAX: usize = 256;
const VALUE_CHARS_MAX: usize = 4096;
/// What a name may have beside letters and digits (RFC 9110, `token`).
const MARKS: &str = "!#$%&'*+-.^_`|~";

/// Reads who the testers are; `None`: nobody is, or what is wrong is noted.
pub(super) fn testers(notes: &mut Notes, fields: &Fields<'_>) -> Option<Testers> {
    let table = fields.table(notes, "testers")?;
    let header = table.text(notes, "header").filter(|name| is_header(notes, &table, name));
    let value = table.text(notes, "value").filter(|value| is_value(notes, &table, value));
    Some(Testers { header: header?.to_owned(), value: value?.to_owned() })
}

fn is_header(notes: &mut Notes, table: &Fields<'_>, name: &str) -> bool {
    let Some(at) = table.place("header") else { return false };
    let is_token = name.chars().all(|one| one.is_ascii_alphanumeric() || MARKS.contains(one));
    if !is_token || name.chars().count() > NAME_CHARS_MAX {
        notes
            .error(at, "that can't be the name of a header")
            .help(format!("use letters, digits and {MARKS}, at most {NAME_CHARS_MAX} of them"));
        return false;
    }
    if name.eq_ignore_ascii_case("host") {
        notes
            .error(at, "`host` names the application, and no tester")
            .help("use a header of your own, such as `x-release`");
        return false;
    }
    true
}

fn is_value(notes: &mut Notes, table: &Fields<'_>, value: &str) -> bool {
    let Some(at) = table.place("value") else { return false };
    let count = value.chars().count();
    let message = if count > VALUE_CHARS_MAX {
        format!("the value of a header has at most {VALUE_CHARS_MAX} characters, this has {count}")
    } else if value.trim() != value || value.chars().any(char::is_control) {
        "no header has this value: it begins or ends with a space, or has a control character"
            .to_owned()
    } else {
        return true;
    };
    notes.error(at, message);
    false
}
