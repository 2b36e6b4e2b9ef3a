//! Which keys a file has and what stands under them, once, for the reader and for the JSON Schema.
//!
//! The reader asks this table what is allowed where; [`super::schema()`] prints it. So a key can't
//! be known to one and not to the other, and a limit has one place.

use std::time::Duration;

/// A table of a file: its keys in the order in which they are explained.
#[derive(Debug)]
pub struct Shape {
    pub about: &'static str,
    pub fields: &'static [Field],
}

/// One key of a table.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub about: &'static str,
}

/// What stands under a key.
#[derive(Debug)]
pub enum Kind {
    Text,
    Flag,
    /// A whole number; both ends belong to it.
    Whole {
        least: u64,
        most: u64,
    },
    /// `10s`, `1h 30m`; both ends belong to it.
    Duration {
        least: Duration,
        most: Duration,
    },
    /// A share of traffic, `5%`.
    Share,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `auto` or a port.
    Port,
    /// IP address and port.
    Address,
    /// A moment of a freeze window.
    Moment,
    /// An IANA time zone.
    Zone,
    /// A list of conditions.
    Conditions,
    /// A list of texts.
    Texts,
    /// Names of the user's own, each with a text.
    Named,
    Table(&'static Shape),
    /// A list of such tables.
    Tables(&'static Shape),
    /// Names of the user's own, each with such a table.
    NamedTables(&'static Shape),
}

impl Shape {
    /// Returns the key of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Field {
    #[must_use]
    pub const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, required: false, about }
    }

    #[must_use]
    pub const fn required(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, required: true, about }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// From `least` to `most`, both allowed.
#[must_use]
pub const fn duration(least: Duration, most: Duration) -> Kind {
    Kind::Duration { least, most }
}

/// A policy file.
pub static FILE: Shape = Shape {
    about: "A policy of gate: how a release gets its traffic and what takes it away again.",
    fields: &[Field::required("deployment", Kind::Table(&DEPLOYMENT), "How a release is proven.")],
};

pub static DEPLOYMENT: Shape = Shape {
    about: "How a release is proven.",
    fields: &[
        Field::required(
            "strategy",
            Kind::Choice(&["canary", "blue-green"]),
            "canary: shares that rise step by step; blue-green: 0 %, then 100 %.",
        ),
        Field::optional(
            "stages",
            Kind::Tables(&STAGE),
            "The steps. Absent: 5, 25, 50, 100 % (canary) or 0, 100 % (blue-green).",
        ),
        Field::optional(
            "health_check",
            Kind::Table(&HEALTH_CHECK),
            "How instances are probed. Absent: as the target says.",
        ),
        Field::optional(
            "auto_rollback",
            Kind::Table(&AUTO_ROLLBACK),
            "What takes the traffic back.",
        ),
        Field::optional("evidence", Kind::Table(&EVIDENCE), "What is measured, and who judges."),
        Field::optional(
            "insufficient_traffic",
            Kind::Choice(&["rollback", "hold", "health_only"]),
            "What becomes of a stage whose deadline passes without proof. Default: rollback.",
        ),
        Field::optional(
            "drain",
            duration(Duration::ZERO, HOUR),
            "How long requests may finish once their revision gets no more. Default: 30s.",
        ),
        Field::optional(
            "rollback_drain",
            duration(Duration::ZERO, HOUR),
            "The same on a rollback. Default: 5s.",
        ),
        Field::optional("traffic", Kind::Table(&TRAFFIC), "What splits the traffic."),
        Field::optional("prepare", Kind::Table(&DEADLINE), "Until the candidate is ready."),
        Field::optional("adopt", Kind::Table(&DEADLINE), "Until stable runs the proven release."),
        Field::optional(
            "side_by_side",
            Kind::Flag,
            "Two revisions at once are fine although the workload looks otherwise. Default: false.",
        ),
        Field::optional("freeze", Kind::Tables(&FREEZE), "When no promotion starts."),
        Field::optional(
            "hold_max",
            duration(MINUTE, Duration::from_secs(30 * 24 * 3600)),
            "How long a person may hold a promotion. Default: 24h.",
        ),
        Field::optional(
            "approval_timeout",
            duration(MINUTE, Duration::from_secs(30 * 24 * 3600)),
            "How long an approval is waited for. Default: 6h.",
        ),
    ],
};

pub static STAGE: Shape = Shape {
    about: "One step.",
    fields: &[
        Field::required("share", Kind::Share, "The candidate's part of the traffic."),
        Field::optional(
            "hold",
            duration(SECOND, WEEK),
            "How long it lasts at least. Default: 60s; with the evidence judge at least 30s.",
        ),
        Field::optional(
            "deadline",
            duration(SECOND, WEEK),
            "How long proof is waited for. Default: five holds, at least 10m.",
        ),
        Field::optional("approval", Kind::Flag, "A person must agree. Default: false."),
    ],
};

pub static HEALTH_CHECK: Shape = Shape {
    about: "An HTTP probe of every instance.",
    fields: &[
        Field::required("path", Kind::Text, "Begins with a slash."),
        Field::optional(
            "interval",
            duration(SECOND, Duration::from_secs(30)),
            "Between two probes. Default: 10s.",
        ),
        Field::optional(
            "threshold",
            Kind::Whole { least: 1, most: 100 },
            "Failed probes in a row that take an instance out of traffic. Default: 3.",
        ),
        Field::optional(
            "status",
            Kind::Whole { least: 100, most: 599 },
            "The only good status. Default: any from 200 to 399.",
        ),
        Field::optional("body", Kind::Text, "Text that a good answer holds. Default: any."),
        Field::optional(
            "port",
            Kind::Whole { least: 1, most: 65_535 },
            "The container's port (Kubernetes). Absent: the readiness probe's.",
        ),
    ],
};

pub static AUTO_ROLLBACK: Shape = Shape {
    about: "What takes the traffic back.",
    fields: &[
        Field::optional(
            "enabled",
            Kind::Flag,
            "false: only observe and record; stages advance whatever is seen. Default: true.",
        ),
        Field::optional("conditions", Kind::Conditions, "Any one of them that is true is enough."),
    ],
};

pub static EVIDENCE: Shape = Shape {
    about: "What is measured, and who judges.",
    fields: &[
        Field::optional(
            "source",
            Kind::Text,
            "Where counters come from: proxy (the platform's own, the default), metrics (each instance's /metrics), or the URL of a metrics server.",
        ),
        Field::optional(
            "preset",
            Kind::Text,
            "What a metrics server calls requests, failures and response times. Default: plain.",
        ),
        Field::optional(
            "queries",
            Kind::Named,
            "PromQL for numbers of your own, asked of the metrics server, for the threshold judge.",
        ),
        Field::optional(
            "judge",
            Kind::Choice(&["evidence", "threshold"]),
            "evidence: sequential tests on raw counts; threshold: a window against the limit. Default: evidence.",
        ),
        Field::optional(
            "interval",
            duration(SECOND, Duration::from_secs(15)),
            "Between two looks. Default: 5s; 15s with a metrics server.",
        ),
        Field::optional(
            "window",
            duration(SECOND, HOUR),
            "Threshold judge: what it looks at. Default: 15s locally, 60s with a metrics server.",
        ),
        Field::optional(
            "looks",
            Kind::Whole { least: 1, most: 100 },
            "Threshold judge: looks in a row that must agree. Default: 3.",
        ),
        Field::optional(
            "min_requests",
            Kind::Whole { least: 1, most: 1_000_000_000 },
            "Candidate requests without which nothing can be said. Default: 50.",
        ),
    ],
};

pub static TRAFFIC: Shape = Shape {
    about: "What splits the traffic.",
    fields: &[
        Field::optional(
            "router",
            Kind::Choice(&["service", "gateway-api"]),
            "Absent: gateway-api where a route is named, else service.",
        ),
        Field::optional("route", Kind::Text, "The route that is split, where there are several."),
        Field::optional("ignore_services", Kind::Texts, "Services that need no candidate."),
        Field::optional(
            "testers",
            Kind::Table(&TESTERS),
            "Who reaches the candidate from when it is ready (gateway-api). Absent: nobody.",
        ),
    ],
};

pub static TESTERS: Shape = Shape {
    about: "Who reaches the candidate by what they send.",
    fields: &[
        Field::required("header", Kind::Text, "The name of an HTTP header, not `host`."),
        Field::required("value", Kind::Text, "Its whole value; nothing else will do."),
    ],
};

pub static DEADLINE: Shape = Shape {
    about: "A time limit.",
    fields: &[Field::optional("deadline", duration(SECOND, DAY), "Default: 10m.")],
};

pub static FREEZE: Shape = Shape {
    about: "A window in which no promotion starts.",
    fields: &[
        Field::required("from", Kind::Moment, "`2026-12-23 18:00`, `Fri 16:00` or `22:00`."),
        Field::required("to", Kind::Moment, "Written like `from`."),
        Field::required("zone", Kind::Zone, "An IANA name such as Europe/Berlin."),
    ],
};
