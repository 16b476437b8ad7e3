//! `brownout demo`: proxies, what stands behind them, and the phases, all in this process.

use super::progress::Screen;
use super::table::width_of_stdout;
use super::{CHECK_FAILED, COULD_NOT_RUN, INCONCLUSIVE, INTERRUPTED, chain, say};
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::{Admin, AdminError};
use crate::config::{Config, Listen, ProxyConfig, ShorthandError};
use crate::demo::Options;
use crate::demo::api::database::{self, DatabaseError};
use crate::demo::backends::{BackendError, Backends, Service};
use crate::demo::drive::{DriveError, POSTGRES_SESSIONS, Stage, drive};
use crate::demo::figures::proxy;
use crate::demo::side_by_side::{self, SideBySideError};
use crate::demo::table::{Outcome, Report};
use crate::folder::Folder;
use crate::protocol::Protocol;
use crate::proxy::{ControlError, Server, StartError};
use crate::report::html::Html;
use crate::report::{Form, Suite};
use crate::verify::table;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// The routes of the sample service.
const ROUTES: [&str; 4] = ["/health", "/modules", "/modules/{id}", "/publish"];

/// Why there was no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Proxy(#[from] StartError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Address(#[from] ShorthandError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("the table of the demo was left behind in Postgres")]
    Table(#[from] DatabaseError),
    #[error("a proxy of the demo listens on {0}, which is no TCP address")]
    NoTcp(Listen),
    #[error(transparent)]
    SideBySide(#[from] SideBySideError),
    #[error("the report cannot be written into {}", .0.display())]
    Report(PathBuf, #[source] io::Error),
    #[error("cannot write")]
    Write(#[from] io::Error),
}

/// Runs the demo. Returns the exit code.
pub fn run(options: &Options) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return COULD_NOT_RUN;
        }
    };
    let demo = async {
        tokio::select! {
            result = demo(options) => Some(result),
            _ = tokio::signal::ctrl_c() => None,
        }
    };
    match runtime.block_on(demo) {
        Some(Ok(Outcome::Pass)) => 0,
        Some(Ok(Outcome::Fail)) => CHECK_FAILED,
        Some(Ok(Outcome::Inconclusive)) => INCONCLUSIVE,
        Some(Err(error)) => {
            say(&chain(&error));
            COULD_NOT_RUN
        }
        None => INTERRUPTED,
    }
}

async fn demo(options: &Options) -> Result<Outcome, DemoError> {
    // A folder that cannot be had is better known before the run than after it.
    let folder = options
        .folder()
        .map_err(|error| DemoError::Report(options.place(), error))?;
    let backends = Backends::start(options.redis.as_deref(), options.postgres.as_deref()).await?;
    let mut config = Config {
        admin: Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        // No folder of profiles is beside this: the demo shows the built-in one, whatever stands where it is run.
        base: "/dev/null".into(),
        ..Config::default()
    };
    let shorthand = |protocol, name: &str, upstream: &str| {
        ProxyConfig::from_shorthand(protocol, &format!("{name}@0={upstream}"))
    };
    let redis = shorthand(Protocol::Redis, proxy::REDIS, backends.redis_upstream())?;
    let postgres = ProxyConfig {
        pool: NonZeroU32::new(POSTGRES_SESSIONS),
        ..shorthand(
            Protocol::Postgres,
            proxy::POSTGRES,
            backends.postgres_upstream(),
        )?
    };
    config.proxies = vec![redis, postgres];
    let admin_listen = config.admin.clone();
    let server = Server::start(config).await?;
    let admin = Admin::start(server.clone(), &admin_listen)?;
    let perform = async {
        let upstreams = backends.through(
            address(&server, proxy::REDIS)?,
            address(&server, proxy::POSTGRES)?,
        );
        let service = Service::start(upstreams.clone()).await?;
        let api = ProxyConfig {
            routes: ROUTES.map(str::to_owned).into(),
            ..shorthand(Protocol::Http, proxy::API, &service.addr().to_string())?
        };
        server.add_proxy(api, true).await?;
        let stage = Stage {
            admin: AdminClient::new(&admin.address().to_string())?,
            upstreams,
            api: address(&server, proxy::API)?,
        };
        announce(&server, &admin);
        let report = drive(&stage, options.quick, &Screen::new(false).row("")).await;
        drop(service);
        if options.postgres.is_some() {
            database::drop_table(&stage.upstreams.postgres).await?;
        }
        Ok::<Report, DemoError>(report?)
    };
    let report = tokio::select! {
        report = perform => report?,
        () = server.keep_time() => return Ok(Outcome::Inconclusive),
    };
    let unwritten = |error| DemoError::Report(options.place(), error);
    put(&report.render(width_of_stdout()))?;
    if let Some(folder) = &folder {
        let path = report.write(folder).map_err(unwritten)?;
        say(&format!("report written to {}", path.display()));
    }
    if !options.quick {
        let suite = side_by_side::judge(&backends, &options.again(), &Screen::new(false)).await?;
        put(&matrix(&suite))?;
        for broken in &suite.errors {
            say(&format!("{}: {}", broken.profile, broken.why));
        }
        let page = write_both(folder.as_ref(), &suite).map_err(unwritten)?;
        say(&format!("open {} to see how", page.display()));
    }
    Ok(report.outcome)
}

/// The two services in one matrix.
fn matrix(suite: &Suite) -> String {
    format!(
        "\nThe service with its circuit breaker and without, while every command to Redis failed:\n\n{}",
        table::matrix(&suite.runs, width_of_stdout().into())
    )
}

/// The two services as a page, and where that is then; into the folder of the report also as a document.
fn write_both(folder: Option<&Folder>, suite: &Suite) -> io::Result<PathBuf> {
    let page = Html.render(suite).map_err(io::Error::other)?;
    let Some(folder) = folder else {
        let name = format!("brownout-demo-{}.html", std::process::id());
        return Folder::open(&std::env::temp_dir())?.write(&name, page);
    };
    let mut document = serde_json::to_vec_pretty(suite)?;
    document.push(b'\n');
    folder.write("report.json", document)?;
    folder.write("report.html", page)
}

/// Where a proxy really listens.
fn address(server: &Server, name: &str) -> Result<SocketAddr, DemoError> {
    match server.proxy(name)?.config.listen {
        Listen::Tcp(address) => Ok(address),
        listen @ Listen::Unix(_) => Err(DemoError::NoTcp(listen)),
    }
}

fn announce(server: &Server, admin: &Admin) {
    for proxy in server.proxies() {
        let config = proxy.config;
        say(&format!(
            "proxy {} listening on {} -> {}",
            config.name, config.listen, config.upstream
        ));
    }
    say(&format!("admin listening on {}", admin.address()));
}

/// Onto standard output.
fn put(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that goes away has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_report_has_the_document_that_the_page_is_made_of() {
        let path = std::env::temp_dir().join(format!("brownout-demo-both-{}", std::process::id()));
        let folder = Folder::open(&path).expect("a folder");
        let suite = Suite {
            again: Some("brownout demo --report x".into()),
            ..Suite::new(Vec::new(), Vec::new())
        };
        let page = write_both(Some(&folder), &suite).expect("written");
        assert_eq!(page, path.join("report.html"));
        let text = std::fs::read_to_string(path.join("report.json")).expect("it is there");
        let read: Suite = serde_json::from_str(&text).expect("a document");
        assert_eq!(read.again, suite.again);
        std::fs::remove_dir_all(path).expect("removed");
    }
}
