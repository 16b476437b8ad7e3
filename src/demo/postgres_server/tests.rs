//! The embedded Postgres beside the real one: the same statements, the same rows, tags and error codes; and real clients.

use super::start;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A real server of this test's own, ended with it.
struct RealPostgres {
    child: Child,
    addr: SocketAddr,
    directory: PathBuf,
}

/// A command as a user that Postgres agrees to run as.
fn unprivileged(program: &str) -> Command {
    let program = format!("{BIN}/{program}");
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", &program]);
        command
    } else {
        Command::new(program)
    }
}

impl RealPostgres {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let directory = std::env::temp_dir().join(format!("brownout-demo-postgres-{port}"));
        let data = directory.to_str().unwrap();
        let made = unprivileged("initdb")
            .args(["-D", data, "-A", "trust", "-U", "demo", "--no-sync"])
            .args(["--locale", "C", "-E", "UTF8"])
            .output()
            .expect("PostgreSQL must be installed");
        assert!(made.status.success(), "{made:?}");
        let child = unprivileged("postgres")
            .args(["-D", data, "-p", &port.to_string(), "-h", "127.0.0.1"])
            .args(["-c", "fsync=off", "-k", data])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(addr).is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            child,
            addr,
            directory,
        }
    }
}

impl Drop for RealPostgres {
    fn drop(&mut self) {
        let stopped = unprivileged("pg_ctl")
            .args(["stop", "-m", "immediate", "-D"])
            .arg(&self.directory)
            .output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn connect(addr: SocketAddr) -> Client {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(addr.port())
        .user("demo")
        .dbname("postgres");
    // The real server listens a moment before it lets anyone in.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return client;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a simple query gives, as text.
async fn simple(client: &Client, sql: &str) -> String {
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => return format!("error {}", error.code().unwrap().code()),
    };
    let mut text = String::new();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values: Vec<_> = (0..row.len())
                    .map(|i| row.get(i).unwrap_or("(null)"))
                    .collect();
                text.extend(["[", &values.join("|"), "] "]);
            }
            SimpleQueryMessage::CommandComplete(count) => {
                text.extend(["done ", &count.to_string(), "; "]);
            }
            SimpleQueryMessage::RowDescription(columns) => {
                let names: Vec<_> = columns.iter().map(|c| c.name().to_owned()).collect();
                text.extend(["(", &names.join("|"), ") "]);
            }
            _ => {}
        }
    }
    text
}

/// Queries, one a line; all on one connection.
const SCRIPT: &str = "
CREATE TABLE modules (id serial PRIMARY KEY, name text NOT NULL, size int, big bigint, on_sale boolean)
CREATE TABLE modules (id int)
CREATE TABLE IF NOT EXISTS modules (id int)
INSERT INTO modules (name, size, on_sale) VALUES ('a', 1, true) RETURNING id
INSERT INTO modules (name, size) VALUES ('b', 2), ('it''s', -3) RETURNING id, name
INSERT INTO modules (name, size) VALUES ('d', '7') RETURNING *
INSERT INTO modules VALUES (DEFAULT, 'e')
INSERT INTO modules (name) VALUES (NULL)
INSERT INTO modules (size) VALUES (1)
INSERT INTO modules (id, name) VALUES (1, 'x')
INSERT INTO modules (name, size) VALUES ('x', 'abc')
INSERT INTO modules (name, size) VALUES ('x', 3000000000)
INSERT INTO modules (name, size) VALUES ('x')
INSERT INTO modules (name) VALUES ('x', 1)
INSERT INTO modules (nosuch) VALUES (1)
INSERT INTO nosuch (name) VALUES ('x')
SELECT id, name, on_sale FROM modules ORDER BY id
SELECT * FROM modules WHERE id = 2
SELECT * FROM modules WHERE id = 99
SELECT id FROM modules WHERE name = 'it''s' AND size < 0
SELECT id FROM modules WHERE size <> 1 ORDER BY name DESC LIMIT 2
SELECT id FROM modules WHERE size IS NULL OR 1 = 1 -- not ours
SELECT size FROM modules ORDER BY size
SELECT size FROM modules ORDER BY size DESC
SELECT id FROM modules ORDER BY id DESC LIMIT 1
SELECT id FROM modules LIMIT -1
SELECT count(*) FROM modules
SELECT count(*) FROM modules WHERE size > 1
SELECT nosuch FROM modules
SELECT 1
SELECT 1 AS one, 'two' AS two, true AS t, NULL AS n
UPDATE modules SET size = 10, on_sale = false WHERE id = 1 RETURNING id, size, on_sale
UPDATE modules SET size = 11
UPDATE modules SET name = NULL WHERE id = 1
UPDATE modules SET size = 1 WHERE id = 99
UPDATE modules SET nosuch = 1
DELETE FROM modules WHERE id = 3 RETURNING name
DELETE FROM modules WHERE id = 3
SELECT id, size FROM modules ORDER BY id
BEGIN
INSERT INTO modules (name) VALUES ('undone') RETURNING id
UPDATE modules SET name = 'changed' WHERE id = 1
DELETE FROM modules WHERE id = 2
SELECT id, name FROM modules ORDER BY id
ROLLBACK
SELECT id, name FROM modules ORDER BY id
BEGIN; INSERT INTO modules (name) VALUES ('kept') RETURNING id; COMMIT
BEGIN
DELETE FROM modules WHERE id = 1
INSERT INTO modules (id, name) VALUES (1, 'again')
COMMIT
SELECT name FROM modules WHERE id = 1
BEGIN
INSERT INTO modules (name) VALUES ('lost')
SELECT nosuch FROM modules
SELECT 1
COMMIT
SELECT count(*) FROM modules
COMMIT
ROLLBACK
INSERT INTO modules (name) VALUES ('implicit'); SELECT nosuch FROM modules
SELECT count(*) FROM modules
;
-- only a comment
SET application_name = 'x'
SHOW application_name
SHOW nosuch
DELETE FROM modules
SELECT count(*) FROM modules
DROP TABLE modules
DROP TABLE modules
DROP TABLE IF EXISTS modules
SELECT 'unterminated
";

