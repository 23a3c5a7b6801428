//! Live: a microphone, a file or a pipe, until it ends or somebody stops it.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use kws_live::audio::{AudioSource, FileSource, Pace, StdinSource};
use kws_live::engine::{Delivery, Engine, EngineConfig, Event};
use kws_live::spotter::{Spotter, SpotterConfig};

use super::check;
use super::listen::{Listening, Wanted};
use crate::args::{Input, LiveArgs, MicrophoneArgs};
use crate::events::{Counts, Feed, Outputs, Patience, Plan};
use crate::output::{DeviceRecord, Kept, Noted, Unhurried, keep_in, note};
use crate::service::config::Of;
use crate::service::notify::Notifier;
use crate::service::reload::{Files, Reload};
use crate::service::signals::Signals;
use crate::service::watched::Watched;

/// Who looks at the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Json,
    Lines,
    #[cfg_attr(not(feature = "tui"), allow(dead_code, reason = "this build cannot show it"))]
    Tui,
}

impl View {
    fn of(args: &LiveArgs) -> Self {
        if args.json {
            Self::Json
        } else if cfg!(feature = "tui") && !args.no_tui && std::io::stdout().is_terminal() {
            Self::Tui
        } else {
            Self::Lines
        }
    }
}

/// `line` is the command line, for the case that its files are read again.
pub fn run(args: &LiveArgs, line: Vec<OsString>, started: Instant) -> anyhow::Result<bool> {
    let view = View::of(args);
    // A person at the screen changes keywords there; and a terminal that is closed sends SIGHUP.
    let reloads = view != View::Tui && Reload::possible(args);
    let (ask, asked) = crossbeam_channel::bounded(1);
    // First of all: what comes while the model loads waits until it is there.
    let signals = Signals::take(reloads.then_some(ask))?;
    let _notes = Unhurried::start();
    log_to(args.log.as_deref(), view == View::Tui).of("log")?;
    let files = Files::of(args);
    let mut wanted = Wanted::read(&args.keywords)?;
    if view != View::Tui {
        wanted = wanted.some()?;
    }
    check::options(args)?;
    let plan = Plan::open(&args.service, view == View::Tui)?;
    // The source comes first: its ring fills while the model loads, so that nothing said meanwhile is lost.
    let source = open(args, view).of(if args.input == Input::Mic { "device" } else { "input" })?;
    let Listening { bundle, enroller, keywords } = Listening::load(&args.model, &wanted)?;
    check::near(args, &bundle, &keywords)?;
    // Without a keyboard nothing is added later.
    let enroller = (view == View::Tui).then_some(enroller);
    let mut spotter = Spotter::new(&bundle, spotter_config(args))?;
    for keyword in keywords {
        spotter.add(keyword);
    }
    let model = bundle.manifest.name.clone();
    // Megabytes that are of no use any more.
    drop(bundle);
    let file = match &args.input {
        Input::File(path) => Some(path.display().to_string()),
        _ => None,
    };
    let config = EngineConfig {
        // A file and a pipe can wait for a slow reader, a microphone and a picture cannot.
        delivery: if args.input == Input::Mic || view == View::Tui { Delivery::Drop } else { Delivery::Wait },
        limit: args.duration.map(Duration::from_secs_f64),
        clips: plan.clips(),
        ..EngineConfig::default()
    };
    let mut engine = Engine::start(source, spotter, enroller, &config)?;
    let patience = Patience { wait: config.delivery == Delivery::Wait, asked: signals.asked().clone() };
    let outputs = plan.start(Feed::of(&engine), model, file, (view != View::Tui).then_some(args.json), patience)?;
    // At a screen there is a person to see.
    let notifier = match view {
        View::Tui => Notifier::default(),
        _ => Notifier::start(Watched::engine(engine.meters()), &listening_to(engine.describe()))?,
    };
    if reloads {
        let keywords = engine.keywords_handle();
        let replace = Box::new(move |new| Ok(keywords.replace(new)?));
        Reload::new(line, args, files, replace, notifier.clone()).start(asked)?;
    }
    signals.stop(engine.stop_handle().into());
    let outcome = match view {
        #[cfg(feature = "tui")]
        View::Tui => {
            // Not onto the picture.
            Unhurried::flush();
            crate::tui::run(&mut engine, &outputs)
        }
        _ => lines(&mut engine, &outputs, &notifier),
    };
    if view != View::Tui {
        notifier.stopping();
    }
    let (counts, written) = outputs.finish();
    report(&counts, args.stats, started);
    outcome?;
    written?;
    // A service that was asked to end has done its work, whatever it heard.
    let served = view != View::Tui && signals.asked().to_end();
    Ok(served || counts.meters.detections() > 0)
}

/// How sharply to listen.
pub(super) fn spotter_config(args: &LiveArgs) -> SpotterConfig {
    SpotterConfig {
        choice: args.model.choice(),
        sensitivity: args.keywords.sensitivity,
        threshold: args.keywords.threshold,
        gate: !args.microphone.no_gate,
        near: args.service.save_near,
        ..SpotterConfig::default()
    }
}

