//! What the gate has asked of the API server, as its audit log has it.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::cluster::Cluster;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) verb: String,
    /// `pods/proxy`, `configmaps`.
    pub(crate) resource: String,
    pub(crate) received: DateTime<Utc>,
    pub(crate) answered: DateTime<Utc>,
}

/// Returns what every gate has asked in a namespace, oldest first; watches once they have ended.
pub(crate) fn of_gate(cluster: &Cluster, namespace: &str) -> Vec<Asked> {
    of(cluster, namespace, "gate/")
}

/// Returns what programs of this name have asked in a namespace, oldest first; watches once they have ended.
pub(crate) fn of(cluster: &Cluster, namespace: &str, program: &str) -> Vec<Asked> {
    let log = Path::new(&cluster.kubeconfig).with_file_name("log/audit.log");
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = lines.filter(|line| {
        let agent = line["userAgent"].as_str().unwrap_or_default();
        agent.starts_with(program) && line["objectRef"]["namespace"] == namespace
    });
    let mut asked: Vec<_> = ours.map(|line| Asked::of(&line)).collect();
    asked.sort_by_key(|one| one.received);
    asked
}

impl Asked {
    fn of(line: &Value) -> Self {
        let at = |key: &str| line[key].as_str().unwrap().parse().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &line["objectRef"];
        let resource = match object["subresource"].as_str() {
            Some(sub) => format!("{}/{sub}", text(&object["resource"])),
            None => text(&object["resource"]),
        };
        Self {
            verb: text(&line["verb"]),
            resource,
            received: at("requestReceivedTimestamp"),
            answered: at("stageTimestamp"),
        }
    }

    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}
