//! `doctor`: looks at everything that listening needs, and says what to do about what is wrong.

mod broker;
mod config;
mod level;
mod microphone;
mod model;

use anyhow::ensure;
use kws_live::model::Bundle;
use serde::Serialize;

use crate::args::{DoctorArgs, LiveArgs};
use crate::output::print;

/// In this order; what one finds out, later ones can use.
const CHECKS: [Check; 7] = [
    Check { name: "config", run: config::file },
    Check { name: "model", run: model::files },
    Check { name: "backend", run: model::run },
    Check { name: "keywords", run: config::keywords },
    Check { name: "broker", run: broker::reach },
    Check { name: "microphone", run: microphone::open },
    Check { name: "level", run: level::measure },
];

/// A thing to look at. A new one is a function and a line above.
struct Check {
    name: &'static str,
    run: fn(&mut Patient) -> Finding,
}

/// What is looked at.
struct Patient {
    /// What the command line asked for.
    asked: DoctorArgs,
    /// Options of the live mode: those of the configuration if it can be read.
    live: LiveArgs,
    /// Whether there is a configuration that cannot be read.
    unread: bool,
    /// The model, once it is loaded.
    bundle: Option<Bundle>,
    /// What the microphone gave: samples, and how many a second.
    sound: Option<(Vec<f32>, u32)>,
    /// Whether it was to give some and could not.
    silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// Not looked at, because of what failed before.
    Skip,
    Warn,
    Fail,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Finding {
    status: Status,
    /// What is so.
    text: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Finding {
    fn good(text: impl Into<String>) -> Self {
        Self { status: Status::Ok, text: text.into(), advice: None }
    }

    fn skipped(text: &str) -> Self {
        Self { status: Status::Skip, text: format!("not looked at: {text}"), advice: None }
    }

    fn doubt(text: impl Into<String>, advice: &str) -> Self {
        Self { status: Status::Warn, text: text.into(), advice: Some(advice.into()) }
    }

    fn bad(text: impl Into<String>, advice: &str) -> Self {
        Self { status: Status::Fail, text: text.into(), advice: Some(advice.into()) }
    }

    /// Errors of this program say what to do behind their last semicolon.
    fn error(error: &anyhow::Error) -> Self {
        let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
        let (text, advice) = match line.rsplit_once("; ") {
            Some((text, advice)) => (text.to_owned(), Some(advice.to_owned())),
            None => (line, None),
        };
        Self { status: Status::Fail, text, advice }
    }

    fn human(&self, check: &str) -> String {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Skip => "skip",
            Status::Warn => "warn",
            Status::Fail => "fail",
        };
        let advice = self.advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{status:4}  {check:10}  {}{advice}\n", self.text)
    }
}

/// A finding for programs.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    check: &'static str,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// A line a check; an error if one failed.
pub fn run(args: DoctorArgs) -> anyhow::Result<bool> {
    let live = config::asked(&args, config::defaults()?);
    let json = args.json;
    let mut patient = Patient { asked: args, live, unread: false, bundle: None, sound: None, silent: false };
    let mut failed = Vec::new();
    for Check { name, run } in CHECKS {
        let finding = run(&mut patient);
        let line = if json {
            serde_json::to_string(&Line { kind: "check", check: name, finding: &finding })? + "\n"
        } else {
            finding.human(name)
        };
        if finding.status == Status::Fail {
            failed.push(name);
        }
        // Whoever does not read on does not want to know the rest.
        if !print(&line)? {
            break;
        }
    }
    ensure!(failed.is_empty(), "not well: {}", failed.join(", "));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_split_into_what_is_so_and_what_to_do() {
        let finding = Finding::error(&anyhow::anyhow!("cannot open it: a; b\nis held; close that program"));
        assert_eq!(finding.human("mic"), "fail  mic         cannot open it: a; b is held; close that program\n");
        assert_eq!(finding.advice.as_deref(), Some("close that program"));
        assert_eq!(Finding::error(&anyhow::anyhow!("plain")).advice, None);
    }

    #[test]
    fn every_check_has_a_name_of_its_own_that_fits() {
        let names: std::collections::BTreeSet<_> = CHECKS.iter().map(|c| c.name).collect();
        assert!(names.len() == CHECKS.len() && names.iter().all(|n| n.len() <= 10), "{names:?}");
    }
}
