//! What is asked, in PromQL.
//!
//! All parts of a look are joined by `or` into one query, each marked by the label `gate`:
//!
//! ```text
//!    label_replace(sum by (instance) (http_requests_total{…}), "gate", "baseline requests", "", "")
//! or label_replace(sum by (instance) (http_requests_total{…, status=~"5.."}), "gate", "baseline errors", "", "")
//! or …
//! ```
//!
//! `or` drops what has the same labels as something before it, which the mark rules out. Native histograms
//! alone have no mark; what is dropped of them is noticed when they are put to the instances that they are of.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::source::Source;
use crate::analysis::PerArm;
use crate::evidence::presets::{FAILED, KeptBy, TARGET};

/// The label that marks the parts of an answer.
pub(super) const PART: &str = "gate";

/// Which series are whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arms {
    /// By instance: the value of the instance label, and what the platform calls it.
    Instances(PerArm<BTreeMap<String, String>>),
    /// By matchers, as they stand inside `{…}`: `revision="v2"`. Empty: there is no such arm.
    Matchers(PerArm<String>),
}

/// Which revision a series is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    Baseline,
    Candidate,
}

/// What one series of an answer tells of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Requests,
    Errors,
    /// When the newest sample of `Requests` was taken.
    SampledAt,
    /// How many series of `Requests` have no label that tells failed ones.
    Untold,
    /// Requests within each bound `le`.
    Within,
    /// All of them, as a native histogram: the only part without a mark.
    Native,
    /// When the instance was last scraped with success. Where that is new and there are no requests, there are
    /// none: a client library exposes no counter before the first one.
    ScrapedAt,
    /// Whether the instance is known to the server at all. Only the past asks: live, the platform knows.
    Known,
}

impl Arm {
    pub const BOTH: [Self; 2] = [Self::Baseline, Self::Candidate];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
        }
    }
}

impl Part {
    /// What a look asks for.
    pub(super) const LIVE: &[Self] = &[
        Self::Requests,
        Self::Errors,
        Self::SampledAt,
        Self::Untold,
        Self::Within,
        Self::Native,
        Self::ScrapedAt,
    ];

    /// What the past is asked for.
    pub(super) const ALL: &[Self] = &[
        Self::Requests,
        Self::Errors,
        Self::SampledAt,
        Self::Untold,
        Self::Within,
        Self::Native,
        Self::ScrapedAt,
        Self::Known,
    ];

    /// Whether it bears a mark. `label_replace` makes numbers of native histograms in servers before version 3.
    pub(super) fn is_marked(self) -> bool {
        self != Self::Native
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Errors => "errors",
            Self::SampledAt => "sampled_at",
            Self::Untold => "untold",
            Self::Within => "within",
            Self::Native => "native",
            Self::ScrapedAt => "scraped_at",
            Self::Known => "known",
        }
    }
}

/// Returns the arm and the part that a mark names.
pub(super) fn unmark(mark: &str) -> Option<(Arm, Part)> {
    let (arm, part) = mark.split_once(' ')?;
    Some((
        Arm::BOTH.into_iter().find(|known| known.word() == arm)?,
        Part::ALL.iter().copied().find(|known| known.word() == part)?,
    ))
}

impl Arms {
    /// Returns the matchers of one arm; `None` if there is none.
    pub(super) fn matchers(&self, arm: Arm, instance: &str) -> Option<String> {
        match self {
            Self::Instances(names) => {
                let names = names.of_arm(arm);
                let any: Vec<String> = names.keys().map(|name| literal(name)).collect();
                (!any.is_empty()).then(|| format!("{instance}=~{}", quoted(&any.join("|"))))
            }
            Self::Matchers(matchers) => {
                let matchers = matchers.of_arm(arm);
                (!matchers.is_empty()).then(|| matchers.clone())
            }
        }
    }

    /// Returns what the platform calls the instance that a series is of.
    pub(super) fn name<'a>(&'a self, arm: Arm, instance: &'a str) -> Option<&'a str> {
        match self {
            Self::Instances(names) => names.of_arm(arm).get(instance).map(String::as_str),
            Self::Matchers(_) => Some(instance),
        }
    }
}

