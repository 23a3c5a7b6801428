//! The configuration and what is listened for.

use std::ffi::OsString;
use std::path::Path;

use super::{Finding, Patient};
use crate::args::{DoctorArgs, LiveArgs, ServiceArgs};
use crate::cmd::listen::{Listening, Wanted};
use crate::cmd::{check, trial};
use crate::events::Plan;
use crate::service::config::{load, placed};

/// The options of a live run with nothing given.
pub fn defaults() -> anyhow::Result<LiveArgs> {
    Ok(load(&["kws-live".into()])?.live)
}

/// With what the command line says.
pub fn asked(args: &DoctorArgs, mut live: LiveArgs) -> LiveArgs {
    if let Some(device) = &args.device {
        live.microphone.device = Some(device.clone());
    }
    live
}

/// The file: it can be read, and what it names is there.
pub fn file(patient: &mut Patient) -> Finding {
    let Some(file) = &patient.asked.config else {
        return Finding::good("none given with --config, so the defaults are looked at");
    };
    let line: [OsString; 3] = ["kws-live".into(), "--config".into(), file.into()];
    let shown = file.display().to_string();
    let live = match load(&line) {
        Ok(args) => asked(&patient.asked, args.live),
        Err(error) => {
            patient.unread = true;
            return Finding::error(&error);
        }
    };
    patient.live = live.clone();
    if let Err(error) = check::options(&live).and_then(|()| Plan::check(&live.service)) {
        return Finding::error(&placed(error, &live, true));
    }
    let (doubtful, failed): (Vec<_>, Vec<_>) = trial::run(&live).into_iter().partition(|t| t.in_use || t.forbidden);
    if let Some(trouble) = failed.into_iter().next() {
        return Finding::error(&placed(trouble.error, &live, true));
    }
    if holds_secret(&live.service) && readable_by_all(file) {
        return Finding::doubt(
            format!("{shown} is good, but everybody on this machine can read the password or token in it"),
            "put that in KWS_MQTT_PASSWORD or KWS_LISTEN_TOKEN in the environment, or let nobody else read the file",
        );
    }
    if let Some(trouble) = doubtful.into_iter().next() {
        let advice = if trouble.in_use {
            "good if kws-live itself runs with this configuration; else choose another port"
        } else {
            "good if kws-live runs as a user who may; else allow it, or name another"
        };
        return Finding::doubt(Finding::error(&placed(trouble.error, &live, true)).text, advice);
    }
    Finding::good(format!("{shown} is good"))
}

/// Whether one of the options is nobody else's business.
fn holds_secret(service: &ServiceArgs) -> bool {
    let ServiceArgs {
        #[cfg(feature = "http")]
        http,
        #[cfg(feature = "mqtt")]
        mqtt,
        ..
    } = service;
    #[cfg(feature = "http")]
    if http.listen_token.is_some() {
        return true;
    }
    #[cfg(feature = "mqtt")]
    if mqtt.mqtt_password.is_some() || mqtt.mqtt.as_ref().is_some_and(|broker| broker.password.is_some()) {
        return true;
    }
    false
}

#[cfg(unix)]
fn readable_by_all(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|about| about.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn readable_by_all(_file: &Path) -> bool {
    false
}

/// The keywords: they can be pronounced, and their recordings are there.
pub fn keywords(patient: &mut Patient) -> Finding {
    if patient.unread {
        return Finding::skipped("the configuration cannot be read");
    }
    let live = &patient.live;
    let (words, given) = (&live.keywords, patient.asked.config.is_some());
    if words.keywords.is_none() && words.keywords_file.is_none() && words.examples.is_empty() {
        return if given {
            Finding::doubt("the configuration has none", "give it keywords, or give --keywords when it is run")
        } else {
            Finding::good("none to look at: those of a --config are")
        };
    }
    let outcome = Wanted::read(words).and_then(Wanted::some).and_then(|wanted| Listening::load(&live.model, &wanted));
    match outcome {
        Ok(listening) => {
            let names: Vec<&str> = listening.keywords.iter().map(|k| k.name.as_str()).collect();
            let short = |k: &&kws_live::detect::Keyword| k.pronunciations.iter().any(|p| p.phones.len() < 4);
            let short: Vec<&str> = listening.keywords.iter().filter(short).map(|k| k.name.as_str()).collect();
            if short.is_empty() {
                return Finding::good(format!("can be pronounced: {}", names.join(", ")));
            }
            let text = format!("can be pronounced, but {} is short: {}", short.join(" and "), names.join(", "));
            Finding::doubt(text, "words of four phones or more are mixed up less often")
        }
        Err(error) => Finding::error(&placed(error, live, true)),
    }
}
