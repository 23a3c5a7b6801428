//! `--config`: every option of the live mode from a TOML file, under its long name.
//!
//! The file is turned into arguments that stand before those of the command line, so that a value means the same in both
//! and no option can be forgotten here.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};
use kws_live::model::Backend;
use toml::de::{DeTable, DeValue};

use crate::args::{Args, Input, Lines, LiveArgs, one_line};
use crate::files;

/// Larger files are no configuration.
const LARGEST: u64 = 1 << 20;
/// Options that make no sense inside the file.
const OUTSIDE: [&str; 4] = ["config", "check-config", "help", "version"];

/// One key of the file, as arguments.
#[derive(Debug, PartialEq)]
struct Setting {
    /// clap's name for the option.
    id: String,
    /// And its long name.
    name: String,
    line: usize,
    arguments: Vec<OsString>,
}

/// An error that an option is to blame for. It reads as without this.
#[derive(Debug)]
struct About {
    /// Its long name.
    option: &'static str,
    error: anyhow::Error,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for About {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// An error about an option, by its long name: [`placed`] says where that stands.
pub fn about(option: &'static str, error: impl Into<anyhow::Error>) -> anyhow::Error {
    About { option, error: error.into() }.into()
}

/// The same for what may be an error.
pub trait Of<T> {
    fn of(self, option: &'static str) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Of<T> for Result<T, E> {
    fn of(self, option: &'static str) -> anyhow::Result<T> {
        self.map_err(|error| about(option, error))
    }
}

/// The error with the line of the configuration that it is about, if an option in there is to blame; with `whole` the
/// configuration is named in any case, but for an option that stands elsewhere.
pub fn placed(error: anyhow::Error, live: &LiveArgs, whole: bool) -> anyhow::Error {
    let Some(file) = &live.service.config else { return error };
    let option = error.downcast_ref::<About>().map(|about| about.option);
    match option.map(|option| live.service.lines.0.get(option)) {
        Some(Some(line)) => error.context(format!("{}: line {line}", file.display())),
        None if whole => error.context(file.display().to_string()),
        _ => error,
    }
}

/// Reads a command line, and the file that it names with `--config`. A [`clap::Error`] inside the error is one of the command
/// line itself, or the text of `--help`.
pub fn load(line: &[OsString]) -> anyhow::Result<Args> {
    let mut command = Args::command();
    let given = command.try_get_matches_from_mut(line)?;
    let args = Args::from_arg_matches(&given)?;
    let Some(path) = &args.live.service.config else { return Ok(args) };
    let settings = read(path).with_context(|| path.display().to_string())?;
    let mut arguments: Vec<OsString> = line.first().cloned().into_iter().collect();
    let mut lines = Lines::default();
    for setting in settings.iter().filter(|s| !overridden(&command, &given, &settings, &s.id)) {
        arguments.extend(setting.arguments.iter().cloned());
        lines.0.insert(setting.name.clone(), setting.line);
    }
    arguments.extend(line.iter().skip(1).cloned());
    let mut args = Args::try_parse_from(arguments).map_err(|e| {
        let place = blamed(&e, &lines).map(|line| format!("line {line}: ")).unwrap_or_default();
        anyhow!("{}: {place}{}", path.display(), one_line(&e))
    })?;
    if lines.0.contains_key("example") {
        let base = path.parent().unwrap_or(Path::new(""));
        args.live.keywords.examples.iter_mut().for_each(|example| example.start_at(base));
    }
    args.live.service.lines = lines;
    Ok(args)
}

/// The line of the option that clap complains about.
fn blamed(error: &clap::Error, lines: &Lines) -> Option<usize> {
    [ContextKind::InvalidArg, ContextKind::PriorArg].into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(arg) => lines.0.get(arg.strip_prefix("--")?.split([' ', '=']).next()?).copied(),
        _ => None,
    })
}

/// Options of the command line that leave others of the file without a meaning, by their identifiers.
const INSTEAD: [(&str, &[&str]); 5] = [
    ("input", &["device", "wait_for_device"]),
    ("sensitivity", &["threshold"]),
    ("mqtt", &["mqtt_password"]),
    ("backend", &["provider"]),
    ("wyoming", &["save_max_files", "save_max_mb"]),
];

/// Whether the command line says it otherwise: with the option itself, with one that excludes it or one in whose place it stood.
fn overridden(command: &clap::Command, given: &ArgMatches, settings: &[Setting], id: &str) -> bool {
    let set = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
    let Some(arg) = command.get_arguments().find(|a| a.get_id() == id) else { return false };
    let excluded = |other: &clap::Arg| {
        set(other.get_id().as_str()) && command.get_arg_conflicts_with(other).iter().any(|a| a.get_id() == id)
    };
    // `--input mic` goes with a device.
    let listens = given.get_one::<Input>("input") == Some(&Input::Mic);
    // A password without a broker is for any.
    let stays = |option: &str| match option {
        "input" => listens,
        "mqtt" => settings.iter().all(|s| s.id != option),
        "backend" => given.get_one::<Backend>("backend") == Some(&Backend::Ort),
        _ => false,
    };
    let instead = |&(option, others): &(&str, &[&str])| set(option) && others.contains(&id) && !stays(option);
    set(id)
        || INSTEAD.iter().any(instead)
        || command.get_arg_conflicts_with(arg).iter().any(|a| set(a.get_id().as_str()))
        || command.get_arguments().any(excluded)
}

fn read(path: &Path) -> anyhow::Result<Vec<Setting>> {
    let text = files::text(path, LARGEST).context("cannot read it")?;
    settings(&text, path.parent().unwrap_or(Path::new("")))
}

/// All keys, each checked by itself, so that an error can name its line. Paths start at `base`.
fn settings(text: &str, base: &Path) -> anyhow::Result<Vec<Setting>> {
    let line = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count();
    // The one nearest to the top is the one to tell: later ones are often its children.
    let (table, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.iter().min_by_key(|e| e.span().map_or(0, |span| span.start)) {
        let at = error.span().map_or(1, |span| line(span.start));
        bail!("line {at}: {}", error.message().replace('\n', " "));
    }
    let mut keys: Vec<_> = table.get_ref().iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    let command = Args::command();
    let mut out = Vec::new();
    for (key, value) in keys {
        let name: &str = key.get_ref();
        let line = line(key.span().start);
        let place = format!("line {line}: `{name}`");
        let known = command.get_arguments().find(|a| a.get_long() == Some(name) && !OUTSIDE.contains(&name));
        let arg = known.with_context(|| format!("{place} is no option; the keys are the long options of --help"))?;
        let arguments = arguments(arg, value.get_ref(), base).map_err(|reason| anyhow!("{place}: {reason}"))?;
        let alone = std::iter::once(OsStr::new("kws-live")).chain(arguments.iter().map(OsString::as_os_str));
        Args::try_parse_from(alone).map_err(|e| anyhow!("{place}: {}", one_line(&e)))?;
        out.push(Setting { id: arg.get_id().to_string(), name: name.to_owned(), line, arguments });
    }
    Ok(out)
}

fn arguments(arg: &clap::Arg, value: &DeValue<'_>, base: &Path) -> Result<Vec<OsString>, String> {
    let name = arg.get_long().unwrap_or_default();
    let with = |value: String| {
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(below(arg, &value, base));
        argument
    };
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return match value {
            DeValue::Boolean(true) => Ok(vec![format!("--{name}").into()]),
            DeValue::Boolean(false) => Ok(Vec::new()),
            _ => Err("expected true or false".into()),
        };
    }
    match value {
        DeValue::Array(items) => {
            let values: Vec<String> = items.iter().map(|item| scalar(item.get_ref())).collect::<Result<_, _>>()?;
            match arg.get_action() {
                ArgAction::Append => Ok(values.into_iter().map(with).collect()),
                // A list of words is what this option takes anyway.
                _ if name == "keywords" => Ok(vec![with(values.join(", "))]),
                _ => Err("expected one value, not a list".into()),
            }
        }
        value => Ok(vec![with(scalar(value)?)]),
    }
}

/// The value of an option; a path that is not absolute starts at `base`. (Those of recordings are [`load`]'s: they stand in a list.)
fn below(arg: &clap::Arg, value: &str, base: &Path) -> OsString {
    let kind = arg.get_value_parser().type_id();
    let path = kind == TypeId::of::<PathBuf>() || kind == TypeId::of::<Input>() && !matches!(value, "mic" | "-");
    if path && !value.is_empty() { base.join(value).into() } else { value.into() }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().into()),
        DeValue::Float(number) => Ok(number.as_str().into()),
        _ => Err("expected a text or a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::Builder::new().prefix("kws, live").tempdir().expect("a folder");
        let path = folder.path().join("kws.toml");
        fs::write(&path, text).expect("room on the disk");
        let path = path.display().to_string();
        (folder, path)
    }

