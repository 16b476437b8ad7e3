//! What goes wrong: nobody there, files and flags that are not valid, ports that are taken, readers that go away.

use crate::support::{Brownout, Directory, Process, Redis, eventually, run_to_end};
use crate::{LIMIT, Running, failed};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn an_endpoint_that_is_not_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for command in [
        &["stats"][..],
        &["halt"],
        &["profile", "list"],
        &["fault", "list"],
    ] {
        let mut all = command.to_vec();
        all.extend(["--admin", &address]);
        let said = failed(run_to_end(&all, LIMIT), 4);
        let expected = format!("cannot reach the admin endpoint at {address}: ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.ends_with("; is `brownout run` running?\n"), "{said}");
    }
    let said = failed(
        run_to_end(&["stats", "--admin", "unix:/nowhere/x.sock"], LIMIT),
        4,
    );
    assert!(
        said.contains("at unix:/nowhere/x.sock: No such file"),
        "{said}"
    );
    let said = failed(run_to_end(&["stats", "--admin", "https://x"], LIMIT), 2);
    assert!(
        said.contains("`https://x` is not an admin address"),
        "{said}"
    );
    // A server that speaks something else, such as a Redis whose port was confused with it.
    let redis = Redis::start();
    let confused = redis.address().to_string();
    let said = failed(run_to_end(&["stats", "--admin", &confused], LIMIT), 4);
    assert!(
        said.starts_with("the admin endpoint did not answer in HTTP"),
        "{said}"
    );
}

#[test]
fn a_misspelt_configuration_is_located() {
    let directory = Directory::new("cli");
    let config = directory.write(
        "brownout.toml",
        "[[proxy]]\nname = \"cache\"\nprotocol = \"reddis\"\nlisten = 0\nupstream = \"localhost:6379\"\n",
    );
    let config = config.to_str().unwrap();
    for command in [&["run", "--config", config][..], &["check", config]] {
        let said = failed(run_to_end(command, LIMIT), 2);
        assert!(
            said.starts_with(&format!("{config}:3:12: proxy[0].protocol: ")),
            "{said}"
        );
        assert!(
            said.contains("`redis`") || said.contains("\"redis\""),
            "{said}"
        );
    }
    let said = failed(run_to_end(&["run", "--config", "/nowhere.toml"], LIMIT), 2);
    assert!(said.starts_with("/nowhere.toml: "), "{said}");
    let said = failed(run_to_end(&["run"], LIMIT), 2);
    assert!(said.contains("there is no proxy to run"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let proxy = format!("cache@{address}=127.0.0.1:1");
    let said = failed(
        run_to_end(&["run", "--admin", "127.0.0.1:0", "--redis", &proxy], LIMIT),
        4,
    );
    assert!(
        said.contains(&format!("proxy `cache` cannot listen on {address}: ")),
        "{said}"
    );
    assert!(said.contains("listen on another port (0 picks"), "{said}");
    let run = ["run", "--admin", &address, "--redis", "0=127.0.0.1:1"];
    let said = failed(run_to_end(&run, LIMIT), 4);
    let expected = format!("the admin endpoint cannot listen on {address}: ");
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("give this one --admin"), "{said}");
}

#[test]
fn an_upstream_that_is_not_there_is_said_and_not_for_every_session() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let proxy = format!("cache@0={address}");
    let nameless = "nameless@0=no-such-host.invalid:6379";
    let brownout = Brownout::start(&["--redis", &proxy, "--redis", nameless]);
    for name in ["cache", "cache", "cache", "nameless"] {
        let mut client = TcpStream::connect(brownout.proxy(name)).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        // Reset, or ended: there is nothing to read.
        let read = client.read(&mut [0; 1]);
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    let said = eventually("both to be said", LIMIT, || {
        let said = brownout.stderr();
        said.contains("no-such-host.invalid:6379 is not")
            .then_some(said)
    });
    let lines = |text: String| said.lines().filter(|l| l.contains(&text)).count();
    let why = format!("proxy cache: its upstream {address} is not reached: connect failed: ");
    assert_eq!(lines(why), 1, "{said}");
    let why = "proxy nameless: its upstream no-such-host.invalid:6379 is not reached: `no-such-host.invalid` does not resolve";
    assert_eq!(lines(why.into()), 1, "{said}");
    assert_eq!(lines("is it running, and is this its address?".into()), 2);
}

#[test]
fn a_token_that_is_missing_or_wrong_is_said_with_where_it_goes() {
    let directory = Directory::new("cli-token");
    let tokens = directory.write("tokens", "admin:0f1e2d3c4b5a69788796a5b4c3d2e1f0\n");
    let wrong = directory.write("wrong", "ffffffffffffffffffffffffffffffff\n");
    for file in [&tokens, &wrong] {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file, private).unwrap();
    }
    let config = directory.write(
        "brownout.toml",
        &format!("[admin]\ntoken_file = '{}'\n", tokens.display()),
    );
    let running = Running::start(&["--config", config.to_str().unwrap()]);
    let remedy = "by --token-file FILE or BROWNOUT_TOKEN_FILE";
    for command in [&["stats"][..], &["halt"], &["profile", "list"]] {
        let said = failed(running.command(command), 2);
        assert!(said.contains("asks for a token"), "{said}");
        assert!(said.trim_end().ends_with(remedy), "{said}");
    }
    let given = |file: &std::path::Path| {
        running.command(&["stats", "--token-file", file.to_str().unwrap()])
    };
    let said = failed(given(&wrong), 2);
    assert!(said.starts_with("this token is not known; "), "{said}");
    assert!(said.contains(remedy), "{said}");
    assert!(!said.contains("ffff"), "{said}");
    assert_eq!(given(&tokens).code, Some(0));
}

