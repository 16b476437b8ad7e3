//! How `top` looks. Everything fits 80 columns and 24 lines; where there are fewer columns, whole ones of a table are left out, and
//! it is said which: a figure of which a digit is cut off is a wrong one.

use super::app::{App, View};
use crate::cli::stats::figure;
use crate::measure::stats::{ExchangeStats, Latency};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState, Wrap};

/// Faults that are shown at once.
const FAULTS: usize = 5;

/// From so many columns on there is room for the proxy of a fault.
const WIDE: u16 = 100;

/// The room for names of profiles, at most.
const NAMES: usize = 36;

/// A column of a table.
struct Column {
    name: &'static str,
    /// Characters that it needs.
    least: u16,
    /// Whether it takes what others leave, and how much of it; 0: it does not.
    share: u16,
    /// The highest are left out first; never those of 0.
    rank: u8,
}

impl Column {
    const fn figures(name: &'static str, least: u16, rank: u8) -> Self {
        Self {
            name,
            least,
            share: 0,
            rank,
        }
    }

    const fn words(name: &'static str, least: u16, share: u16, rank: u8) -> Self {
        Self {
            name,
            least,
            share,
            rank,
        }
    }

    fn constraint(&self) -> Constraint {
        match self.share {
            0 => Constraint::Length(self.least),
            share => Constraint::Fill(share),
        }
    }
}

const FIGURES: [Column; 10] = [
    Column::words("Operation", 17, 1, 0),
    Column::figures("/s", 6, 3),
    Column::figures("n", 6, 8),
    Column::figures("err", 5, 2),
    Column::figures("fault", 6, 4),
    Column::figures("open", 4, 9),
    Column::figures("p50", 7, 7),
    Column::figures("p95", 7, 1),
    Column::figures("p99", 7, 5),
    Column::figures("max", 6, 6),
];

const FAULTS_ON: [Column; 6] = [
    Column::words("Fault", 12, 3, 0),
    Column::words("Profile", 12, 3, 4),
    Column::words("Action", 9, 2, 3),
    Column::words("Proxy", 10, 2, 5),
    Column::figures("Hit", 6, 2),
    Column::figures("Left", 10, 1),
];

/// Places of the columns for which there is room.
fn fitting(columns: &[Column], room: u16) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| {
        let widths: u16 = kept.iter().map(|at| columns[*at].least).sum();
        widths + kept.len().saturating_sub(1) as u16
    };
    while needed(&kept) > room {
        let last = kept.iter().copied().max_by_key(|at| columns[*at].rank);
        let Some(last) = last.filter(|at| columns[*at].rank > 0) else {
            break;
        };
        kept.retain(|at| *at != last);
    }
    kept
}

/// Places of the columns of the faults. Where there is just room for the proxy, the other names have it.
fn fitting_faults(room: u16) -> Vec<usize> {
    let mut kept = fitting(&FAULTS_ON, room);
    kept.retain(|at| room >= WIDE || FAULTS_ON[*at].name != "Proxy");
    kept
}

