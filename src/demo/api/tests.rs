//! The sample service with its dependencies working, refusing and silent.

use super::{Upstreams, database, start};
use crate::demo::server::Server;
use crate::demo::testing::{Stage, config, info, silent, stage};
use crate::demo::{postgres_server, redis_server};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

async fn send(addr: SocketAddr, method: &str, path: &str, body: &str) -> Response<Value> {
    let socket = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "demo")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(parts, serde_json::from_slice(&body).unwrap())
}

async fn get(addr: SocketAddr, path: &str) -> Response<Value> {
    send(addr, "GET", path, "").await
}

async fn create(addr: SocketAddr, name: &str) -> Response<Value> {
    send(
        addr,
        "POST",
        "/modules",
        &json!({ "name": name }).to_string(),
    )
    .await
}

#[tokio::test]
async fn modules_are_made_found_and_listed() {
    let Stage {
        redis: _redis,
        postgres: _postgres,
        api,
        ..
    } = stage().await;
    let addr = api.addr();
    let made = create(addr, "first").await;
    assert_eq!(made.status(), StatusCode::CREATED);
    assert_eq!(*made.body(), json!({ "id": 1, "name": "first" }));
    for n in 2..=60 {
        create(addr, &format!("module {n}")).await;
    }
    assert_eq!(
        *get(addr, "/modules/1").await.body(),
        json!({ "id": 1, "name": "first" })
    );
    let list = get(addr, "/modules").await;
    let list = list.body().as_array().unwrap();
    assert_eq!(list.len(), 50);
    assert_eq!(list[0], json!({ "id": 60, "name": "module 60" }));
    assert_eq!(
        get(addr, "/modules/61").await.status(),
        StatusCode::NOT_FOUND
    );
    let health = get(addr, "/health").await;
    assert_eq!(*health.body(), json!({ "status": "ok", "cache": "ok" }));
    let published = send(addr, "POST", "/publish", r#"{"channel":"c","message":"m"}"#).await;
    assert_eq!(*published.body(), json!({ "receivers": 0 }));
}

#[tokio::test]
async fn the_cache_is_used() {
    let Stage {
        redis: _redis,
        postgres,
        api,
        ..
    } = stage().await;
    let addr = api.addr();
    create(addr, "cached").await;
    postgres.shutdown().await;
    let found = get(addr, "/modules/1").await;
    assert_eq!(
        (found.status(), &found.body()["name"]),
        (StatusCode::OK, &json!("cached"))
    );
}

#[tokio::test]
async fn bad_requests_are_the_clients_fault() {
    let Stage {
        redis: _redis,
        postgres: _postgres,
        api,
        ..
    } = stage().await;
    let addr = api.addr();
    let large = json!({ "name": "x".repeat(70_000) }).to_string();
    for (method, path, body, status) in [
        ("GET", "/nosuch", "", 404),
        ("GET", "/modules/x", "", 404),
        ("GET", "/modules/99999999999", "", 404),
        ("DELETE", "/modules", "", 405),
        ("POST", "/modules/1", "", 405),
        ("POST", "/modules", "", 400),
        ("POST", "/modules", "{}", 400),
        ("POST", "/modules", r#"{"name":""}"#, 400),
        ("POST", "/modules", r#"{"name":"a\u0000b"}"#, 400),
        ("POST", "/modules", &large, 413),
        ("POST", "/publish", r#"{"channel":"c"}"#, 400),
    ] {
        let answer = send(addr, method, path, body).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        assert!(answer.body()["error"].is_string());
    }
}

#[tokio::test]
async fn without_postgres_it_says_when_to_come_back() {
    let Stage {
        redis: _redis,
        postgres,
        api,
        ..
    } = stage().await;
    let addr = api.addr();
    postgres.shutdown().await;
    let answer = create(addr, "x").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(
        *answer.body(),
        json!({ "error": "the database is not available" })
    );
    assert_eq!(get(addr, "/health").await.status(), StatusCode::OK);
}

/// The service before a real embedded Postgres and a Redis that never answers.
async fn with_silent_redis() -> (Server, Server, Server) {
    let (redis, postgres) = (silent().await, postgres_server::start().await.unwrap());
    let api = start(Upstreams {
        redis: info(redis.addr()),
        postgres: config(postgres.addr()),
        built: super::Built::Well,
    });
    let api = api.await.unwrap();
    (redis, postgres, api)
}

#[tokio::test]
async fn a_silent_redis_costs_little_and_soon_nothing() {
    let (_redis, _postgres, api) = with_silent_redis().await;
    let addr = api.addr();
    let mut took = Vec::new();
    for _ in 0..6 {
        let began = Instant::now();
        assert_eq!(create(addr, "x").await.status(), StatusCode::CREATED);
        took.push(began.elapsed());
    }
    let timeout = super::cache::TIMEOUT;
    assert!(
        took[..5].iter().all(|t| (timeout..timeout * 3).contains(t)),
        "{took:?}"
    );
    assert!(took[5] < timeout / 2, "the breaker is open: {took:?}");
    let health = get(addr, "/health").await;
    assert_eq!(health.body()["cache"], "unavailable");
    let refused = send(addr, "POST", "/publish", r#"{"channel":"c","message":"m"}"#).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
}

#[tokio::test]
async fn the_breaker_closes_when_redis_is_back() {
    let Stage {
        redis,
        postgres: _postgres,
        api,
        ..
    } = stage().await;
    let addr = api.addr();
    create(addr, "x").await;
    let port = redis.addr();
    redis.shutdown().await;
    for _ in 0..6 {
        assert_eq!(get(addr, "/modules").await.status(), StatusCode::OK);
    }
    assert_eq!(get(addr, "/health").await.body()["cache"], "unavailable");
    // Redis comes back where it was: what listens there hands on to a new one.
    let back = redis_server::start().await.unwrap();
    let listener = tokio::net::TcpListener::bind(port).await.unwrap();
    let upstream = back.addr();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut socket, &mut upstream).await;
            });
        }
    });
    let deadline = Instant::now() + Duration::from_secs(5);
    while get(addr, "/health").await.body()["cache"] != "ok" {
        assert!(Instant::now() < deadline, "it does not recover");
        get(addr, "/modules").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_silent_postgres_is_given_up_after_its_timeout() {
    let (redis, postgres) = (redis_server::start().await.unwrap(), silent().await);
    let service = super::Service {
        cache: super::Cache::new(info(redis.addr()), super::Built::Well).unwrap(),
        database: super::Database::new(config(postgres.addr())),
    };
    let began = Instant::now();
    let request = Request::post("/modules").body(Full::new(Bytes::from(r#"{"name":"x"}"#)));
    let answer = service.answer(request.unwrap()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let took = began.elapsed();
    assert!(
        (database::TIMEOUT..database::TIMEOUT * 2).contains(&took),
        "{took:?}"
    );
}
