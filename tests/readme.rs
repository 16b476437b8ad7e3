//! Runs the `sh` examples of README.md and of pages in docs/, in their order, against real servers: the commands with their ports
//! moved to free ones, the TOML through the parser that `brownout` uses. Commands in other blocks and on other pages are run, or what
//! they name is looked up, by `tests/e2e/test_docs_commands.py`, which also finds those that nothing runs.

mod support;

use brownout::config::{Config, Library, Profile};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;
use support::{Directory, Postgres, Process, Redis, free_port};

const README: &str = include_str!("../README.md");
/// Pages whose commands can be run one after the other. The others have tests of their own (docs/faults.md: tests/e2e; from
/// Toxiproxy: `tests/toxiproxy`; adding-a-fault.md: `tests/adding_a_fault.rs`).
const MATCHING: &str = include_str!("../docs/matching.md");
const FIRST: &str = include_str!("../docs/first-ten-minutes.md");
const OPERATING: &str = include_str!("../docs/operating.md");
const WRITING: &str = include_str!("../docs/writing-a-test.md");
const LIMIT: Duration = Duration::from_secs(30);

/// What is not run here: `demo` is run by tests/demo.rs, `tests/run` is what runs this.
const ELSEWHERE: [&str; 2] = ["cargo run --release -- demo", "./tests/run"];

/// A fenced block and its language.
struct Block {
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    language: language.into(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The README's addresses, moved to servers and ports of this run.
struct Moved(BTreeMap<String, String>);

impl Moved {
    fn apply(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

#[test]
fn every_command_of_the_readme_works() {
    let commands = run_page("README.md", README);
    assert!(commands > 15, "only {commands} commands were found");
}

#[test]
fn every_command_of_the_page_on_operating_works() {
    let commands = run_page("docs/operating.md", OPERATING);
    assert!(commands > 10, "only {commands} commands were found");
}

#[test]
fn every_command_of_the_first_ten_minutes_works() {
    let commands = run_page("docs/first-ten-minutes.md", FIRST);
    assert!(commands > 15, "only {commands} commands were found");
}

#[test]
fn every_command_of_the_page_on_matching_works() {
    let commands = run_page("docs/matching.md", MATCHING);
    assert!(commands > 1, "only {commands} commands were found");
}

#[test]
fn every_command_of_the_page_on_tests_works() {
    let commands = run_page("docs/writing-a-test.md", WRITING);
    assert!(commands > 3, "only {commands} commands were found");
}

/// Runs the commands of a page, and gives back how many there were.
fn run_page(name: &str, page: &str) -> usize {
    let (redis, postgres) = (Redis::start(), Postgres::start());
    let admin = free_port();
    let mut moved = BTreeMap::from([
        ("localhost:6379".to_owned(), redis.address().to_string()),
        ("localhost:5432".to_owned(), postgres.address().to_string()),
        ("127.0.0.1:8474".to_owned(), format!("127.0.0.1:{admin}")),
    ]);
    for port in ["26379", "25432", "28080", "29474"] {
        moved.insert(port.to_owned(), free_port().to_string());
    }
    let moved = Moved(moved);
    let directory = Directory::new("readme");
    let mut running: Option<Process> = None;
    let mut commands = 0;
    for block in blocks(page) {
        let text = moved.apply(&block.text);
        match block.language.as_str() {
            "toml" if text.contains("[[phase]]") => {
                std::fs::write(directory.path().join("outage.toml"), text).expect("write");
            }
            "toml" if text.contains("[[proxy]]") => {
                Config::parse(&text, name).unwrap_or_else(|e| panic!("{e}"));
                // Commands come before the file that they are about, where a page says first what they are for.
                std::fs::write(directory.path().join("brownout.toml"), text).expect("write");
            }
            "toml" => {
                Profile::parse("page", &text, name).unwrap_or_else(|e| panic!("{e}"));
            }
            "sh" => {
                for line in lines(&text) {
                    commands += 1;
                    if line.starts_with("brownout run") {
                        drop(running.take());
                        let line = format!("exec {line} --admin 127.0.0.1:{admin}");
                        let mut process = Process::start(&mut shell(&line, &directory, admin), "");
                        process.until(LIMIT, |err| err.contains("admin listening").then_some(()));
                        running = Some(process);
                    } else {
                        finish(&line, &directory, admin);
                    }
                }
            }
            _ => {}
        }
    }
    commands
}

/// The commands of a block: comments and continuations resolved, those run elsewhere left out.
fn lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(|l| l.split("  #").next().unwrap_or(l).trim().to_owned());
    lines
        .filter(|l| !l.is_empty() && !ELSEWHERE.contains(&l.as_str()))
        .collect()
}

fn shell(line: &str, directory: &Directory, admin: u16) -> Command {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_brownout"));
    let folder = binary
        .parent()
        .expect("a binary lies in a folder")
        .display()
        .to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-euc", line]).current_dir(directory.path());
    command
        .env("PATH", path)
        .env("BROWNOUT_ADMIN", format!("127.0.0.1:{admin}"));
    command
}

fn finish(line: &str, directory: &Directory, admin: u16) {
    let mut process = Process::start(&mut shell(line, directory, admin), "");
    let status = process.wait(LIMIT);
    process.drain(LIMIT);
    let (out, err) = (process.stdout(), process.stderr());
    assert!(
        status.success(),
        "`{line}` ended with {status}\n{out}\n{err}"
    );
    if line.starts_with("curl") {
        assert!(
            !out.contains("\"status\":4") && !out.contains("\"status\":5"),
            "`{line}`: {out}"
        );
    }
}

#[test]
fn the_number_of_profiles_is_right() {
    let count = Library::builtin_names().count();
    let told = format!("{count} come with the binary");
    assert!(README.contains(&told), "README.md does not say: {told}");
}

#[test]
fn the_picture_of_the_report_was_made_by_the_program() {
    let picture = blocks(README)
        .into_iter()
        .find(|b| b.language == "text")
        .expect("the picture");
    for part in ["before", "during", "after", "p95", "redis"] {
        assert!(
            picture.text.contains(part),
            "the picture lacks {part}:\n{}",
            picture.text
        );
    }
}
