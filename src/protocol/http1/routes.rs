//! Routes: paths with their variable parts named, bounded in number.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

use super::method::Method;
use crate::protocol::{Class, Operation};

/// Routes learned from traffic by one proxy; what comes later is `other`.
const LEARNED_LIMIT: usize = 200;
/// Routes taken from configuration; more do not fit beside the others into an [`Operation`].
const CONFIGURED_LIMIT: usize = ROUTE_LIMIT - FIXED.len() - LEARNED_LIMIT;
/// Route numbers that fit into an [`Operation`].
const ROUTE_LIMIT: usize = u16::MAX as usize / Method::ALL.len();
/// Segments of a path; a deeper one is `other`.
const SEGMENT_LIMIT: usize = 32;
/// Bytes of a learned route; a longer one is `other`.
const NAME_LIMIT: usize = 160;

/// Routes that are always there, at the beginning.
pub const FIXED: [&str; 3] = ["other", "*", "{authority}"];
const OTHER: u16 = 0;
const ASTERISK: u16 = 1;
const AUTHORITY: u16 = 2;

/// The routes of one proxy: those configured, then those learned.
///
/// A configured route is a path in which a segment `{name}` stands for any one segment that is not empty. Of several that
/// match, the one with the earliest exact segment wins. Where none matches, the path itself becomes a route, its segments
/// that look like numbers, UUIDs, hashes or long tokens replaced by `{id}`. The query is no part of it, empty segments are
/// left out but for one at the end, and percent-encoding stays as it is.
#[derive(Debug)]
pub struct Routes {
    configured: Vec<Pattern>,
    /// Places in `configured` of the routes with that many segments, the most specific first.
    by_length: Vec<Vec<u16>>,
    learned: RwLock<Learned>,
    seed: u64,
}

#[derive(Debug)]
struct Pattern {
    name: String,
    /// `None` stands for any segment.
    segments: Vec<Option<Box<[u8]>>>,
}

#[derive(Debug, Default)]
struct Learned {
    names: Vec<Arc<str>>,
    /// Places in `names`.
    places: HashMap<Arc<str>, usize>,
}

/// The routes of the last paths of one session, which spare it the search. Never more than a hint: it may be dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RouteCache {
    hashes: [u64; Self::SIZE],
    routes: [u16; Self::SIZE],
}

impl RouteCache {
    const SIZE: usize = 4;
}

impl Routes {
    /// Routes from configuration. Repeated ones count once; those beyond about 6,000 are left out.
    pub fn new(routes: &[String]) -> Self {
        let mut configured: Vec<Pattern> = Vec::new();
        for route in routes {
            let pattern = Pattern::new(route);
            if configured.len() < CONFIGURED_LIMIT
                && !configured.iter().any(|known| known.name == pattern.name)
            {
                configured.push(pattern);
            }
        }
        let mut by_length: Vec<Vec<u16>> = vec![Vec::new(); SEGMENT_LIMIT + 1];
        for (place, pattern) in configured.iter().enumerate() {
            if let Some(places) = by_length.get_mut(pattern.segments.len()) {
                places.push(place as u16);
            }
        }
        for places in &mut by_length {
            places.sort_by_cached_key(|&place| configured[usize::from(place)].vagueness());
        }
        Self {
            configured,
            by_length,
            learned: RwLock::default(),
            seed: RandomState::new().hash_one(0),
        }
    }

    /// `GET /modules/{id}`. Unknown numbers are `other`.
    pub fn operation_name(&self, operation: Operation) -> String {
        format!("{} {}", self.method_of(operation), self.route_of(operation))
    }

    /// The class an operation has: safe methods read, CONNECT is administration, all else writes.
    pub fn operation_class(&self, operation: Operation) -> Class {
        split(operation).1.class()
    }

