//! `brownout profile explain`: why an exchange is hit, or is not.

use super::super::remote::{Output, Remote, RemoteError, write_json, write_text};
use crate::config::suggest::nearest;
use crate::config::{Config, Library, Profile, duration};
use crate::fault::arguments::{Request, Said};
use crate::fault::explain::{Candidate, Case, Explanation, explain};
use crate::fault::spec::{Delay, DistributionKind, Scope, Side};
use crate::fault::store::Listed;
use crate::fault::{Fault, FaultSpec};
use crate::protocol::postgres::Statement;
use crate::protocol::{Catalog, Class, Facts, Protocol};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The exit code where no fault hits.
const NOT_HIT: u8 = 1;

/// Say why an exchange is hit by the faults of a profile, or is not.
///
/// Asks each fault what the proxy would ask it, in the same order, and shows what was compared with what. Nothing has to run:
/// NAME is a file, or a profile of the library. With --live the faults of NAME are taken from the running brownout, with the
/// time since they were switched on, their seed and their counts.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout profile explain redis-slow --proxy redis --operation GET
  brownout profile explain mine.toml --proxy pg --protocol postgres --operation SELECT \\
      --sql 'select * from orders where id = 7' --at 12s --seed 7 --session 3 --exchange 9
  brownout profile explain redis-slow --proxy redis --operation GET --live

Exit codes: 0: it is hit; 1: it is not; 2: wrong usage, no such profile; 4: no brownout could be reached (--live).")]
pub(super) struct Explain {
    /// A profile: a file, or one of the library.
    name: String,
    /// The proxy that the exchange passes.
    #[arg(long)]
    proxy: String,
    /// Its operation, as `brownout stats` shows it: `GET`, `COMMIT`, `GET /modules/{id}`.
    #[arg(long)]
    operation: String,
    /// What the proxy speaks. [default: as the configuration says; else what its name begins with]
    #[arg(long, value_parser = protocol)]
    protocol: Option<Protocol>,
    /// The configuration that has the proxy.
    #[arg(short, long, value_name = "FILE", default_value = "brownout.toml")]
    config: PathBuf,
    /// Its class. [default: that of the operation]
    #[arg(long, value_parser = class)]
    class: Option<Class>,
    /// A key of the command; may be repeated.
    #[arg(long)]
    key: Vec<String>,
    /// The statement.
    #[arg(long)]
    sql: Option<String>,
    /// The client's address.
    #[arg(long, value_name = "ADDR")]
    client: Option<IpAddr>,
    /// A header of the request; may be repeated.
    #[arg(long, value_name = "NAME:VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The database of the session.
    #[arg(long)]
    database: Option<String>,
    /// The user of the session.
    #[arg(long)]
    user: Option<String>,
    /// What the client calls itself: CLIENT SETNAME, `application_name`, `User-Agent`.
    #[arg(long)]
    client_name: Option<String>,
    /// Ordinal of the session on its proxy, from 0.
    #[arg(long, value_name = "N", default_value_t = 0)]
    session: u64,
    /// Ordinal of the exchange in its session, from 0.
    #[arg(long, value_name = "N", default_value_t = 0)]
    exchange: u64,
    /// Of a burst on plain TCP: which way its bytes go. [default: request]
    #[arg(long, value_name = "SIDE", value_parser = side)]
    side: Option<Side>,
    /// Time since the faults were switched on. [default: 0s; with --live: now]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    at: Option<Duration>,
    /// The seed. [default: that of the profile, else of each fault]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Matching exchanges that came before this one, for `after` and `every`. [default: 0; with --live: as counted]
    #[arg(long, value_name = "N")]
    earlier: Option<u64>,
    /// Hits that came before this one, for `first`. [default: 0; with --live: as counted]
    #[arg(long, value_name = "N")]
    hits: Option<u64>,
    /// Take the faults from the running brownout.
    #[arg(long)]
    live: bool,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    serde_json::from_value(Value::from(text))
        .map_err(|_| "write redis, postgres, http or tcp".into())
}

fn class(text: &str) -> Result<Class, String> {
    let names = Class::ALL.map(Class::name);
    let known = Class::ALL.into_iter().find(|class| class.name() == text);
    known.ok_or_else(|| format!("write one of {}", names.join(", ")))
}

fn side(text: &str) -> Result<Side, String> {
    serde_json::from_value(Value::from(text)).map_err(|_| "write request or reply".into())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME:VALUE")?;
    Ok((name.trim().into(), value.trim().into()))
}

/// A fault, and how it is or would be on.
struct Loaded {
    name: String,
    draws_as: String,
    fault: Fault,
    seed: Option<u64>,
    age: Duration,
    ttl: Option<Duration>,
    offered: u64,
    hits: u64,
    /// What the running brownout said to the session before.
    answer: Option<bool>,
    /// The file that its delays are drawn from, which the running brownout has alone.
    drawn_from: Option<String>,
}

