//! Keeping a user on one version.
//!
//! The key decides through a salted hash, never by what it says: a client that invents a cookie
//! gets some version, and can't tell beforehand which. The share counts for all requests: one
//! without a header takes the next point of the sequence, one without a cookie gets a new id whose
//! hash decides, so that its next request ends where this one did.

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};

use super::assign::{Salt, Sequence};

/// Random bytes of an id: with 128 bits no two users share one.
const ID_BYTES: usize = 16;

/// What tells one user from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// A cookie of this name, given out by the proxy: an opaque random id.
    Cookie(String),
    /// A header that names the user, such as one that an authenticating proxy in front sets.
    Header(HeaderName),
}

/// The point of a request, and the cookie that its client must be given.
pub(super) struct Point {
    pub(super) point: u64,
    pub(super) set_cookie: Option<HeaderValue>,
}

impl Sticky {
    pub(super) fn point(&self, headers: &HeaderMap, salt: &Salt, sequence: &Sequence) -> Point {
        match self {
            Self::Header(name) => Point {
                point: headers
                    .get(name)
                    .map_or_else(|| sequence.next(), |key| salt.point(key.as_bytes())),
                set_cookie: None,
            },
            Self::Cookie(name) => match cookie(headers, name).filter(|id| is_id(id)) {
                Some(id) => Point { point: salt.point(id), set_cookie: None },
                None => first_visit(name, salt, sequence),
            },
        }
    }
}

/// Gives out a new id. Without randomness the request is assigned all the same, only not kept.
fn first_visit(name: &str, salt: &Salt, sequence: &Sequence) -> Point {
    let Some((id, set_cookie)) = new_id().and_then(|id| {
        let cookie = format!("{name}={id}; Path=/; HttpOnly; SameSite=Lax");
        Some((id, HeaderValue::from_str(&cookie).ok()?))
    }) else {
        return Point { point: sequence.next(), set_cookie: None };
    };
    Point { point: salt.point(id.as_bytes()), set_cookie: Some(set_cookie) }
}

fn new_id() -> Option<String> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn is_id(id: &[u8]) -> bool {
    id.len() == 2 * ID_BYTES && id.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the value of the first cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}
