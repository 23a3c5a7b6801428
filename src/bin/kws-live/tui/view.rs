//! The picture of an [`App`], on a terminal of any size.

use kws_live::engine::seconds;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

use super::app::{App, Mode, Row, Stream};
use super::trace::Trace;

/// Bottom of the level meter, dB of full scale.
const QUIETEST: f32 = -60.0;
/// Width from which detections stand beside the traces rather than below.
const WIDE: u16 = 66;
/// Columns of the detections when they stand beside.
const ASIDE: u16 = 32;
/// Most rows a keyword takes, its label included.
const TALLEST: u16 = 7;

const HELP: [(&str, &str); 8] = [
    ("q, Esc", "quit; detections are printed"),
    ("a", "add keywords (as in --keywords)"),
    ("d", "remove the selected keyword"),
    ("up, down", "select a keyword"),
    ("left, right", "move its threshold"),
    ("p, space", "pause, go on"),
    ("?", "this help"),
    ("", "threshold line: what a score must reach"),
];

/// Columns of the keys in the help.
const KEY: u16 = 12;

/// Keys, what they do, and how important they are where there is no room for all.
const KEYS: [(&str, &str, u8); 7] = [
    ("a", "add", 4),
    ("d", "remove", 2),
    ("↑↓", "select", 0),
    ("←→", "threshold", 1),
    ("p", "pause", 3),
    ("?", "help", MOST),
    ("q", "quit", MOST),
];
const MOST: u8 = 5;

/// What can be done while a keyword is typed, in less and less room.
const TYPING: [&str; 3] = ["Enter adds, Esc leaves", "Enter, Esc", "Esc"];

/// Rows of a screen with room for a notice and the keys.
const BOTH: u16 = 8;
/// Columns of a name at least.
const LEAST_NAME: usize = 4;

fn dim() -> Style {
    Style::new().fg(Color::DarkGray)
}

fn decibels(level: f32) -> f32 {
    20.0 * level.max(1e-6).log10()
}

/// Cells of `width` that a level fills.
fn cells(level: f32, width: u16) -> u16 {
    let share = 1.0 - decibels(level) / QUIETEST;
    (share.clamp(0.0, 1.0) * f32::from(width)).round() as u16
}

/// Minutes and seconds.
fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

