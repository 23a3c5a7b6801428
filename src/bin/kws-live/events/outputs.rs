//! All ways out of the live mode, from the options to the last word at the end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use crossbeam_channel::Receiver;
use kws_live::engine::{Clip, ClipConfig, Engine, Event, Meters};
use kws_live::spotter::KeywordId;

use super::exec::{Exec, ExecCount, Template};
use super::lines::{Lines, Stdout};
#[cfg(feature = "mqtt")]
use super::mqtt::{Mqtt, MqttCount};
use super::save::{Folder, Quota, SaveCount, Saver};
use super::{Bus, Count, Notice, Patience, Sink, spawn};
use crate::args::ServiceArgs;
#[cfg(feature = "http")]
use crate::http::Server;
use crate::output::note;
use crate::service::config::Of;
use crate::service::signals::Stop;
use crate::wyoming::WyomingCount;

/// How long the end waits for receivers, besides the time that a program of `--exec` may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What the ways out have to know of what is listened to.
pub struct Feed {
    /// Where the sound comes from, in one line.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only the HTTP end tells it"))]
    pub source: String,
    /// What the listening tells of itself.
    pub meters: Arc<Meters>,
    /// What is listened for at the start.
    pub keywords: Vec<(KeywordId, Arc<str>)>,
    /// The sound of the detections.
    pub clips: Option<Receiver<Clip>>,
    /// Ends it, when nobody reads the lines any more.
    pub stop: Stop,
    /// The clients, where the sound comes from those.
    pub wyoming: Option<Arc<WyomingCount>>,
}

impl Feed {
    /// An engine's.
    pub fn of(engine: &Engine) -> Self {
        Self {
            source: engine.describe().to_owned(),
            meters: engine.meters().clone(),
            keywords: engine.keywords().iter().map(|k| (k.id, k.name.clone())).collect(),
            clips: engine.clips().cloned(),
            stop: engine.stop_handle().into(),
            wyoming: None,
        }
    }
}

/// What was asked for, checked and opened before anything is listened to.
pub struct Plan {
    exec: Option<Exec>,
    folder: Option<Folder>,
    #[cfg(feature = "http")]
    server: Option<Server>,
    #[cfg(feature = "mqtt")]
    mqtt: Option<Mqtt>,
    limit: Duration,
}

/// Seconds of `--exec-timeout`, if it is not given.
const TIMEOUT: f64 = 10.0;
/// Clips and megabytes of `--save`, if they are not given.
const FILES: u32 = 1_000;
const MEGABYTES: u32 = 100;

/// Options of a way out that is not asked for are a mistake.
fn together(args: &ServiceArgs) -> anyhow::Result<()> {
    let clips = (args.save.is_some(), "--save DIR");
    for (given, name, (wanted, without)) in [
        (args.exec_timeout.is_some(), "exec-timeout", (args.exec.is_some(), "--exec COMMAND")),
        (args.save_max_files.is_some(), "save-max-files", clips),
        (args.save_max_mb.is_some(), "save-max-mb", clips),
        (args.save_near.is_some(), "save-near", clips),
    ] {
        if given && !wanted {
            return Err(anyhow!("--{name} does nothing without {without}")).of(name);
        }
    }
    Ok(())
}

impl Plan {
    /// Opens what the options name. With `quiet` programs of `--exec` show nothing, because a picture is on the screen.
    pub fn open(args: &ServiceArgs, quiet: bool) -> anyhow::Result<Self> {
        together(args)?;
        let timeout = Duration::from_secs_f64(args.exec_timeout.unwrap_or(TIMEOUT));
        let megabytes = args.save_max_mb.unwrap_or(MEGABYTES);
        let quota =
            Quota { files: args.save_max_files.unwrap_or(FILES) as usize, bytes: u64::from(megabytes) * 1_000_000 };
        Ok(Self {
            exec: template(args)?.map(|template| Exec::new(template, timeout, quiet)),
            folder: args
                .save
                .as_deref()
                .map(|dir| Folder::open(dir, quota))
                .transpose()
                .context("--save")
                .of("save")?,
            #[cfg(feature = "http")]
            server: Server::open(&args.http)?,
            #[cfg(feature = "mqtt")]
            mqtt: Mqtt::open(&args.mqtt)?,
            limit: LIMIT + args.exec.as_ref().map_or(Duration::ZERO, |_| timeout),
        })
    }

    /// Checks the options; opens nothing.
    pub fn check(args: &ServiceArgs) -> anyhow::Result<()> {
        template(args)?;
        together(args)?;
        #[cfg(feature = "http")]
        Server::check(&args.http)?;
        #[cfg(feature = "mqtt")]
        Mqtt::check(&args.mqtt)?;
        Ok(())
    }

    /// What the engine has to keep of the sound.
    pub fn clips(&self) -> Option<ClipConfig> {
        self.folder.as_ref().map(|_| ClipConfig::default())
    }

