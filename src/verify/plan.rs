//! From what is written to a test that can be run.

mod expects;
mod loads;

use super::expect::{Expected, SICK};
use super::load::{Load, Pace};
use super::search::Steps;
use super::written::{GuardTable, Kind, PhaseTable, ServiceTable, WatchTable};
use crate::config::locate::{Document, Step};
use crate::config::{Problems, Profile, ProxyConfig, profile_proxies};
use crate::fault::Fault;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The longest that a phase which counts samples may take.
pub(crate) const LONGEST_COUNT: Duration = Duration::from_secs(600);
const MAX_ENTRIES: usize = 256;
/// How long a rate is held where nothing is said.
const STEP: Duration = Duration::from_secs(5);
/// The least.
const SHORTEST_STEP: Duration = Duration::from_millis(500);

/// A valid test.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) seed: Option<u64>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) proxies: Vec<ProxyConfig>,
    pub(crate) service: ServiceTable,
    /// Empty: others make the load.
    pub(crate) loads: Vec<Load>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) expects: Vec<Expected>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) watches: Vec<Watch>,
}

#[derive(Debug, Clone)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) ends: Ends,
}

/// When a phase ends.
#[derive(Debug, Clone)]
pub(crate) enum Ends {
    After(Duration),
    Samples(u64),
    /// When it is known what the service bears.
    Search(Steps),
}

#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) lane: Option<String>,
    /// It is about the baseline, and looked at before the first fault.
    pub(crate) baseline: bool,
    pub(crate) error_rate: Option<f64>,
    pub(crate) p95: Option<Duration>,
    pub(crate) window: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) name: String,
    pub(crate) whom: Whom,
}

#[derive(Debug, Clone)]
pub(crate) enum Whom {
    Pid(u32),
    Named(String),
    Listening(u16),
    /// The folder of a cgroup v2.
    Cgroup(PathBuf),
    Started {
        command: Vec<String>,
        env: BTreeMap<String, String>,
        ready_within: Duration,
    },
}

impl Test {
    /// Reads a profile as a test. `others`: proxies of the configuration.
    pub(crate) fn parse(
        name: &str,
        text: &str,
        origin: &str,
        others: &[ProxyConfig],
    ) -> Result<Self, Problems> {
        let profile = Profile::parse(name, text, origin)?;
        let mut document = Document::parse(text, origin)?;
        let service: ServiceTable = document.read(&[key("service")]).unwrap_or_default();
        let mut proxies = others.to_vec();
        for proxy in profile_proxies(&mut document) {
            if proxies.iter().any(|p| p.name == proxy.name) {
                let message = format!("there are two proxies named {:?}", proxy.name);
                document.report("proxy", &message, "give each a name of its own");
            }
            proxies.push(proxy);
        }
        if proxies.is_empty() && document.is_clean() {
            document.report(
                "",
                "there is no proxy",
                "add a [[proxy]], or name a file that has some with --config",
            );
        }
        if let Some(api) = &service.api {
            known_proxy(&mut document, "service.api", api, &proxies);
        }
        if service.workers == Some(0) {
            document.report(
                "service.workers",
                "a service has no 0 processes",
                "expected 1 or more",
            );
        }
        let loads = loads::read(&mut document, &proxies);
        let external = loads.is_empty() && is_load_known(&document);
        let mut phases = phases(&mut document, external, profile.faults.is_empty());
        can_be_stepped(&mut document, &loads, &phases);
        let watches = watches(&mut document);
        let lanes: Vec<&str> = loads.iter().map(|l| l.lane.as_str()).collect();
        let guards = guards(&mut document, &lanes, &phases);
        let around = expects::Around {
            proxies: &proxies,
            lanes: &lanes,
            phases: &phases,
            watches: &watches,
            api: service.api.as_deref().or_else(|| only_http(&proxies)),
        };
        let expects = expects::read(&mut document, &around);
        if !document.is_clean() {
            return Err(document.into_problems());
        }
        for phase in &mut phases {
            if let Ends::Search(steps) = &mut phase.ends {
                steps.wanted = expects.iter().filter_map(|e| e.what.headroom()).collect();
            }
        }
        profile.check_against(&proxies)?;
        Ok(Self {
            name: profile.name,
            description: profile.description,
            seed: profile.seed,
            faults: profile.faults,
            proxies,
            service,
            loads,
            phases,
            expects,
            guards,
            watches,
        })
    }

