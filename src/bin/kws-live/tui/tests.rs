//! Keys and news against the state, and the state on a `TestBackend` of every size.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kws_live::audio::Loss;
use kws_live::engine::{Command, Event as News, Listened, Meters};
use kws_live::spotter::{Detection, KeywordId};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::app::{Action, App, Mode, Readings, Stream};
use super::event::Event;

fn listened(id: u64, name: &str, phones: &str) -> Listened {
    Listened { id: KeywordId(id), name: name.into(), said: phones.into(), meter: Arc::default() }
}

fn app() -> App {
    let keywords = [listened(0, "hello", "HH AH L OW"), listened(1, "stop", "S T AA P")];
    let mut app = App::new("a test (16000 Hz)", &keywords, Arc::<Meters>::default());
    for row in &mut app.rows {
        row.threshold = 0.5;
    }
    app
}

fn key(app: &mut App, code: KeyCode) -> Option<Action> {
    app.on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn typed(app: &mut App, text: &str) {
    for c in text.chars() {
        key(app, KeyCode::Char(c));
    }
}

/// Types a list and sends it.
fn entered(app: &mut App, text: &str) {
    key(app, KeyCode::Char('a'));
    typed(app, text);
    key(app, KeyCode::Enter);
}

fn detection(id: u64, name: &str, start: u64) -> Detection {
    let (end, emitted) = (start + 8_000, start + 12_000);
    Detection { keyword: KeywordId(id), name: name.into(), score: 0.87, start, end, emitted }
}

fn drawn(app: &App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    terminal.draw(|frame| app.render(frame)).expect("memory");
    let buffer = terminal.backend().buffer().clone();
    (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
}

fn busy() -> App {
    let mut app = app();
    app.readings = Readings {
        peak: 0.5,
        rms: 0.1,
        clipped: 3,
        seconds: 83.4,
        real_time_factor: 0.012,
        latency: Some(0.24),
        lost: 480,
        overruns: 5,
        dropped_events: 2,
    };
    app.held_peak = 0.5;
    app.clip_lit = 4;
    for i in 0..200 {
        app.rows[0].point(if i % 40 > 35 { 0.9 } else { 0.1 });
    }
    app.on(Event::Engine(News::Detection(detection(0, "hello", 20_000))));
    app.on(Event::Engine(News::Detection(detection(1, "stop", 64_000))));
    app
}

#[test]
fn what_other_threads_say_is_shown_and_kept_for_the_end() {
    let mut app = app();
    for i in 0..1_000 {
        app.note(format!("kws-live: note {i}"));
    }
    let lines = drawn(&app, 90, 26);
    assert!(lines.iter().any(|l| l.contains("note 999") && !l.contains("kws-live:")), "{lines:?}");
    assert_eq!((app.notes.len(), app.notes.back().map(String::as_str)), (100, Some("kws-live: note 999")));
}

#[test]
fn keys_select_move_and_remove() {
    let mut app = app();
    assert_eq!(key(&mut app, KeyCode::Up), None);
    assert_eq!(app.selected, 0);
    key(&mut app, KeyCode::Down);
    key(&mut app, KeyCode::Down);
    assert_eq!(app.selected, 1);
    let Some(Action::Send(Command::SetThreshold(id, threshold))) = key(&mut app, KeyCode::Right) else {
        panic!("a threshold moves")
    };
    assert!(id == KeywordId(1) && (threshold - 0.52).abs() < 1e-6, "{threshold}");
    for _ in 0..100 {
        key(&mut app, KeyCode::Char('-'));
    }
    assert!((app.rows[1].threshold - 0.02).abs() < 1e-6, "it stops above 0");
    assert_eq!(key(&mut app, KeyCode::Char('d')), Some(Action::Send(Command::Remove(KeywordId(1)))));
    app.on(Event::Engine(News::KeywordRemoved(KeywordId(1))));
    assert_eq!((app.rows.len(), app.selected), (1, 0));
    app.on(Event::Engine(News::KeywordRemoved(KeywordId(0))));
    for code in [KeyCode::Char('d'), KeyCode::Left, KeyCode::Right, KeyCode::Down, KeyCode::Up] {
        assert_eq!(key(&mut app, code), None, "nothing to act on");
    }
}

#[test]
fn a_lost_device_is_in_the_header_until_it_is_back() {
    let mut app = app();
    let loss = Loss { device: "a mic".into(), reason: "unplugged".into() };
    app.on(Event::Engine(News::DeviceLost { loss, at: 16_000 }));
    let lines = drawn(&app, 90, 24);
    assert!(lines[0].contains("microphone lost"), "{}", lines[0]);
    assert!(lines[23].contains("microphone a mic lost: unplugged; trying again"), "{}", lines[23]);
    let (device, source) = ("a mic".into(), "a mic (44100 Hz)".into());
    app.on(Event::Engine(News::DeviceBack { device, source, away: Duration::from_secs(3), lost: 3, at: 64_000 }));
    let lines = drawn(&app, 90, 24);
    assert!(!lines[0].contains("lost") && lines[0].contains("a mic (44100 Hz)"), "{}", lines[0]);
    assert!(lines[23].contains("is back after 3.0 s"), "{}", lines[23]);
}

#[test]
fn a_keyword_is_typed_sent_and_shown() {
    let mut app = app();
    key(&mut app, KeyCode::Char('a'));
    typed(&mut app, " quit?x");
    key(&mut app, KeyCode::Backspace);
    assert_eq!(app.mode, Mode::Type(" quit?".into()), "keys are letters while typing");
    app.on(Event::Paste("\n me\t".into()));
    assert_eq!(key(&mut app, KeyCode::Enter), Some(Action::Send(Command::AddKeyword("quit? me".into()))));
    assert_eq!(app.mode, Mode::Watch);
    app.on(Event::Engine(News::KeywordAdded(listened(2, "quit", "K W IH T"))));
    assert_eq!((app.rows.len(), app.selected), (3, 2));
    app.on(Event::Engine(News::KeywordRefused { text: "x".into(), reason: "`x` is too short".into() }));
    assert!(drawn(&app, 80, 24).last().is_some_and(|l| l.contains("`x` is too short")));
    let reason = "a long reason that says what is wrong, and then what can be done about it, to the end".into();
    app.on(Event::Engine(News::KeywordRefused { text: "x".into(), reason }));
    let lines = drawn(&app, 40, 24);
    assert!(lines[22..].concat().split_whitespace().collect::<Vec<_>>().join(" ").contains("to the end"), "{lines:?}");
}

#[test]
fn lines_that_are_pasted_are_keywords() {
    for (pasted, line) in
        [("smart\tmirror\r\n\nkitchen\r", "smart mirror, kitchen"), (" mirror", " mirror"), ("a\u{7}\rb,\r", "a, b")]
    {
        let mut app = app();
        key(&mut app, KeyCode::Char('a'));
        app.on(Event::Paste(pasted.into()));
        assert_eq!(app.mode, Mode::Type(line.into()));
    }
}

#[test]
fn what_is_refused_of_a_list_is_told_beside_what_is_not() {
    let mut app = app();
    entered(&mut app, "good, sad, better");
    app.on(Event::Engine(News::KeywordAdded(listened(2, "good", "G UH D"))));
    app.on(Event::Engine(News::KeywordRefused { text: "sad".into(), reason: "`sad` is too sad".into() }));
    app.on(Event::Engine(News::KeywordAdded(listened(3, "better", "B EH T ER"))));
    let foot = drawn(&app, 80, 24).pop().unwrap_or_default();
    assert!(foot.contains("`sad` is too sad; listening for `good`, `better`"), "{foot}");
}

#[test]
fn what_is_refused_can_be_mended() {
    let mut app = app();
    let asked = "zebra, x=[ZZ]";
    entered(&mut app, asked);
    let refused =
        |text: &str| News::KeywordRefused { text: text.into(), reason: "`ZZ` is not an ARPAbet phone".into() };
    app.on(Event::Engine(refused(asked)));
    assert_eq!(app.mode, Mode::Type(asked.into()));
    let lines = drawn(&app, 80, 24);
    assert!(lines[22].contains("add: zebra, x=[ZZ]") && lines[22].contains("Esc leaves"), "{}", lines[22]);
    assert!(lines[23].contains("`ZZ` is not"), "{}", lines[23]);
    assert_eq!((key(&mut app, KeyCode::Esc), app.mode.clone()), (None, Mode::Watch));
    // Before the answer too, Esc is about the line.
    entered(&mut app, asked);
    assert_eq!(key(&mut app, KeyCode::Esc), None);
    app.on(Event::Engine(refused(asked)));
    assert_eq!(app.mode, Mode::Watch);
    // One of several that is there already leaves the others as they are.
    entered(&mut app, "hello,go on");
    app.on(Event::Engine(refused("hello")));
    assert_eq!(app.mode, Mode::Watch);
}

#[test]
fn all_that_was_added_is_told_and_so_is_what_goes() {
    let mut app = app();
    entered(&mut app, "go, wait");
    app.on(Event::Engine(News::KeywordAdded(listened(2, "go", "G OW"))));
    app.on(Event::Engine(News::KeywordAdded(listened(3, "wait", "W EY T"))));
    let lines = drawn(&app, 80, 24);
    assert!(lines[23].contains("listening for `go`, `wait`"), "{}", lines[23]);
    assert!(lines[22].contains("q quit"), "the keys stay: {}", lines[22]);
    app.on(Event::Engine(News::KeywordRemoved(KeywordId(0))));
    let lines = drawn(&app, 80, 24);
    assert!(lines[23].contains("no longer listening for `hello`"), "{}", lines[23]);
}

#[test]
fn a_narrow_screen_shows_what_matters_most() {
    let mut app = app();
    app.rows[0].name = "smart mirror on the wall".into();
    for (width, height) in [(80, 24), (60, 24), (40, 24), (40, 10)] {
        let lines = drawn(&app, width, height);
        let foot = &lines[usize::from(height) - 1];
        assert!(foot.contains("? help") && foot.contains("q quit") && foot.contains("a add"), "{width}: {foot}");
        assert!(foot.contains("p pause"), "{width}: {foot}");
        let label = lines.iter().find(|l| l.contains('▸')).expect("the first keyword");
        assert!(label.contains("▸ smart") && label.contains("  0.00  threshold 0.50"), "{width}: {label}");
        app.mode = Mode::Help;
        let help = drawn(&app, width, 24).join(" ");
        let words = help.split([' ', '│']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
        assert!(width < 60 || words.contains("threshold line: what a score must reach"), "{width}: {words}");
        assert!(words.contains("reach") && words.contains("in --keywords)"), "{width}: {words}");
        app.mode = Mode::Type("a word that is long".into());
        let foot = drawn(&app, width, height).pop().expect("a row");
        assert!(foot.contains("Enter") && foot.contains("Esc"), "{width}: {foot}");
        app.mode = Mode::Watch;
    }
    assert!(drawn(&app, 80, 24).iter().any(|l| l.contains("▸ smart mirror on the w…  0.00")));
    for i in 2..40 {
        app.on(Event::Engine(News::KeywordAdded(listened(i, "more", "M AO R"))));
    }
    let all = drawn(&app, 80, 24).join("\n");
    assert!(all.contains("`more` and 33 more") && all.contains("of 40 ─"), "{all}");
    (app.selected, app.message) = (0, None);
    let all = drawn(&app, 80, 24).join("\n");
    assert!(all.contains("keywords 1-9 of 40"), "{all}");
}

#[test]
fn typing_can_be_left_and_nothing_is_not_sent() {
    let mut app = app();
    for last in [KeyCode::Esc, KeyCode::Enter] {
        key(&mut app, KeyCode::Char('a'));
        typed(&mut app, "  ");
        assert_eq!(key(&mut app, last), None);
        assert_eq!(app.mode, Mode::Watch);
    }
}

#[test]
fn pause_and_the_ways_out() {
    let mut app = app();
    assert_eq!(key(&mut app, KeyCode::Char('p')), Some(Action::Send(Command::Pause)));
    assert!(drawn(&app, 80, 24)[0].contains("paused"));
    assert_eq!(key(&mut app, KeyCode::Char(' ')), Some(Action::Send(Command::Resume)));
    app.on(Event::Engine(News::Ended));
    assert_eq!((key(&mut app, KeyCode::Char('p')), app.stream.clone()), (None, Stream::Ended));
    assert_eq!(app.on(Event::Over), None, "after its end a stream may go");
    key(&mut app, KeyCode::Char('?'));
    assert_eq!((key(&mut app, KeyCode::Char('q')), app.mode.clone()), (None, Mode::Watch), "any key closes the help");
    assert_eq!(key(&mut app, KeyCode::Char('q')), Some(Action::Quit));
    assert_eq!(key(&mut app, KeyCode::Esc), Some(Action::Quit));
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    key(&mut app, KeyCode::Char('a'));
    assert_eq!(app.on(Event::Key(control_c)), Some(Action::Quit), "also while typing");
    assert_eq!(app.on(Event::Hangup), Some(Action::Quit));
    assert_eq!(self::app().on(Event::Over), Some(Action::Quit), "a stream that goes without an end has failed");
}

#[test]
fn without_keywords_the_first_thing_is_to_type() {
    let app = App::new("a test", &[], Arc::<Meters>::default());
    assert_eq!(app.mode, Mode::Type(String::new()));
    assert!(drawn(&app, 80, 24).iter().any(|l| l.contains("none yet")));
}

#[test]
fn everything_is_on_a_usual_screen() {
    let lines = drawn(&busy(), 100, 24);
    let all = lines.join("\n");
    for part in [
        "a test (16000 Hz)",
        "1:23",
        "-6 dB",
        "CLIP",
        "real-time factor 0.012",
        "latency 240 ms",
        "lost 480",
        "device overruns 5",
        "clipped 3",
        "events dropped 2",
        "▸ hello",
        "threshold 0.50",
        "1 heard",
        "hello: HH AH L OW",
        "detections 2",
        "4.00 s  0.87  stop",
        "? help",
    ] {
        assert!(all.contains(part), "`{part}` is not in\n{all}");
    }
    let (newest, oldest) = (all.find("4.00 s"), all.find("1.25 s"));
    assert!(newest < oldest, "the newest comes first");
    assert!(all.contains('┄') && all.contains('█'));
}

#[test]
fn a_golden_picture() {
    let mut app = app();
    app.readings.seconds = 7.0;
    for score in [0.1, 0.4, 0.9, 1.0, 0.2] {
        app.rows[0].point(score);
    }
    app.on(Event::Engine(News::Detection(detection(0, "hello", 20_000))));
    let lines = drawn(&app, 70, 14);
    let want = [
        " kws-live ● 0:07  a test (16000 Hz)                                   ",
        " level ················································  -- dB        ",
        " real-time factor 0.000  latency --  lost 0                           ",
        "╭ keywords ──────────────────────────╮╭ detections 1 ────────────────╮",
        "│▸ hello  0.00  threshold 0.50  1 hea││    1.25 s  0.87  hello       │",
        "│                                 ▆█ ││                              │",
        "│┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄▂██┄││                              │",
        "│                               ▂███▅││                              │",
        "│  stop  0.00  threshold 0.50        ││                              │",
        "│                                    ││                              │",
        "│┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄││                              │",
        "│                                    ││                              │",
        "╰ hello: HH AH L OW ─────────────────╯╰──────────────────────────────╯",
        " a add  d remove  ↑↓ select  ←→ threshold  p pause  ? help  q quit    ",
    ];
    assert_eq!(lines, want, "\n{}", lines.join("\n"));
}

#[test]
fn every_size_can_be_drawn_in_every_mode() {
    let mut app = busy();
    for i in 2..40 {
        app.on(Event::Engine(News::KeywordAdded(listened(i, "a rather long phrase to say", "AH R AE DH ER"))));
    }
    let long = "something very long that does not fit on a small terminal at all ".repeat(3);
    for mode in [Mode::Watch, Mode::Type(long), Mode::Type("日本語".into()), Mode::Help] {
        app.mode = mode;
        for (width, height) in [(1, 1), (2, 1), (1, 2), (3, 3), (7, 2), (10, 4), (20, 5), (65, 9), (66, 9), (300, 100)]
        {
            for selected in [0, app.rows.len() - 1] {
                app.selected = selected;
                drawn(&app, width, height);
            }
        }
    }
    assert!(drawn(&app, 80, 24)[4..].iter().any(|l| l.contains('▸')) || app.mode == Mode::Help);
}

#[test]
fn the_selected_keyword_is_always_visible() {
    let mut app = app();
    for i in 2..30 {
        app.on(Event::Engine(News::KeywordAdded(listened(i, &format!("word {i}"), "W ER D"))));
    }
    for selected in [0, 7, 29] {
        app.selected = selected;
        let name = app.rows[selected].name.to_string();
        assert!(drawn(&app, 80, 12).iter().any(|l| l.contains(&format!("▸ {name}"))), "{selected}");
    }
}

#[test]
fn a_tick_lets_messages_and_peaks_fade() {
    let mut app = busy();
    app.say("for a while", false);
    for _ in 0..1_000 {
        app.on(Event::Tick);
    }
    assert!(app.message.is_none() && app.clip_lit == 0 && app.held_peak < 0.01);
}