/// What of a table there is no room for. The proxy of a fault is an extra of wide terminals.
fn left_out(app: &App, room: u16) -> Option<String> {
    let missing = |columns: &'static [Column], kept: Vec<usize>| {
        let all = columns.iter().enumerate();
        all.filter(move |(at, _)| !kept.contains(at))
            .map(|(_, column)| column.name)
            .filter(|name| *name != "Proxy")
    };
    let mut names: Vec<&str> = Vec::new();
    if !app.faults.is_empty() {
        names.extend(missing(&FAULTS_ON, fitting_faults(room)));
    }
    names.extend(missing(&FIGURES, fitting(&FIGURES, room)));
    (!names.is_empty()).then(|| format!(" no room for {} ", names.join(", ")))
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws everything.
pub(super) fn draw(frame: &mut Frame, app: &App) {
    let faults = match app.faults.len() {
        0 => 1,
        n => n.min(FAULTS) + 1,
    };
    let parts = [
        Constraint::Length(1),
        Constraint::Length(faults as u16 + 1),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [title, faults, body, said, keys] = Layout::vertical(parts).areas(frame.area());
    draw_title(frame, app, title);
    draw_faults(frame, app, faults);
    match app.view {
        View::Figures => draw_figures(frame, app, body),
        View::Profiles => draw_profiles(frame, app, body),
    }
    let text = match &app.lost {
        Some(why) => Span::styled(
            format!("connection lost, trying again: {why}"),
            BOLD.fg(Color::Red),
        ),
        None if app.typing => Span::raw(format!("filter: {}_", app.filter())),
        None if !app.filter().is_empty() => {
            Span::raw(format!("only `{}`   {}", app.filter(), app.said))
        }
        None => Span::raw(app.said.as_str()),
    };
    frame.render_widget(Paragraph::new(Line::from(text)), said);
    let help = match (app.typing, app.view) {
        (true, _) => "Enter keep  Esc clear".to_owned(),
        (_, View::Figures) => format!(
            "q quit  p profiles  h halt  r resume  d fault off  s by {}  / filter",
            app.order.name()
        ),
        (_, View::Profiles) => format!(
            "Enter on/off  t for {}  / filter  h halt  r resume  Esc back  q quit",
            humantime::format_duration(app.ttl())
        ),
    };
    frame.render_widget(Paragraph::new(help).style(CHOSEN), keys);
}

fn draw_title(frame: &mut Frame, app: &App, area: Rect) {
    let (state, style) = if app.lost.is_some() {
        ("OLD FIGURES".to_owned(), BOLD.fg(Color::Red))
    } else if app.halted {
        ("HALTED".to_owned(), BOLD.fg(Color::Red))
    } else {
        match app.faults.len() {
            0 => ("no fault is on".to_owned(), Style::new()),
            1 => ("1 fault is on".to_owned(), BOLD.fg(Color::Yellow)),
            n => (format!("{n} faults are on"), BOLD.fg(Color::Yellow)),
        }
    };
    let line = Line::from(vec![
        Span::styled("brownout ", BOLD),
        Span::raw(format!("{}  ", app.address)),
        Span::styled(state, style),
        Span::raw("  (last 10 s)"),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Text::from(text).right_aligned())
}

/// A table with those of its columns for which there is room.
fn table<'r>(
    columns: &[Column],
    kept: &[usize],
    rows: impl Iterator<Item = (Vec<Cell<'r>>, Style)>,
) -> Table<'r> {
    let rows = rows.map(|(cells, style)| {
        let cells = cells.into_iter().enumerate();
        let cells = cells.filter(|(at, _)| kept.contains(at));
        Row::new(cells.map(|(_, cell)| cell)).style(style)
    });
    let header = kept.iter().map(|at| match &columns[*at] {
        Column { name, share: 0, .. } => right((*name).to_owned()),
        Column { name, .. } => Cell::from(*name),
    });
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let widths = kept.iter().map(|at| columns[*at].constraint());
    Table::new(rows, widths).header(header)
}

fn draw_faults(frame: &mut Frame, app: &App, area: Rect) {
    if app.faults.is_empty() {
        let text = if app.halted {
            "halted: nothing can be switched on until r resumes"
        } else {
            "no fault is on; p shows the profiles"
        };
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let rows = app.faults.iter().map(|f| {
        let action = serde_json::to_value(&f.fault)
            .ok()
            .and_then(|spec| Some(spec.get("action")?.as_str()?.to_owned()));
        let state = if f.in_force { "" } else { " (waiting)" };
        let cells = vec![
            Cell::from(f.name.clone()),
            Cell::from(f.profile.clone().unwrap_or_default()),
            Cell::from(format!("{}{state}", action.unwrap_or_default())),
            Cell::from(f.fault.proxy.clone()),
            right(figure::count(f.injected)),
            right(left(f.left_ms)),
        ];
        (cells, Style::new())
    });
    let kept = fitting_faults(area.width);
    let table = table(&FAULTS_ON, &kept, rows).row_highlight_style(CHOSEN);
    let mut chosen = TableState::new().with_selected(Some(app.fault));
    frame.render_stateful_widget(table, area, &mut chosen);
}

/// `~` marks too few samples.
fn percentile(latency: Option<&Latency>, of: fn(&Latency) -> (u64, bool)) -> Cell<'static> {
    right(latency.map_or_else(
        || "-".to_owned(),
        |l| {
            let (us, enough) = of(l);
            let mark = if enough { "" } else { "~" };
            format!("{mark}{}", figure::micros(us))
        },
    ))
}

fn figures(name: String, e: &ExchangeStats) -> Vec<Cell<'static>> {
    let hot = |n: u64, color: Color| {
        let cell = right(figure::count(n));
        if n > 0 {
            cell.style(BOLD.fg(color))
        } else {
            cell
        }
    };
    let client = e.client.as_ref();
    vec![
        Cell::from(name),
        right(figure::rate(e.rate_per_second)),
        right(figure::count(e.count)),
        hot(e.errors, Color::Red),
        hot(e.injected, Color::Yellow),
        right(figure::count(e.outstanding)),
        percentile(client, |l| (l.p50_us, l.enough_samples.p50)),
        percentile(client, |l| (l.p95_us, l.enough_samples.p95)),
        percentile(client, |l| (l.p99_us, l.enough_samples.p99)),
        percentile(client, |l| (l.max_us, true)),
    ]
}

