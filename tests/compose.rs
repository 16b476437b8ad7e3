//! `docker-compose.yml` and `deploy/` describe one stack: every proxy stands before the service it names, on the port and
//! with the protocol that service has.

use compose_spec::service::healthcheck::Healthcheck;
use compose_spec::service::ports::{Port, into_long_iter};
use compose_spec::service::{Condition, NetworkConfig};
use compose_spec::{Compose, Identifier, ListOrMap, Service, ShortOrLong};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every service of the COS stack that a client talks to, its port, what it speaks there, and the port of its proxy.
const STACK: [(&str, u16, &str, u16); 7] = [
    ("redis", 6379, "redis", 26379),
    ("postgres", 5432, "postgres", 25432),
    ("postgres-dev", 5432, "postgres", 25433),
    ("api", 8000, "http", 28080),
    ("traefik", 80, "http", 20080),
    ("elasticsearch", 9200, "http", 29200),
    ("neo4j", 7474, "http", 27474),
];

/// On which port of the host a service is found without brownout.
const DIRECT: [(&str, u16); 8] = [
    ("postgres", 5432),
    ("postgres-dev", 5433),
    ("redis", 6379),
    ("traefik", 80),
    ("elasticsearch", 9200),
    ("neo4j", 7474),
    ("api", 8000),
    ("brownout", 9090),
];

#[test]
fn the_file_is_valid_compose() {
    compose()
        .validate_all()
        .expect("every volume and network is declared");
}

#[test]
fn every_service_has_its_proxy_and_every_proxy_its_service() {
    let compose = compose();
    let mut proxies = proxies();
    for (name, port, protocol, listen) in STACK {
        assert!(
            compose.services.contains_key(&identifier(name)),
            "no service {name}"
        );
        let proxy = proxies
            .remove(name)
            .unwrap_or_else(|| panic!("no proxy {name}"));
        assert_eq!(proxy.protocol, protocol, "protocol of {name}");
        assert_eq!(
            proxy.upstream,
            (name.to_owned(), port),
            "upstream of {name}"
        );
        assert_eq!(
            proxy.listen,
            ("0.0.0.0".to_owned(), listen),
            "listener of {name}"
        );
    }
    assert!(
        proxies.is_empty(),
        "proxies without a service: {:?}",
        proxies.keys()
    );
}

#[test]
fn the_port_of_every_upstream_is_one_that_its_service_publishes() {
    let compose = compose();
    for (name, proxy) in proxies() {
        let (host, port) = proxy.upstream;
        let targets: Vec<_> = ports(service(&compose, &host))
            .map(|port| port.target)
            .collect();
        assert!(
            targets.contains(&port),
            "{name}: {host} publishes {targets:?}, not {port}"
        );
    }
}

#[test]
fn every_listener_is_published_by_brownout() {
    let compose = compose();
    let published: BTreeMap<_, _> = ports(service(&compose, "brownout"))
        .map(|port| (port.target, published(&port)))
        .collect();
    for (name, proxy) in proxies() {
        let listen = proxy.listen.1;
        assert_eq!(published.get(&listen), Some(&Some(listen)), "{name}");
    }
}

#[test]
fn the_stack_is_on_its_usual_ports_and_on_the_loopback_alone() {
    let compose = compose();
    for (name, host_port) in DIRECT {
        let found = ports(service(&compose, name)).any(|port| published(&port) == Some(host_port));
        assert!(found, "{name} is not published on {host_port}");
    }
    for (name, service) in &compose.services {
        for port in ports(service) {
            assert!(
                port.host_ip.is_some_and(|ip| ip.is_loopback()),
                "{name} publishes {} to the network",
                port.target
            );
        }
    }
}