#[derive(Deserialize)]
struct Faults {
    faults: Vec<Listed>,
}

fn usage(error: impl std::fmt::Display) -> RemoteError {
    RemoteError::Usage(error.to_string())
}

/// Answers. Returns the exit code.
pub(super) async fn run(of: &Explain, remote: &Remote) -> Result<u8, RemoteError> {
    let config = if of.config.exists() {
        Some(Config::load(&of.config).map_err(usage)?)
    } else {
        None
    };
    let protocol = of.protocol(config.as_ref(), remote).await?;
    let loaded = if of.live {
        of.enabled(remote).await?
    } else {
        of.written(config.as_ref())?
    };
    let (operation, class) = of.operation(protocol)?;
    let facts = of.facts();
    let statement = of
        .sql
        .as_ref()
        .map(|sql| Statement::of(sql.as_bytes(), false));
    let mut headers: Vec<httparse::Header<'_>> = of.header.iter().map(line).collect();
    let agent = (
        "User-Agent".to_owned(),
        of.client_name.clone().unwrap_or_default(),
    );
    if of.client_name.is_some() {
        headers.push(line(&agent));
    }
    let keys = of.key.iter().map(String::as_bytes).collect();
    let said = Said {
        facts: Some(&facts),
        statement: statement.as_ref(),
    };
    let mut case = Case {
        proxy: &of.proxy,
        protocol,
        operation: &operation,
        class,
        client: of.client,
        session: of.session,
        exchange: of.exchange,
        side: (protocol == Protocol::Tcp).then(|| of.side.unwrap_or(Side::Request)),
        request: Request::described(protocol, keys, headers).knowing(said, of.exchange),
    };
    let candidates: Vec<Candidate<'_>> = loaded
        .iter()
        .map(|one| Candidate {
            name: one.name.clone(),
            fault: &one.fault,
            seed: one.seed,
            draws_as: one.draws_as.clone(),
            age: one.age,
            ttl: one.ttl,
            offered: one.offered,
            hits: one.hits,
            answer: one.answer,
        })
        .collect();
    let mut explanation =
        explain(&mut case, &candidates).map_err(|error| usage(format!("{error} with --seed N")))?;
    for (one, answer) in loaded.iter().zip(&mut explanation.faults) {
        if let (Some(file), Some(effect)) = (&one.drawn_from, &mut answer.effect) {
            *effect = format!("delays by a draw from {file}");
        }
    }
    match remote.output {
        Output::Json => write_json(&explanation)?,
        Output::Text => write_text(&text(&explanation))?,
    };
    Ok(if explanation.hit { 0 } else { NOT_HIT })
}

fn line((name, value): &(String, String)) -> httparse::Header<'_> {
    httparse::Header {
        name,
        value: value.as_bytes(),
    }
}

fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    for answer in &explanation.faults {
        let hit = if answer.hit { "hits" } else { "does not hit" };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{} ({}) {hit}", answer.fault, answer.action);
        for step in &answer.steps {
            let mark = if step.holds { "yes" } else { "no " };
            let _ = writeln!(out, "  {mark}  {}: {}", step.asked, step.because);
        }
        if let Some(effect) = &answer.effect {
            let _ = writeln!(out, "  =>   {effect}");
        }
    }
    let verdict = if explanation.hit { "hit" } else { "not hit" };
    let _ = writeln!(out, "{verdict}: {}", explanation.outcome);
    out
}

impl Explain {
    async fn protocol(
        &self,
        config: Option<&Config>,
        remote: &Remote,
    ) -> Result<Protocol, RemoteError> {
        if let Some(protocol) = self.protocol {
            return Ok(protocol);
        }
        if self.live {
            let answer = remote.client()?.get("/v1/proxies").await?;
            let all = answer["proxies"].as_array().cloned().unwrap_or_default();
            let found = all.into_iter().find(|p| p["name"] == self.proxy.as_str());
            let found =
                found.ok_or_else(|| usage(format!("no proxy is called `{}`", self.proxy)))?;
            return Ok(serde_json::from_value(found["protocol"].clone())?);
        }
        if let Some(proxy) = config.and_then(|config| config.proxy(&self.proxy)) {
            return Ok(proxy.protocol);
        }
        let all = [
            Protocol::Redis,
            Protocol::Postgres,
            Protocol::Http,
            Protocol::Tcp,
        ];
        let named = all.into_iter().find(|p| self.proxy.starts_with(p.name()));
        named.ok_or_else(|| {
            usage(format!(
                "what `{}` speaks is not known: give --protocol, or --config with a file that has this proxy",
                self.proxy
            ))
        })
    }