fn draw_figures(frame: &mut Frame, app: &App, area: Rect) {
    let mut rows = Vec::new();
    for proxy in &app.stats.proxies {
        let operations = app.operations(proxy);
        if operations.is_empty() && !app.filter().is_empty() {
            continue;
        }
        let name = format!("{} ({} open)", proxy.name, proxy.sessions.open);
        rows.push((figures(name, &proxy.total), BOLD));
        let of = operations
            .into_iter()
            .map(|o| figures(format!("  {}", o.operation), &o.exchanges))
            .map(|cells| (cells, Style::new()));
        rows.extend(of);
    }
    let more = rows.len().saturating_sub(app.scroll);
    let rows = rows.into_iter().skip(app.scroll);
    let room = usize::from(area.height.saturating_sub(2));
    let mut block = Block::new().borders(Borders::TOP);
    if let Some(missing) = left_out(app, area.width) {
        block = block.title(missing);
    }
    if more > room {
        block = block.title(format!(" {} more lines: PgDn ", more - room));
    }
    let kept = fitting(&FIGURES, area.width);
    frame.render_widget(table(&FIGURES, &kept, rows).block(block), area);
}

fn draw_profiles(frame: &mut Frame, app: &App, area: Rect) {
    let shown = app.shown();
    // What a line cuts off can be read below.
    let parts = [Constraint::Min(3), Constraint::Length(2)];
    let [area, about] = Layout::vertical(parts).areas(area);
    if let Some(chosen) = shown.get(app.profile) {
        let about_it = Paragraph::new(chosen.description.as_str()).wrap(Wrap { trim: true });
        frame.render_widget(about_it, about);
    }
    let longest = shown.iter().map(|p| p.name.chars().count()).max();
    let rows = shown.iter().map(|p| {
        let (said, style) = match app.left_ms(&p.name) {
            Some(ms) => (
                format!("on, {}: {}", left(ms), p.description),
                BOLD.fg(Color::Yellow),
            ),
            None => (p.description.clone(), Style::new()),
        };
        Row::new([Cell::from(p.name.clone()), Cell::from(said)]).style(style)
    });
    let widths = [
        Constraint::Length(longest.unwrap_or(0).min(NAMES) as u16 + 1),
        Constraint::Fill(1),
    ];
    let title = format!(" {} profiles ", shown.len());
    let table = Table::new(rows, widths)
        .row_highlight_style(CHOSEN)
        .block(Block::new().borders(Borders::TOP).title(title));
    let mut chosen = TableState::new().with_selected(Some(app.profile));
    frame.render_stateful_widget(table, area, &mut chosen);
}

/// Time that is left, rounded up to seconds.
fn left(ms: u64) -> String {
    let s = ms.div_ceil(1000);
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