    /// The proxy before the service's API.
    pub(crate) fn api(&self) -> Option<&str> {
        self.service
            .api
            .as_deref()
            .or_else(|| only_http(&self.proxies))
    }

    /// How long it takes at most; phases that count are not in it.
    pub(crate) fn length(&self) -> Duration {
        self.phases
            .iter()
            .map(|p| match &p.ends {
                Ends::After(length) => *length,
                Ends::Samples(_) => Duration::ZERO,
                Ends::Search(steps) => steps.within,
            })
            .sum()
    }
}

fn only_http(proxies: &[ProxyConfig]) -> Option<&str> {
    let mut http = proxies
        .iter()
        .filter(|p| p.protocol == crate::protocol::Protocol::Http);
    match (http.next(), http.next()) {
        (Some(only), None) => Some(&only.name),
        _ => None,
    }
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

fn known_proxy(document: &mut Document<'_>, field: &str, name: &str, proxies: &[ProxyConfig]) {
    if document.is_sound(&["proxy"]) && !proxies.iter().any(|p| p.name == name) {
        let names: Vec<&str> = proxies.iter().map(|p| p.name.as_str()).collect();
        let message = format!("there is no proxy {name:?}");
        document.report(
            field,
            &message,
            &format!("proxies here: {}", names.join(", ")),
        );
    }
}

/// The tables of a section, each read by itself.
fn tables<T: DeserializeOwned>(document: &mut Document<'_>, section: &str) -> Vec<(String, T)> {
    let Some(count) = document.len_of(section) else {
        if document.keys().iter().any(|k| k == section) {
            let remedy = format!("begin each with [[{section}]]");
            document.report(
                section,
                "found something else than a list of tables",
                &remedy,
            );
        }
        return Vec::new();
    };
    if count > MAX_ENTRIES {
        document.report(
            section,
            &format!("there are {count} of them"),
            "expected at most 256",
        );
    }
    (0..count.min(MAX_ENTRIES))
        .filter_map(|index| {
            let table = document.read(&[key(section), Step::Index(index)])?;
            Some((format!("{section}[{index}]"), table))
        })
        .collect()
}

fn phases(document: &mut Document<'_>, external: bool, no_faults: bool) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for (at, table) in tables::<PhaseTable>(document, "phase") {
        let field = |name: &str| format!("{at}.{name}");
        let ends = match (table.length, table.samples) {
            (Some(length), None) if length > Duration::ZERO => Ends::After(length),
            (None, Some(samples)) if samples > 0 && !external => Ends::Samples(samples),
            (None, Some(_)) if external => {
                let remedy = "give the phase a length with `for`";
                document.report(
                    &field("samples"),
                    "there is no load of ours to count",
                    remedy,
                );
                continue;
            }
            (None, None) if document.is_reported(&field("for")) => continue,
            _ => {
                let remedy = "give either `for = \"10s\"` or `samples = 300`, more than 0";
                document.report(&at, "it is not said when the phase ends", remedy);
                continue;
            }
        };
        let Some(kind) = table.kind else {
            if !document.is_reported(&field("kind")) {
                let remedy =
                    "add kind = \"baseline\"; others: warm-up, fault, recovery, steady, capacity";
                document.report(&field("kind"), "`kind` is missing", remedy);
            }
            continue;
        };
        let ends = match (kind, ends, table.step) {
            (Kind::Capacity, Ends::After(within), step) => Ends::Search(Steps {
                hold: step.unwrap_or(STEP).max(SHORTEST_STEP),
                within,
                wanted: Vec::new(),
            }),
            (Kind::Capacity, ..) => {
                let remedy = "give the time for all rates with `for`";
                document.report(&field("samples"), "the search counts by itself", remedy);
                continue;
            }
            (_, ends, None) => ends,
            (_, ends, Some(_)) => {
                let remedy = "make it kind = \"capacity\", or leave it out";
                document.report(&field("step"), "no rate is stepped in this phase", remedy);
                ends
            }
        };
        if kind == Kind::Fault && no_faults {
            let remedy = "add a [[fault]], or make it a steady phase";
            document.report(
                &field("kind"),
                "the profile has no fault to switch on",
                remedy,
            );
        }
        let name = table.name.unwrap_or_else(|| kind.name().to_owned());
        if phases.iter().any(|p| p.name == name) {
            let message = format!("{name:?} is the name of an earlier phase");
            document.report(&field("name"), &message, "expected a name of its own");
        }
        phases.push(Phase { name, kind, ends });
    }
    if phases.is_empty() && document.is_clean() {
        let remedy = "add a [[phase]] with kind = \"baseline\" and for = \"10s\"";
        document.report("", "there is no phase in it", remedy);
    }
    phases
}