impl<T> PerArm<T> {
    pub(super) const fn of_arm(&self, arm: Arm) -> &T {
        match arm {
            Arm::Baseline => &self.baseline,
            Arm::Candidate => &self.candidate,
        }
    }
}

impl Source {
    /// Returns the one query of a look; `None` if there is no arm to ask for.
    #[must_use]
    pub fn expression(&self, arms: &Arms, which: &[Arm]) -> Option<String> {
        self.expression_of(arms, which, Part::LIVE)
    }

    /// The same, of these parts.
    pub(super) fn expression_of(
        &self,
        arms: &Arms,
        which: &[Arm],
        parts: &[Part],
    ) -> Option<String> {
        let mut all = String::new();
        for arm in which {
            let Some(matchers) = arms.matchers(*arm, &self.instance) else { continue };
            for part in parts {
                let Some(value) = self.part(*part, &matchers) else { continue };
                let or = if all.is_empty() { "" } else { " or " };
                let mark = quoted(&format!("{} {}", arm.word(), part.word()));
                // Writing to a string can't fail.
                let _ = match part.is_marked() {
                    true => write!(all, r#"{or}label_replace({value}, "{PART}", {mark}, "", "")"#),
                    false => write!(all, "{or}{value}"),
                };
            }
        }
        (!all.is_empty()).then_some(all)
    }

    /// Returns the labels that tell counters apart: of an instance, of a route in each proxy, or of a proxy.
    pub(super) fn by(&self) -> String {
        match self.preset.kept_by {
            KeptBy::Proxy if !self.sums_routes() => format!("{}, {TARGET}", self.instance),
            KeptBy::Instance | KeptBy::Proxy => self.instance.clone(),
        }
    }

    /// Whether a row is a proxy: all that it counts for one revision's routes.
    pub(super) fn sums_routes(&self) -> bool {
        self.preset.kept_by == KeptBy::Proxy && self.instance == TARGET
    }

    /// Adds the preset's own matchers.
    pub(super) fn narrowed(&self, matchers: &str) -> String {
        match self.preset.only {
            "" => matchers.to_owned(),
            only => format!("{matchers},{only}"),
        }
    }

    fn part(&self, part: Part, matchers: &str) -> Option<String> {
        let (by, requests) = (self.by(), self.preset.requests);
        let scraped = matchers;
        let matchers = &self.narrowed(matchers);
        Some(match part {
            Part::Requests => format!("sum by ({by}) ({requests}{{{matchers}}})"),
            Part::Errors => {
                let failed =
                    |label| format!("{requests}{{{matchers},{label}=~{}}}", quoted(FAILED));
                let any: Vec<String> = self.preset.status.iter().map(failed).collect();
                format!("sum by ({by}) ({})", any.join(" or "))
            }
            Part::SampledAt => format!("max by ({by}) (timestamp({requests}{{{matchers}}}))"),
            Part::Untold => {
                let none: String =
                    self.preset.status.iter().map(|label| format!(",{label}=\"\"")).collect();
                format!("count by ({by}) ({requests}{{{matchers}{none}}})")
            }
            Part::Within => {
                let bucket = self.preset.histogram?.bucket;
                format!("sum by ({by}, le) ({bucket}{{{matchers}}})")
            }
            Part::Native => match self.preset.kept_by {
                KeptBy::Instance => {
                    format!("sum by ({by}) ({}{{{matchers}}})", self.preset.histogram?.native())
                }
                KeptBy::Proxy => return None,
            },
            Part::ScrapedAt => match self.preset.kept_by {
                KeptBy::Instance => {
                    format!("max by ({by}) (timestamp(up{{{scraped}}}) and up{{{scraped}}} == 1)")
                }
                // That a proxy is up says nothing of what is behind it.
                KeptBy::Proxy => return None,
            },
            Part::Known => match self.preset.kept_by {
                KeptBy::Instance => format!("count by ({by}) (up{{{scraped}}})"),
                KeptBy::Proxy => return None,
            },
        })
    }
}

/// A string of PromQL.
pub(crate) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("\"{escaped}\"")
}

/// A regular expression (RE2) that matches this text only.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && c != '_' && c != '-' && c != ':' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Returns whether a text is the name of a label: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(super) fn is_label(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
