//! A newcomer beyond the limit is told so, as a server of its protocol does it.

use super::local::Local;
use super::socket::Stream;
use crate::protocol::{Protocol, http1, postgres, redis};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use tokio::io::ReadBuf;

/// The most that is read of a newcomer's first request.
const FIRST_REQUEST: usize = 16 * 1024;

/// Waits for as much of the first request as the protocol needs, and answers that there is no room. The caller bounds the time.
///
/// # Errors
/// What the socket says; a client that ends or says nonsense before is an error, too.
pub(super) async fn tell(client: &mut Stream, protocol: Protocol) -> io::Result<()> {
    let reply = match protocol {
        // A server at its limit does not wait for a command.
        Protocol::Redis => redis::inject::error("ERR", "max number of clients reached"),
        Protocol::Postgres => {
            startup(client).await?;
            postgres::inject::error_response("53300", "sorry, too many clients already", true)
        }
        Protocol::Http => {
            let head = read_until(client, http1::inject::head_length).await?;
            let headers = [("Retry-After".to_owned(), "1".to_owned())];
            let is_head = head.starts_with(b"HEAD ");
            let body = "too many connections (injected by brownout)\n";
            http1::inject::response(503, &headers, body, is_head, true)
        }
        Protocol::Tcp => Bytes::new(),
    };
    write_all(client, &reply).await
}

/// Reads the startup packet of a Postgres client; encryption is declined before it.
async fn startup(client: &mut Stream) -> io::Result<()> {
    const SSL: [u8; 4] = 80_877_103_u32.to_be_bytes();
    const GSS: [u8; 4] = 80_877_104_u32.to_be_bytes();
    const CANCEL: [u8; 4] = 80_877_102_u32.to_be_bytes();
    loop {
        let packet = read_until(client, |seen| {
            let length = u32::from_be_bytes(*seen.first_chunk()?) as usize;
            // Nothing is shorter than its length and its code; what is longer than is read never ends.
            (seen.len() >= length.max(8)).then_some(length.max(8))
        })
        .await?;
        match packet.get(4..8) {
            Some(code) if code == SSL || code == GSS => write_all(client, b"N").await?,
            // Cancelling needs no place, and is never answered.
            Some(code) if code == CANCEL => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => return Ok(()),
        }
    }
}

/// Reads until `ends` finds the end of what is wanted.
async fn read_until(
    client: &mut Stream,
    ends: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<Vec<u8>> {
    let mut seen = Vec::new();
    loop {
        if ends(&seen).is_some() {
            return Ok(seen);
        }
        if seen.len() >= FIRST_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let more = poll_fn(|cx| {
            Local::with(|local| {
                let mut buffer = ReadBuf::new(&mut local.scratch[..FIRST_REQUEST]);
                ready!(client.poll_read(cx, &mut buffer))?;
                Poll::Ready(io::Result::Ok(buffer.filled().to_vec()))
            })
        })
        .await?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend(more);
    }
}

pub(super) async fn write_all(client: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        sent += poll_fn(|cx| client.poll_write(cx, &bytes[sent..])).await?;
    }
    Ok(())
}