/// Whether there is a rate to step where one is to be stepped.
fn can_be_stepped(document: &mut Document<'_>, loads: &[Load], phases: &[Phase]) {
    let place = phases.iter().position(|p| p.kind == Kind::Capacity);
    let searched = loads.iter().position(|load| load.search.is_some());
    let Some(place) = place else {
        if let Some(load) = searched {
            let remedy = "add a [[phase]] with kind = \"capacity\" and for = \"60s\"";
            let field = format!("load[{load}].search");
            document.report(
                &field,
                "there is no phase in which the rate is stepped",
                remedy,
            );
        }
        return;
    };
    if place + 1 < phases.len() {
        let message = "phases follow it, and what comes after overload is not normal";
        document.report(
            &format!("phase[{place}]"),
            message,
            "expected it to be the last",
        );
    }
    if searched.is_none() && document.is_clean() {
        let remedy =
            "add search = { metric = \"p95\", limit = \"100ms\" } to a [[load]] with a rate";
        document.report(
            &format!("phase[{place}]"),
            "no load says what it has to keep to",
            remedy,
        );
    }
    for (index, load) in loads.iter().enumerate() {
        if matches!(&load.pace, Pace::Open(schedule) if schedule.rate().is_none()) {
            let message = "a rate that changes by itself cannot be stepped";
            document.report(
                &format!("load[{index}].stages"),
                message,
                "give a `rate` instead",
            );
        }
    }
}

fn guards(document: &mut Document<'_>, lanes: &[&str], phases: &[Phase]) -> Vec<Guard> {
    let mut guards = Vec::new();
    for (at, table) in tables::<GuardTable>(document, "guard") {
        if let Some(lane) = &table.lane {
            known_lane(document, &format!("{at}.lane"), lane, lanes);
        }
        if lanes.is_empty() && is_load_known(document) {
            document.report(
                &at,
                "a guard looks at load of ours, and there is none",
                "add a [[load]]",
            );
        }
        let baseline = table.baseline.unwrap_or_default();
        if baseline {
            baseline_is_there(document, &at, &table, phases);
        } else if table.error_rate.is_none() && table.p95.is_none() {
            let remedy = "add `error_rate = 0.9`, `p95 = \"5s\"` or `baseline = true`";
            document.report(&at, "it has no limit", remedy);
        }
        if table.error_rate.is_some_and(|r| !(0.0..=1.0).contains(&r)) {
            document.report(
                &format!("{at}.error_rate"),
                "it is no share",
                "expected 0 to 1",
            );
        }
        guards.push(Guard {
            lane: table.lane,
            baseline,
            error_rate: table.error_rate.or(baseline.then_some(SICK)),
            p95: table.p95,
            window: table.window.unwrap_or(Duration::from_secs(5)),
        });
    }
    guards
}

