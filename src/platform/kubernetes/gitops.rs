//! Who else says what gate is about to write: the tool that puts Git's version back.
//!
//! A promotion ends with the release in the user's Deployment. A tool that reconciles it from Git would
//! take it back within minutes, unproven and at once; so that is found out before, and said with what
//! to configure. What a tool is told to leave alone can't be read from the object, but what it *applies*
//! can: `metadata.managedFields` of a server-side apply name every field that it owns.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::DynamicObject;
use serde_json::Value;

use super::names::MANAGER;
use super::snapshot::label;
use super::write::Kind;

const ARGO_TRACKING: &str = "argocd.argoproj.io/tracking-id";
const ARGO_INSTANCE: &str = "argocd.argoproj.io/instance";
const FLUX_KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io/name";
const FLUX_HELM: &str = "helm.toolkit.fluxcd.io/name";
/// Set to `disabled` it makes Flux leave the object alone.
const FLUX_RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// `IfNotPresent` and `Ignore` make Flux leave an object alone that is there.
const FLUX_SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// They apply when a person or a pipeline asks them to, and undo nothing by themselves.
const ON_DEMAND: [&str; 2] = ["kubectl", "helm"];

/// What gate writes into a user's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A Deployment's images: adoption.
    Images,
    /// An HTTPRoute's backends: every share.
    BackendRefs,
    /// An autoscaler's `behavior.scaleDown.selectPolicy`: while a promotion runs.
    ScaleDown,
}

/// Who owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    ArgoCd {
        application: String,
    },
    FluxKustomization {
        name: String,
    },
    FluxHelmRelease {
        name: String,
    },
    /// Anything else that applies on the server.
    Applier {
        manager: String,
    },
}

/// What becomes of gate's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Threat {
    /// The tool's own apply leaves the field out.
    Left,
    /// Whoever applies the old file again takes the release back; nobody does by itself.
    NextApply,
    /// The tool puts it back by itself.
    PutBack,
}

/// One tool's claim to one field of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub tool: Tool,
    pub threat: Threat,
    pub kind: Kind,
    pub name: String,
    pub field: Field,
}

/// Returns who else writes a field; `None`: nobody that can be seen.
#[must_use]
pub fn claim(kind: Kind, object: &DynamicObject, field: Field) -> Option<Claim> {
    let meta = &object.metadata;
    let appliers = appliers(meta, field);
    let (tool, threat) = match marked(meta) {
        Some(tool) => {
            let threat = threat_of(&tool, meta, &appliers);
            (tool, threat)
        }
        None => unmarked(meta, &appliers)?,
    };
    let name = meta.name.clone().unwrap_or_default();
    Some(Claim { tool, threat, kind, name, field })
}

/// An applier's name and whether its apply has the field.
type Applier<'a> = (&'a str, bool);

fn appliers(meta: &ObjectMeta, field: Field) -> Vec<Applier<'_>> {
    let entries = meta.managed_fields.as_deref().unwrap_or_default().iter();
    let others = entries.filter(|entry| {
        entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.manager.as_deref() != Some(MANAGER)
    });
    let read = |entry: &'_ ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| field.is_in(&fields.0))
    };
    others.map(|entry| (entry.manager.as_deref().unwrap_or_default(), read(entry))).collect()
}

/// The tool whose marks the object carries. `app.kubernetes.io/instance` alone is none: Helm sets it too.
fn marked(meta: &ObjectMeta) -> Option<Tool> {
    let labels = meta.labels.as_ref();
    if let Some(tracking) = label(meta.annotations.as_ref(), ARGO_TRACKING) {
        // APPLICATION:GROUP/KIND:NAMESPACE/NAME
        let application = tracking.split(':').next().unwrap_or_default().to_owned();
        return Some(Tool::ArgoCd { application });
    }
    if let Some(application) = label(labels, ARGO_INSTANCE) {
        return Some(Tool::ArgoCd { application: application.to_owned() });
    }
    if let Some(name) = label(labels, FLUX_KUSTOMIZATION) {
        return Some(Tool::FluxKustomization { name: name.to_owned() });
    }
    if let Some(name) = label(labels, FLUX_HELM) {
        return Some(Tool::FluxHelmRelease { name: name.to_owned() });
    }
    let argo = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref().is_some_and(|manager| manager.starts_with("argocd"))
    };
    meta.managed_fields.as_deref().unwrap_or_default().iter().find(argo)?;
    let application = label(labels, "app.kubernetes.io/instance").unwrap_or("(unknown)").to_owned();
    Some(Tool::ArgoCd { application })
}