impl App {
    /// Draws everything; changes nothing.
    pub fn render(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let top = if area.height >= 7 { 3 } else { area.height.min(1) };
        let foot = if area.height >= 3 || matches!(self.mode, Mode::Type(_)) { self.foot_height(area) } else { 0 };
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(top), Constraint::Fill(1), Constraint::Length(foot)]).areas(area);
        self.head(frame, head);
        if area.width >= WIDE {
            let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(ASIDE)]).areas(body);
            self.keywords(frame, left);
            self.detections(frame, right);
        } else if body.height >= 8 {
            let [upper, lower] = Layout::vertical([Constraint::Fill(2), Constraint::Fill(1)]).areas(body);
            self.keywords(frame, upper);
            self.detections(frame, lower);
        } else {
            self.keywords(frame, body);
        }
        self.foot(frame, foot);
        if self.mode == Mode::Help {
            help(frame, area);
        }
    }

    fn head(&self, frame: &mut Frame<'_>, area: Rect) {
        let [title, level, meters] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
        self.title(frame, title);
        if area.height >= 3 {
            self.level(frame, level);
            self.meters(frame, meters);
        }
    }

    fn title(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = match &self.stream {
            Stream::Runs | Stream::Paused if self.away => Span::styled("✗ microphone lost ", Color::Red).bold(),
            Stream::Runs => Span::styled("● ", Color::Green),
            Stream::Paused => Span::styled("‖ paused ", Color::Yellow),
            Stream::Ended => Span::styled("■ ended ", Color::Yellow),
            Stream::Failed(_) => Span::styled("■ failed ", Color::Red),
        };
        let name = Span::from(" kws-live ").bold();
        let time = Span::from(clock(self.readings.seconds));
        let device = Span::styled(format!("  {}", self.device), dim());
        frame.render_widget(Line::from(vec![name, state, time, device]), area);
    }

    fn level(&self, frame: &mut Frame<'_>, area: Rect) {
        let [label, bar, value, clip] = Layout::horizontal([
            Constraint::Length(7),
            Constraint::Fill(1),
            Constraint::Length(9),
            Constraint::Length(6),
        ])
        .areas(area);
        frame.render_widget(Line::from(" level").style(dim()), label);
        let (full, peak) = (cells(self.readings.rms, bar.width), cells(self.held_peak, bar.width));
        let colour = |column: u16| match decibels_at(column, bar.width) {
            d if d > -3.0 => Color::Red,
            d if d > -12.0 => Color::Yellow,
            _ => Color::Green,
        };
        let buffer = frame.buffer_mut();
        for column in 0..bar.width {
            let (symbol, style) = if column < full {
                ("█", Style::new().fg(colour(column)))
            } else if column + 1 == peak {
                ("▌", Style::new().fg(colour(column)))
            } else {
                ("·", dim())
            };
            buffer[(bar.x + column, bar.y)].set_symbol(symbol).set_style(style);
        }
        let loud = decibels(self.held_peak);
        let text = if loud <= QUIETEST { "  -- dB ".into() } else { format!("{loud:4.0} dB ") };
        frame.render_widget(Line::from(text), value);
        if self.clip_lit > 0 {
            frame.render_widget(Line::from(" CLIP ").style(Style::new().fg(Color::White).bg(Color::Red).bold()), clip);
        } else if self.readings.clipped > 0 {
            frame.render_widget(Line::from(" clip ").style(Color::Red), clip);
        }
    }

    fn meters(&self, frame: &mut Frame<'_>, area: Rect) {
        let r = &self.readings;
        let latency = r.latency.map_or_else(|| "--".into(), |l| format!("{:.0} ms", l * 1e3));
        let mut all = vec![
            ("real-time factor", format!("{:.3}", r.real_time_factor), r.real_time_factor > 0.8),
            ("latency", latency, false),
            ("lost", r.lost.to_string(), r.lost > 0),
        ];
        if r.overruns > 0 {
            all.push(("device overruns", r.overruns.to_string(), true));
        }
        if r.clipped > 0 {
            all.push(("clipped", r.clipped.to_string(), false));
        }
        if r.dropped_events > 0 {
            all.push(("events dropped", r.dropped_events.to_string(), true));
        }
        // Where there is no room for all, what is wrong comes first.
        let width: usize = all.iter().map(|(label, value, _)| label.len() + value.len() + 3).sum();
        if width > usize::from(area.width) {
            all.sort_by_key(|(_, _, bad)| !bad);
        }
        let spans = all.into_iter().enumerate().flat_map(|(place, (label, value, bad))| {
            let gap = if place == 0 { " " } else { "  " };
            let value = if bad { Span::styled(value, Color::Red).bold() } else { Span::from(value) };
            [Span::styled(format!("{gap}{label} "), dim()), value]
        });
        frame.render_widget(Line::from(spans.collect::<Vec<_>>()), area);
    }

    /// Rows of a keyword, and how many keywords are shown in so many rows.
    fn room(&self, rows: u16) -> (u16, usize) {
        let count = (self.rows.len() as u16).max(1);
        let tall = (rows / count).clamp(2, TALLEST).min(rows);
        (tall, usize::from(rows.checked_div(tall).unwrap_or(0)))
    }

    fn keywords(&self, frame: &mut Frame<'_>, area: Rect) {
        let (tall, shown) = self.room(if area.height >= 3 { area.height - 2 } else { area.height });
        let first = (self.selected + 1).saturating_sub(shown);
        let title = if shown < self.rows.len() {
            format!(" keywords {}-{} of {} ", first + 1, first + shown, self.rows.len())
        } else {
            " keywords ".into()
        };
        let mut block = Block::bordered().border_type(BorderType::Rounded).border_style(dim()).title(title);
        if let Some(row) = self.current() {
            block = block.title_bottom(Line::from(format!(" {}: {} ", row.name, row.phones)).style(Color::Cyan));
        }
        // A frame around a single line is a waste.
        let inner = if area.height >= 3 { block.inner(area) } else { area };
        if area.height >= 3 {
            frame.render_widget(block, area);
        }
        if self.rows.is_empty() {
            frame.render_widget(Line::from(" none yet: press a to add one").style(dim()), inner);
            return;
        }
        for (place, (index, row)) in self.rows.iter().enumerate().skip(first).take(shown).enumerate() {
            let spot = Rect { y: inner.y + place as u16 * tall, height: tall, ..inner };
            keyword(frame, spot, row, index == self.selected);
        }
    }

    fn detections(&self, frame: &mut Frame<'_>, area: Rect) {
        let title = format!(" detections {} ", self.detected);
        let block = Block::bordered().border_type(BorderType::Rounded).border_style(dim()).title(title);
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let lines: Vec<Line<'_>> = self
            .detections
            .iter()
            .rev()
            .take(usize::from(inner.height))
            .enumerate()
            .map(|(age, hit)| {
                let name = Span::from(hit.name.to_string());
                Line::from(vec![
                    Span::styled(format!("{:8.2} s ", seconds(hit.start)), dim()),
                    Span::styled(format!(" {:.2}  ", hit.score), Color::Green),
                    if age == 0 { name.bold() } else { name },
                ])
            })
            .collect();
        frame.render_widget(Paragraph::new(lines), inner);
    }

    /// What is said at the bottom, in its colour; a message before a failure.
    fn notice(&self) -> Option<(&str, Color)> {
        match (&self.message, &self.stream) {
            (Some(message), _) => Some((&message.text, if message.error { Color::Red } else { Color::Cyan })),
            (None, Stream::Failed(reason)) => Some((reason, Color::Red)),
            _ => None,
        }
    }

    /// Rows of the bottom: a long notice takes up to a third of the screen, below the keys where there is room for both.
    fn foot_height(&self, area: Rect) -> u16 {
        let keys = u16::from(area.height >= BOTH);
        match self.notice() {
            Some((text, _)) if keys == 1 || !matches!(self.mode, Mode::Type(_)) => {
                keys + (wrapped(text, area.width).len() as u16).clamp(1, (area.height / 3).max(1))
            }
            _ => 1,
        }
    }

    fn foot(&self, frame: &mut Frame<'_>, area: Rect) {
        if area.is_empty() {
            return;
        }
        let notice = self.notice().filter(|_| area.height > 1 || !matches!(self.mode, Mode::Type(_)));
        let keys = u16::from(notice.is_none() || frame.area().height >= BOTH);
        let [area, below] = Layout::vertical([Constraint::Length(keys), Constraint::Fill(1)]).areas(area);
        if let Some((text, colour)) = notice {
            let lines: Vec<Line<'_>> = wrapped(text, below.width).into_iter().map(Line::from).collect();
            frame.render_widget(Paragraph::new(lines).style(colour), below);
        }
        if area.is_empty() {
            return;
        }
        if let Mode::Type(text) = &self.mode {
            let line = Line::from(vec![Span::from(" add: ").bold(), Span::from(text.as_str())]);
            let width = line.width() as u16;
            // The end of a long line is what is being typed.
            let hidden = (width + 1).saturating_sub(area.width);
            frame.set_cursor_position(Position::new(area.x + (width - hidden).min(area.width - 1), area.y));
            let hint = area.width.saturating_sub(width + 2);
            frame.render_widget(Paragraph::new(line).scroll((0, hidden)), area);
            if let Some(help) = TYPING.into_iter().find(|help| usize::from(hint) > help.len()) {
                let spot = Rect { x: area.x + width + 2, width: hint, ..area };
                frame.render_widget(Line::from(help).style(dim()).right_aligned(), spot);
            }
            return;
        }
        frame.render_widget(keys_within(area.width), area);
    }
}

