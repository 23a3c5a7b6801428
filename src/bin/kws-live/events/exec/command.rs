//! The command line of `--exec`: words and placeholders, checked before anything is listened to.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::output::Record;

/// What may stand between braces.
const NAMES: [&str; 4] = ["keyword", "score", "start", "end"];

/// A program and its arguments. No shell ever sees them: a keyword stays one argument, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Template {
    /// Splits a line as a shell would split it, and refuses what could not run: open quotes, a placeholder that does not
    /// exist, a program that cannot be found.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        let mut words =
            shell_words::split(line).with_context(|| format!("`{line}` has a quote that is not closed"))?.into_iter();
        let program = words.next().context("it is empty; give a program and its arguments")?;
        ensure!(
            placeholders(&program).is_empty(),
            "the program `{program}` cannot be a placeholder; name a program, and give it placeholders as arguments"
        );
        let arguments: Vec<String> = words.collect();
        for name in arguments.iter().flat_map(|a| placeholders(a)) {
            if !NAMES.contains(&name) {
                bail!("there is no placeholder {{{name}}}; there is {{keyword}}, {{score}}, {{start}} and {{end}}");
            }
        }
        Ok(Self { program: find(&program)?, arguments })
    }

    /// What a shell would take for more than a word: nothing does here.
    pub fn for_a_shell(&self) -> Option<&str> {
        let special =
            |word: &&String| matches!(word.as_str(), "|" | "||" | "&" | "&&" | ";" | ">" | ">>" | "<" | "2>&1");
        self.arguments.iter().find(special).map(String::as_str)
    }

    /// The program, ready to be started for one detection.
    pub fn command(&self, record: &Record) -> Command {
        let values = values(record);
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(|a| fill(a, &values)));
        for (name, value) in NAMES.iter().zip(values) {
            command.env(format!("KWS_{}", name.to_uppercase()), value);
        }
        // What systemd, the broker and callers are told is this program's business.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "KWS_MQTT_PASSWORD", "KWS_LISTEN_TOKEN"] {
            command.env_remove(name);
        }
        command
    }
}

/// In the order of [`NAMES`].
fn values(record: &Record) -> [String; 4] {
    [record.keyword.clone(), record.score.to_string(), record.start.to_string(), record.end.to_string()]
}

/// The names of all `{name}` in a word. Braces around anything but small letters are none: JSON may stand there.
fn placeholders(word: &str) -> Vec<&str> {
    let inside = word.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name));
    inside.filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase())).collect()
}

/// In one pass from the left, so that a keyword named `{score}` is not filled in again.
fn fill(word: &str, values: &[String; 4]) -> String {
    let mut out = String::with_capacity(word.len() + 16);
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let known = NAMES.iter().zip(values).find_map(|(name, value)| {
            let after = tail[1..].strip_prefix(name)?.strip_prefix('}')?;
            Some((value, after))
        });
        if let Some((value, after)) = known {
            out.push_str(value);
            rest = after;
        } else {
            out.push('{');
            rest = &tail[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Where the program is: a path as it stands, a bare name from PATH.
fn find(program: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 || path.is_absolute() {
        ensure!(
            runs(path),
            "the program `{program}` is not there or may not be run; check the path and its permissions"
        );
        return Ok(path.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(path))
        .find(|file| runs(file))
        .with_context(|| format!("the program `{program}` is not in PATH; install it or give its full path"))
}

#[cfg(unix)]
fn runs(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn runs(file: &Path) -> bool {
    file.is_file() || file.with_extension("exe").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(keyword: &str) -> Record {
        Record::new("detection", keyword, 0.912_34, (8_000, 16_000), None)
    }

    fn arguments(line: &str, keyword: &str) -> Vec<String> {
        let command = Template::parse(line).expect("a good line").command(&record(keyword));
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_is_meant_for_a_shell_is_noticed() {
        for (line, word) in [("true {keyword} | wc", Some("|")), ("true a > b", Some(">")), ("sh -c 'true | wc'", None)]
        {
            assert_eq!(Template::parse(line).expect("a good line").for_a_shell(), word, "{line}");
        }
    }

    #[test]
    fn placeholders_are_filled_and_stay_one_argument() {
        assert_eq!(arguments("true {keyword} '{score} at {start}-{end}'", "hello"), ["hello", "0.9123 at 0.5-1"]);
        assert_eq!(arguments("true {keyword}", "a b; rm -rf $HOME '{score}'"), ["a b; rm -rf $HOME '{score}'"]);
        assert_eq!(arguments(r#"true '{"k": "{keyword}"}' '{print $1}'"#, "x"), [r#"{"k": "x"}"#, "{print $1}"]);
    }

    #[test]
    fn the_environment_says_the_same() {
        let command = Template::parse("true").expect("a good line").command(&record("hello"));
        let got: Vec<String> = command
            .get_envs()
            .filter_map(|(k, v)| Some(format!("{}={}", k.to_string_lossy(), v?.to_string_lossy())))
            .collect();
        assert_eq!(got, ["KWS_END=1", "KWS_KEYWORD=hello", "KWS_SCORE=0.9123", "KWS_START=0.5"]);
    }

    #[test]
    fn the_environment_hands_on_no_secrets() {
        let command = Template::parse("true").expect("a good line").command(&record("hello"));
        let taken: Vec<_> =
            command.get_envs().filter_map(|(k, v)| v.is_none().then_some(k.to_string_lossy())).collect();
        assert_eq!(taken, ["KWS_LISTEN_TOKEN", "KWS_MQTT_PASSWORD", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"]);
    }

    #[test]
    fn broken_lines_are_refused() {
        for (line, part) in [
            ("", "empty"),
            ("true 'open", "not closed"),
            ("true {keywrod}", "{keywrod}"),
            ("{keyword}", "cannot be a placeholder"),
            ("no-such-program-anywhere", "PATH"),
            ("/no/such/program", "/no/such/program"),
            ("/etc", "may not be run"),
        ] {
            let error = format!("{:#}", Template::parse(line).expect_err("broken on purpose"));
            assert!(error.contains(part), "`{line}`: {error}");
        }
    }
}
