//! The first packets of a connection, which have no type byte: encryption requests, the cancel request, the start-up message.
//! Manual: "Message Flow", "Start-up", "Canceling Requests in Progress", "SSL Session Encryption", "GSSAPI Session Encryption".

use super::decoder::Decoder;
use super::frame::Stop;
use super::hash;
use super::operation::{self, pack};
use super::pending::Kind;
use crate::protocol::facts::VALUE_LIMIT;
use crate::protocol::{Class, Event, Fact, Facts, Located, Lost};

/// The longest first packet that the server reads: 10,000 bytes behind the length.
const PACKET_LIMIT: u32 = 10_004;

/// The longest secret key of a cancel request (protocol 3.2).
const KEY_LIMIT: u32 = 256;

/// Length and code.
const HEADER: u8 = 8;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// The first byte of a TLS record that holds a `ClientHello` (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Requests for encryption that may wait for an answer. A client waits for each; the server closes after a few.
const NEGOTIATIONS: u8 = 8;

/// Where the connection stands before its typed messages.
#[derive(Debug)]
pub(super) struct Opening {
    step: Step,
    /// Bytes of the header seen, and the header as a number.
    have: u8,
    header: u64,
    /// Bytes of the packet left.
    left: u32,
    /// One-byte answers that the server owes.
    pub(super) negotiations: u8,
    /// Cancel request: the process id, and how many of its bytes were seen.
    pid: u32,
    pid_have: u8,
    /// Cancel request: the hash of the key.
    key: u64,
    /// Start-up: the first 16 bytes of the parameter's name or value, with its length.
    text: u128,
    length: u32,
    in_value: bool,
    is_replication: bool,
    /// What the value tells of the session, and the value.
    fact: Option<Fact>,
    value: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Header,
    Startup,
    Cancel,
    /// Typed messages follow.
    Done,
    /// A cancel request is all that its connection carries.
    Over,
}

impl Opening {
    pub(super) const fn new() -> Self {
        Self {
            step: Step::Header,
            have: 0,
            header: 0,
            left: 0,
            negotiations: 0,
            pid: 0,
            pid_have: 0,
            key: hash::EMPTY,
            text: 0,
            length: 0,
            in_value: false,
            is_replication: false,
            fact: None,
            value: Vec::new(),
        }
    }

    /// One byte of the start-up message's parameters. Whether it ends one that asks for replication.
    fn parameter(&mut self, byte: u8, facts: &mut Facts) -> bool {
        if byte != 0 {
            self.length = self.length.saturating_add(1);
            if self.length <= 16 {
                self.text = self.text << 8 | u128::from(byte.to_ascii_uppercase());
            }
            if self.in_value && self.fact.is_some() && self.value.len() < VALUE_LIMIT {
                self.value.push(byte);
            }
            return false;
        }
        let text = std::mem::take(&mut self.text);
        self.length = 0;
        let asks = self.in_value && self.is_replication && !is_false(text);
        if self.in_value {
            let value = std::mem::take(&mut self.value);
            if let Some(fact) = self.fact {
                facts.settle(fact, &value);
            }
        } else {
            self.is_replication = text == pack("REPLICATION");
            self.fact = fact_of(text);
        }
        self.in_value = !self.in_value;
        asks
    }
}

/// What a parameter tells of the session.
fn fact_of(name: u128) -> Option<Fact> {
    [
        ("USER", Fact::User),
        ("DATABASE", Fact::Database),
        ("APPLICATION_NAME", Fact::Name),
    ]
    .into_iter()
    .find_map(|(known, fact)| (pack(known) == name).then_some(fact))
}

/// What the server takes for false (its `parse_bool`, as far as clients use it).
fn is_false(value: u128) -> bool {
    [
        "", "FALSE", "FALS", "FAL", "FA", "F", "NO", "N", "OFF", "OF", "0",
    ]
    .into_iter()
    .any(|word| pack(word) == value)
}

/// Whether the first packet of a client is this one, and asks for encryption.
pub fn asks_for_encryption(packet: &[u8]) -> bool {
    let of = |code: u32| [8_u32.to_be_bytes(), code.to_be_bytes()].concat();
    packet == of(SSL_REQUEST) || packet == of(GSSENC_REQUEST)
}

impl Decoder {
    /// Reads first packets. The offset at which typed messages begin.
    #[inline]
    pub(super) fn open_request(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<Located>,
    ) -> Result<usize, Stop> {
        if self.opening.step == Step::Done {
            return Ok(0);
        }
        self.first_packets(bytes, out)
    }

