//! The terminal UI of the live mode.

mod app;
mod event;
#[cfg(test)]
mod tests;
mod trace;
mod view;

use std::io::{self, Write};
use std::sync::OnceLock;

use anyhow::Context;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use kws_live::engine::{Engine, seconds};

use crate::events::Outputs;
use crate::hush;
use crate::output::{Notes, Record, note, print_on_terminal, show_note};
use crate::quiet::Quiet;
use app::{Action, App};
use event::{Event, Events};

/// What another thread's panic said, to be told once the screen is gone.
static PANIC: OnceLock<String> = OnceLock::new();

/// Puts the terminal back, whatever happens; ratatui's own hook does the same on a panic.
struct Screen(ratatui::DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        // ratatui's hook puts the terminal back and calls this one, while stderr goes nowhere.
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.to_string().replace('\n', " ");
            if std::thread::current().name() == Some("main") {
                let _ = writeln!(io::stdout(), "kws-live: {text}");
            } else {
                let _ = PANIC.set(text);
            }
        }));
        let terminal = ratatui::try_init()?;
        // Not for a panic that is caught: the picture goes on.
        hush();
        let screen = Self(terminal);
        execute!(io::stdout(), EnableBracketedPaste)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), DisableBracketedPaste);
        // In a panic the hook has done the rest; once more would move the cursor over its message.
        if !std::thread::panicking() {
            ratatui::restore();
            let _ = std::panic::take_hook();
        }
    }
}

/// Shows the engine until the user leaves; then prints what was detected, so that it is not lost with the screen.
pub fn run(engine: &mut Engine, outputs: &Outputs) -> anyhow::Result<()> {
    let mut app = App::new(engine.describe(), engine.keywords(), engine.meters().clone());
    let notes = Notes::take();
    let shown = show(engine, outputs, &mut app, &notes);
    notes.end().into_iter().for_each(|line| app.note(line));
    // The screen went with those that it showed.
    app.notes.iter().for_each(|line| show_note(line));
    if let Some(text) = PANIC.get() {
        note(&format!("kws-live: {text}"));
    }
    let ended = engine.stop();
    // What came out between the last picture and the end.
    let rest: Vec<_> = engine.events().try_iter().collect();
    for news in rest {
        outputs.publish(&news);
        app.on(Event::Engine(news));
    }
    summary(&app)?;
    shown?;
    Ok(ended?)
}

fn show(engine: &Engine, outputs: &Outputs, app: &mut App, notes: &Notes) -> anyhow::Result<()> {
    // Whatever a library prints would tear the picture.
    let _quiet = Quiet::new();
    let mut screen = Screen::open().context("cannot use this terminal; try --no-tui")?;
    let mut events = Events::new(engine.events().clone())?;
    loop {
        let event = events.next();
        if let Event::Engine(news) = &event {
            outputs.publish(news);
        }
        let draw = matches!(event, Event::Tick | Event::Key(_) | Event::Resize);
        match app.on(event) {
            Some(Action::Quit) => return Ok(()),
            Some(Action::Send(command)) => {
                if let Err(error) = engine.send(command) {
                    app.type_again();
                    app.say(error.to_string(), true);
                }
            }
            None => {}
        }
        while let Some(line) = notes.next() {
            app.note(line);
        }
        if draw {
            screen.0.draw(|frame| app.render(frame)).context("cannot draw on this terminal")?;
        }
    }
}

fn summary(app: &App) -> anyhow::Result<()> {
    let mut text = String::new();
    for hit in &app.detections {
        text += &Record::detection(hit, None).human();
    }
    let count = app.detected;
    let ending = if count == 1 { "" } else { "s" };
    let first = count - app.detections.len() as u64;
    let left = if first > 0 { format!(" (not shown: the first {first})") } else { String::new() };
    print_on_terminal(&format!("{text}{count} detection{ending} in {:.1} s{left}\n", seconds(app.position())))?;
    Ok(())
}
