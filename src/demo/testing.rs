//! What the tests of the demo share: the embedded servers with the sample service before them, and ports where things go
//! wrong.

use super::server::Server;
use super::{api, postgres_server, redis_server};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;

pub(super) struct Stage {
    pub(super) redis: Server,
    pub(super) postgres: Server,
    pub(super) api: Server,
    pub(super) info: ConnectionInfo,
    pub(super) config: tokio_postgres::Config,
}

/// All three, without proxies.
pub(super) async fn stage() -> Stage {
    let redis = redis_server::start().await.unwrap();
    let postgres = postgres_server::start().await.unwrap();
    let (info, config) = (info(redis.addr()), config(postgres.addr()));
    let upstreams = api::Upstreams {
        redis: info.clone(),
        postgres: config.clone(),
        built: api::Built::Well,
    };
    Stage {
        redis,
        postgres,
        api: api::start(upstreams).await.unwrap(),
        info,
        config,
    }
}

pub(super) fn info(addr: SocketAddr) -> ConnectionInfo {
    ConnectionAddr::Tcp(addr.ip().to_string(), addr.port())
        .into_connection_info()
        .unwrap()
}

pub(super) fn config(addr: SocketAddr) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host(addr.ip().to_string())
        .port(addr.port())
        .user("demo")
        .dbname("demo");
    config
}

/// An address where nobody listens.
pub(super) fn dead_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A server that takes connections and never says anything.
pub(super) async fn silent() -> Server {
    Server::start(|mut socket| async move {
        let mut buffer = [0; 4096];
        while socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    })
    .await
    .unwrap()
}
