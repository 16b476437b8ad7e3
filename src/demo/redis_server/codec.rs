//! Requests and replies on the wire: `redis-protocol`'s codecs, with the server's side of the protocol around them.
//!
//! The crate decodes any RESP value, nested as deeply as a peer likes, and starts over at each new piece of it. A server
//! accepts less: an array of bulk strings, or a line of words (an inline command). The scanner here admits only that, within
//! limits, and remembers how far it came; only a complete request is handed to the crate.

use bytes::{Bytes, BytesMut};
use redis_protocol::bytes_utils::Str;
use redis_protocol::codec::{Resp2, Resp3};
use redis_protocol::resp2::types::BytesFrame as Frame2;
use redis_protocol::resp3::types::{BytesFrame as Frame3, FrameMap, FrameSet};
use tokio_util::codec::{Decoder, Encoder};

/// Arguments of one request.
const MAX_ARGUMENTS: usize = 1024 * 1024;
/// Bytes of one request, all arguments together.
const MAX_REQUEST: usize = 64 * 1024 * 1024;
/// Bytes of an inline command or of a length line; Redis' own limit.
const MAX_LINE: usize = 64 * 1024;

/// A request: a command's name and its arguments.
pub(super) type Request = Vec<Bytes>;

/// A reply, independent of the protocol version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Simple(&'static str),
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    /// No value: `$-1` in RESP2.
    Null,
    /// No array: `*-1` in RESP2.
    NullArray,
    Array(Vec<Self>),
    /// Pairs: a flat array in RESP2.
    Map(Vec<(Self, Self)>),
    /// Unordered and unique: an array in RESP2.
    Set(Vec<Self>),
    /// Out of band: an array in RESP2.
    Push(Vec<Self>),
}

impl Reply {
    pub(super) const OK: Self = Self::Simple("OK");

    pub(super) fn bulk(data: impl AsRef<[u8]>) -> Self {
        Self::Bulk(Bytes::copy_from_slice(data.as_ref()))
    }

    pub(super) fn count(n: usize) -> Self {
        Self::Integer(i64::try_from(n).unwrap_or(i64::MAX))
    }

    fn resp2(self) -> Frame2 {
        let array = |items: Vec<Self>| Frame2::Array(items.into_iter().map(Self::resp2).collect());
        match self {
            Self::Simple(text) => Frame2::SimpleString(Bytes::from_static(text.as_bytes())),
            Self::Error(text) => Frame2::Error(Str::from(text)),
            Self::Integer(n) => Frame2::Integer(n),
            Self::Bulk(data) => Frame2::BulkString(data),
            Self::Null | Self::NullArray => Frame2::Null,
            Self::Array(items) | Self::Set(items) | Self::Push(items) => array(items),
            Self::Map(pairs) => array(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect()),
        }
    }

    fn resp3(self) -> Frame3 {
        let attributes = None;
        let all = |items: Vec<Self>| items.into_iter().map(Self::resp3).collect::<Vec<_>>();
        match self {
            Self::Simple(text) => Frame3::SimpleString {
                data: Bytes::from_static(text.as_bytes()),
                attributes,
            },
            Self::Error(text) => Frame3::SimpleError {
                data: Str::from(text),
                attributes,
            },
            Self::Integer(data) => Frame3::Number { data, attributes },
            Self::Bulk(data) => Frame3::BlobString { data, attributes },
            Self::Null | Self::NullArray => Frame3::Null,
            Self::Array(items) => Frame3::Array {
                data: all(items),
                attributes,
            },
            Self::Push(items) => Frame3::Push {
                data: all(items),
                attributes,
            },
            Self::Set(items) => Frame3::Set {
                data: all(items).into_iter().collect::<FrameSet<_>>(),
                attributes,
            },
            Self::Map(pairs) => Frame3::Map {
                data: pairs
                    .into_iter()
                    .map(|(k, v)| (k.resp3(), v.resp3()))
                    .collect::<FrameMap<_, _>>(),
                attributes,
            },
        }
    }
}

/// Why a connection cannot go on. The text of `Protocol` is what Redis tells the client before it hangs up.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    #[error("Protocol error: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Frame(#[from] redis_protocol::error::RedisProtocolError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// How far the scan of an incomplete request came, so that each byte is looked at once.
#[derive(Debug, Default)]
struct Scan {
    /// Offset of the first byte not yet understood.
    at: usize,
    /// Bulk strings still to come; `None` before the array's header.
    missing: Option<usize>,
}

