//! Live: a microphone, a file or a pipe, until it ends or somebody stops it.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use kws_live::audio::{AudioSource, FileSource, Pace, StdinSource};
use kws_live::engine::{Delivery, Engine, EngineConfig, Event, Meters, StopHandle};
use kws_live::spotter::{Spotter, SpotterConfig};

use super::listen::{Listening, Wanted};
use crate::args::{Input, LiveArgs};
use crate::output::{Record, note, print};

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

pub fn run(args: &LiveArgs, started: Instant) -> anyhow::Result<bool> {
    let view = View::of(args);
    log_to(args.log.as_deref(), view)?;
    let mut wanted = Wanted::read(&args.keywords)?;
    if view != View::Tui {
        wanted = wanted.some()?;
    }
    // The source comes first: its ring fills while the model loads, so that nothing said meanwhile is lost.
    let source = open(args, view)?;
    let Listening { bundle, enroller, keywords } = Listening::load(&args.model, &wanted)?;
    // Without a keyboard nothing is added later.
    let enroller = (view == View::Tui).then_some(enroller);
    let mut spotter = Spotter::new(
        &bundle,
        SpotterConfig {
            choice: args.model.choice(),
            sensitivity: args.keywords.sensitivity,
            threshold: args.keywords.threshold,
            ..SpotterConfig::default()
        },
    )?;
    for keyword in keywords {
        spotter.add(keyword);
    }
    // Megabytes that are of no use any more.
    drop(bundle);
    let config = EngineConfig {
        // A file and a pipe can wait for a slow reader, a microphone and a picture cannot.
        delivery: if args.input == Input::Mic || view == View::Tui { Delivery::Drop } else { Delivery::Wait },
        limit: args.duration.map(Duration::from_secs_f64),
        ..EngineConfig::default()
    };
    let mut engine = Engine::start(source, spotter, enroller, &config)?;
    stop_on_signals(engine.stop_handle())?;
    let outcome = match view {
        #[cfg(feature = "tui")]
        View::Tui => crate::tui::run(&mut engine),
        _ => lines(&mut engine, args, view),
    };
    if args.stats {
        note(&stats(engine.meters(), started));
    }
    outcome?;
    Ok(engine.meters().detections() > 0)
}

fn open(args: &LiveArgs, view: View) -> anyhow::Result<Box<dyn AudioSource>> {
    anyhow::ensure!(
        args.device.is_none() || args.input == Input::Mic,
        "--device names a microphone; it cannot be used with --input FILE"
    );
    Ok(match &args.input {
        Input::Mic => microphone(args.device.as_deref())?,
        Input::Stdin => Box::new(StdinSource::new()?),
        Input::File(path) => {
            let pace = if view == View::Tui { Pace::RealTime } else { Pace::FlatOut };
            Box::new(FileSource::open(path, pace)?)
        }
    })
}

#[cfg(feature = "mic")]
fn microphone(device: Option<&str>) -> anyhow::Result<Box<dyn AudioSource>> {
    let _quiet = crate::quiet::Quiet::new();
    Ok(Box::new(kws_live::audio::MicSource::open(device)?))
}

#[cfg(not(feature = "mic"))]
fn microphone(_: Option<&str>) -> anyhow::Result<Box<dyn AudioSource>> {
    anyhow::bail!("this build has no microphone; use --input FILE, or rebuild with `--features mic`")
}

/// Prints detections until the stream ends.
fn lines(engine: &mut Engine, args: &LiveArgs, view: View) -> anyhow::Result<()> {
    note(&format!("listening to {}", engine.describe()));
    for keyword in engine.keywords() {
        note(&format!("{}: {}", keyword.name, keyword.said()));
    }
    let file = match &args.input {
        Input::File(path) => Some(path.display().to_string()),
        _ => None,
    };
    let mut read = true;
    for event in engine.events() {
        match event {
            Event::Detection(hit) if read => {
                let record = Record::new("detection", &hit.name, hit.score, (hit.start, hit.end), file.as_deref());
                read = print(&if view == View::Json { record.json() } else { record.human() })?;
                if !read {
                    engine.stop_handle().stop();
                }
            }
            Event::Gap { lost } => log::warn!("{lost} samples were lost: this machine is too slow or too busy"),
            Event::Ended | Event::Failed(_) => break,
            _ => {}
        }
    }
    Ok(engine.stop()?)
}

/// The first signal lets the last words out and ends with the right status; the second ends at once.
fn stop_on_signals(engine: StopHandle) -> anyhow::Result<()> {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let handler = move || {
        if ASKED.swap(true, Ordering::AcqRel) {
            std::process::exit(130);
        }
        engine.stop();
    };
    ctrlc::set_handler(handler).context("cannot wait for Ctrl-C")
}

/// Levels by `KWS_LOG`; under the TUI a line on stderr would tear the screen, so there it needs a file.
fn log_to(file: Option<&std::path::Path>, view: View) -> anyhow::Result<()> {
    let mut builder = env_logger::Builder::from_env(env_logger::Env::new().filter_or("KWS_LOG", "kws_live=warn"));
    if let Some(path) = file {
        let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        builder.target(env_logger::Target::Pipe(Box::new(file)));
    } else if view == View::Tui {
        return Ok(());
    }
    builder.init();
    Ok(())
}

fn stats(meters: &Meters, started: Instant) -> String {
    let since = |at: Option<Instant>| {
        at.map_or_else(|| "never".into(), |t| format!("{} ms", t.duration_since(started).as_millis()))
    };
    let latency = meters.latency().map_or_else(|| "none".into(), |l| format!("{:.0} ms", l * 1e3));
    format!(
        "first_audio {}, ready {}, heard {:.2} s, real_time_factor {:.4}, latency {latency}, lost {} samples, \
         dropped {} events, clipped {} samples, detections {}",
        since(meters.levels().first_audio()),
        since(meters.ready()),
        meters.seconds(),
        meters.real_time_factor(),
        meters.lost(),
        meters.dropped_events(),
        meters.levels().clipped(),
        meters.detections(),
    )
}
