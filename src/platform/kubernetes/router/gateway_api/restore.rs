//! The user's routes as they were, and nothing of gate's own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;

use super::super::super::names::{self, REVISION, TARGET};
use super::super::super::ownership;
use super::super::super::snapshot::{Snapshot, label};
use super::super::super::write::{Kind, Op, Write};
use super::super::residue;
use super::{GatewayApi, backends};

impl GatewayApi {
    pub(in super::super) fn restore(&self, seen: &Snapshot, revision: &str) -> Vec<Write> {
        let zero = self.zero(self.carriers(seen).chain(self.testers_routes(seen)));
        if !zero.is_empty() {
            return zero;
        }
        let (mut shapes, mut entries) = (Vec::new(), Vec::new());
        for (name, route) in self.present(seen) {
            let patch = |ops| Write::Patch { kind: Kind::HttpRoute, name: name.clone(), ops };
            shapes.extend(Some(self.reshape(route)).filter(|ops| !ops.is_empty()).map(patch));
            entries.extend(ownership::disown(Kind::HttpRoute, &route.metadata));
        }
        let routes = seen.routes.values().map(|route| &route.metadata);
        shapes.extend(removed(seen, Kind::HttpRoute, routes, revision));
        let services = seen.services.values().map(|service| &service.metadata);
        let services = removed(seen, Kind::Service, services, revision);
        // The routes first: no backend is removed that one still names.
        [shapes, entries, services]
            .into_iter()
            .find(|writes| !writes.is_empty())
            .unwrap_or_default()
    }

    /// Returns what brings the user's backends back literally.
    fn reshape(&self, route: &DynamicObject) -> Vec<Op> {
        let note = backends::noted(route);
        let used = self
            .rules(route)
            .filter(|(_, _, pairs)| pairs.iter().any(|pair| pair.candidate.is_some()));
        let mut ops: Vec<Op> = used
            .flat_map(|(index, refs, _)| {
                let noted = note.as_ref().and_then(|note| note.rules.get(&index));
                let before = backends::original(refs, &self.services, noted);
                backends::replace(index, refs, &before)
            })
            .collect();
        ops.extend(residue::unnote(&route.metadata));
        ops
    }
}

/// Returns the writes that remove what gate has made for this promotion or another of the target.
fn removed<'a>(
    seen: &Snapshot,
    kind: Kind,
    objects: impl Iterator<Item = &'a ObjectMeta>,
    revision: &str,
) -> Vec<Write> {
    let target = seen.target.as_ref().and_then(|target| target.metadata.name.as_deref());
    let target = target.map(names::target_label);
    let ours = objects.filter(|meta| {
        let of = label(meta.labels.as_ref(), TARGET);
        of.is_some()
            && (of == target.as_deref() || label(meta.labels.as_ref(), REVISION) == Some(revision))
    });
    ours.filter_map(|meta| Write::delete(kind, meta)).collect()
}