    /// The route of an operation: `/modules/{id}`, `*` (OPTIONS), `{authority}` (CONNECT) or `other`.
    pub fn route_of(&self, operation: Operation) -> String {
        let place = split(operation).0;
        if let Some(&fixed) = FIXED.get(place) {
            return fixed.into();
        }
        let place = place - FIXED.len();
        if let Some(pattern) = self.configured.get(place) {
            return pattern.name.clone();
        }
        let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        match learned.names.get(place - self.configured.len()) {
            Some(name) => name.as_ref().into(),
            None => FIXED[usize::from(OTHER)].into(),
        }
    }

    /// The method of an operation: `GET`, or `other` for those beyond the nine of RFC 9110 and RFC 5789.
    pub fn method_of(&self, operation: Operation) -> &'static str {
        split(operation).1.name()
    }

    /// The operation of a request. `target` is as in the request line; not `whole` if only its first bytes are there.
    #[inline]
    pub(super) fn operation(
        &self,
        method: Method,
        target: &[u8],
        whole: bool,
        cache: &mut RouteCache,
    ) -> Operation {
        let route = match path(method, target, whole) {
            Ok(path) => self.cached(path, cache),
            Err(fixed) => fixed,
        };
        Operation(route * Method::ALL.len() as u16 + method as u16)
    }

    #[inline]
    fn cached(&self, path: &[u8], cache: &mut RouteCache) -> u16 {
        let hash = self.hash(path);
        let slot = hash as usize % RouteCache::SIZE;
        if cache.hashes[slot] != hash {
            cache.routes[slot] = self.find(path);
            cache.hashes[slot] = hash;
        }
        cache.routes[slot]
    }

    fn find(&self, path: &[u8]) -> u16 {
        let Some(segments) = Segments::new(path) else {
            return OTHER;
        };
        let segments = segments.as_slice();
        let matching = self.by_length[segments.len()]
            .iter()
            .find(|&&place| self.configured[usize::from(place)].matches(segments));
        match matching {
            Some(place) => FIXED.len() as u16 + place,
            None => self.learn(segments),
        }
    }

    /// The number of the route that these segments make, a new one if there is room.
    fn learn(&self, segments: &[&[u8]]) -> u16 {
        let mut name = Name::default();
        let named = segments
            .iter()
            .try_for_each(|segment| name.push(if is_id(segment) { b"{id}" } else { segment }));
        let (Some(()), Ok(name)) = (named, str::from_utf8(name.as_bytes())) else {
            return OTHER;
        };
        let first = FIXED.len() + self.configured.len();
        let known = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.places.get(name) {
            return (first + place) as u16;
        }
        if known.names.len() >= LEARNED_LIMIT {
            return OTHER;
        }
        drop(known);
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        // Another worker may have come first.
        let place = learned.names.len();
        if let Some(place) = learned.places.get(name) {
            return (first + place) as u16;
        }
        if place >= LEARNED_LIMIT {
            return OTHER;
        }
        let name: Arc<str> = name.into();
        learned.names.push(Arc::clone(&name));
        learned.places.insert(name, place);
        (first + place) as u16
    }

    /// A hash that peers cannot steer, for the cache. Never 0, which stands for nothing there.
    #[inline]
    fn hash(&self, path: &[u8]) -> u64 {
        let fold = |state: u64| {
            let product = u128::from(state) * 0x9e37_79b9_7f4a_7c15;
            product as u64 ^ (product >> 64) as u64
        };
        let last = match path.last_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => path.iter().fold(0, |word, &b| word << 8 | u64::from(b)),
        };
        let words = path.as_chunks::<8>().0.iter().copied();
        let state = words
            .map(u64::from_le_bytes)
            .fold(self.seed ^ path.len() as u64, |state, word| {
                fold(state ^ word)
            });
        fold(state ^ last) | 1
    }
}

fn split(operation: Operation) -> (usize, Method) {
    let number = usize::from(operation.0);
    let methods = Method::ALL.len();
    (number / methods, Method::ALL[number % methods])
}

