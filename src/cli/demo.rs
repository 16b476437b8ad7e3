//! `brownout demo`: proxies, what stands behind them, and the phases, all in this process.

use super::progress::Screen;
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

/// The columns of the table where the terminal does not say how many it has.
const WIDTH: u16 = 120;
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
    show(options, &report)?;
    if !options.quick {
        let suite = side_by_side::judge(&backends, &Screen::new(false)).await?;
        show_both(options, &suite)?;
    }
    Ok(report.outcome)
}

/// The two services in one matrix, and as a page.
fn show_both(options: &Options, suite: &Suite) -> io::Result<()> {
    let matrix = format!(
        "\nThe service with its circuit breaker and without, while every command to Redis failed:\n\n{}",
        table::matrix(&suite.runs)
    );
    match io::stdout().write_all(matrix.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    for broken in &suite.errors {
        say(&format!("{}: {}", broken.profile, broken.why));
    }
    let (folder, name) = match &options.report {
        Some(folder) => (folder.clone(), "report.html".to_owned()),
        None => (
            std::env::temp_dir(),
            format!("brownout-demo-{}.html", std::process::id()),
        ),
    };
    let path =
        Folder::open(&folder)?.write(&name, Html.render(suite).map_err(io::Error::other)?)?;
    say(&format!("open {} to see how", path.display()));
    Ok(())
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

fn show(options: &Options, report: &Report) -> io::Result<()> {
    let columns = std::env::var("COLUMNS").ok();
    let width = columns.and_then(|columns| columns.parse().ok());
    let table = report.render(width.unwrap_or(WIDTH));
    match io::stdout().write_all(table.as_bytes()) {
        // A reader that goes away has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    if let Some(path) = options.write(report)? {
        say(&format!("report written to {}", path.display()));
    }
    Ok(())
}
