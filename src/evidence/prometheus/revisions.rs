//! Which revisions there were in the past, and since when.
//!
//! The pods of a Deployment carry the hash of their ReplicaSet in their names, so revisions are told apart without
//! asking a cluster that has forgotten them: `web-6d4b75cb6d-x7k2p` is of `6d4b75cb6d`.

use std::time::Duration;

use super::answer::{Data, QueryError, Series};
use super::expression::{Arms, PART, literal, quoted};
use super::source::Source;
use crate::analysis::PerArm;

/// The letters that Kubernetes makes names of: without vowels, so that no word comes of them, and without
/// what looks alike (`k8s.io/apimachinery/pkg/util/rand`).
const SAFE: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// The range is searched in so many cells (of two minutes, if it is a week), then the cell that was found second by
/// second.
const CELLS: i64 = 5_000;

/// Who is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revisions {
    /// Pods of a Deployment, by the label [`Source::instance`].
    Deployment {
        name: String,
        namespace: Option<String>,
        /// Hashes of ReplicaSets; absent: the newest in the range, and the one before it.
        named: PerArm<Option<String>>,
    },
    /// By matchers, as they stand inside `{…}`.
    Matchers(PerArm<String>),
}

/// Who was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub arms: Arms,
    /// What to call them.
    pub names: PerArm<String>,
    /// The first whole second at which the candidate was there, in Unix seconds.
    pub began: i64,
}

/// Why nobody was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotFound {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("no series of {of} in the range")]
    Nobody { of: String },
    #[error("one revision only in the range, {only}: ask for a longer range, or name both")]
    OnlyOne { only: String },
    #[error("{hash} is no revision of the range; there are {known}")]
    NoSuch { hash: String, known: String },
    #[error(
        "{one} and {other} came at the same time, or were both there when the range began: ask for a longer one, or name them"
    )]
    Unordered { one: String, other: String },
    #[error("{candidate} was there already when the range began: ask for a longer one")]
    TooLate { candidate: String },
}

impl Source {
    /// Finds out who is whose, and when the candidate was first seen in the range (Unix seconds).
    ///
    /// # Errors
    /// See [`NotFound`].
    pub async fn find(&self, revisions: &Revisions, range: (i64, i64)) -> Result<Found, NotFound> {
        let (matchers, names) = match revisions {
            Revisions::Matchers(matchers) => (matchers.clone(), matchers.clone()),
            Revisions::Deployment { name, namespace, named } => {
                let known = self.hashes(name, namespace.as_deref(), range).await?;
                let names = choose(&known, named)?;
                let of = |hash: &String| self.pods(name, namespace.as_deref(), &literal(hash));
                let matchers =
                    PerArm { baseline: of(&names.baseline), candidate: of(&names.candidate) };
                (matchers, names)
            }
        };
        let began = self.first_seen(&matchers.candidate, &names.candidate, range).await?;
        Ok(Found { arms: Arms::Matchers(matchers), names, began })
    }

    /// Returns the hashes of a Deployment's pods, each with the end of the cell in which it was first there.
    async fn hashes(
        &self,
        name: &str,
        namespace: Option<&str>,
        range: (i64, i64),
    ) -> Result<Vec<(String, i64)>, NotFound> {
        let cell = cell(range);
        let present = self.present(&self.pods(name, namespace, &format!("{SAFE}+")), cell);
        let (label, pattern) =
            (quoted(&self.instance), quoted(&pattern(name, &format!("({SAFE}+)"))));
        let expression = format!(
            r#"group by ({PART}) (label_replace({present}, "{PART}", "$1", {label}, {pattern}))"#
        );
        let Data::Matrix(series) = self.cells(&expression, range, cell).await? else {
            return Ok(Vec::new());
        };
        let first = |series: &Series| {
            let hash = series.metric.get(PART).filter(|hash| !hash.is_empty())?;
            Some((hash.clone(), series.values.first()?.0 as i64))
        };
        let known: Vec<(String, i64)> = series.iter().filter_map(first).collect();
        let of =
            || format!("{} of {name}'s pods, by the label {}", self.preset.requests, self.instance);
        if known.is_empty() { Err(NotFound::Nobody { of: of() }) } else { Ok(known) }
    }

    /// Returns the first whole second at which series were there.
    async fn first_seen(
        &self,
        matchers: &str,
        name: &str,
        range: (i64, i64),
    ) -> Result<i64, NotFound> {
        let cell = cell(range);
        let expression = format!("group({})", self.present(matchers, cell));
        let nobody = || NotFound::Nobody {
            of: format!("{}{{{}}}", self.preset.requests, self.narrowed(matchers)),
        };
        let end = first(&self.cells(&expression, range, cell).await?).ok_or_else(nobody)?;
        let too_late = || NotFound::TooLate { candidate: name.to_owned() };
        if end <= range.0 {
            return Err(too_late());
        }
        let expression = format!("group({}{{{}}})", self.preset.requests, self.narrowed(matchers));
        let fine = (end - cell, end);
        let data = self.ask_range(&expression, fine, Duration::from_secs(1)).await?;
        // A sample between the last whole second and the end of its cell is seen with the next.
        let began = first(&data).unwrap_or(end);
        if began <= range.0 { Err(too_late()) } else { Ok(began) }
    }

