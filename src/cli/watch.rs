//! `phasewatch watch`: what the page shows, in a terminal, for whoever has ssh and no browser.
//!
//! It asks the daemon's API once a second and draws what changed: the phase map in half-blocks, shares, progress, alerts. It changes nothing. Where
//! standard output is no terminal, or with `--once`, one picture is printed and that is all. A daemon that does not answer is said so, and asked again.

mod client;
mod frame;
mod half_blocks;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::style::Color;
use ratatui::{DefaultTerminal, Terminal};

use super::run::runtime;
use super::{Failure, print};
use crate::pipeline::token;
use crate::settings::Settings;
use client::{Client, Seen};

/// Between two looks at the daemon.
const PACE: Duration = Duration::from_secs(1);
/// A key is noticed after this long at most.
const KEYS: Duration = Duration::from_millis(100);

/// Arguments of `phasewatch watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Where the daemon is. Left out: at the configuration's http.listen.
    #[arg(value_name = "URL")]
    daemon: Option<String>,
    /// Configuration file: for the address, and for the token where reading wants one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The scan to be shown. Left out: the latest.
    #[arg(long, value_name = "ID")]
    scan: Option<String>,
    /// Print one picture and end; so it does where standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// Columns and rows of that picture.
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "100x40", value_parser = size)]
    size: (u16, u16),
    /// Draw without colours: a letter for each phase.
    #[arg(long)]
    no_colour: bool,
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parse = || {
        let (columns, rows) = text.split_once('x')?;
        let number = |text: &str| text.parse::<u16>().ok().filter(|n| (20..=1000).contains(n));
        Some((number(columns)?, number(rows)?))
    };
    parse().ok_or_else(|| "columns x rows, each 20 to 1000, such as 100x40".to_owned())
}

/// Watches.
///
/// # Errors
/// [`Failure`]: a bad configuration; with `--once`, a daemon that does not answer.
pub(super) fn run(args: &WatchArgs) -> Result<(), Failure> {
    let settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    let url = args.daemon.clone().unwrap_or_else(|| format!("http://{}", settings.http.listen));
    let named = settings.http.token_env.as_ref().or(settings.alerts.token_env.as_ref());
    let token = match named {
        Some(name) => std::env::var(name).ok(),
        // The token of this machine's daemon is for no other.
        None if args.daemon.is_none() => token::read(&settings.daemon.state_dir),
        None => None,
    };
    let client = Arc::new(Client::new(&url, token).map_err(Failure::unavailable)?);
    let colours = !args.no_colour && std::env::var_os("NO_COLOR").is_none();
    let runtime = runtime().map_err(Failure::unavailable)?;
    if args.once || !std::io::stdout().is_terminal() {
        let seen = runtime.block_on(client.look(args.scan.as_deref(), None)).map_err(Failure::unavailable)?;
        print(format_args!("{}", picture(&seen, args.size, colours)?));
        return Ok(());
    }
    let mut terminal = ratatui::init();
    let watched = watch(&mut terminal, &client, &runtime, args.scan.clone(), colours);
    ratatui::restore();
    watched.map_err(Failure::unavailable)
}

/// One picture as text, with colours as terminals read them.
fn picture(seen: &Seen, (columns, rows): (u16, u16), colours: bool) -> Result<String, Failure> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).map_err(Failure::bug)?;
    terminal
        .draw(|area| frame::draw(area, &frame::Shown { seen, lost: None, colours }))
        .map_err(Failure::bug)?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..rows {
        let mut line = String::new();
        let mut now = (Color::Reset, Color::Reset);
        for column in 0..columns {
            let cell = &buffer[(column, row)];
            if colours && now != (cell.fg, cell.bg) {
                now = (cell.fg, cell.bg);
                line += "\u{1b}[0m";
                line += &escape(cell.fg, 38);
                line += &escape(cell.bg, 48);
            }
            line += cell.symbol();
        }
        if now != (Color::Reset, Color::Reset) {
            line += "\u{1b}[0m";
        }
        text += line.trim_end();
        text.push('\n');
    }
    Ok(text.trim_end().to_owned())
}

/// The escape sequence of a colour; nothing for the terminal's own.
fn escape(colour: Color, kind: u8) -> String {
    let indexed = |n: u8| format!("\u{1b}[{kind};5;{n}m");
    match colour {
        Color::Rgb(r, g, b) => format!("\u{1b}[{kind};2;{r};{g};{b}m"),
        Color::Indexed(n) => indexed(n),
        Color::Red => indexed(1),
        Color::Green => indexed(2),
        Color::Yellow => indexed(3),
        Color::DarkGray => indexed(8),
        _ => String::new(),
    }
}

fn watch(
    terminal: &mut DefaultTerminal,
    client: &Arc<Client>,
    runtime: &tokio::runtime::Runtime,
    mut picked: Option<String>,
    colours: bool,
) -> std::io::Result<()> {
    let (mut seen, mut lost): (Option<Seen>, Option<String>) = (None, None);
    let mut next = Instant::now();
    let told_to_stop = Arc::new(AtomicBool::new(false));
    runtime.spawn(stop_on_sigterm(Arc::clone(&told_to_stop)));
    // Keys are heard while the daemon is asked.
    let mut asking: Option<tokio::task::JoinHandle<Result<Seen, client::Lost>>> = None;
    loop {
        if told_to_stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if asking.is_none() && Instant::now() >= next {
            let (client, picked, before) = (Arc::clone(client), picked.clone(), seen.clone());
            asking = Some(runtime.spawn(async move { client.look(picked.as_deref(), before).await }));
        }
        if let Some(answer) = asking.take_if(|asking| asking.is_finished()) {
            match runtime.block_on(answer) {
                Ok(Ok(found)) => (seen, lost) = (Some(found), None),
                Ok(Err(client::Lost { why, .. })) => lost = Some(why),
                Err(error) => lost = Some(error.to_string()),
            }
            next = Instant::now() + PACE;
        }
        let empty = Seen::default();
        let shown = frame::Shown { seen: seen.as_ref().unwrap_or(&empty), lost: lost.as_deref(), colours };
        terminal.draw(|area| frame::draw(area, &shown))?;
        if !event::poll(KEYS)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        let step = match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char('l') => {
                picked = None;
                next = Instant::now();
                continue;
            }
            KeyCode::Down | KeyCode::Char('n') => 1,
            KeyCode::Up | KeyCode::Char('p') => -1,
            _ => continue,
        };
        if let Some(other) = seen.as_ref().and_then(|seen| seen.beside(step)) {
            picked = Some(other);
            next = Instant::now();
        }
    }
}

/// Sets the mark when the process is asked to end, so that the terminal is put right before.
async fn stop_on_sigterm(mark: Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    // Without it a signal ends the process at once, which is what it asks for.
    if let Ok(mut asked) = signal(SignalKind::terminate()) {
        asked.recv().await;
        mark.store(true, Ordering::Relaxed);
    }
}