#[tokio::test]
async fn simple_queries_answer_as_the_real_server_does() {
    let real = tokio::task::spawn_blocking(RealPostgres::start)
        .await
        .unwrap();
    let ours = start().await.unwrap();
    let (theirs, client) = (connect(real.addr).await, connect(ours.addr()).await);
    for sql in SCRIPT.lines().filter(|line| !line.is_empty()) {
        let mut expected = simple(&theirs, sql).await;
        // pgwire counts the rows in every tag: "SHOW 1".
        if sql.starts_with("SHOW") {
            expected = expected.replace("done 0", "done 1");
        }
        let actual = simple(&client, sql).await;
        // What is not understood must be refused as such, never answered with something else.
        if actual != "error 0A000" || !sql.ends_with("not ours") {
            assert_eq!(actual, expected, "{sql}");
        }
    }
    tokio::task::spawn_blocking(move || drop(real))
        .await
        .unwrap();
}

#[tokio::test]
async fn extended_queries_work_with_tokio_postgres() {
    let server = start().await.unwrap();
    let mut client = connect(server.addr()).await;
    let create = "CREATE TABLE m (id serial PRIMARY KEY, name text NOT NULL, size int, ok bool)";
    client.batch_execute(create).await.unwrap();
    let insert = client
        .prepare("INSERT INTO m (name, size, ok) VALUES ($1, $2, $3) RETURNING id")
        .await
        .unwrap();
    for n in 0..10_i32 {
        let name = format!("module {n}");
        let size = (n % 2 == 0).then_some(n);
        let row = client
            .query_one(&insert, &[&name, &size, &true])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i32>(0), n + 1);
    }
    let rows = client
        .query(
            "SELECT id, name, size, ok FROM m WHERE id > $1 ORDER BY id LIMIT $2",
            &[&4, &3_i64],
        )
        .await
        .unwrap();
    let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [5, 6, 7]);
    assert_eq!(rows[1].get::<_, Option<i32>>(2), None);
    assert_eq!(rows[0].get::<_, &str>(1), "module 4");
    let count: i64 = client
        .query_one("SELECT count(*) FROM m", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 10);

    let transaction = client.transaction().await.unwrap();
    transaction
        .execute("DELETE FROM m WHERE id = $1", &[&1])
        .await
        .unwrap();
    // A portal read in pieces.
    let portal = transaction
        .bind("SELECT id FROM m ORDER BY id DESC", &[])
        .await
        .unwrap();
    let first = transaction.query_portal(&portal, 4).await.unwrap();
    let rest = transaction.query_portal(&portal, 100).await.unwrap();
    assert_eq!((first.len(), rest.len()), (4, 5));
    let failed = transaction
        .execute("INSERT INTO m (id, name) VALUES ($1, $2)", &[&2, &"twice"])
        .await
        .unwrap_err();
    assert_eq!(failed.code().unwrap().code(), "23505");
    let aborted = transaction
        .query("SELECT id FROM m", &[])
        .await
        .unwrap_err();
    assert_eq!(aborted.code().unwrap().code(), "25P02");
    transaction.rollback().await.unwrap();
    let count: i64 = client
        .query_one("SELECT count(*) FROM m", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 10);

    let refused = client.query("SELECT now()", &[]).await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "0A000");
    assert!(refused.hint().unwrap().contains("CREATE TABLE"));
}

