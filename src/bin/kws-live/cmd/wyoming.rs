//! `--wyoming`: the sound comes from clients, until a signal ends it.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;

use super::listen::{Listening, Wanted};
use super::live::{log_to, report, spotter_config};
use crate::args::LiveArgs;
use crate::events::{Feed, Patience, Plan};
use crate::output::{Unhurried, note};
use crate::service::config::Of;
use crate::service::notify::Notifier;
use crate::service::reload::{Files, Reload};
use crate::service::signals::{Signals, Stop};
use crate::service::watched::Watched;
use crate::wyoming::{Hub, Port};

/// `line` is the command line, for the case that its files are read again.
pub fn run(args: &LiveArgs, line: Vec<OsString>, started: Instant) -> anyhow::Result<bool> {
    let reloads = Reload::possible(args);
    let (ask, reload) = crossbeam_channel::bounded(1);
    // First of all: what comes while the model loads waits until it is there.
    let signals = Signals::take(reloads.then_some(ask))?;
    let _notes = Unhurried::start();
    log_to(args.log.as_deref(), false).of("log")?;
    let address = args.service.wyoming.as_deref().context("--wyoming needs an address")?;
    let files = Files::of(args);
    let wanted = Wanted::read(&args.keywords)?.some()?;
    let plan = Plan::open(&args.service, false)?;
    let port = Port::open(address)?;
    let (place, reachable) = port.place()?;
    let Listening { bundle, keywords, .. } = Listening::load(&args.model, &wanted)?;
    let model = bundle.manifest.name.clone();
    let hub = Arc::new(Hub::new(bundle, spotter_config(args), keywords)?);
    let listing = hub.keywords();
    let (give, ended) = crossbeam_channel::bounded(1);
    // One that waits already does for this one too.
    let stop = Stop::new(move || {
        let _ = give.try_send(());
    });
    let feed = Feed {
        source: format!("Wyoming clients at {place}"),
        meters: hub.meters.clone(),
        keywords: listing.iter().map(|l| (l.id, l.name.clone())).collect(),
        clips: None,
        stop: stop.clone(),
        wyoming: Some(hub.count.clone()),
    };
    // A client's sound does not wait for a slow receiver.
    let patience = Patience { wait: false, asked: signals.asked().clone() };
    hub.connect(plan.start(feed, model, None, Some(args.json), patience)?);
    note(&format!("listening to Wyoming clients at {place}"));
    for listed in &*listing {
        note(&format!("{}: {}", listed.name, listed.keyword.said()));
    }
    if reachable {
        note("the Wyoming protocol has no passwords: whoever reaches this port can use it");
    }
    let notifier = Notifier::start(watched(&hub), &format!("listening to Wyoming clients at {place}"))?;
    if reloads {
        let hub = hub.clone();
        let replace = move |keywords| {
            hub.replace(keywords);
            Ok(())
        };
        Reload::new(line, args, files, Box::new(replace), notifier.clone()).start(reload)?;
    }
    signals.stop(stop);
    let server = port.start(hub.clone())?;
    hub.meters.set_ready();
    // It cannot fail: the signals' thread can always send.
    let _ = ended.recv();
    notifier.stopping();
    server.end();
    let (counts, written) = hub.disconnect().context("the ways out are gone")?.finish();
    report(&counts, args.stats, started);
    written?;
    Ok(signals.asked().to_end() || counts.meters.detections() > 0)
}

/// It works from when the port answers, and gets on as long as what all clients share can be had: a thread that hangs with it
/// would hold up this question too.
fn watched(hub: &Arc<Hub>) -> Watched {
    let (ready, shared) = (hub.meters.clone(), hub.clone());
    Watched {
        meters: hub.meters.clone(),
        ready: Box::new(move || ready.ready().is_some()),
        alive: Box::new(move || {
            shared.touch();
            true
        }),
    }
}