/// The server's side of a connection.
#[derive(Debug, Default)]
pub(super) struct Codec {
    /// Whether replies go out as RESP3 (after `HELLO 3`).
    pub(super) resp3: bool,
    scan: Scan,
    reader: Resp2,
    resp2: Resp2,
    resp3_writer: Resp3,
}

/// The line that starts at `from`, without its end, and the offset after it.
fn line(src: &[u8], from: usize) -> Result<Option<(&[u8], usize)>, CodecError> {
    let rest = src.get(from..).unwrap_or_default();
    match rest.iter().take(MAX_LINE).position(|&b| b == b'\n') {
        Some(end) => {
            let text = rest.get(..end).unwrap_or_default();
            Ok(Some((
                text.strip_suffix(b"\r").unwrap_or(text),
                from + end + 1,
            )))
        }
        None if rest.len() >= MAX_LINE => Err(CodecError::Protocol("too big inline request")),
        None => Ok(None),
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Codec {
    /// The length of the complete request at the start of `src`, when all of it is there.
    fn complete(&mut self, src: &[u8]) -> Result<Option<usize>, CodecError> {
        let mut missing = if let Some(missing) = self.scan.missing {
            missing
        } else {
            let Some((header, next)) = line(src, 0)? else {
                return Ok(None);
            };
            let n = header.get(1..).and_then(number);
            let n = n.and_then(|n| usize::try_from(n.max(0)).ok());
            let Some(n) = n.filter(|&n| n <= MAX_ARGUMENTS) else {
                return Err(CodecError::Protocol("invalid multibulk length"));
            };
            self.scan.at = next;
            n
        };
        while missing > 0 {
            self.scan.missing = Some(missing);
            let Some((header, next)) = line(src, self.scan.at)? else {
                return Ok(None);
            };
            let Some((b'$', length)) = header.split_first() else {
                return Err(CodecError::Protocol("expected '$'"));
            };
            let length = number(length).and_then(|n| usize::try_from(n).ok());
            let Some(end) = length
                .and_then(|length| next.checked_add(length)?.checked_add(2))
                .filter(|&end| end <= MAX_REQUEST)
            else {
                return Err(CodecError::Protocol("invalid bulk length"));
            };
            if src.len() < end {
                return Ok(None);
            }
            self.scan.at = end;
            missing -= 1;
        }
        Ok(Some(std::mem::take(&mut self.scan).at))
    }
}

impl Decoder for Codec {
    type Item = Request;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Request>, CodecError> {
        match src.first() {
            None => Ok(None),
            Some(b'*') => {
                let Some(length) = self.complete(src)? else {
                    return Ok(None);
                };
                let mut request = src.split_to(length);
                // Redis takes a negative count for an empty array, and answers neither.
                if request.starts_with(b"*-") {
                    return Ok(Some(Vec::new()));
                }
                match self.reader.decode(&mut request)? {
                    Some(Frame2::Array(items)) => items
                        .into_iter()
                        .map(|item| match item {
                            Frame2::BulkString(data) => Ok(data),
                            _ => Err(CodecError::Protocol("expected '$'")),
                        })
                        .collect::<Result<_, _>>()
                        .map(Some),
                    _ => Err(CodecError::Protocol("invalid multibulk length")),
                }
            }
            Some(_) => {
                let Some((text, next)) = line(src, 0)? else {
                    return Ok(None);
                };
                let words = text
                    .split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty())
                    .map(Bytes::copy_from_slice)
                    .collect();
                let _ = src.split_to(next);
                Ok(Some(words))
            }
        }
    }
}

impl Encoder<Reply> for Codec {
    type Error = CodecError;

    fn encode(&mut self, reply: Reply, dst: &mut BytesMut) -> Result<(), CodecError> {
        if self.resp3 {
            self.resp3_writer.encode(reply.resp3(), dst)?;
        } else if reply == Reply::NullArray {
            // RESP2 has two nulls; the crate writes only the string's.
            dst.extend_from_slice(b"*-1\r\n");
        } else {
            self.resp2.encode(reply.resp2(), dst)?;
        }
        Ok(())
    }
}
