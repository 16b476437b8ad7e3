//! Injectors: one session, any bytes of both peers, any faults at any time, any pieces, any backpressure.
//!
//! An input is a protocol (one byte), a seed (one byte), and steps: a number, and what belongs to it. See [`Step`].

use super::tape;
use crate::fault::{Fault, FaultSpec};
use crate::protocol::Protocol;
use crate::protocol::postgres::inject;
use crate::proxy::rig::{PROTOCOLS, Peer, Rig};
use std::time::Duration;

/// How far a fault may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    /// Everything arrives, and its order holds.
    Late,
    /// As `Late`, once the fault is over.
    Held,
    /// What arrives is a prefix.
    Cut,
    /// Peers get what nobody sent.
    Forged,
}

/// Faults that a step may switch on, and what each may do.
const FAULTS: [(Harm, &str); 46] = [
    (
        Harm::Late,
        r#"{"action":"latency","on":"request","delay":"10ms"}"#,
    ),
    (Harm::Late, r#"{"action":"latency","delay":"10ms"}"#),
    (
        Harm::Late,
        r#"{"action":"latency","delay":{"distribution":"uniform","min":"0ms","max":"20ms"}}"#,
    ),
    (
        Harm::Late,
        r#"{"action":"latency","delay":"15ms","floor":true}"#,
    ),
    (
        Harm::Late,
        r#"{"action":"latency","on":"request","delay":"1h","probability":0.5}"#,
    ),
    (
        Harm::Late,
        r#"{"action":"throttle","bytes_per_second":1000}"#,
    ),
    (
        Harm::Late,
        r#"{"action":"throttle","on":"request","bytes_per_second":100,"burst":7}"#,
    ),
    (
        Harm::Late,
        r#"{"action":"slice","size":3,"variation":2,"gap":"1ms"}"#,
    ),
    (Harm::Late, r#"{"action":"slice","on":"request","size":1}"#),
    (Harm::Late, r#"{"action":"slow_close","delay":"1s"}"#),
    (Harm::Late, r#"{"action":"push_delay","delay":"5ms"}"#),
    (Harm::Held, r#"{"action":"stall","probability":0.5}"#),
    (Harm::Cut, r#"{"action":"timeout","close_after":"1s"}"#),
    (Harm::Cut, r#"{"action":"disconnect","how":"fin"}"#),
    (
        Harm::Cut,
        r#"{"action":"disconnect","when":"after","every":2}"#,
    ),
    (Harm::Cut, r#"{"action":"disconnect","bytes":3}"#),
    (
        Harm::Cut,
        r#"{"action":"disconnect","share":0.5,"how":"fin"}"#,
    ),
    (Harm::Cut, r#"{"action":"truncate","bytes":4}"#),
    (Harm::Cut, r#"{"action":"truncate","share":0.3}"#),
    (Harm::Cut, r#"{"action":"lose_request","every":2}"#),
    (Harm::Cut, r#"{"action":"lose_request","then":"stall"}"#),
    (Harm::Cut, r#"{"action":"lose_reply","every":2}"#),
    (
        Harm::Cut,
        r#"{"action":"lose_reply","then":"timeout","close_after":"1s"}"#,
    ),
    (Harm::Cut, r#"{"action":"lose_reply","then":"stall"}"#),
    (
        Harm::Forged,
        r#"{"action":"error","code":"OOM","message":"x","proxy":"*","every":2}"#,
    ),
    (Harm::Forged, r#"{"action":"error","preset":"LOADING"}"#),
    (
        Harm::Forged,
        r#"{"action":"error","preset":"MAXCLIENTS","every":3}"#,
    ),
    (
        Harm::Forged,
        r#"{"action":"error","code":"40001","message":"x"}"#,
    ),
    (
        Harm::Forged,
        r#"{"action":"error","preset":"admin_shutdown","every":3}"#,
    ),
    (
        Harm::Forged,
        r#"{"action":"error","code":"40P01","message":"x","every":2}"#,
    ),
    (
        Harm::Forged,
        r#"{"action":"error","status":503,"body":"no"}"#,
    ),
    (
        Harm::Forged,
        r#"{"action":"error","preset":"429","every":2}"#,
    ),
    (Harm::Forged, r#"{"action":"push_loss","probability":0.5}"#),
    (
        Harm::Forged,
        r#"{"action":"capacity","in_service":1,"queue":1,"service":"10ms"}"#,
    ),
    // Behind this line stand those that came later: a step names a fault by its place, and the corpus is to go on meaning the same.
    (Harm::Forged, r#"{"action":"duplicate_request"}"#),
    (Harm::Forged, r#"{"action":"duplicate_request","every":2}"#),
    (Harm::Forged, r#"{"action":"corrupt","count":2,"to":64}"#),
    (
        Harm::Forged,
        r#"{"action":"corrupt","on":"request","rate":0.1}"#,
    ),
    (Harm::Cut, r#"{"action":"blackhole"}"#),
    (
        Harm::Cut,
        r#"{"action":"blackhole","on":"request","close_after":"1s"}"#,
    ),
    (Harm::Cut, r#"{"action":"reset_peer"}"#),
    (
        Harm::Cut,
        r#"{"action":"reset_peer","on":"request","close_after":"10ms"}"#,
    ),
    (Harm::Cut, r#"{"action":"limit_data","bytes":5}"#),
    (
        Harm::Cut,
        r#"{"action":"limit_data","on":"request","bytes":5}"#,
    ),
    (Harm::Late, r#"{"action":"cancel"}"#),
    (Harm::Late, r#"{"action":"cancel","bytes":9,"every":2}"#),
];

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    /// Two bytes of length, and so many that a peer sends.
    Send(Peer, &'a [u8]),
    /// Time passes, by a table.
    Pass(Duration),
    /// A fault is switched on, or off again.
    Toggle(usize),
    /// All are switched off.
    Halt,
    /// A peer ends its stream.
    Close(Peer, bool),
    /// A peer takes so much more.
    Room(Peer, usize),
    /// A peer is read in pieces of so much.
    Pieces(Peer, usize),
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<Step<'a>> {
    let (&kind, after) = rest.split_first()?;
    *rest = after;
    if kind % 16 < 4 {
        let peer = if kind % 2 == 0 {
            Peer::Client
        } else {
            Peer::Server
        };
        let ([low, high], after) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (bytes, after) = after.split_at(length);
        *rest = after;
        return Some(Step::Send(peer, bytes));
    }
    let (&value, after) = rest.split_first()?;
    *rest = after;
    let value = usize::from(value);
    let peer = if value % 2 == 0 {
        Peer::Client
    } else {
        Peer::Server
    };
    Some(match kind % 16 {
        4 | 5 => Step::Toggle(value % FAULTS.len()),
        6..=8 => Step::Pass(
            [1, 100, 1_000, 9_999, 10_000, 20_000, 1_000_000, 30_000_000]
                .map(Duration::from_micros)[value % 8],
        ),
        9 => Step::Halt,
        10 => Step::Close(peer, value % 8 >= 6),
        11 | 12 => Step::Room(peer, [0, 1, 7, 100][value / 2 % 4]),
        13 => Step::Room(peer, usize::MAX),
        _ => Step::Pieces(peer, [1, 2, 5, 1 << 16][value / 2 % 4]),
    })
}

thread_local! {
    static COMPILED: Vec<(Harm, String, Fault)> = FAULTS
        .iter()
        .enumerate()
        .map(|(number, (harm, spec))| {
            let mut spec: FaultSpec = serde_json::from_str(spec).expect("a fault");
            let name = format!("f{number}");
            spec.name = Some(name.clone());
            let fault = spec.compile("").unwrap_or_else(|e| panic!("{number}: {e:?}"));
            (*harm, name, fault)
        })
        .collect();
}

/// What the peers did, beside the session itself.
struct Story {
    rig: Rig,
    sent: [Vec<u8>; 2],
    closed: [bool; 2],
    was_reset: bool,
    on: Vec<usize>,
    harm: Harm,
    /// Its protocol is one that is decoded.
    spoken: bool,
}

impl Story {
    fn step(&mut self, step: Step<'_>, faults: &[(Harm, String, Fault)]) {
        let rig = &mut self.rig;
        match step {
            Step::Send(from, bytes) => {
                if !self.closed[from as usize] {
                    self.sent[from as usize].extend_from_slice(bytes);
                    rig.send(from, bytes);
                }
            }
            Step::Pass(time) => rig.pass(time),
            Step::Toggle(number) => {
                let (harm, name, fault) = &faults[number];
                if self.on.contains(&number) {
                    self.on.retain(|n| *n != number);
                    rig.disable(name);
                } else if rig.enable(fault) {
                    self.on.push(number);
                    self.harm = self.harm.max(*harm);
                }
            }
            Step::Halt => {
                self.on.clear();
                rig.halt();
            }
            Step::Close(by, reset) => {
                self.closed[by as usize] = true;
                self.was_reset |= reset;
                rig.close(by, reset);
            }
            Step::Room(at, bytes) => rig.make_room(at, bytes),
            Step::Pieces(from, bytes) => rig.read_at_most(from, bytes),
        }
    }

    /// Whatever happened, what the peers got is what it may be.
    fn check(&self) {
        if self.harm == Harm::Forged {
            return;
        }
        for (from, to) in [(Peer::Client, Peer::Server), (Peer::Server, Peer::Client)] {
            let (sent, got) = (&self.sent[from as usize], self.rig.got(to));
            // What is withheld of a batch of Postgres leaves a Flush in its place, and nothing behind it.
            let whole = got.strip_suffix(inject::FLUSH).unwrap_or(&got);
            assert!(
                sent.starts_with(&got) || (to == Peer::Server && sent.starts_with(whole)),
                "{from:?} sent {:?}\n{to:?} got {:?}",
                String::from_utf8_lossy(sent),
                String::from_utf8_lossy(&got),
            );
        }
    }

    /// Everything that is owed comes: by a halt, and what is only late by waiting.
    fn finish(&mut self, halt: bool) {
        self.rig.make_room(Peer::Client, usize::MAX);
        self.rig.make_room(Peer::Server, usize::MAX);
        if !halt {
            self.rig.pass(Duration::from_secs(24 * 3600));
            self.check();
            let waits = self.harm > Harm::Late || self.was_reset;
            assert!(waits || self.rig.held() == 0, "nobody was woken");
        }
        // What is kept of a request that is not identified yet goes on by this.
        self.rig.halt();
        self.check();
        // A client that leaves a stalled session has given up: what was held for it ends with the session.
        let gave_up = self.harm == Harm::Held && self.closed[Peer::Client as usize] && self.spoken;
        if self.harm > Harm::Held || self.was_reset || gave_up {
            return;
        }
        for (from, to) in [(Peer::Client, Peer::Server), (Peer::Server, Peer::Client)] {
            let (sent, got) = (self.sent[from as usize].len(), self.rig.got(to).len());
            assert_eq!(got, sent, "of {from:?}, {} held", self.rig.held());
            assert!(
                self.rig.got_fin(to) || !self.closed[from as usize],
                "{to:?} was not told of the end"
            );
        }
        assert_eq!(self.rig.held(), 0);
    }
}

/// What a session may do to its peers under faults: see [`Harm`].
pub fn injector(input: &[u8]) {
    let Some((&protocol, rest)) = input.split_first() else {
        return;
    };
    let (seed, _) = tape::read(rest);
    let mut rest = rest.get(1..).unwrap_or_default();
    let protocol = PROTOCOLS[usize::from(protocol % 4)];
    let mut story = Story {
        rig: Rig::new(protocol, u64::from(seed)),
        sent: [Vec::new(), Vec::new()],
        closed: [false; 2],
        was_reset: false,
        on: Vec::new(),
        harm: Harm::Late,
        spoken: protocol != Protocol::Tcp,
    };
    COMPILED.with(|faults| {
        while let Some(step) = next(&mut rest) {
            #[cfg(test)]
            println!("{step:?}");
            story.step(step, faults);
        }
    });
    story.check();
    story.finish(seed % 2 == 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_table_applies_somewhere() {
        COMPILED.with(|faults| {
            for (_, name, fault) in faults {
                let used = PROTOCOLS.iter().any(|p| fault.applies_to(*p).is_ok());
                assert!(used, "{name}");
            }
        });
    }
}