    /// Starts everything. `lines` says whether stdout gets lines, and whether those are JSON; `patience` says when to wait for receivers.
    pub fn start(
        self,
        feed: Feed,
        model: String,
        file: Option<String>,
        lines: Option<bool>,
        patience: Patience,
    ) -> anyhow::Result<Outputs> {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        let lines = lines.map(|json| Lines::new(json, feed.stop));
        let stdout = lines.as_ref().map(Lines::stdout).unwrap_or_default();
        sinks.extend(lines.map(|lines| Box::new(lines) as Box<dyn Sink>));
        let exec = self.exec.as_ref().map(Exec::count);
        sinks.extend(self.exec.map(|exec| Box::new(exec) as Box<dyn Sink>));
        #[cfg(feature = "mqtt")]
        let mqtt = self.mqtt.as_ref().map(Mqtt::count);
        #[cfg(feature = "mqtt")]
        sinks.extend(self.mqtt.map(|mqtt| mqtt.start(model.clone(), patience.clone())));
        let saver = self.folder.map(|folder| Saver::new(folder, model));
        let save = saver.as_ref().map(Saver::count);
        let mut saving = None;
        if let (Some(saver), Some(clips)) = (saver, feed.clips) {
            let left = clips.clone();
            saving = Some((spawn("kws-save", move || saver.run(clips))?, left));
        }
        let counts = Counts {
            meters: feed.meters,
            bus: Arc::default(),
            exec,
            save,
            wyoming: feed.wyoming,
            #[cfg(feature = "mqtt")]
            mqtt,
        };
        #[cfg(feature = "http")]
        if let Some(server) = self.server {
            sinks.push(server.start(feed.source, counts.clone())?);
        }
        let bus = Bus::start(sinks, patience.clone(), &counts.bus)?;
        let outputs = Outputs { bus, saving, counts, stdout, file, patience, limit: self.limit };
        for (id, name) in feed.keywords {
            outputs.send(Notice::Added(id, name));
        }
        Ok(outputs)
    }
}

fn template(args: &ServiceArgs) -> anyhow::Result<Option<Template>> {
    let template = args.exec.as_deref().map(Template::parse).transpose().context("--exec").of("exec")?;
    if let Some(word) = template.as_ref().and_then(Template::for_a_shell) {
        note(&format!("kws-live: --exec: no shell reads `{word}`, it is an argument; for a shell write sh -c '...'"));
    }
    Ok(template)
}

/// What went out and what did not, readable at any time.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub meters: Arc<Meters>,
    pub bus: Arc<Count>,
    pub exec: Option<Arc<ExecCount>>,
    pub save: Option<Arc<SaveCount>>,
    pub wyoming: Option<Arc<WyomingCount>>,
    #[cfg(feature = "mqtt")]
    pub mqtt: Option<Arc<MqttCount>>,
}

impl Counts {
    /// Events that found no room anywhere on their way.
    pub fn dropped(&self) -> u64 {
        self.meters.dropped_events() + self.bus.dropped()
    }

    /// Clips that are not on the disk: because no buffer was free, or because the disk took none.
    pub fn unsaved(&self) -> u64 {
        self.meters.lost_clips() + self.save.as_ref().map_or(0, |s| s.failed())
    }

    /// For `--stats`: what became of the device, and what came of `--exec`, `--save`,
    /// `--wyoming` and `--mqtt`.
    pub fn line(&self) -> String {
        let device = self.meters.device().map(|device| format!(", device lost {} times", device.losses()));
        let exec = self.exec.as_ref().map(|exec| {
            format!(", exec {} started {} failed {} skipped", exec.started(), exec.failed(), exec.skipped())
        });
        let save = self
            .save
            .as_ref()
            .map(|save| format!(", saved {} clips {} lost {} deleted", save.saved(), self.unsaved(), save.deleted()));
        let wyoming = self.wyoming.as_ref().map(|wyoming| format!(", wyoming {}", wyoming.line()));
        #[cfg(feature = "mqtt")]
        let mqtt = self.mqtt.as_ref().map(|mqtt| format!(", mqtt {}", mqtt.line()));
        #[cfg(not(feature = "mqtt"))]
        let mqtt = None;
        device.into_iter().chain(exec).chain(save).chain(wyoming).chain(mqtt).collect()
    }

    /// What must be said at the end, asked for or not; `None` if nothing was lost.
    pub fn losses(&self) -> Option<String> {
        let mut lost = Vec::new();
        if self.dropped() > 0 {
            lost.push(format!("{} events were dropped: a receiver was too slow", self.dropped()));
        }
        if self.unsaved() > 0 {
            lost.push(format!("{} clips were not saved", self.unsaved()));
        }
        #[cfg(feature = "mqtt")]
        if let Some(mqtt) = self.mqtt.as_ref().filter(|mqtt| mqtt.dropped() > 0) {
            lost.push(format!("{} events did not reach the MQTT broker", mqtt.dropped()));
        }
        (!lost.is_empty()).then(|| lost.join("; "))
    }
}

/// The running ways out.
pub struct Outputs {
    bus: Bus,
    /// Closes with the thread that saves, and the clips that it has not taken yet.
    saving: Option<(Receiver<()>, Receiver<Clip>)>,
    counts: Counts,
    stdout: Stdout,
    file: Option<String>,
    patience: Patience,
    limit: Duration,
}

impl Outputs {
    /// Hands on what of the engine's news is for others.
    pub fn publish(&self, event: &Event) {
        if let Some(notice) = Notice::of(event, self.file.as_deref()) {
            self.send(notice);
        }
    }

    /// Hands out news that are not an engine's.
    pub fn send(&self, notice: Notice) {
        self.bus.publish(notice);
    }

    /// Lets everything out once the engine has ended; what came of it, and an error if stdout failed.
    pub fn finish(self) -> (Counts, anyhow::Result<()>) {
        self.bus.finish(self.limit);
        // What a stuck reader has not taken is as lost as what waits behind it.
        self.counts.bus.add(self.stdout.left());
        if let Some((saving, left)) = &self.saving
            && !self.patience.wait_for(saving, LIMIT, &mut None)
        {
            log::warn!("the last clips are not written after {} s and are left behind", LIMIT.as_secs());
            if let Some(save) = &self.counts.save {
                save.leave(left);
            }
        }
        let written = self.stdout.error().map_or(Ok(()), |error| Err(error.into()));
        (self.counts, written)
    }

    /// Where losses are counted, also once it has ended.
    pub fn count(&self) -> Arc<Count> {
        self.counts.bus.clone()
    }
}
