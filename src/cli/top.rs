//! `brownout top`: a running `brownout`, live in a terminal.

mod app;
mod draw;

use super::remote::{Output, Remote, RemoteError, block_on};
use super::{INTERRUPTED, USAGE, say};
use crate::admin::client::{AdminClient, ClientError};
use app::{App, Ask, Enabled, Profiles, Snapshot, Then};
use hyper::Method;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How often it looks.
const TURN: Duration = Duration::from_secs(1);
/// The window of the figures.
const WINDOW: Duration = Duration::from_secs(10);
/// Turns between two looks at the profiles.
const PROFILES_EVERY: u32 = 5;
/// Keys and answers that wait.
const WAITING: usize = 64;

/// Watch a running brownout in the terminal, and switch its profiles.
///
/// Shown are the faults that are on with the time that is left, and by proxy and operation what was measured in the last ten
/// seconds, as the client saw it: rate, number, errors, exchanges that a fault touched, exchanges under way, percentiles, maximum.
/// A percentile marked ~ rests on too few samples.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Keys:
  p        profiles: Enter switches one on or off, t changes for how long
  up down  choose a fault; d switches it off
  h r      halt: everything off at once and kept off; resume
  s /      order of the operations; only those with this in their name
  PgUp PgDn, q    scroll; quit

Examples:
  brownout top
  brownout top --admin staging:8474 --token-file token

Exit codes: 0; 2: wrong usage, no terminal; 4: no brownout could be reached;
130: ended by Ctrl-C.")]
pub struct Args {
    /// The running brownout.
    #[command(flatten)]
    pub remote: Remote,
}

/// Something that came.
enum Came {
    Terminal(Event),
    Looked(Box<Result<Snapshot, ClientError>>),
    Done(Result<String, ClientError>),
    Ended(u8),
}

/// Shows it until somebody quits. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    if args.remote.output == Output::Json {
        say("`top` is for people; `brownout stats --watch --output json` writes JSON");
        return USAGE;
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        say("`top` needs a terminal; `brownout stats --watch` writes lines to anything");
        return USAGE;
    }
    block_on(async {
        let client = args.remote.client()?;
        // Who cannot be reached at all is told of while the terminal is as it was.
        let first = look(&client, true).await?;
        let mut app = App::new(args.remote.admin.clone());
        app.looked(first);
        // Puts the terminal back on a panic, too.
        let mut terminal = ratatui::try_init()?;
        let ended = watch(&mut terminal, &mut app, client).await;
        ratatui::restore();
        ended
    })
}

async fn watch(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    client: AdminClient,
) -> Result<u8, RemoteError> {
    let (come, mut came) = channel(WAITING);
    let soon = Arc::new(Notify::new());
    listen(come.clone())?;
    tokio::spawn(looks(client.clone(), come.clone(), Arc::clone(&soon)));
    loop {
        terminal.draw(|frame| draw::draw(frame, app))?;
        for what in next(&mut came).await {
            match what {
                Came::Ended(code) => return Ok(code),
                Came::Looked(seen) => match *seen {
                    Ok(snapshot) => app.looked(snapshot),
                    Err(error) => app.lost(&error),
                },
                Came::Done(Ok(text)) => app.say(text),
                Came::Done(Err(error)) => app.say(format!("not done: {error}")),
                Came::Terminal(Event::Key(key)) => match app.key(key) {
                    Then::Nothing => {}
                    Then::Quit(code) => return Ok(code),
                    Then::Ask(ask) => {
                        let (client, come, soon) =
                            (client.clone(), come.clone(), Arc::clone(&soon));
                        tokio::spawn(async move {
                            let done = carry_out(&client, ask).await;
                            let _ = come.send(Came::Done(done)).await;
                            soon.notify_one();
                        });
                    }
                },
                Came::Terminal(_) => {}
            }
        }
    }
}

/// What came, all of it, so that held keys are drawn once.
async fn next(came: &mut Receiver<Came>) -> Vec<Came> {
    let mut all = Vec::new();
    came.recv_many(&mut all, WAITING).await;
    all
}

/// Keys by a thread of their own, which ends with the process, and signals.
fn listen(come: Sender<Came>) -> io::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let ended = come.clone();
    tokio::spawn(async move {
        let code = tokio::select! { _ = term.recv() => 0, _ = int.recv() => INTERRUPTED };
        let _ = ended.send(Came::Ended(code)).await;
    });
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if come.blocking_send(Came::Terminal(event)).is_err() {
                    return;
                }
            }
            // The terminal is gone.
            let _ = come.blocking_send(Came::Ended(0));
        })?;
    Ok(())
}

async fn looks(client: AdminClient, come: Sender<Came>, soon: Arc<Notify>) {
    for turn in 0u32.. {
        let _ = tokio::time::timeout(TURN, soon.notified()).await;
        let seen = look(&client, turn % PROFILES_EVERY == 0).await;
        if come.send(Came::Looked(Box::new(seen))).await.is_err() {
            return;
        }
    }
}

async fn look(client: &AdminClient, profiles: bool) -> Result<Snapshot, ClientError> {
    let stats = client.stats(Some(WINDOW)).await?;
    let Enabled { halted, faults } = serde_json::from_value(client.get("/v1/faults").await?)?;
    let profiles = if profiles {
        let Profiles { profiles } = serde_json::from_value(client.get("/v1/profiles").await?)?;
        Some(profiles)
    } else {
        None
    };
    Ok(Snapshot {
        stats,
        halted,
        faults,
        profiles,
    })
}

async fn carry_out(client: &AdminClient, ask: Ask) -> Result<String, ClientError> {
    match ask {
        Ask::Enable(profile, ttl) => {
            client.enable(&profile, ttl).await?;
            Ok(format!(
                "{profile} is on for {}",
                humantime::format_duration(ttl)
            ))
        }
        Ask::Disable(profile) => {
            client.disable(&profile).await?;
            Ok(format!("{profile} is off"))
        }
        Ask::Remove(fault) => {
            client.remove_fault(&fault).await?;
            Ok(format!("{fault} is off"))
        }
        Ask::Halt => {
            client.request(Method::POST, "/v1/halt", None).await?;
            Ok("halted: everything is off; r resumes".to_owned())
        }
        Ask::Resume => {
            client.request(Method::POST, "/v1/resume", None).await?;
            Ok("resumed: faults can be switched on again".to_owned())
        }
    }
}