#[test]
fn wrong_flags_of_run_are_usage() {
    let proxy = ["run", "--admin", "127.0.0.1:0", "--redis", "0=127.0.0.1:1"];
    let with = |more: &[&str]| {
        let mut all = proxy.to_vec();
        all.extend(more);
        failed(run_to_end(&all, LIMIT), 2)
    };
    let said = with(&["--log", "brownout=lodu"]);
    assert!(
        said.contains("invalid value 'brownout=lodu' for '--log <FILTER>'"),
        "{said}"
    );
    let said = with(&["--profile", "redis-slwo"]);
    assert!(said.contains("did you mean `redis-slow`?"), "{said}");
    let said = with(&["--redis", "nonsense"]);
    assert!(said.contains("nonsense"), "{said}");
    let said = with(&["--workers", "0"]);
    assert!(said.contains("--workers"), "{said}");
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let running = Running::start(&[]);
    let admin = running.brownout.admin().to_string();
    for command in [
        &["schema", "profile"][..],
        &["completions", "bash"],
        &["profile", "list", "--admin", &admin],
        &["stats", "--admin", &admin],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_brownout"))
            .args(command)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before anything is written, as by `| head -0`.
        drop(child.stdout.take());
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{command:?}: {said}");
        assert_eq!(said, "", "{command:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_not_a_success() {
    let full = || std::fs::File::create("/dev/full").unwrap();
    for command in [&["schema", "config"][..], &["completions", "zsh"]] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_brownout"));
        let output = process.args(command).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{command:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("cannot write: "), "{said}");
    }
}

#[test]
fn a_signal_right_after_the_announcement_is_obeyed() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command.args(["run", "--admin", "127.0.0.1:0", "--redis", "0=127.0.0.1:1"]);
    let mut process = Process::start(&mut command, "");
    process.until(LIMIT, |stderr| stderr.contains("proxy ").then_some(()));
    process.signal(rustix::process::Signal::HUP);
    process.until(LIMIT, |stderr| {
        stderr.contains("nothing to reload").then_some(())
    });
    let began = Instant::now();
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.wait(LIMIT).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10));
}