    /// Asks for each cell of the range, the first of which ends where the range begins.
    async fn cells(
        &self,
        expression: &str,
        range: (i64, i64),
        cell: i64,
    ) -> Result<Data, QueryError> {
        let end = range.0 + (range.1 - range.0 + cell - 1) / cell * cell;
        self.ask_range(expression, (range.0, end), Duration::from_secs(cell.unsigned_abs())).await
    }

    fn present(&self, matchers: &str, cell: i64) -> String {
        let (requests, matchers) = (self.preset.requests, self.narrowed(matchers));
        format!("present_over_time({requests}{{{matchers}}}[{cell}s])")
    }

    fn pods(&self, name: &str, namespace: Option<&str>, hash: &str) -> String {
        let namespace = namespace.map(|n| format!("namespace={},", quoted(n))).unwrap_or_default();
        format!("{namespace}{}=~{}", self.instance, quoted(&pattern(name, hash)))
    }
}

/// A regular expression for the names of pods.
fn pattern(deployment: &str, hash: &str) -> String {
    format!("{}-{hash}-{SAFE}{{5}}", literal(deployment))
}

fn cell((start, end): (i64, i64)) -> i64 {
    ((end - start + CELLS - 1) / CELLS).max(1)
}

/// The first moment of the only series.
fn first(data: &Data) -> Option<i64> {
    let Data::Matrix(series) = data else { return None };
    Some(series.first()?.values.first()?.0 as i64)
}

/// Chooses baseline and candidate where they are not named.
fn choose(
    known: &[(String, i64)],
    named: &PerArm<Option<String>>,
) -> Result<PerArm<String>, NotFound> {
    let candidate = match &named.candidate {
        Some(hash) => find(known, hash)?,
        None => newest(known)?,
    };
    let baseline = match &named.baseline {
        Some(hash) => find(known, hash)?,
        None => {
            let others =
                known.iter().filter(|(hash, at)| *hash != candidate.0 && *at <= candidate.1);
            let others: Vec<(String, i64)> = others.cloned().collect();
            if others.is_empty() {
                return Err(NotFound::OnlyOne { only: candidate.0.clone() });
            }
            newest(&others)?.clone()
        }
    };
    Ok(PerArm { baseline: baseline.0, candidate: candidate.0 })
}

fn find(known: &[(String, i64)], hash: &str) -> Result<(String, i64), NotFound> {
    known.iter().find(|(known, _)| known == hash).cloned().ok_or_else(|| {
        let known: Vec<&str> = known.iter().map(|(hash, _)| hash.as_str()).collect();
        NotFound::NoSuch { hash: hash.to_owned(), known: known.join(", ") }
    })
}

/// The one that was first seen last.
fn newest(known: &[(String, i64)]) -> Result<(String, i64), NotFound> {
    let nobody = || NotFound::Nobody { of: "a revision".to_owned() };
    let newest = known.iter().max_by_key(|(_, at)| *at).cloned().ok_or_else(nobody)?;
    match known.iter().find(|(hash, at)| *at == newest.1 && *hash != newest.0) {
        Some((other, _)) => Err(NotFound::Unordered { one: newest.0, other: other.clone() }),
        None => Ok(newest),
    }
}

#[cfg(test)]
mod tests {
    use super::{NotFound, choose};
    use crate::analysis::PerArm;

    const KNOWN: [(&str, i64); 4] = [("a", 0), ("b", 0), ("c", 50), ("d", 90)];

    #[track_caller]
    fn check(
        known: &[(&str, i64)],
        named: (Option<&str>, Option<&str>),
        expected: Result<(&str, &str), NotFound>,
    ) {
        let known: Vec<(String, i64)> =
            known.iter().map(|(hash, at)| ((*hash).to_owned(), *at)).collect();
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let named = PerArm { baseline: owned(named.0), candidate: owned(named.1) };
        let seen = choose(&known, &named).map(|found| (found.baseline, found.candidate));
        assert_eq!(seen, expected.map(|(one, other)| (one.to_owned(), other.to_owned())));
    }

    fn unordered(one: &str, other: &str) -> NotFound {
        NotFound::Unordered { one: one.into(), other: other.into() }
    }

    #[test]
    fn the_newest_is_the_candidate_and_the_one_before_it_the_baseline() {
        check(&KNOWN, (None, None), Ok(("c", "d")));
        check(&KNOWN, (None, Some("d")), Ok(("c", "d")));
        check(&KNOWN, (Some("a"), None), Ok(("a", "d")));
        check(&KNOWN, (Some("d"), Some("c")), Ok(("d", "c")));
        check(&KNOWN, (None, Some("c")), Err(unordered("b", "a")));
        check(&KNOWN[..2], (None, None), Err(unordered("b", "a")));
        check(&KNOWN[2..3], (None, None), Err(NotFound::OnlyOne { only: "c".into() }));
        let no_such = NotFound::NoSuch { hash: "x".into(), known: "a, b, c, d".into() };
        check(&KNOWN, (None, Some("x")), Err(no_such));
    }
}
