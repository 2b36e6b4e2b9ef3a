//! What of a head is for the next hop only, and what the next hop must be told.

use std::net::{IpAddr, SocketAddr};

use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Meant for one hop (RFC 9110 § 7.6.1). `Trailer` is not: it announces fields that are passed on.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes what is for one hop, and what `Connection` names as such.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        // A message can't make its own frame or its host disappear.
        if name != HOST && name != CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, &CONNECTION).filter_map(|token| token.parse().ok()).collect()
}

/// Returns the protocol that the message wants to change to, or has changed to.
///
/// `h2c` is none: through such a tunnel a client's later requests would reach one revision past
/// the share and the counters.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    tokens(headers, &CONNECTION).find(|token| token.eq_ignore_ascii_case("upgrade"))?;
    let h2c = tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("h2c"));
    headers.get(UPGRADE).filter(|_| !h2c).cloned()
}

pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Returns whether the sender of the head takes trailers.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

pub(super) fn set_takes_trailers(headers: &mut HeaderMap) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.append(CONNECTION, HeaderValue::from_static("te"));
}

/// Tells the application who asks, and how.
///
/// The address is appended to what is there. Protocol and host are kept only from a peer on this
/// host, such as a TLS proxy in front: from anybody else they could be forged, so they are replaced
/// and `Forwarded`, which says the same, is dropped.
pub(super) fn set_forwarded(headers: &mut HeaderMap, peer: SocketAddr) {
    let peer = peer.ip().to_canonical();
    if let Some(chain) = forwarded_for(headers, peer) {
        headers.insert(FORWARDED_FOR, chain);
    }
    let host = headers.get(HOST).cloned();
    if !peer.is_loopback() {
        for name in [FORWARDED, FORWARDED_HOST, FORWARDED_PROTO] {
            headers.remove(name);
        }
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
}

fn forwarded_for(headers: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let mut chain = Vec::new();
    for earlier in headers.get_all(FORWARDED_FOR) {
        chain.extend_from_slice(earlier.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer.to_string().as_bytes());
    HeaderValue::from_bytes(&chain).ok()
}

/// Returns the members of a list header over all of its lines; lines that are not ASCII are skipped.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}
