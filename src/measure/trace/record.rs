//! One record of a recording.

use super::{Attempt, Kind, Name, ProxyIndex};
use crate::protocol::Transaction;
use serde::{Deserialize, Serialize};

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseSide {
    /// The client, in order.
    Client,
    /// The client, by a reset.
    ClientReset,
    /// The upstream, in order.
    Upstream,
    /// The upstream, by a reset.
    UpstreamReset,
    /// A fault.
    Fault,
    /// The upstream was never reached.
    ConnectFailed,
    /// The proxy itself: removed, disabled, or at its end.
    Proxy,
}

/// One record. Times are nanoseconds since the recording began; `at` is when it happened. In memory proxies and names are
/// numbers, in a file they are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record<P = ProxyIndex, N = Name> {
    /// An exchange, at its end.
    Attempt(Attempt<P, N>),
    /// A session was accepted.
    Opened {
        /// When.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// Its ordinal there.
        session: u64,
        /// Address of the client; `unix` on a unix socket.
        client: N,
        /// Port of the client; 0 on a unix socket.
        port: u16,
    },
    /// The connection to the upstream stands.
    Connected {
        /// When.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// Its ordinal there.
        session: u64,
    },
    /// A session ended.
    Closed {
        /// When.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// Its ordinal there.
        session: u64,
        /// Who ended it.
        by: CloseSide,
    },
    /// A fault turned a connection away.
    TurnedAway {
        /// When.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// The ordinal that its session has or would have had.
        session: u64,
        /// The fault.
        fault: N,
    },
    /// A session's transaction changed state.
    Transaction {
        /// When.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// Its ordinal there.
        session: u64,
        /// What became of it.
        state: Transaction,
    },
    /// A Postgres `CancelRequest` came in.
    Cancel {
        /// When.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// The session whose statement is to be cancelled; `None` where its key is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<u64>,
    },
    /// The process behind a client's port, found by whoever watches processes.
    Owner {
        /// When it was found.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// Its ordinal there.
        session: u64,
        /// The process.
        pid: u32,
    },
    /// The decoder gave up on a session: what it carries from here on is not recorded.
    TapLost {
        /// When.
        at: u64,
        /// Its proxy.
        proxy: P,
        /// Its ordinal there.
        session: u64,
        /// Why.
        reason: N,
    },
    /// Records of a proxy are missing: the bound was reached.
    Dropped {
        /// When.
        at: u64,
        /// The proxy.
        proxy: P,
        /// How many, up to this moment and since the last such record.
        count: u64,
    },
    /// A fault was switched on.
    FaultOn {
        /// When.
        at: u64,
        /// Its name.
        fault: N,
    },
    /// A fault is off, and what it held was released.
    FaultOff {
        /// When.
        at: u64,
        /// Its name.
        fault: N,
    },
    /// A phase of a test began.
    Phase {
        /// When.
        at: u64,
        /// Its name.
        phase: N,
        /// What it is for; old recordings do not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<Kind>,
    },
    /// A request of our own load generator, at its end.
    Call {
        /// When it ended.
        at: u64,
        /// Its lane.
        lane: N,
        /// The request's name in that lane.
        request: N,
        /// When the schedule wanted it sent; the same as `sent` in a closed model.
        intended: u64,
        /// When it was sent.
        sent: u64,
        /// Whether the caller would call it a success.
        ok: bool,
        /// The status, as the protocol names it; `timeout`, `refused`, `reset` where none came.
        status: N,
    },
    /// A look at a watched process.
    Watched {
        /// When.
        at: u64,
        /// Its name in the profile.
        target: N,
        /// The process.
        pid: u32,
        /// Proportional set size in bytes where the system tells it, else the resident set size.
        memory: u64,
        /// Processor time since its start, user and system, in nanoseconds.
        cpu: u64,
        /// Open descriptors.
        descriptors: u32,
        /// Threads.
        threads: u32,
    },
    /// A watched process is gone.
    Gone {
        /// When.
        at: u64,
        /// Its name in the profile.
        target: N,
    },
    /// How late the proxy itself was: the longest that a readable socket waited for its worker since the last such record.
    Lag {
        /// When.
        at: u64,
        /// Nanoseconds.
        longest: u64,
    },
}