    /// The operation as it is shown, and its class.
    fn operation(&self, protocol: Protocol) -> Result<(String, Class), RemoteError> {
        let catalog = Catalog::new(protocol, &[]);
        if protocol == Protocol::Http {
            let (method, _) = self.operation.split_once(' ').unwrap_or_default();
            if method.is_empty() {
                return Err(usage(
                    "an operation of HTTP is a method and a route: \"GET /modules/{id}\"",
                ));
            }
            let class = match method {
                "GET" | "HEAD" | "OPTIONS" | "TRACE" => Class::Read,
                "CONNECT" => Class::Admin,
                _ => Class::Write,
            };
            return Ok((self.operation.clone(), self.class.unwrap_or(class)));
        }
        let names = catalog.operations();
        let known = names
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&self.operation));
        let Some((name, class)) = known else {
            let names = names.iter().map(|(name, _)| *name);
            let hint = nearest(&self.operation.to_uppercase(), names);
            let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(usage(format!(
                "{} has no operation `{}`{hint}",
                protocol.name(),
                self.operation
            )));
        };
        Ok(((*name).to_owned(), self.class.unwrap_or(*class)))
    }

    fn facts(&self) -> Facts {
        Facts::told(
            self.user.as_deref(),
            self.database.as_deref(),
            self.client_name.as_deref(),
        )
    }

    /// The faults as they are written: as they would be on if the profile were switched on.
    fn written(&self, config: Option<&Config>) -> Result<Vec<Loaded>, RemoteError> {
        let path = Path::new(&self.name);
        let profile = if path.is_file() {
            Profile::load(path).map_err(usage)?
        } else {
            let library = match config {
                Some(config) => Library::of(config).map_err(usage)?,
                None => Library::builtin(),
            };
            library.get(&self.name).map_err(usage)?.clone()
        };
        let seed = self.seed.or(profile.seed);
        let faults = (1..).zip(profile.faults);
        let faults = faults.map(|(place, fault)| {
            let generated = || format!("{}-{place}", fault.spec().action.name());
            let name = fault.name().map_or_else(generated, str::to_owned);
            Loaded {
                draws_as: name.clone(),
                name,
                seed: seed.or(fault.spec().seed),
                age: self.at.unwrap_or_default(),
                ttl: None,
                offered: self.earlier.unwrap_or(0),
                hits: self.hits.unwrap_or(0),
                answer: None,
                drawn_from: None,
                fault,
            }
        });
        Ok(faults.collect())
    }

    /// The faults that are on.
    async fn enabled(&self, remote: &Remote) -> Result<Vec<Loaded>, RemoteError> {
        let answer = remote.client()?.get("/v1/faults").await?;
        let Faults { mut faults } = serde_json::from_value(answer)?;
        if !faults.iter().any(|listed| self.is_meant(listed)) {
            return Err(usage(format!("nothing of `{}` is on", self.name)));
        }
        // Other counts are another session's question.
        let as_counted = self.earlier.is_none() && self.hits.is_none();
        let sessions = faults
            .iter_mut()
            .filter(|listed| as_counted && listed.fault.scope == Some(Scope::Session));
        for listed in sessions {
            let (name, proxy, session) = (&listed.name, &self.proxy, self.session);
            let path = format!("/v1/faults/{name}?proxy={proxy}&session={session}");
            let one: Listed = serde_json::from_value(remote.client()?.get(&path).await?)?;
            listed.answer = one.answer;
        }
        // All of them are asked: one that is not meant may have ended the exchange.
        faults.into_iter().map(|listed| self.live(listed)).collect()
    }

    fn is_meant(&self, listed: &Listed) -> bool {
        listed.name == self.name || listed.profile.as_deref() == Some(&*self.name)
    }

    fn live(&self, listed: Listed) -> Result<Loaded, RemoteError> {
        let mut spec: FaultSpec = listed.fault;
        let mut drawn_from = None;
        if let Some(Delay::Drawn(table)) = &spec.delay
            && table.distribution == DistributionKind::Recorded
        {
            drawn_from = Some(table.file.clone().unwrap_or_default());
            spec.delay = Some(Delay::Fixed(Duration::ZERO));
        }
        let fault = spec.compile("").map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            usage(errors.join("; "))
        })?;
        let age = Duration::from_millis(listed.age_ms);
        Ok(Loaded {
            seed: Some(self.seed.unwrap_or(listed.seed)),
            ttl: Some(age + Duration::from_millis(listed.left_ms)),
            age: self.at.unwrap_or(age),
            offered: self.earlier.unwrap_or(listed.offered),
            hits: self.hits.unwrap_or(listed.hits),
            answer: listed.answer,
            draws_as: listed.draws_as,
            name: listed.name,
            fault,
            drawn_from,
        })
    }
}
