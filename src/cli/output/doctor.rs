//! What was left behind, for people.

use super::style::{CARE, GOOD, STRONG, paint};
use crate::cli::doctor::Diagnosis;

pub(crate) fn render(diagnosis: &Diagnosis<'_>) -> String {
    let Diagnosis { target, clean, orphan, left, wrote, waits_for, next, .. } = diagnosis;
    if left.is_empty() && orphan.is_none() {
        return format!("{target}: {}", paint(GOOD, "nothing was left behind"));
    }
    let mut lines = vec![paint(STRONG, &format!("{target}: what was left behind"))];
    lines.extend(orphan.map(|id| format!("  promotion {id}, whose gate is gone")));
    lines.extend(left.iter().map(|left| format!("  {}", left.what)));
    if *clean {
        let count = wrote.len();
        let repaired = paint(GOOD, "everything is as it was");
        lines.push(format!("{repaired} ({count} writes beside the promotion's own)"));
    }
    lines.extend(waits_for.map(|why| format!("{}: {why}", paint(CARE, "waits for"))));
    lines.extend(next.as_ref().map(|next| format!("next: {next}")));
    lines.join("\n")
}