#[tokio::test]
async fn a_pipeline_that_fails_before_its_sync_leaves_nothing() {
    let server = start().await.unwrap();
    let client = connect(server.addr()).await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    // tokio-postgres sends a Sync with each query, so each of these is a transaction of its own.
    let insert = client.prepare("INSERT INTO t VALUES ($1)").await.unwrap();
    for (id, expected) in [(1, Ok(1)), (1, Err("23505")), (2, Ok(1))] {
        let inserted = client.execute(&insert, &[&id]).await;
        let inserted = inserted.map_err(|error| error.code().unwrap().code().to_owned());
        assert_eq!(inserted, expected.map_err(str::to_owned));
    }
    // In one group, the first statement goes with the second.
    let failed = client
        .batch_execute("INSERT INTO t VALUES (3); INSERT INTO t VALUES (1)")
        .await;
    assert_eq!(failed.unwrap_err().code().unwrap().code(), "23505");
    let rows = client.query("SELECT id FROM t", &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn transactions_are_isolated_and_writers_wait() {
    let server = start().await.unwrap();
    let (mut a, b) = (connect(server.addr()).await, connect(server.addr()).await);
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)")
        .await
        .unwrap();
    let transaction = a.transaction().await.unwrap();
    transaction
        .execute("UPDATE t SET n = 1 WHERE id = 1", &[])
        .await
        .unwrap();
    let seen: i32 = b
        .query_one("SELECT n FROM t WHERE id = 1", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(seen, 0, "uncommitted work is not seen");
    let write = b.execute("UPDATE t SET n = 2 WHERE id = 1", &[]);
    tokio::pin!(write);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut write).await;
    assert!(early.is_err(), "the second writer waits");
    transaction.commit().await.unwrap();
    assert_eq!(write.await.unwrap(), 1);
    let seen: i32 = a
        .query_one("SELECT n FROM t WHERE id = 1", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(seen, 2);
}

#[tokio::test]
async fn a_deadlock_is_found_and_one_side_goes_on() {
    let server = start().await.unwrap();
    let (mut a, mut b) = (connect(server.addr()).await, connect(server.addr()).await);
    a.batch_execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)",
    )
    .await
    .unwrap();
    let (ta, tb) = (
        a.transaction().await.unwrap(),
        b.transaction().await.unwrap(),
    );
    ta.execute("UPDATE t SET n = 1 WHERE id = 1", &[])
        .await
        .unwrap();
    tb.execute("UPDATE t SET n = 2 WHERE id = 2", &[])
        .await
        .unwrap();
    let first = ta.execute("UPDATE t SET n = 1 WHERE id = 2", &[]);
    let second = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        tb.execute("UPDATE t SET n = 2 WHERE id = 1", &[]).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second.unwrap_err().code().unwrap().code(), "40P01");
    assert_eq!(first.unwrap(), 1, "the victim's locks are free at once");
    ta.commit().await.unwrap();
    tb.rollback().await.unwrap();
}

#[tokio::test]
async fn a_waiting_query_can_be_cancelled_and_a_lost_connection_undoes_its_work() {
    let server = start().await.unwrap();
    let (a, b) = (connect(server.addr()).await, connect(server.addr()).await);
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)")
        .await
        .unwrap();
    a.batch_execute("BEGIN; UPDATE t SET n = 1 WHERE id = 1")
        .await
        .unwrap();
    let token = b.cancel_token();
    let cancelled = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (write, ()) = tokio::join!(
        b.batch_execute("UPDATE t SET n = 2 WHERE id = 1"),
        cancelled
    );
    assert_eq!(write.unwrap_err().code().unwrap().code(), "57014");
    drop(a);
    let write = b.execute("UPDATE t SET n = 3 WHERE n = 0", &[]);
    let changed = tokio::time::timeout(Duration::from_secs(10), write).await;
    assert_eq!(
        changed.expect("the lock went with its connection").unwrap(),
        1
    );
}

#[tokio::test]
async fn psql_works() {
    let server = start().await.unwrap();
    let port = server.addr().port().to_string();
    let output = tokio::task::spawn_blocking(move || {
        Command::new("psql")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "demo",
                "-d",
                "postgres",
            ])
            .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=0"])
            .args(["-c", "CREATE TABLE t (id serial PRIMARY KEY, name text)"])
            .args([
                "-c",
                "INSERT INTO t (name) VALUES ('x'), ('y') RETURNING id, name",
            ])
            .args(["-c", "SELECT * FROM t", "-c", "VACUUM"])
            .stdin(Stdio::null())
            .output()
            .expect("psql must be installed")
    })
    .await
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.starts_with("CREATE TABLE\n1|x\n2|y\nINSERT 0 2\n"),
        "{text} {errors}"
    );
    assert!(text.ends_with("1|x\n2|y\n"), "{text} {errors}");
    assert!(
        errors.contains("\"vacuum\" is not supported here"),
        "{errors}"
    );
}
