//! The sample service twice, at the same time, before a Redis that fails: with its circuit breaker and without. What is said of
//! them is read off the wire, as of any service.

use super::api::{self, Built};
use super::backends::{BackendError, Backends, Service};
use crate::cli::progress::{Row, Screen};
use crate::config::{Config, Problems};
use crate::report::Suite;
use crate::report::suite::Broken;
use crate::verify::document::Document;
use crate::verify::plan::Test;
use crate::verify::progress::{Now, Progress};
use crate::verify::recordings::Recordings;
use crate::verify::run::{Around, run};
use crate::verify::started::Companion;
use crate::verify::variables;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

const PROFILE: &str = include_str!("side_by_side.toml");

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SideBySideError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("no port of the loopback is free")]
    Port(#[from] io::Error),
    #[error("the profile of the demo is wrong: {0}")]
    Profile(#[from] Problems),
}

/// Judges both, and shows people how far each is. `again`: the command that does so.
pub(crate) async fn judge(
    backends: &Backends,
    again: &str,
    screen: &Screen,
) -> Result<Suite, SideBySideError> {
    let good = one(backends, Built::Well, "with its breaker", screen);
    let bad = one(backends, Built::WithoutBreaker, "without a breaker", screen);
    let (good, bad) = tokio::join!(good, bad);
    let (mut runs, mut errors) = (Vec::new(), Vec::new());
    for ran in [good?, bad?] {
        match ran {
            // None is run without the other.
            Ok(document) => runs.push(Document {
                again: Some(again.to_owned()),
                ..document
            }),
            Err(broken) => errors.push(broken),
        }
    }
    Ok(Suite {
        again: Some(again.to_owned()),
        ..Suite::new(runs, errors)
    })
}

async fn one(
    backends: &Backends,
    built: Built,
    name: &str,
    screen: &Screen,
) -> Result<Result<Document, Broken>, SideBySideError> {
    // The service has to know where its Redis will be before the proxy is there.
    let redis = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let upstreams = api::Upstreams {
        built,
        ..backends.redis_at(redis)
    };
    let service = Service::start(upstreams).await?;
    let test = test(backends, name, redis, service.addr())?;
    let config = Config {
        base: "/dev/null".into(),
        ..Config::default()
    };
    let said = Phases(screen.row(name));
    let mut around = Around {
        companion: &mut Companion::default(),
        progress: &said,
        signals: None,
        recordings: &mut Recordings::default(),
    };
    let ran = run(&test, config, &mut around).await;
    Ok(match ran {
        Ok(ran) => Ok(Document::of(&test, &ran)),
        Err(error) => Err(Broken {
            profile: format!("service {name}"),
            why: crate::cli::chain(&error),
        }),
    })
}

/// Where the proxies of the two listen is nobody's concern.
struct Phases(Row);

impl Progress for Phases {
    fn say(&self, text: &str) {
        if text.starts_with("phase ") {
            self.0.say(text);
        }
    }

    fn now(&self, now: &Now) {
        self.0.now(now);
    }
}

fn test(
    backends: &Backends,
    name: &str,
    redis: SocketAddr,
    api: SocketAddr,
) -> Result<Test, Problems> {
    let values = BTreeMap::from([
        ("name".to_owned(), name.to_owned()),
        ("redis_listen".to_owned(), redis.to_string()),
        ("redis".to_owned(), backends.redis_upstream().to_owned()),
        ("api".to_owned(), api.to_string()),
    ]);
    let origin = "side_by_side.toml";
    let text = variables::fill(PROFILE, &values, origin, &mut BTreeSet::new())?.text;
    Test::parse(&format!("service {name}"), &text, origin, &[])
}