impl<P, N> Record<P, N> {
    /// When it happened: the end of an exchange.
    pub const fn at(&self) -> u64 {
        match self {
            Self::Attempt(attempt) => attempt.ended,
            Self::Opened { at, .. }
            | Self::Connected { at, .. }
            | Self::Closed { at, .. }
            | Self::TurnedAway { at, .. }
            | Self::Transaction { at, .. }
            | Self::Cancel { at, .. }
            | Self::Owner { at, .. }
            | Self::TapLost { at, .. }
            | Self::Dropped { at, .. }
            | Self::FaultOn { at, .. }
            | Self::FaultOff { at, .. }
            | Self::Phase { at, .. }
            | Self::Call { at, .. }
            | Self::Watched { at, .. }
            | Self::Gone { at, .. }
            | Self::Lag { at, .. } => *at,
        }
    }
}

impl<P, N> Record<P, N> {
    /// Its proxy, where it belongs to one.
    pub const fn proxy_id(&self) -> Option<&P> {
        match self {
            Self::Attempt(attempt) => Some(&attempt.proxy),
            Self::Opened { proxy, .. }
            | Self::Connected { proxy, .. }
            | Self::Closed { proxy, .. }
            | Self::TurnedAway { proxy, .. }
            | Self::Transaction { proxy, .. }
            | Self::Cancel { proxy, .. }
            | Self::Owner { proxy, .. }
            | Self::TapLost { proxy, .. }
            | Self::Dropped { proxy, .. } => Some(proxy),
            Self::FaultOn { .. }
            | Self::FaultOff { .. }
            | Self::Phase { .. }
            | Self::Call { .. }
            | Self::Watched { .. }
            | Self::Gone { .. }
            | Self::Lag { .. } => None,
        }
    }

    /// Every time and length of time in it, by the name that it has in a file.
    pub(super) fn times(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let none = ("", None);
        let (own, others) = match self {
            Self::Attempt(a) => {
                let (begun, asked) = (("begun", Some(a.begun)), ("asked", Some(a.asked)));
                let (first, upstream) = (("first_byte", a.first_byte), ("upstream", a.upstream));
                ("ended", [begun, asked, first, upstream])
            }
            Self::Call { intended, sent, .. } => {
                let (intended, sent) = (("intended", Some(*intended)), ("sent", Some(*sent)));
                ("at", [intended, sent, none, none])
            }
            Self::Watched { cpu, .. } => ("at", [("cpu", Some(*cpu)), none, none, none]),
            Self::Lag { longest, .. } => ("at", [("longest", Some(*longest)), none, none, none]),
            _ => ("at", [none; 4]),
        };
        let others = others.into_iter();
        let others = others.filter_map(|(field, time)| Some((field, time?)));
        std::iter::once((own, self.at())).chain(others)
    }

    /// Counts its times from `began` on.
    pub(super) fn shift(&mut self, began: u64) {
        let shift = |time: &mut u64| *time = time.saturating_sub(began);
        match self {
            Self::Attempt(attempt) => {
                shift(&mut attempt.begun);
                shift(&mut attempt.asked);
                attempt.first_byte.as_mut().map(shift);
                shift(&mut attempt.ended);
            }
            Self::Call {
                at, intended, sent, ..
            } => {
                shift(at);
                shift(intended);
                shift(sent);
            }
            Self::Opened { at, .. }
            | Self::Connected { at, .. }
            | Self::Closed { at, .. }
            | Self::TurnedAway { at, .. }
            | Self::Transaction { at, .. }
            | Self::Cancel { at, .. }
            | Self::Owner { at, .. }
            | Self::TapLost { at, .. }
            | Self::Dropped { at, .. }
            | Self::FaultOn { at, .. }
            | Self::FaultOff { at, .. }
            | Self::Phase { at, .. }
            | Self::Watched { at, .. }
            | Self::Gone { at, .. }
            | Self::Lag { at, .. } => shift(at),
        }
    }
}

