//! The state that is shown, and what keys and news do to it. No terminal, no threads.

use std::collections::VecDeque;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kws_live::engine::{Command, Event as News, Listened, Meters, ScoreMeter};
use kws_live::spotter::{Detection, KeywordId};
use kws_live::text::without_last_comma;

use super::event::{Event, FRAME};
use crate::output::{self, DeviceRecord};

/// Points that a trace remembers.
pub const HISTORY: usize = 600;
/// Audio a point of the trace, samples at 16 kHz: one chunk of the live encoder.
const POINT: u64 = 1_920;
/// What one key press moves a threshold by.
const STEP: f32 = 0.02;
/// Pictures for which a threshold that was just moved is not read back, so that it does not jump.
const HOLD: u32 = 10;
/// Pictures for which a message stays.
const MESSAGE: u32 = 8_000 / FRAME.as_millis() as u32;
/// Pictures for which clipping stays lit.
const CLIP: u32 = 1_500 / FRAME.as_millis() as u32;
/// Longest text that can be typed, characters.
const LONGEST: usize = 200;
/// New keywords that are told by name.
const TOLD: usize = 5;
/// Notes that are kept for the end; the oldest go first.
const NOTES: usize = 100;
/// Most detections that are kept, the latest ones.
const MOST: usize = 10_000;

/// A keyword on the screen.
pub struct Row {
    pub id: KeywordId,
    pub name: Arc<str>,
    pub phones: Arc<str>,
    pub score: f32,
    pub threshold: f32,
    /// Scores, the newest last.
    pub trace: VecDeque<f32>,
    /// Detections so far.
    pub hits: usize,
    meter: Arc<ScoreMeter>,
    hold: u32,
}

impl Row {
    fn new(listened: &Listened) -> Self {
        Self {
            id: listened.id,
            name: listened.name.clone(),
            phones: listened.said.clone(),
            score: 0.0,
            threshold: listened.meter.threshold(),
            trace: VecDeque::with_capacity(HISTORY),
            hits: 0,
            meter: listened.meter.clone(),
            hold: 0,
        }
    }

    /// Appends a point to the trace.
    pub fn point(&mut self, score: f32) {
        if self.trace.len() == HISTORY {
            self.trace.pop_front();
        }
        self.trace.push_back(score);
    }
}

/// The meters as they stood when the last picture was due.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Readings {
    pub peak: f32,
    pub rms: f32,
    pub clipped: u64,
    pub seconds: f64,
    pub real_time_factor: f32,
    pub latency: Option<f32>,
    pub lost: u64,
    pub overruns: u64,
    pub dropped_events: u64,
}

impl Readings {
    fn of(meters: &Meters) -> Self {
        Self {
            peak: meters.levels().peak(),
            rms: meters.levels().rms(),
            clipped: meters.levels().clipped(),
            seconds: meters.seconds(),
            real_time_factor: meters.real_time_factor(),
            latency: meters.latency(),
            lost: meters.levels().dropped().max(meters.lost()),
            overruns: meters.levels().overruns(),
            dropped_events: meters.dropped_events(),
        }
    }
}

/// What the keyboard is for at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Watch,
    /// A keyword is being typed.
    Type(String),
    Help,
}

/// A line for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    pub error: bool,
    left: u32,
}

/// What is to be done outside the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Send(Command),
    Quit,
}

/// Whether the stream runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    Runs,
    Paused,
    Ended,
    Failed(String),
}

/// Everything that is shown.
pub struct App {
    pub device: String,
    pub rows: Vec<Row>,
    pub selected: usize,
    pub detections: VecDeque<Detection>,
    /// How many there were.
    pub detected: u64,
    pub mode: Mode,
    /// What was typed last and has no answer yet.
    asked: Option<String>,
    /// What has been added since then.
    added: Vec<Arc<str>>,
    /// What has not been, and why.
    refused: Vec<(String, String)>,
    pub message: Option<Message>,
    /// What other threads had to say, to be told again once the screen is gone.
    pub notes: VecDeque<String>,
    pub stream: Stream,
    /// Whether the device is gone for the moment.
    pub away: bool,
    pub readings: Readings,
    /// Highest level of the last moments, falling.
    pub held_peak: f32,
    /// Pictures for which clipping is still lit.
    pub clip_lit: u32,
    meters: Arc<Meters>,
    /// Audio up to which the traces are drawn.
    drawn: u64,
}