/// What is told at the end: losses in any case, all the rest where it is wanted.
pub(super) fn report(counts: &Counts, all: bool, started: Instant) {
    if let Some(losses) = counts.losses() {
        note(&format!("kws-live: {losses}"));
    }
    if all {
        note(&stats(counts, started));
    }
}

fn open(args: &LiveArgs, view: View) -> anyhow::Result<Box<dyn AudioSource>> {
    Ok(match &args.input {
        Input::Mic => microphone(&args.microphone)?,
        Input::Stdin => Box::new(StdinSource::new()?),
        Input::File(path) => {
            let pace = if view == View::Tui { Pace::RealTime } else { Pace::FlatOut };
            Box::new(FileSource::open(path, pace)?)
        }
    })
}

#[cfg(feature = "mic")]
fn microphone(args: &MicrophoneArgs) -> anyhow::Result<Box<dyn AudioSource>> {
    use kws_live::audio::MicSource;

    let _quiet = crate::quiet::Quiet::new();
    let device = args.device.as_deref();
    Ok(Box::new(if args.wait_for_device { MicSource::wait_for(device) } else { MicSource::open(device)? }))
}

#[cfg(not(feature = "mic"))]
fn microphone(_: &MicrophoneArgs) -> anyhow::Result<Box<dyn AudioSource>> {
    anyhow::bail!("this build has no microphone; use --input FILE, or rebuild with `--features mic`")
}

fn listening_to(source: &str) -> String {
    format!("listening to {source}")
}

/// Hands detections on until the stream ends.
fn lines(engine: &mut Engine, outputs: &Outputs, notifier: &Notifier) -> anyhow::Result<()> {
    note(&listening_to(engine.describe()));
    for keyword in engine.keywords() {
        note(&format!("{}: {}", keyword.name, keyword.said));
    }
    for event in engine.events() {
        outputs.publish(&event);
        if let Some(record) = DeviceRecord::of(&event) {
            note(&record.human());
            notifier.say(&record.source.as_deref().map_or_else(|| record.human(), listening_to));
        }
        match event {
            Event::Gap { lost } => log::warn!("{lost} samples were lost: this machine is too slow or too busy"),
            Event::Ended | Event::Failed(_) => break,
            _ => {}
        }
    }
    Ok(engine.stop()?)
}

/// Levels by `KWS_LOG`; a file keeps what earlier runs said. With a picture on the screen there is no room for more than
/// warnings, which it shows; the rest needs a file.
pub(super) fn log_to(file: Option<&std::path::Path>, picture: bool) -> anyhow::Result<()> {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&filter(&std::env::var("KWS_LOG").unwrap_or_default()));
    if let Some(path) = file {
        let file = std::fs::File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        keep_in(file);
        builder.target(env_logger::Target::Pipe(Box::new(Kept)));
        builder.format(|line, record| writeln!(line, "{:5} {}: {}", record.level(), record.target(), record.args()));
    } else {
        builder.target(env_logger::Target::Pipe(Box::new(Noted)));
    }
    if picture && file.is_none() {
        builder.format(|line, record| writeln!(line, "kws-live: {}", record.args()));
    }
    builder.init();
    if picture && file.is_none() {
        log::set_max_level(log::max_level().min(log::LevelFilter::Warn));
    }
    Ok(())
}

/// A level by itself is for this program: its libraries tell much that nobody wants to know.
fn filter(wanted: &str) -> String {
    match wanted.trim() {
        "" => "kws_live=warn".into(),
        level if level.parse::<log::LevelFilter>().is_ok() => format!("kws_live={level}"),
        _ => wanted.into(),
    }
}

fn stats(counts: &Counts, started: Instant) -> String {
    let meters = &counts.meters;
    let since = |at: Option<Instant>| {
        at.map_or_else(|| "never".into(), |t| format!("{} ms", t.duration_since(started).as_millis()))
    };
    let latency = meters.latency().map_or_else(|| "none".into(), |l| format!("{:.0} ms", l * 1e3));
    format!(
        "first_audio {}, ready {}, heard {:.2} s, real_time_factor {:.4}, latency {latency}, lost {} samples, \
         device overruns {}, dropped {} events, clipped {} samples, detections {}{}",
        since(meters.levels().first_audio()),
        since(meters.ready()),
        meters.seconds(),
        meters.real_time_factor(),
        meters.lost(),
        meters.levels().overruns(),
        counts.dropped(),
        meters.levels().clipped(),
        meters.detections(),
        counts.line(),
    )
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_level_by_itself_is_for_this_program() {
        for (wanted, got) in [
            ("", "kws_live=warn"),
            (" Debug", "kws_live=Debug"),
            ("off", "kws_live=off"),
            ("tract_core=info", "tract_core=info"),
            ("info,kws_live=debug", "info,kws_live=debug"),
        ] {
            assert_eq!(filter(wanted), got);
        }
    }
}
