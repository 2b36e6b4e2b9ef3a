//! The keys of an app file; see [`crate::policy::shape`].

use std::time::Duration;

use crate::policy::shape::{DEPLOYMENT, Field, HEALTH_CHECK, Kind, Shape, duration};

/// An app file.
pub static APP: Shape = Shape {
    about: "What runs on this host, where users reach it, and how its releases are started.",
    fields: &[
        Field::required("app", Kind::Text, "The name: small letters, digits and `-`."),
        Field::required("listen", Kind::Address, "Where the users are."),
        Field::required("admin", Kind::Address, "Where /metrics and /healthz are."),
        Field::required("stable", Kind::Text, "The release that a fresh host starts from."),
        Field::optional(
            "health_check",
            Kind::Table(&HEALTH_CHECK),
            "How instances are probed; the short form of a readinessProbe.",
        ),
        Field::optional("livenessProbe", Kind::Table(&PROBE), "As Kubernetes writes it."),
        Field::optional("readinessProbe", Kind::Table(&PROBE), "As Kubernetes writes it."),
        Field::optional("startupProbe", Kind::Table(&PROBE), "As Kubernetes writes it."),
        Field::optional("policy", Kind::Text, "A policy file; relative to this file."),
        Field::optional("deployment", Kind::Table(&DEPLOYMENT), "The policy itself."),
        Field::required("releases", Kind::NamedTables(&RELEASE), "What can be run, by name."),
        Field::optional("sticky", Kind::Table(&STICKY), "Keeps a user with one revision."),
    ],
};

pub static RELEASE: Shape = Shape {
    about: "How a release is started.",
    fields: &[
        Field::required(
            "command",
            Kind::Texts,
            "Program and arguments. {gate} is this binary, {port} the port to listen on.",
        ),
        Field::optional("env", Kind::Named, "Variables; $PORT is set beside them."),
        Field::optional("cwd", Kind::Text, "The folder it runs in. Default: this file's."),
        Field::optional(
            "port",
            Kind::Port,
            "`auto` or the port it always listens on. Default: auto.",
        ),
        Field::optional(
            "irreversible",
            Kind::Flag,
            "It can't be undone: no automatic rollback past it. Default: false.",
        ),
        Field::optional(
            "drain",
            duration(Duration::ZERO, Duration::from_secs(3600)),
            "How long it may finish what it has begun. Absent: the policy's.",
        ),
    ],
};

pub static STICKY: Shape = Shape {
    about: "By what a user's requests stay with one revision: one of these.",
    fields: &[
        Field::optional("cookie", Kind::Text, "The name of a cookie."),
        Field::optional("header", Kind::Text, "The name of a request header."),
    ],
};

const SECONDS: Kind = Kind::Whole { least: 1, most: 3600 };
const TIMES: Kind = Kind::Whole { least: 1, most: 100 };
const PORT: Kind = Kind::Whole { least: 1, most: 65_535 };

pub static PROBE: Shape = Shape {
    about: "A probe as Kubernetes writes it: one of exec, httpGet, tcpSocket.",
    fields: &[
        Field::optional("httpGet", Kind::Table(&HTTP_GET), "Good: an answer from 200 to 399."),
        Field::optional("tcpSocket", Kind::Table(&TCP_SOCKET), "Good: the port opens."),
        Field::optional("exec", Kind::Table(&EXEC), "Good: the command ends with 0."),
        Field::optional(
            "initialDelaySeconds",
            Kind::Whole { least: 0, most: 3600 },
            "From the start to the first probe. Default: 0.",
        ),
        Field::optional("periodSeconds", SECONDS, "Between two probes. Default: 10."),
        Field::optional("timeoutSeconds", SECONDS, "How long an answer may take. Default: 1."),
        Field::optional("failureThreshold", TIMES, "Failures in a row that count. Default: 3."),
        Field::optional("successThreshold", TIMES, "Successes in a row that count. Default: 1."),
    ],
};

pub static HTTP_GET: Shape = Shape {
    about: "An HTTP request.",
    fields: &[
        Field::optional("path", Kind::Text, "Default: /."),
        Field::optional("port", PORT, "Absent: the port that the release listens on."),
        Field::optional("scheme", Kind::Choice(&["HTTP"]), "Default: HTTP."),
        Field::optional("httpHeaders", Kind::Tables(&HTTP_HEADER), "Sent with it."),
    ],
};

pub static HTTP_HEADER: Shape = Shape {
    about: "A header of the request.",
    fields: &[
        Field::required("name", Kind::Text, "Its name."),
        Field::required("value", Kind::Text, "Its value."),
    ],
};

pub static TCP_SOCKET: Shape = Shape {
    about: "A TCP connection.",
    fields: &[Field::optional("port", PORT, "Absent: the port that the release listens on.")],
};

pub static EXEC: Shape = Shape {
    about: "A command.",
    fields: &[Field::required("command", Kind::Texts, "Program and arguments.")],
};