/// The keys for which there is room.
fn keys_within(width: u16) -> Line<'static> {
    let line = |least: u8| {
        let keys = KEYS.into_iter().filter(|(_, _, importance)| *importance >= least);
        let spans = keys.flat_map(|(key, what, _)| {
            [Span::from(format!(" {key}")).bold(), Span::styled(format!(" {what} "), dim())]
        });
        Line::from(spans.collect::<Vec<_>>())
    };
    (0..MOST).map(line).find(|line| line.width() <= usize::from(width)).unwrap_or_else(|| line(MOST))
}

/// The beginning of a text that is too wide.
fn shortened(text: &str, width: usize) -> String {
    if Span::from(text).width() <= width {
        return text.into();
    }
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        if Span::from(out.as_str()).width() >= width {
            out.pop();
            break;
        }
    }
    out + "…"
}

/// Breaks text between words, one column in from the left.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if Span::from(line.as_str()).width() + 1 + Span::from(word).width() < usize::from(width) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!(" {word}")),
        }
    }
    lines
}

/// Level in dB at which the meter reaches a column.
fn decibels_at(column: u16, width: u16) -> f32 {
    QUIETEST * (1.0 - f32::from(column) / f32::from(width.max(1)))
}

fn keyword(frame: &mut Frame<'_>, area: Rect, row: &Row, selected: bool) {
    let [label, trace] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let over = row.score >= row.threshold;
    let name = if selected { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    let score = Span::styled(format!("  {:.2}", row.score), if over { Color::Green } else { Color::Blue });
    let threshold = Span::styled(format!("  threshold {:.2}", row.threshold), Color::Yellow);
    let room = usize::from(area.width).saturating_sub(2 + score.width() + threshold.width()).max(LEAST_NAME);
    let mut spans = vec![
        Span::styled(if selected { "▸ " } else { "  " }, Color::Cyan),
        Span::styled(shortened(&row.name, room), name),
        score,
        threshold,
    ];
    if row.hits > 0 {
        spans.push(Span::styled(format!("  {} heard", row.hits), Color::Green));
    }
    frame.render_widget(Line::from(spans), label);
    frame.render_widget(Trace { scores: &row.trace, threshold: row.threshold }, trace);
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let widest = HELP.iter().map(|(_, what)| what.len()).max().unwrap_or(0) as u16;
    let width = (KEY + 1 + widest + 2).min(area.width);
    let room = width.saturating_sub(KEY + 1);
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .flat_map(|(key, what)| wrapped(what, room).into_iter().enumerate().map(|(row, text)| (*key, row, text)))
        .map(|(key, row, text)| {
            let key = format!(" {:KEY$}", if row == 0 { key } else { "" }, KEY = usize::from(KEY) - 1);
            Line::from(vec![Span::from(key).bold(), Span::from(text)])
        })
        .collect();
    let height = (lines.len() as u16 + 2).min(area.height);
    let spot = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, spot);
    let block = Block::bordered().border_type(BorderType::Rounded).title(" keys ").title_bottom(" any key closes ");
    frame.render_widget(Paragraph::new(lines).block(block), spot);
}