#[test]
fn every_service_has_a_health_check_and_is_waited_for() {
    let compose = compose();
    for (name, service) in &compose.services {
        let Some(Healthcheck::Command(check)) = &service.healthcheck else {
            panic!("{name} has no health check");
        };
        assert!(check.test.is_some(), "{name}: the check runs nothing");
        assert!(
            check.interval.is_some() && check.timeout.is_some(),
            "{name}: {check:?}"
        );
        match &service.depends_on {
            ShortOrLong::Short(names) => {
                assert!(names.is_empty(), "{name} does not wait for health");
            }
            ShortOrLong::Long(dependencies) => {
                for (other, dependency) in dependencies {
                    assert_eq!(
                        dependency.condition,
                        Condition::ServiceHealthy,
                        "{name} on {other}"
                    );
                    assert!(
                        compose.services.contains_key(other),
                        "{name} waits for {other}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_service_waits_for_one_that_waits_for_it() {
    let compose = compose();
    for name in compose.services.keys() {
        let mut reached = BTreeSet::new();
        let mut next = dependencies(&compose.services[name]);
        while let Some(one) = next.pop() {
            assert_ne!(&one, name, "{name} waits for itself");
            if reached.insert(one.clone()) {
                next.extend(dependencies(&compose.services[&one]));
            }
        }
    }
}

#[test]
fn images_are_pinned_to_a_version() {
    for (name, service) in &compose().services {
        if let Some(image) = &service.image {
            let tag = image
                .tag()
                .unwrap_or_else(|| panic!("{name}: {image} has no tag"));
            let exact = tag
                .trim_start_matches('v')
                .split('-')
                .next()
                .is_some_and(|version| {
                    version.split('.').count() >= 2
                        && version.split('.').all(|n| n.parse::<u32>().is_ok())
                });
            assert!(exact, "{name}: {tag} is no version");
        } else {
            assert!(
                service.build.is_some(),
                "{name} has neither image nor build"
            );
        }
    }
}

#[test]
fn secrets_come_from_the_environment() {
    for (name, service) in &compose().services {
        let environment = service.environment.clone().into_map();
        for (key, value) in environment.expect("keys are valid") {
            let value = value.as_ref().map(ToString::to_string).unwrap_or_default();
            let secret = ["PASSWORD", "AUTH", "SECRET", "TOKEN", "URL"]
                .iter()
                .any(|word| key.as_str().contains(word));
            assert!(
                !secret || value.contains("${"),
                "{name}: {key} is written into the file"
            );
        }
    }
}

#[test]
fn what_is_mounted_or_built_is_there() {
    let compose = compose();
    let text = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let mounted = text.split('"').filter_map(|word| {
        let (host, _) = word.strip_prefix("./")?.split_once(':')?;
        Some(host.to_owned())
    });
    for path in mounted {
        assert!(root().join(&path).is_file(), "{path} is mounted, not there");
    }
    for (name, service) in &compose.services {
        if let Some(ShortOrLong::Short(context)) = &service.build {
            let dockerfile = root().join(context.to_string()).join("Dockerfile");
            assert!(dockerfile.is_file(), "{name}: no {}", dockerfile.display());
        }
    }
}

#[test]
fn the_admin_endpoint_stays_on_the_loopback_and_prometheus_comes_to_it() {
    let compose = compose();
    let admin = deployed()["admin"]["listen"]
        .as_str()
        .map(ToOwned::to_owned);
    assert_eq!(admin.as_deref(), Some("127.0.0.1:8474"));
    let network = &service(&compose, "prometheus").network_config;
    let Some(NetworkConfig::NetworkMode(mode)) = network else {
        panic!("prometheus must share the network of brownout: {network:?}");
    };
    assert_eq!(mode.to_string(), "service:brownout");

    let text = fs::read_to_string(root().join("deploy/prometheus/prometheus.yml")).unwrap();
    let prometheus: serde_json::Value = serde_norway::from_str(&text).expect("valid YAML");
    let scraped = &prometheus["scrape_configs"][0];
    assert_eq!(scraped["metrics_path"], "/metrics");
    assert_eq!(
        scraped["static_configs"][0]["targets"][0].as_str(),
        admin.as_deref()
    );
}

#[test]
fn the_api_reaches_its_databases_through_brownout() {
    let compose = compose();
    let ListOrMap::Map(environment) = &service(&compose, "api").environment else {
        panic!("a map");
    };
    let proxies = proxies();
    for (key, proxy) in [("DATABASE_URL", "postgres"), ("REDIS_URL", "redis")] {
        let (_, value) = environment
            .iter()
            .find(|(k, _)| k.as_str() == key)
            .expect(key);
        let value = value.as_ref().map(ToString::to_string).unwrap_or_default();
        let wanted = format!("@brownout:{}/", proxies[proxy].listen.1);
        assert!(value.contains(&wanted), "{key} = {value}");
    }
    let text = fs::read_to_string(root().join("deploy/traefik.yml")).unwrap();
    let traefik: serde_json::Value = serde_norway::from_str(&text).expect("valid YAML");
    let url = &traefik["http"]["services"]["api"]["loadBalancer"]["servers"][0]["url"];
    assert_eq!(
        url.as_str(),
        Some(format!("http://brownout:{}", proxies["api"].listen.1).as_str())
    );
}

struct Proxy {
    protocol: String,
    listen: (String, u16),
    upstream: (String, u16),
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn compose() -> Compose {
    let text = fs::read_to_string(root().join("docker-compose.yml")).expect("the file is there");
    Compose::options()
        .apply_merge(true)
        .from_yaml_str(&text)
        .expect("a compose file")
}

fn deployed() -> toml::Table {
    let text = fs::read_to_string(root().join("deploy/brownout.toml")).expect("the file is there");
    text.parse().expect("valid TOML")
}

fn proxies() -> BTreeMap<String, Proxy> {
    let config = deployed();
    let proxies = config["proxy"].as_array().expect("an array of tables");
    proxies
        .iter()
        .map(|proxy| {
            let text = |key: &str| proxy[key].as_str().expect(key).to_owned();
            let proxy = Proxy {
                protocol: text("protocol"),
                listen: address(&text("listen")),
                upstream: address(&text("upstream")),
            };
            (text("name"), proxy)
        })
        .collect()
}

fn address(text: &str) -> (String, u16) {
    let (host, port) = text.rsplit_once(':').expect("host:port");
    (host.to_owned(), port.parse().expect("a port"))
}

fn identifier(name: &str) -> Identifier {
    Identifier::new(name).expect("a valid name")
}

fn service<'a>(compose: &'a Compose, name: &str) -> &'a Service {
    compose
        .services
        .get(&identifier(name))
        .unwrap_or_else(|| panic!("no service {name}"))
}

fn ports(service: &Service) -> impl Iterator<Item = Port> {
    into_long_iter(service.ports.clone())
}

fn published(port: &Port) -> Option<u16> {
    port.published.map(|range| range.start())
}

fn dependencies(service: &Service) -> Vec<Identifier> {
    match &service.depends_on {
        ShortOrLong::Short(names) => names.iter().cloned().collect(),
        ShortOrLong::Long(names) => names.keys().cloned().collect(),
    }
}