/// Whether there is a baseline to be lost, before a fault that could be kept from it.
fn baseline_is_there(document: &mut Document<'_>, at: &str, table: &GuardTable, phases: &[Phase]) {
    if table.window.is_some() {
        let message = "a guard of the baseline looks at all of it";
        document.report(&format!("{at}.window"), message, "leave it out");
    }
    let fault = phases.iter().position(|p| p.kind == Kind::Fault);
    let before = phases.get(..fault.unwrap_or_default()).unwrap_or_default();
    if document.is_clean() && !before.iter().any(|p| p.kind == Kind::Baseline) {
        let remedy = "put a [[phase]] of kind = \"baseline\" before the one of kind = \"fault\"";
        let message = "no baseline comes before a fault";
        document.report(&format!("{at}.baseline"), message, remedy);
    }
}

/// Whether all of the load could be read. It names proxies.
fn is_load_known(document: &Document<'_>) -> bool {
    document.is_sound(&["proxy", "load"])
}

fn known_lane(document: &mut Document<'_>, field: &str, name: &str, lanes: &[&str]) {
    if is_load_known(document) && !lanes.contains(&name) {
        let remedy = if lanes.is_empty() {
            "add a [[load]] with that lane".to_owned()
        } else {
            format!("lanes here: {}", lanes.join(", "))
        };
        document.report(field, &format!("there is no lane {name:?}"), &remedy);
    }
}

fn watches(document: &mut Document<'_>) -> Vec<Watch> {
    let mut watches: Vec<Watch> = Vec::new();
    for (at, table) in tables::<WatchTable>(document, "watch") {
        let Some(name) = table.name.clone() else {
            document.report(
                &format!("{at}.name"),
                "`name` is missing",
                "add name = \"service\"",
            );
            continue;
        };
        if watches.iter().any(|w| w.name == name) {
            document.report(
                &format!("{at}.name"),
                "it is the name of an earlier one",
                "expected a name of its own",
            );
        }
        if let Some(whom) = whom(document, &at, table) {
            watches.push(Watch { name, whom });
        }
    }
    watches
}

/// The one way in which it is said.
fn whom(document: &mut Document<'_>, at: &str, table: WatchTable) -> Option<Whom> {
    let ways = [
        table.pid.map(Whom::Pid),
        table.process.map(Whom::Named),
        table
            .listens
            .and_then(|place| listening(document, at, &place)),
        table
            .cgroup
            .and_then(|folder| cgroup(document, at, &folder)),
        table
            .command
            .filter(|c| !c.is_empty())
            .map(|command| Whom::Started {
                command,
                env: table.env.unwrap_or_default(),
                ready_within: table.ready_within.unwrap_or(Duration::from_secs(30)),
            }),
    ];
    let mut said = ways.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(only), None) => Some(only),
        (None, None)
            if ["listens", "cgroup"]
                .iter()
                .any(|k| document.is_reported(&format!("{at}.{k}"))) =>
        {
            None
        }
        _ => {
            let remedy = "give one of pid, process, listens, cgroup or command";
            document.report(at, "it is not said what is watched", remedy);
            None
        }
    }
}

fn listening(document: &mut Document<'_>, at: &str, place: &str) -> Option<Whom> {
    let port = place.rsplit(':').next().and_then(|port| port.parse().ok());
    if port.is_none() {
        let message = format!("{place:?} has no port");
        let remedy = "expected one like \"127.0.0.1:8000\"";
        document.report(&format!("{at}.listens"), &message, remedy);
    }
    port.map(Whom::Listening)
}

fn cgroup(document: &mut Document<'_>, at: &str, folder: &str) -> Option<Whom> {
    let field = format!("{at}.cgroup");
    if !cfg!(target_os = "linux") {
        document.report(
            &field,
            "there are cgroups on Linux only",
            "watch a process instead",
        );
        return None;
    }
    let path = PathBuf::from(folder);
    if !path.is_absolute() {
        let remedy = "expected a folder like \"/sys/fs/cgroup/system.slice/docker-....scope\"";
        document.report(&field, "it is no folder of a cgroup", remedy);
        return None;
    }
    Some(Whom::Cgroup(path))
}