fn threat_of(tool: &Tool, meta: &ObjectMeta, appliers: &[Applier<'_>]) -> Threat {
    let annotation = |key| label(meta.annotations.as_ref(), key);
    let (own, told_off): (&str, bool) = match tool {
        Tool::ArgoCd { .. } => ("argocd", false),
        Tool::FluxKustomization { .. } => (
            "kustomize-controller",
            annotation(FLUX_RECONCILE) == Some("disabled")
                || matches!(annotation(FLUX_SSA), Some("IfNotPresent" | "Ignore")),
        ),
        Tool::FluxHelmRelease { .. } => ("helm-controller", false),
        Tool::Applier { manager } => (manager, false),
    };
    let mut of_tool = appliers.iter().filter(|(manager, _)| manager.starts_with(own)).peekable();
    // Without an apply of its own it applies on the client, and what that leaves out can't be seen.
    let leaves_out = of_tool.peek().is_some() && of_tool.all(|(_, has_field)| !has_field);
    if told_off || leaves_out { Threat::Left } else { Threat::PutBack }
}

fn unmarked(meta: &ObjectMeta, appliers: &[Applier<'_>]) -> Option<(Tool, Threat)> {
    let mut owners =
        appliers.iter().filter(|(_, has_field)| *has_field).map(|(manager, _)| *manager);
    if let Some(manager) = owners.next() {
        let on_demand = ON_DEMAND.contains(&manager);
        let threat = if on_demand { Threat::NextApply } else { Threat::PutBack };
        return Some((Tool::Applier { manager: manager.to_owned() }, threat));
    }
    label(meta.annotations.as_ref(), LAST_APPLIED)?;
    Some((Tool::Applier { manager: "kubectl apply".to_owned() }, Threat::NextApply))
}

impl Field {
    /// Returns whether a set of owned fields (the API's `FieldsV1`) has it.
    fn is_in(self, fields: &Value) -> bool {
        let pods = ["f:spec", "f:template", "f:spec"];
        let has = |path: &[&str]| owns(fields, path);
        match self {
            Self::Images => ["f:containers", "f:initContainers"]
                .iter()
                .any(|list| has(&[&pods[..], &[*list, ANY, "f:image"]].concat())),
            Self::BackendRefs => has(&["f:spec", "f:rules", ANY, "f:backendRefs"]),
            Self::ScaleDown => has(&["f:spec", "f:behavior", "f:scaleDown", "f:selectPolicy"]),
        }
    }
}

/// A step that any element of a list takes.
const ANY: &str = "*";

/// Returns whether a path is owned: all of it, or its beginning as one piece (an atomic list or map).
fn owns(fields: &Value, path: &[&str]) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    let Some(fields) = fields.as_object() else { return false };
    let under = |below: &Value| {
        below.as_object().is_some_and(serde_json::Map::is_empty) || owns(below, rest)
    };
    if *step == ANY {
        let elements = fields.iter().filter(|(key, _)| !key.starts_with("f:") && *key != ".");
        return elements.into_iter().any(|(_, below)| under(below));
    }
    fields.get(*step).is_some_and(under)
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArgoCd { application } => write!(f, "Argo CD (application {application})"),
            Self::FluxKustomization { name } => write!(f, "Flux (Kustomization {name})"),
            Self::FluxHelmRelease { name } => write!(f, "Flux (HelmRelease {name})"),
            Self::Applier { manager } => write!(f, "`{manager}`"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Images => "the images",
            Self::BackendRefs => "the backends",
            Self::ScaleDown => "the scale-down policy",
        })
    }
}

impl Claim {
    /// Returns what it means, in one sentence.
    #[must_use]
    pub fn what(&self) -> String {
        let Self { tool, kind, name, field, .. } = self;
        let of = format!("{field} of {kind} {name}");
        match self.threat {
            Threat::Left => format!("{tool} manages {kind} {name} and leaves {field} alone"),
            Threat::NextApply => {
                format!(
                    "{tool} has written {of}: the next apply of the old file takes the release back"
                )
            }
            Threat::PutBack => format!("{tool} writes {of} as well, and would put them back"),
        }
    }

    /// Returns what to configure; `None`: nothing.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match (self.threat, &self.tool) {
            (Threat::Left, _) => None,
            (Threat::NextApply, _) => {
                Some("write the release into that file once it is promoted".to_owned())
            }
            (Threat::PutBack, Tool::ArgoCd { .. }) => Some(format!(
                "add this to the Application, or give `--gitops-ok`:\n{}",
                self.ignore_differences()
            )),
            (Threat::PutBack, Tool::FluxKustomization { .. }) => Some(format!(
                "release through Git (commit the image first), or annotate {} {} with `{FLUX_SSA}: IfNotPresent`, or give `--gitops-ok`",
                self.kind, self.name
            )),
            (Threat::PutBack, Tool::FluxHelmRelease { name }) => Some(format!(
                "with `driftDetection` off in HelmRelease {name} only its next upgrade writes them: give `--gitops-ok` then, and the release to the chart's values afterwards; otherwise add {} to `driftDetection.ignore`",
                self.field.pointers().join(", ")
            )),
            (Threat::PutBack, Tool::Applier { manager }) => Some(format!(
                "let `{manager}` leave {} out of what it applies, or give `--gitops-ok` if it does not apply by itself",
                self.field
            )),
        }
    }

    /// What an Argo CD Application needs so that neither its diff nor its sync touches the field.
    fn ignore_differences(&self) -> String {
        let resource = self.kind.resource();
        let mut lines = vec!["spec:".to_owned(), "  ignoreDifferences:".to_owned()];
        let group = if resource.group.is_empty() { "\"\"" } else { &resource.group };
        lines.push(format!("    - group: {group}"));
        lines.push(format!("      kind: {}", resource.kind));
        lines.push(format!("      name: {}", self.name));
        lines.push("      jqPathExpressions:".to_owned());
        lines.extend(self.field.jq().iter().map(|path| format!("        - {path}")));
        lines.push("  syncPolicy:".to_owned());
        lines.push("    syncOptions: [RespectIgnoreDifferences=true]".to_owned());
        lines.join("\n")
    }
}

impl Field {
    const fn jq(self) -> &'static [&'static str] {
        match self {
            Self::Images => &[
                ".spec.template.spec.containers[].image",
                ".spec.template.spec.initContainers[]?.image",
            ],
            Self::BackendRefs => &[".spec.rules[].backendRefs"],
            Self::ScaleDown => &[".spec.behavior"],
        }
    }

    const fn pointers(self) -> &'static [&'static str] {
        match self {
            Self::Images => &["/spec/template"],
            Self::BackendRefs => &["/spec/rules"],
            Self::ScaleDown => &["/spec/behavior"],
        }
    }
}

#[cfg(test)]
mod tests;