impl App {
    pub fn new(device: &str, keywords: &[Listened], meters: Arc<Meters>) -> Self {
        let rows: Vec<Row> = keywords.iter().map(Row::new).collect();
        // With nothing to listen for, the first thing to do is to type.
        let mode = if rows.is_empty() { Mode::Type(String::new()) } else { Mode::Watch };
        Self {
            device: device.into(),
            rows,
            selected: 0,
            detections: VecDeque::new(),
            detected: 0,
            mode,
            asked: None,
            added: Vec::new(),
            refused: Vec::new(),
            message: None,
            notes: VecDeque::new(),
            stream: Stream::Runs,
            away: false,
            readings: Readings::default(),
            held_peak: 0.0,
            clip_lit: 0,
            meters,
            drawn: 0,
        }
    }

    /// Audio heard so far, samples at 16 kHz.
    pub fn position(&self) -> u64 {
        self.meters.position()
    }

    /// The keyword that keys act on.
    pub fn current(&self) -> Option<&Row> {
        self.rows.get(self.selected)
    }

    pub fn say(&mut self, text: impl Into<String>, error: bool) {
        self.message = Some(Message { text: text.into(), error, left: MESSAGE });
    }

    /// Shows what another thread has to say, and keeps it.
    pub fn note(&mut self, line: String) {
        self.say(line.strip_prefix("kws-live: ").unwrap_or(&line), true);
        self.keep(line);
    }

    /// Keeps a line for the end.
    fn keep(&mut self, line: String) {
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(line);
    }

