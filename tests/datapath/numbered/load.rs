//! Sessions that check every byte of both directions, and the switching of faults meanwhile.

use super::speech::{Found, Speech};
use crate::harness::Proxied;
use crate::integrity::Dice;
use crate::peers::pattern;
use brownout::protocol::Protocol;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No step of a session takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// What was proved.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bytes that were compared, at both ends.
    pub(super) bytes: AtomicU64,
    pub(super) exchanges: AtomicU64,
    /// Exchanges that got an injected error.
    pub(super) errors: AtomicU64,
    /// Connections that a fault ended.
    pub(super) cuts: AtomicU64,
    pub(super) switches: AtomicU64,
}

impl Tally {
    fn compared(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Which faults come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Such that lose nothing, and errors.
    Late,
    /// Such that end sessions.
    Cuts,
}

/// A fault, drawn.
fn fault(speech: Speech, trouble: Trouble, dice: &mut Dice) -> Value {
    let tcp = speech.0 == Protocol::Tcp;
    let on = ["request", "reply"][dice.below(2) as usize];
    let how = ["fin", "rst"][dice.below(2) as usize];
    let then = ["disconnect", "stall"][dice.below(2) as usize];
    let uniform = json!({ "distribution": "uniform", "min": "0ms", "max": "3ms" });
    let mut drawn = match (trouble, dice.below(7)) {
        (Trouble::Late, 0) => json!({ "action": "stall", "probability": 0.1 }),
        (Trouble::Late, 1) => json!({ "action": "slice", "on": on, "size": 700, "variation": 600 }),
        (Trouble::Late, 2) => {
            json!({ "action": "throttle", "on": on, "bytes_per_second": 5_000_000 })
        }
        (Trouble::Late, 3) if !tcp => {
            let mut error = speech.error_fault();
            error["action"] = "error".into();
            error["probability"] = 0.5.into();
            error
        }
        (Trouble::Late, 4) if !tcp => {
            json!({ "action": "latency", "delay": "2ms", "floor": true })
        }
        (Trouble::Late, _) => json!({ "action": "latency", "on": on, "delay": uniform }),
        (Trouble::Cuts, 0 | 1) if !tcp => {
            json!({ "action": "lose_request", "then": then, "probability": 0.1 })
        }
        (Trouble::Cuts, 2 | 3) if !tcp => {
            json!({ "action": "lose_reply", "then": then, "probability": 0.1 })
        }
        (Trouble::Cuts, 4) if speech.0 == Protocol::Http => {
            json!({ "action": "truncate", "probability": 0.1 })
        }
        (Trouble::Cuts, 5) if !tcp => {
            json!({ "action": "disconnect", "when": "after", "how": how, "probability": 0.1 })
        }
        (Trouble::Cuts, _) => {
            json!({ "action": "disconnect", "how": how, "probability": 0.1,
                "bytes": dice.below(2000) })
        }
    };
    drawn["seed"] = (dice.roll() >> 1).into();
    drawn
}

/// Switches faults on and off, a thousand times a second, until told that it is enough. What a busy machine delays is caught up,
/// but for stops of more than a second.
pub(super) fn switch(
    proxied: &Proxied,
    speech: Speech,
    trouble: Trouble,
    done: &AtomicBool,
    tally: &Tally,
    mut dice: Dice,
) {
    const STEP: Duration = Duration::from_millis(1);
    const STOP: Duration = Duration::from_secs(1);
    let mut next = Instant::now();
    let mut pause = |tally: &Tally| {
        tally.switches.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        next = (next + STEP).max(now.checked_sub(STOP).unwrap_or(now));
        std::thread::sleep(next.saturating_duration_since(now));
    };
    while !done.load(Ordering::Relaxed) {
        let name = proxied.fault(fault(speech, trouble, &mut dice)).name;
        pause(tally);
        proxied.server.remove_fault(&name).unwrap();
        pause(tally);
    }
}

/// Why a stream ended, where it may.
fn ended(trouble: Trouble, why: &std::io::Error) -> bool {
    assert_eq!(trouble, Trouble::Cuts, "{why}");
    true
}

/// Reads a little more. `false`: nothing more comes.
async fn more(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, trouble: Trouble) -> bool {
    let read = tokio::time::timeout(LIMIT, from.read_buf(into)).await;
    match read.expect("something comes within the limit") {
        Ok(n) => n > 0,
        Err(e) => !ended(trouble, &e),
    }
}

/// Sends in random pieces. `false`: nobody takes it.
async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    dice: &mut Dice,
    trouble: Trouble,
) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = 1 << dice.below(17);
        let length = rest.len().min(1 + dice.below(most) as usize);
        let written = tokio::time::timeout(LIMIT, to.write_all(&rest[..length])).await;
        if let Err(e) = written.expect("it is taken within the limit") {
            return !ended(trouble, &e);
        }
        rest = &rest[length..];
    }
    true
}