    #[cold]
    fn first_packets(&mut self, bytes: &[u8], out: &mut Vec<Located>) -> Result<usize, Stop> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.opening.step {
                Step::Header => {
                    self.first_byte(byte).map_err(|lost| (at, lost))?;
                    at += 1;
                    if self.opening.have == HEADER {
                        self.first_header(at, out).map_err(|lost| (at, lost))?;
                    }
                }
                Step::Startup | Step::Cancel => {
                    let take = (self.opening.left as usize).min(bytes.len() - at);
                    self.first_body(&bytes[at..at + take]);
                    at += take;
                    self.opening.left -= take as u32;
                    if self.opening.left == 0 {
                        self.first_end(at, out);
                    }
                }
                Step::Done => break,
                Step::Over => return Err((at, Lost::Malformed)),
            }
        }
        Ok(at)
    }

    /// A byte of the header. A length has two leading zeros, so other protocols show at once.
    fn first_byte(&mut self, byte: u8) -> Result<(), Lost> {
        let opening = &mut self.opening;
        match (opening.have, byte) {
            (0 | 1, 0) | (2.., _) => {}
            (0, TLS_HANDSHAKE) => return Err(Lost::Encrypted),
            (0, b'\t' | b'\r' | b'\n' | b' '..=b'~') => return Err(Lost::WrongProtocol),
            _ => return Err(Lost::Length),
        }
        opening.header = opening.header << 8 | u64::from(byte);
        opening.have += 1;
        Ok(())
    }

    /// Length and code are known.
    fn first_header(&mut self, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        let length = (self.opening.header >> 32) as u32;
        let code = self.opening.header as u32;
        self.opening.have = 0;
        if length > PACKET_LIMIT {
            return Err(Lost::Length);
        }
        match (code, length) {
            (SSL_REQUEST | GSSENC_REQUEST, 8) => {
                self.opening.negotiations += 1;
                if self.opening.negotiations > NEGOTIATIONS {
                    return Err(Lost::Malformed);
                }
                return Ok(());
            }
            (CANCEL_REQUEST, 13..) if length <= 12 + KEY_LIMIT => {
                self.opening.step = Step::Cancel;
                out.push(Located {
                    at,
                    exchange: self.next,
                    event: Event::RequestBegin,
                });
                self.next += 1;
                self.known(operation::CANCEL, Class::Admin, false, at, out);
            }
            // Whatever the minor version: the server answers with the one it has (NegotiateProtocolVersion).
            (0x0003_0000..=0x0003_ffff, 9..) => {
                self.opening.step = Step::Startup;
                self.begin(Kind::Startup, operation::STARTUP, at, out)?;
                self.known(operation::STARTUP, Class::Handshake, true, at, out);
            }
            _ => return Err(Lost::Malformed),
        }
        self.opening.left = length - u32::from(HEADER);
        Ok(())
    }

    fn first_body(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            if self.opening.step == Step::Startup {
                self.replication |= {
                    let facts = self.facts.get_or_insert_default();
                    self.opening.parameter(byte, facts)
                };
            } else if self.opening.pid_have < 4 {
                self.opening.pid = self.opening.pid << 8 | u32::from(byte);
                self.opening.pid_have += 1;
            } else {
                self.opening.key = hash::byte(self.opening.key, byte);
            }
        }
    }

    fn first_end(&mut self, at: usize, out: &mut Vec<Located>) {
        let exchange = self.newest();
        if self.opening.step == Step::Cancel {
            self.opening.step = Step::Over;
            let (pid, key) = (self.opening.pid, self.opening.key);
            out.push(Located {
                at,
                exchange,
                event: Event::Cancel { pid, key },
            });
        } else {
            self.opening.step = Step::Done;
            // As the server does it.
            let facts = self.facts.get_or_insert_default();
            if facts.get(Fact::Database, exchange).is_empty() {
                let user = facts.get(Fact::User, exchange).to_vec();
                facts.settle(Fact::Database, &user);
            }
        }
        out.push(Located {
            at,
            exchange,
            event: Event::RequestEnd,
        });
    }

    /// Reads the server's one-byte answers. The offset at which typed messages begin.
    #[inline]
    pub(super) fn open_reply(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        if self.opening.negotiations == 0 {
            return Ok(0);
        }
        self.negotiated(bytes)
    }

    #[cold]
    fn negotiated(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let mut at = 0;
        while self.opening.negotiations > 0 {
            match bytes.get(at) {
                None => break,
                Some(b'N') => {
                    self.opening.negotiations -= 1;
                    at += 1;
                }
                Some(b'S' | b'G') => return Err((at, Lost::Encrypted)),
                // A server that knows no encryption, or has no slot left, sends an ErrorResponse.
                Some(b'E') => self.opening.negotiations = 0,
                Some(_) => return Err((at, Lost::Malformed)),
            }
        }
        Ok(at)
    }
}