    /// Takes an event; returns what has to be done about it.
    pub fn on(&mut self, event: Event) -> Option<Action> {
        match event {
            Event::Engine(news) => self.on_news(news),
            Event::Key(key) => return self.on_key(key),
            Event::Paste(text) => {
                if let Mode::Type(line) = &mut self.mode {
                    let room = LONGEST.saturating_sub(line.chars().count());
                    line.extend(pasted(&text).chars().take(room));
                }
            }
            Event::Tick => {
                self.tick();
                // Somebody else asked for the end: a signal.
                if self.meters.stopping() {
                    return Some(Action::Quit);
                }
            }
            Event::Over if matches!(self.stream, Stream::Runs | Stream::Paused) => return Some(Action::Quit),
            Event::Over | Event::Resize => {}
            Event::Hangup => return Some(Action::Quit),
        }
        None
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Detection(hit) => {
                if let Some(row) = self.rows.iter_mut().find(|r| r.id == hit.keyword) {
                    row.hits += 1;
                }
                self.detections.push_back(hit);
                self.detected += 1;
                if self.detections.len() > MOST {
                    self.detections.pop_front();
                }
            }
            News::KeywordAdded(listened) => {
                self.asked = None;
                self.added.push(listened.name.clone());
                self.tell_changes((self.added.len() == 1).then_some(&listened.said));
                self.rows.push(Row::new(&listened));
                self.selected = self.rows.len() - 1;
            }
            News::KeywordRemoved(id) => {
                if let Some(row) = self.rows.iter().find(|r| r.id == id) {
                    self.say(format!("no longer listening for `{}`", row.name), false);
                }
                self.added.clear();
                self.refused.clear();
                self.rows.retain(|r| r.id != id);
                self.selected = self.selected.min(self.rows.len().saturating_sub(1));
            }
            News::KeywordRefused { text, reason } => {
                // One of a list that is there already does not keep the others out.
                if self.asked.as_ref().is_some_and(|asked| *asked == text || !asked.contains(',')) {
                    self.type_again();
                }
                self.refused.retain(|(other, _)| *other != text);
                self.refused.push((text, reason));
                self.tell_changes(None);
            }
            News::Gap { lost } => {
                self.say(format!("{lost} samples were lost: this machine is too slow or too busy"), true);
            }
            News::DeviceLost { .. } | News::DeviceBack { .. } => {
                self.away = matches!(news, News::DeviceLost { .. });
                if let News::DeviceBack { source, .. } = &news {
                    self.device.clone_from(source);
                }
                if let Some(record) = DeviceRecord::of(&news) {
                    let line = record.human();
                    output::keep(&line);
                    self.say(&*line, self.away);
                    self.keep(line);
                }
            }
            News::Ended => self.stream = Stream::Ended,
            News::Failed(reason) => self.stream = Stream::Failed(reason),
            _ => {}
        }
    }

    /// What has become of what was typed last; `said` is how the only one that has been added will be heard.
    fn tell_changes(&mut self, said: Option<&Arc<str>>) {
        let mut parts: Vec<String> = self.refused.iter().take(TOLD).map(|(_, reason)| reason.clone()).collect();
        if !self.added.is_empty() {
            let names: Vec<String> = self.added.iter().take(TOLD).map(|name| format!("`{name}`")).collect();
            let more = match (said, self.added.len()) {
                (Some(said), _) => format!(": {said}"),
                (None, count) if count > TOLD => format!(" and {} more", count - TOLD),
                _ => String::new(),
            };
            parts.push(format!("listening for {}{more}", names.join(", ")));
        }
        self.say(parts.join("; "), !self.refused.is_empty());
    }

    /// Gives back what was typed last and not taken, so that it can be mended.
    pub fn type_again(&mut self) {
        if let Some(text) = self.asked.take()
            && self.mode == Mode::Watch
        {
            self.mode = Mode::Type(text);
        }
    }

    fn tick(&mut self) {
        let before = self.readings.clipped;
        self.readings = Readings::of(&self.meters);
        self.clip_lit = if self.readings.clipped > before { CLIP } else { self.clip_lit.saturating_sub(1) };
        if self.stream != Stream::Runs || self.away {
            (self.readings.peak, self.readings.rms) = (0.0, 0.0);
        }
        self.held_peak = self.readings.peak.max(self.held_peak * 0.95);
        if let Some(message) = &mut self.message {
            message.left -= 1;
            if message.left == 0 {
                self.message = None;
            }
        }
        let position = self.meters.position();
        let points = (position.saturating_sub(self.drawn) / POINT) as usize;
        self.drawn += points as u64 * POINT;
        for row in &mut self.rows {
            row.score = row.meter.score();
            match row.hold.checked_sub(1) {
                Some(left) => row.hold = left,
                None => row.threshold = row.meter.threshold(),
            }
            if points > 0 {
                let score = row.meter.take_peak();
                (0..points.min(HISTORY)).for_each(|_| row.point(score));
            }
        }
    }

    fn on_key(&mut self, key: KeyEvent) -> Option<Action> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Some(Action::Quit);
        }
        if let Mode::Type(line) = &mut self.mode {
            match key.code {
                KeyCode::Esc => {
                    self.mode = Mode::Watch;
                    self.message = None;
                }
                KeyCode::Enter => {
                    let text = line.trim().to_owned();
                    self.mode = Mode::Watch;
                    if !text.is_empty() {
                        self.message = None;
                        self.added.clear();
                        self.refused.clear();
                        self.asked = Some(text.clone());
                        return Some(Action::Send(Command::AddKeyword(text)));
                    }
                }
                KeyCode::Backspace => {
                    line.pop();
                }
                KeyCode::Char('u') if control => line.clear(),
                KeyCode::Char(c) if !control && line.chars().count() < LONGEST => line.push(c),
                _ => {}
            }
            return None;
        }
        if self.mode == Mode::Help {
            self.mode = Mode::Watch;
            return None;
        }
        match key.code {
            // It was meant for the line that was typed, which may come back.
            KeyCode::Esc if self.asked.take().is_some() => {}
            KeyCode::Char('q') | KeyCode::Esc => return Some(Action::Quit),
            KeyCode::Char('a') => {
                self.message = None;
                self.mode = Mode::Type(String::new());
            }
            KeyCode::Char('d') | KeyCode::Delete => {
                return self.current().map(|row| Action::Send(Command::Remove(row.id)));
            }
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => {
                self.selected = (self.selected + 1).min(self.rows.len().saturating_sub(1));
            }
            KeyCode::Left | KeyCode::Char('-') => return self.move_threshold(-STEP),
            KeyCode::Right | KeyCode::Char('+' | '=') => return self.move_threshold(STEP),
            KeyCode::Char('p' | ' ') => return self.toggle_pause(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            _ => {}
        }
        None
    }

    fn move_threshold(&mut self, by: f32) -> Option<Action> {
        let row = self.rows.get_mut(self.selected)?;
        // On the grid of steps, so that there and back again is where it was; never 0, which everything would reach.
        row.threshold = (((row.threshold + by) / STEP).round() * STEP).clamp(STEP, 1.0);
        row.hold = HOLD;
        Some(Action::Send(Command::SetThreshold(row.id, row.threshold)))
    }

    fn toggle_pause(&mut self) -> Option<Action> {
        match self.stream {
            Stream::Runs => {
                self.stream = Stream::Paused;
                Some(Action::Send(Command::Pause))
            }
            Stream::Paused => {
                self.stream = Stream::Runs;
                Some(Action::Send(Command::Resume))
            }
            Stream::Ended | Stream::Failed(_) => None,
        }
    }
}
/// A pasted text as part of a list: each line a keyword, each other blank a space; nothing that cannot be seen.
fn pasted(text: &str) -> String {
    let plain = |line: &str| -> String {
        let blank = |c: char| if c.is_whitespace() { ' ' } else { c };
        line.chars().map(blank).filter(|c| !c.is_control()).collect()
    };
    let is_blank = |line: &str| line.chars().all(|c| c == ',' || c == ' ');
    let lines: Vec<String> = text.split(['\r', '\n']).map(plain).filter(|line| !is_blank(line)).collect();
    match &lines[..] {
        // It may go on with a word that has begun.
        [line] => line.clone(),
        lines => lines.iter().map(|line| without_last_comma(line).trim()).collect::<Vec<_>>().join(", "),
    }
}