/// One client: bursts of numbered requests until so many bytes were compared; a new connection where a fault ended one.
pub(super) async fn client(
    address: SocketAddr,
    speech: Speech,
    session: u32,
    share: u64,
    trouble: Trouble,
    tally: &Tally,
) {
    let mut dice = Dice::new(u64::from(session) + 1);
    let (mut number, mut done) = (0, 0);
    while done < share {
        let stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(e) if ended(trouble, &e) => continue,
            Err(e) => panic!("{e}"),
        };
        let _ = stream.set_nodelay(true);
        if !converse(
            stream,
            speech,
            session,
            &mut number,
            (share, &mut done),
            trouble,
            tally,
            &mut dice,
        )
        .await
        {
            tally.cuts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a client does on one connection. `false`: it was ended.
#[expect(
    clippy::too_many_arguments,
    reason = "all of it is the state of one client"
)]
async fn converse(
    mut stream: TcpStream,
    speech: Speech,
    session: u32,
    number: &mut u32,
    (share, done): (u64, &mut u64),
    trouble: Trouble,
    tally: &Tally,
    dice: &mut Dice,
) -> bool {
    let mut got = Vec::new();
    if let Some((opening, last)) = speech.opening() {
        if !send(&mut stream, &opening, dice, trouble).await {
            return false;
        }
        while !got.ends_with(last) {
            if !more(&mut stream, &mut got, trouble).await {
                return false;
            }
        }
        got.clear();
    }
    while *done < share {
        let burst: Vec<u32> = (0..=dice.below(12) as u32).map(|i| *number + i).collect();
        *number += burst.len() as u32;
        let asked: Vec<u8> = burst
            .iter()
            .flat_map(|n| speech.request(session, *n))
            .collect();
        // Where nobody takes it any more, what came before is read all the same.
        let sent = send(&mut stream, &asked, dice, trouble).await;
        for n in burst {
            let wanted = speech.reply(session, n);
            loop {
                let there = got.len().min(wanted.len());
                if got[..there] == wanted[..there] && there == wanted.len() {
                    got.drain(..there);
                    tally.compared(there);
                    *done += there as u64;
                    break;
                }
                let error = (trouble == Trouble::Late)
                    .then(|| speech.find_error(&got))
                    .flatten();
                match error {
                    Some(length @ 1..) => {
                        got.drain(..length);
                        tally.errors.fetch_add(1, Ordering::Relaxed);
                        *done += length as u64;
                        break;
                    }
                    Some(0) => {}
                    _ => assert_eq!(
                        String::from_utf8_lossy(&got[..there]),
                        String::from_utf8_lossy(&wanted[..there]),
                        "session {session}, in place of the reply to {n}"
                    ),
                }
                if !more(&mut stream, &mut got, trouble).await {
                    assert_eq!(trouble, Trouble::Cuts, "ended before the reply to {n}");
                    // The bytes so far are compared by the loop above: they are a prefix.
                    let there = got.len().min(wanted.len());
                    assert!(got.len() <= wanted.len() && got[..] == wanted[..there]);
                    tally.compared(there);
                    *done += there as u64;
                    return false;
                }
            }
            tally.exchanges.fetch_add(1, Ordering::Relaxed);
        }
        assert!(got.is_empty(), "more than was asked for");
        if !sent {
            return false;
        }
    }
    true
}