    fn with(text: &str, more: &[&str]) -> anyhow::Result<Args> {
        let (_folder, path) = write(text);
        let line = ["kws-live", "--config", &path].into_iter().chain(more.iter().copied());
        load(&line.map(OsString::from).collect::<Vec<_>>())
    }

    /// A good value for each option.
    fn sample(arg: &clap::Arg) -> &'static str {
        match arg.get_long().unwrap_or_default() {
            "keywords" => r#"["hello", "smart mirror", "siobhan=[SH AH V AO N]"]"#,
            "example" => r#"["a=b.wav", "c=d.wav,e.wav"]"#,
            "sensitivity" | "threshold" | "save-near" => "0.25",
            "backend" => "\"tract\"",
            "provider" => "\"cpu\"",
            "duration" | "exec-timeout" => "3",
            "save-max-files" | "save-max-mb" | "mqtt-spool-max-events" | "mqtt-spool-max-kb" => "7",
            "listen" | "wyoming" => "\"127.0.0.1:0\"",
            "mqtt" => "\"mqtt://localhost\"",
            _ if matches!(arg.get_action(), ArgAction::SetTrue) => "true",
            _ => "\"-some = text-\"",
        }
    }

    #[test]
    fn every_option_can_stand_in_the_file() {
        let command = Args::command();
        let options: Vec<_> =
            command.get_arguments().filter(|a| a.get_long().is_some_and(|l| !OUTSIDE.contains(&l))).collect();
        assert!(options.len() > 15);
        for option in options {
            let name = option.get_long().unwrap_or_default();
            let settings = settings(&format!("{name} = {}", sample(option)), Path::new(""));
            assert!(settings.as_ref().is_ok_and(|s| s.len() == 1), "{name}: {settings:?}");
        }
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        let file = "json = true\nkeywords = [\"hello\", \"stop\"]\nsensitivity = 0.25\nexample = [\"a=b.wav\"]\n";
        let args = with(file, &[]).expect("a good file").live;
        assert_eq!((args.keywords.keywords.as_deref(), args.keywords.sensitivity), (Some("hello, stop"), 0.25));
        assert!(args.json && args.keywords.examples.len() == 1);
        let args = with(file, &["--sensitivity", "0.75", "-k", "go", "-e", "x=y.wav"]).expect("a good line").live;
        assert_eq!((args.keywords.keywords.as_deref(), args.keywords.sensitivity), (Some("go"), 0.75));
        assert!(args.keywords.examples.len() == 1 && args.keywords.examples[0].name == "x");
        assert!(with(file, &["--no-tui"]).is_ok_and(|args| args.live.no_tui && args.live.json));
        // One in whose place it stood overrides it.
        let file = "device = \"a\"\nwait-for-device = true\nthreshold = 0.9\n";
        let live = |line: &[&str]| with(file, line).expect("a good line").live;
        let args = live(&["--input", "x.wav", "--sensitivity", "0.25"]);
        assert!(args.microphone.device.is_none() && !args.microphone.wait_for_device);
        assert_eq!((args.keywords.threshold, args.keywords.sensitivity), (None, 0.25));
        let args = live(&["--input", "mic"]);
        assert!(args.microphone.device.is_some() && args.keywords.threshold == Some(0.9));
        // A password without a broker is for any; options without what they are for go with it.
        #[cfg(feature = "mqtt")]
        for (file, kept) in [("mqtt-password = \"p\"\n", true), ("mqtt-password = \"p\"\nmqtt = \"mqtt://a\"\n", false)]
        {
            let args = with(file, &["--mqtt", "mqtt://joe@b"]).expect("a good line").live;
            assert_eq!(args.service.mqtt.mqtt_password.is_some(), kept);
        }
        let args = with("backend = \"ort\"\nprovider = \"cuda\"\n", &["--backend", "tract"]).expect("a good line").live;
        assert!(args.model.check().is_ok());
        let args = with("provider = \"cuda\"\n", &["--backend", "ort"]).expect("a good line").live;
        assert!(args.model.provider.is_some());
        let quotas = "save = \"a\"\nsave-max-files = 5\nsave-max-mb = 5\n";
        let args = with(quotas, &["--wyoming", "localhost:1"]).expect("a good line").live;
        assert_eq!((args.service.save, args.service.save_max_files, args.service.save_max_mb), (None, None, None));
        // What excludes it overrides it too.
        let args = with("input = \"-\"\n", &["--wyoming", "localhost:1"]).expect("a good line").live;
        assert!(args.service.wyoming.is_some() && args.input == Input::Mic);
    }

    #[test]
    fn a_broken_line_is_named() {
        for (text, parts) in [
            ("json = true\nkeyword = \"a\"\n", ["line 2", "`keyword`"]),
            ("\n\njson = \"yes\"\n", ["line 3", "true or false"]),
            ("sensitivity = 2\n", ["line 1", "from 0 to 1"]),
            ("keywords = \"a\nb\"\n", ["line 1", "kws.toml"]),
            ("json = true\njson = true\n", ["line 2", "duplicate"]),
            ("threshold = [0.5, 0.6]\n", ["line 1", "one value"]),
            ("keywords = 2026-01-01\n", ["line 1", "text or a number"]),
            ("[live]\njson = true\n", ["line 1", "`live`"]),
            ("config = \"other.toml\"\n", ["line 1", "`config`"]),
            ("json = true\nsave = \"a\"\nwyoming = \"a:1\"\n", ["kws.toml: line", "cannot be used with"]),
        ] {
            let error = format!("{:#}", with(text, &[]).expect_err("broken on purpose"));
            assert!(parts.iter().all(|p| error.contains(p)) && !error.contains('\n'), "{text:?}: {error}");
        }
    }

    #[test]
    fn paths_in_the_file_start_at_its_folder() {
        let (folder, path) = write(
            "keywords-file = \"words.txt\"\ninput = \"a/b.wav\"\nsave = \"/clips\"\nmodel = \"../m\"\n\
             example = \"x=1.wav,/2.wav\"\nlog = \"l\"\nexec = \"a b\"\n",
        );
        let at = |name: &str| Some(folder.path().join(name));
        let line = |more: &[&str]| {
            let line = ["kws-live", "--config", &path].into_iter().chain(more.iter().copied()).map(OsString::from);
            load(&line.collect::<Vec<_>>()).expect("a good file").live
        };
        let args = line(&[]);
        assert_eq!((args.keywords.keywords_file, args.log, args.model.model), (at("words.txt"), at("l"), at("../m")));
        assert_eq!(args.input, Input::File(folder.path().join("a/b.wav")));
        assert_eq!(args.keywords.examples[0].files, [folder.path().join("1.wav"), "/2.wav".into()]);
        assert_eq!((args.service.save, args.service.exec.as_deref()), (Some("/clips".into()), Some("a b")));
        // Those of the command line start where it was typed.
        assert_eq!(line(&["--log", "l"]).log, Some("l".into()));
        for input in ["mic", "-"] {
            let settings = settings(&format!("input = {input:?}"), folder.path()).expect("a good file");
            assert_eq!(settings[0].arguments, [format!("--input={input}").as_str()]);
        }
    }

    #[test]
    fn an_error_about_an_option_is_placed_where_that_stands() {
        let live = with("json = true\nexec = \"x\"\n", &["--log", "l"]).expect("a good file").live;
        let told =
            |error: anyhow::Result<()>, whole| format!("{:#}", placed(error.expect_err("an error"), &live, whole));
        let error = || Err(anyhow!("why").context("what"));
        assert!(told(error().of("exec"), false).ends_with("kws.toml: line 2: what: why"));
        assert_eq!((told(error().of("log"), true), told(error(), false)), ("what: why".into(), "what: why".into()));
        assert!(told(error(), true).ends_with("kws.toml: what: why"));
        let deep = error().of("exec").context("more");
        assert!(told(deep, false).ends_with("kws.toml: line 2: more: what: why"));
    }

    #[cfg(feature = "mqtt")]
    #[test]
    fn errors_show_no_password() {
        for (value, part) in [
            ("\"kws:s3cret@broker.lan\"", "expected mqtt://"),
            ("\"mqtt://kws:s3 cret'x@broker.lan:0\"", "port"),
            ("\"mqtt://kws:s3cret:1883\"", "no host"),
            ("mqtt://kws:s3cret@broker.lan", "line 2"),
            ("\"mqtt://kws:s3cret@broker.lan", "line 2"),
            ("[\"mqtt://kws:s3cret@broker.lan\"]", "one value"),
        ] {
            let error = format!("{:#}", with(&format!("\nmqtt = {value}\n"), &[]).expect_err("broken on purpose"));
            assert!(!error.contains("cret") && error.contains("line 2") && error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn other_errors_are_of_the_command_line() {
        let line = ["kws-live", "--nonsense"].map(OsString::from);
        assert!(load(&line).expect_err("broken on purpose").is::<clap::Error>());
        let line = ["kws-live", "--config", "no-such-file.toml"].map(OsString::from);
        assert!(format!("{:#}", load(&line).expect_err("it is not there")).contains("no-such-file.toml"));
    }
}