/// The path of a request target (RFC 9112 section 3.2), or the route of a target that has none.
#[inline]
fn path(method: Method, target: &[u8], whole: bool) -> Result<&[u8], u16> {
    let path = match memchr::memchr2(b'?', b'#', target) {
        Some(end) => &target[..end],
        None if whole => target,
        None => return Err(OTHER),
    };
    match path {
        [b'/', ..] => Ok(path),
        b"*" => Err(ASTERISK),
        _ => {
            let scheme = path.windows(3).position(|w| w == b"://");
            let Some(authority) = scheme.map(|end| &path[end + 3..]) else {
                return Err(if method == Method::Connect {
                    AUTHORITY
                } else {
                    OTHER
                });
            };
            match memchr::memchr(b'/', authority) {
                Some(start) => Ok(&authority[start..]),
                None => Ok(b"/"),
            }
        }
    }
}

impl Pattern {
    fn new(route: &str) -> Self {
        let route = route.split(['?', '#']).next().unwrap_or_default();
        let parts = || parts(route.as_bytes());
        let name = parts().fold(String::new(), |name, part| {
            name + "/" + &String::from_utf8_lossy(part)
        });
        let segments = parts()
            .map(|part| match part {
                [b'{', .., b'}'] => None,
                exact => Some(exact.into()),
            })
            .collect();
        Self { name, segments }
    }

    /// Orders patterns of one length: exact segments first, the leftmost counting most.
    fn vagueness(&self) -> Vec<bool> {
        self.segments.iter().map(Option::is_none).collect()
    }

    fn matches(&self, segments: &[&[u8]]) -> bool {
        self.segments
            .iter()
            .zip(segments)
            .all(|(pattern, segment)| match pattern {
                Some(exact) => **exact == **segment,
                None => !segment.is_empty(),
            })
    }
}

/// The segments of a path, without empty ones but for the last.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut parts = path.split(|&b| b == b'/').peekable();
    std::iter::from_fn(move || {
        loop {
            let part = parts.next()?;
            if !part.is_empty() || parts.peek().is_none() {
                return Some(part);
            }
        }
    })
}

struct Segments<'a> {
    list: [&'a [u8]; SEGMENT_LIMIT],
    len: usize,
}

impl<'a> Segments<'a> {
    /// `None`: too many, or bytes that have no place in a name.
    fn new(path: &'a [u8]) -> Option<Self> {
        if !path.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut segments = Self {
            list: [&[]; SEGMENT_LIMIT],
            len: 0,
        };
        for part in parts(path) {
            *segments.list.get_mut(segments.len)? = part;
            segments.len += 1;
        }
        Some(segments)
    }

    fn as_slice(&self) -> &[&'a [u8]] {
        &self.list[..self.len]
    }
}

/// A route's name while it is put together.
struct Name {
    bytes: [u8; NAME_LIMIT],
    len: usize,
}

impl Default for Name {
    fn default() -> Self {
        Self {
            bytes: [0; NAME_LIMIT],
            len: 0,
        }
    }
}

impl Name {
    /// Adds `/` and a segment. `None`: no room.
    fn push(&mut self, segment: &[u8]) -> Option<()> {
        let end = self.len + 1 + segment.len();
        let [slash, rest @ ..] = self.bytes.get_mut(self.len..end)? else {
            return None;
        };
        *slash = b'/';
        rest.copy_from_slice(segment);
        self.len = end;
        Some(())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Whether a segment looks like the name of one thing among many.
fn is_id(segment: &[u8]) -> bool {
    let digits = segment.iter().filter(|b| b.is_ascii_digit()).count();
    let hex = || segment.iter().all(u8::is_ascii_hexdigit);
    // Numbers, dates, versions.
    let number = || {
        segment
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b',' | b':' | b'_'))
    };
    match segment.len() {
        0 => false,
        // A MD5 sum or a UUID without a digit is possible, just.
        32 if hex() => true,
        36 if is_uuid(segment) => true,
        65.. => true,
        // Addresses of people.
        _ if segment.contains(&b'@') => true,
        20.. if digits > 0 => true,
        8.. if digits > 0 && hex() => true,
        _ => digits > 0 && number(),
    }
}

fn is_uuid(segment: &[u8]) -> bool {
    segment.iter().enumerate().all(|(place, b)| match place {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    })
}