/// A server that echoes, and checks that requests come whole and in order: all of them, or all but those that were answered by
/// an error.
pub(super) async fn serve(mut stream: TcpStream, speech: Speech, trouble: Trouble, tally: &Tally) {
    // A session that is cut already has no options.
    let _ = stream.set_nodelay(true);
    let mut got = Vec::new();
    if let Some((opening, _)) = speech.opening() {
        while got.len() < opening.len() {
            if !more(&mut stream, &mut got, trouble).await {
                return;
            }
        }
        got.drain(..opening.len());
        if stream.write_all(&Speech::welcome()).await.is_err() {
            return;
        }
    }
    let mut last: Option<(u32, u32)> = None;
    loop {
        match speech.find_request(&got) {
            Found::More => {
                if !more(&mut stream, &mut got, trouble).await {
                    break;
                }
            }
            Found::Plain(length) => {
                got.drain(..length);
                if stream.write_all(&speech.refusal()).await.is_err() {
                    return;
                }
            }
            Found::Numbered(session, number, length) => {
                if let Some((of, before)) = last {
                    assert_eq!(of, session, "a request of another session");
                    let next = before + 1;
                    assert!(
                        number == next || trouble == Trouble::Late && number > next,
                        "{number} after {before}"
                    );
                }
                last = Some((session, number));
                assert!(
                    got[..length] == speech.request(session, number)[..],
                    "request {number} of {session} is not as it was sent"
                );
                got.drain(..length);
                tally.compared(length);
                let reply = speech.reply(session, number);
                if stream.write_all(&reply).await.is_err() {
                    assert_eq!(trouble, Trouble::Cuts);
                    return;
                }
            }
        }
    }
    // What a cut left of the request that was under way.
    if let Some((session, number)) = last {
        let next = speech.request(session, number + 1);
        assert!(next.starts_with(&got), "a torn request is not a prefix");
    }
    tally.compared(got.len());
}

/// Plain TCP: a stream each way, of places that tell themselves.
pub(super) async fn stream(
    stream: TcpStream,
    (sends, gets): (usize, usize),
    length: usize,
    trouble: Trouble,
    tally: &Tally,
) {
    // A session that is cut already has no options.
    let _ = stream.set_nodelay(true);
    let (mut from, mut to) = stream.into_split();
    let sending = async {
        let mut dice = Dice::new(sends as u64 + 7);
        let mut at = 0;
        while at < length {
            let piece = pattern(sends + at, (length - at).min(16 * 1024));
            if !send(&mut to, &piece, &mut dice, trouble).await {
                return;
            }
            at += piece.len();
        }
        let _ = to.shutdown().await;
    };
    let receiving = async {
        let (mut got, mut at) = (Vec::new(), 0);
        loop {
            let open = more(&mut from, &mut got, trouble).await;
            assert!(at + got.len() <= length, "more than was sent");
            assert!(got == pattern(gets + at, got.len()), "at {at}");
            at += got.len();
            tally.compared(got.len());
            got.clear();
            if !open {
                break;
            }
        }
        if trouble == Trouble::Late {
            assert_eq!(at, length, "ended early");
        } else if at < length {
            tally.cuts.fetch_add(1, Ordering::Relaxed);
        }
    };
    tokio::join!(sending, receiving);
    tally.exchanges.fetch_add(1, Ordering::Relaxed);
}

/// Accepts and serves, until it is `over` and the last connection has ended.
pub(super) async fn accept(
    listener: TcpListener,
    over: &AtomicBool,
    serve: impl AsyncFn(TcpStream) + Clone + 'static,
) {
    const LOOK: Duration = Duration::from_millis(5);
    let here = async {
        let mut running = tokio::task::JoinSet::new();
        while !(over.load(Ordering::Relaxed) && running.is_empty()) {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    let serve = serve.clone();
                    running.spawn_local(async move { serve(stream).await });
                }
                Some(ended) = running.join_next() => ended.unwrap(),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    };
    tokio::task::LocalSet::new().run_until(here).await;
}