/// How proxies and names are put into another form.
pub(super) trait Rename<P, N, Q, M> {
    /// Why it can fail.
    type Error;
    fn proxy(&mut self, proxy: P) -> Result<Q, Self::Error>;
    fn name(&mut self, name: N) -> Result<M, Self::Error>;
}

impl<P, N> Record<P, N> {
    /// The same record with its proxies and names in another form.
    pub(super) fn rename<Q, M, R: Rename<P, N, Q, M>>(
        self,
        to: &mut R,
    ) -> Result<Record<Q, M>, R::Error> {
        Ok(match self {
            Self::Attempt(attempt) => Record::Attempt(attempt.rename(to)?),
            Self::Opened {
                at,
                proxy,
                session,
                client,
                port,
            } => Record::Opened {
                at,
                proxy: to.proxy(proxy)?,
                session,
                client: to.name(client)?,
                port,
            },
            Self::Connected { at, proxy, session } => Record::Connected {
                at,
                proxy: to.proxy(proxy)?,
                session,
            },
            Self::Closed {
                at,
                proxy,
                session,
                by,
            } => Record::Closed {
                at,
                proxy: to.proxy(proxy)?,
                session,
                by,
            },
            Self::TurnedAway {
                at,
                proxy,
                session,
                fault,
            } => Record::TurnedAway {
                at,
                proxy: to.proxy(proxy)?,
                session,
                fault: to.name(fault)?,
            },
            Self::Transaction {
                at,
                proxy,
                session,
                state,
            } => Record::Transaction {
                at,
                proxy: to.proxy(proxy)?,
                session,
                state,
            },
            Self::Cancel { at, proxy, target } => Record::Cancel {
                at,
                proxy: to.proxy(proxy)?,
                target,
            },
            Self::Owner {
                at,
                proxy,
                session,
                pid,
            } => Record::Owner {
                at,
                proxy: to.proxy(proxy)?,
                session,
                pid,
            },
            Self::TapLost {
                at,
                proxy,
                session,
                reason,
            } => Record::TapLost {
                at,
                proxy: to.proxy(proxy)?,
                session,
                reason: to.name(reason)?,
            },
            Self::Dropped { at, proxy, count } => Record::Dropped {
                at,
                proxy: to.proxy(proxy)?,
                count,
            },
            other => other.rename_aside(to)?,
        })
    }

    /// Those that belong to no proxy.
    fn rename_aside<Q, M, R: Rename<P, N, Q, M>>(
        self,
        to: &mut R,
    ) -> Result<Record<Q, M>, R::Error> {
        Ok(match self {
            Self::FaultOn { at, fault } => Record::FaultOn {
                at,
                fault: to.name(fault)?,
            },
            Self::FaultOff { at, fault } => Record::FaultOff {
                at,
                fault: to.name(fault)?,
            },
            Self::Phase { at, phase, kind } => Record::Phase {
                at,
                phase: to.name(phase)?,
                kind,
            },
            Self::Call {
                at,
                lane,
                request,
                intended,
                sent,
                ok,
                status,
            } => Record::Call {
                at,
                lane: to.name(lane)?,
                request: to.name(request)?,
                intended,
                sent,
                ok,
                status: to.name(status)?,
            },
            Self::Watched {
                at,
                target,
                pid,
                memory,
                cpu,
                descriptors,
                threads,
            } => Record::Watched {
                at,
                target: to.name(target)?,
                pid,
                memory,
                cpu,
                descriptors,
                threads,
            },
            Self::Gone { at, target } => Record::Gone {
                at,
                target: to.name(target)?,
            },
            Self::Lag { at, longest } => Record::Lag { at, longest },
            Self::Attempt(_)
            | Self::Opened { .. }
            | Self::Connected { .. }
            | Self::Closed { .. }
            | Self::TurnedAway { .. }
            | Self::Transaction { .. }
            | Self::Cancel { .. }
            | Self::Owner { .. }
            | Self::TapLost { .. }
            | Self::Dropped { .. } => unreachable!("those of a proxy are renamed by the caller"),
        })
    }
}
